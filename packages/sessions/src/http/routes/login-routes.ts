/** The routes to log in with a password, to refresh and to log out. */
import { acceptEmptyBody } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PARAPET_SESSIONS_LOGIN_FAILED, PARAPET_SESSIONS_REFRESH_REFUSED } from '../../errors.ts'
import type { CredentialCheck, Credentials } from '../../passwords/password-check.ts'
import type { Service } from '../../service/create-service.ts'
import type { LoginResult, StepContext } from '../../service/second-step.ts'
import type { CredentialReader } from '../bearer-token.ts'
import type { TokenTransport } from '../send-tokens.ts'
import { publicRoute } from './route-config.ts'
import { routeSchemas } from './schemas.ts'

/** What the login routes need. */
export interface LoginRouteSettings {
  readonly prefix: string
  /** `undefined`: there is no login route. */
  readonly credentials: CredentialCheck | undefined
  readonly service: Service
  readonly transport: TokenTransport
  readonly readCredential: CredentialReader
}

/** Registers `POST /login`, `POST /refresh` and `POST /logout` under the prefix. */
export function registerLoginRoutes(app: FastifyInstance, settings: LoginRouteSettings): void {
  const { prefix, credentials, service, transport, readCredential } = settings
  const { sessions, logins } = service

  if (credentials !== undefined) {
    const login = { schema: routeSchemas.login, config: publicRoute('log in') }
    app.post<{ Body: Credentials }>(`${prefix}/login`, login, async (request, reply) => {
      transport.requireSameOrigin(request)
      // PostgreSQL refuses such text, and no account has such a name.
      if (!request.body.login.isWellFormed()) throw new PARAPET_SESSIONS_LOGIN_FAILED()
      const result = await logins.logIn(credentials, request.body, stepOf(request, reply))
      return sendLogin({ service, transport }, request, reply, result)
    })
  }

  const open = { config: publicRoute('the refresh token is checked'), onRequest: acceptEmptyBody }
  const refresh = { ...open, schema: routeSchemas.refresh }
  app.post(`${prefix}/refresh`, refresh, async (request, reply) => {
    transport.requireSameOrigin(request)
    const refreshToken = transport.refreshTokenOf(request)
    if (refreshToken === undefined) throw new PARAPET_SESSIONS_REFRESH_REFUSED()
    return transport.hand(reply, await sessions.refresh(refreshToken, request))
  })

  const logout = { ...open, schema: routeSchemas.logout }
  app.post(`${prefix}/logout`, logout, async (request, reply) => {
    transport.requireSameOrigin(request)
    const refreshToken = transport.refreshTokenOf(request)
    const accessToken = readCredential(request)
    // First, because the browser must forget its tokens even while the store is down.
    transport.forget(reply)
    await logins.logOut({ refreshToken, accessToken }, request)
    return reply.code(204).send(null)
  })
}

/** The request and the response of one step of a login. */
export function stepOf(request: FastifyRequest, reply: FastifyReply): StepContext {
  return { request, setHeader: (name, value) => void reply.header(name, value) }
}

/** Sends the tokens of a login, or the ticket of its second step. */
export async function sendLogin(
  { service, transport }: Pick<LoginRouteSettings, 'service' | 'transport'>,
  request: FastifyRequest,
  reply: FastifyReply,
  result: LoginResult,
): Promise<object> {
  if ('ticket' in result) {
    const { ticket, methods, expiresInSeconds } = result
    void reply.code(202).header('cache-control', 'no-store')
    return { ticket, methods: [...methods], expires_in: expiresInSeconds }
  }
  await service.logins.endReplaced(transport.refreshTokenOf(request), request)
  return transport.hand(reply, result)
}
