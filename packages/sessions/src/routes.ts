/** The routes: log in, refresh, log out, see and end own sessions, and the public keys. */
import { createHmac } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  PARAPET_SESSIONS_LOGIN_FAILED,
  PARAPET_SESSIONS_NOT_FOUND,
  PARAPET_SESSIONS_REFRESH_REFUSED,
  PARAPET_SESSIONS_UNAUTHENTICATED,
} from './errors.ts'
import { tokenOf } from './hooks.ts'
import type { SessionsSettings } from './options.ts'
import { deriveKey } from './refresh-tokens.ts'
import { routeSchemas } from './schemas.ts'
import type { ServiceParts, SessionService } from './service.ts'
import type { EndedSession } from './session-book.ts'
import type { TokenTransport } from './transport-routes.ts'

/** What the routes are made from. */
export interface RouteSettings {
  readonly prefix: string
  readonly settings: SessionsSettings
  readonly service: SessionService
  readonly parts: ServiceParts
  readonly transport: TokenTransport
}

const JWKS_MAX_AGE_SECONDS = 300

/** Registers the routes under the prefix, and the keys at their well-known place. */
export function registerRoutes(app: FastifyInstance, given: RouteSettings): void {
  const routes = withTypes(app)
  registerLogin(routes, given)
  registerTokenRoutes(routes, given)
  registerOwnSessions(routes, given)

  routes.get(
    '/.well-known/jwks.json',
    { schema: routeSchemas.jwks, config: { sessions: 'ignored' } },
    async (request, reply) => {
      const { body, etag } = given.parts.ring.publish()
      void reply.headers({ etag, 'cache-control': `public, max-age=${JWKS_MAX_AGE_SECONDS}` })
      const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim())
      if (known?.some((tag) => tag === '*' || tag.replace(/^W\//, '') === etag) === true) {
        return reply.code(304).send(null)
      }
      return { keys: [...body.keys] }
    },
  )
}

type Routes = ReturnType<typeof withTypes>

function withTypes(app: FastifyInstance) {
  return app.withTypeProvider<TypeBoxTypeProvider>()
}

function registerLogin(routes: Routes, given: RouteSettings): void {
  const { prefix, settings, service, parts, transport } = given
  const { credentials } = settings
  if (credentials === undefined) return
  const tell = createFailureTeller(settings, parts.securityEvents)
  routes.post(
    `${prefix}/login`,
    { schema: routeSchemas.login, config: { sessions: 'ignored' } },
    async (request, reply) => {
      transport.requireOwn(request)
      const found = await credentials(request.body)
      if (found === null) {
        tell(request.body.login, request)
        throw new PARAPET_SESSIONS_LOGIN_FAILED()
      }
      await endReplaced(request, given)
      const { amr, ...user } = found
      const grant = await service.start(user, amr === undefined ? {} : { amr }, request)
      return transport.hand(reply, grant)
    },
  )
}

/** A browser that was logged in gets another session; the old one ends with its cookie. */
export async function endReplaced(
  request: FastifyRequest,
  { service, parts, transport }: RouteSettings,
): Promise<void> {
  const ended = await parts.book.endBy(transport.refreshTokenOf(request))
  tellEnded(service, ended, 'another login', request)
}

function tellEnded(
  service: SessionService,
  ended: EndedSession | null,
  reason: string,
  request: FastifyRequest,
): void {
  if (ended === null) return
  const { sessionId, userId: principalId } = ended
  service.revoked('session', reason, { sessionId, principalId }, request)
}

/** Failed logins of one account are told to belong together without saying which account it is. */
function createFailureTeller({ secrets }: SessionsSettings, securityEvents: SecurityEvents) {
  const key = deriveKey(secrets[0]!, 'login hash')
  return (login: string, request: FastifyRequest): void => {
    const loginHash = createHmac('sha256', key).update(login).digest('base64url').slice(0, 22)
    const details = { method: 'pwd', loginHash }
    securityEvents.emit('sessions.login_failed', { details }, request)
  }
}

function registerTokenRoutes(routes: Routes, given: RouteSettings): void {
  const { prefix, service, parts, transport } = given
  routes.post(
    `${prefix}/refresh`,
    { schema: routeSchemas.refresh, config: { sessions: 'ignored' } },
    async (request, reply) => {
      transport.requireOwn(request)
      const text = transport.refreshTokenOf(request)
      if (text === undefined) throw new PARAPET_SESSIONS_REFRESH_REFUSED()
      return transport.hand(reply, await service.refresh(text, request))
    },
  )

  routes.post(
    `${prefix}/logout`,
    { schema: routeSchemas.logout, config: { sessions: 'ignored' } },
    async (request, reply) => {
      transport.requireOwn(request)
      const ended =
        (await parts.book.endBy(transport.refreshTokenOf(request))) ??
        (await endByAccessToken(request, given))
      tellEnded(service, ended, 'logout', request)
      transport.forget(reply)
      return reply.code(204).send(null)
    },
  )
}

async function endByAccessToken(
  request: FastifyRequest,
  { settings, parts }: RouteSettings,
): Promise<EndedSession | null> {
  const token = parts.accessTokens.verify(tokenOf(request, settings.cookies) ?? '')
  if (typeof token === 'string') return null
  const { sessionId } = token
  const userId = await parts.book.end(sessionId)
  return userId === null ? null : { sessionId, userId }
}

function registerOwnSessions(routes: Routes, { prefix, service, parts }: RouteSettings): void {
  routes.get(
    `${prefix}/sessions`,
    { schema: routeSchemas.list, config: { sessions: 'required' } },
    async (request, reply) => {
      const { user, sessionId } = ownToken(request)
      const views = await parts.book.list(user.id)
      void reply.header('cache-control', 'no-store')
      return {
        sessions: views.map(({ amr, ...view }) => ({
          ...view,
          amr: [...amr],
          current: view.id === sessionId,
        })),
      }
    },
  )

  routes.delete(
    `${prefix}/sessions`,
    { schema: routeSchemas.endOthers, config: { sessions: 'required' } },
    async (request, reply) => {
      const { user, sessionId } = ownToken(request)
      await service.revoke({ userId: user.id, exceptSessionId: sessionId }, 'by the user')
      return reply.code(204).send(null)
    },
  )

  routes.delete(
    `${prefix}/sessions/:id`,
    { schema: routeSchemas.endOne, config: { sessions: 'required' } },
    async (request, reply) => {
      const { user } = ownToken(request)
      const { id } = request.params
      // Somebody else's session and none at all are answered alike.
      if ((await parts.book.ownerOf(id)) !== user.id) throw new PARAPET_SESSIONS_NOT_FOUND()
      await parts.book.end(id)
      service.revoked('session', 'by the user', { sessionId: id }, request)
      return reply.code(204).send(null)
    },
  )
}

/** These routes are for whoever has a session: an API key has none. */
function ownToken({ sessions: token }: FastifyRequest) {
  if (token === null) throw new PARAPET_SESSIONS_UNAUTHENTICATED()
  return token
}
