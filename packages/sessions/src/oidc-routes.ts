/** The two routes of single sign-on: to the provider, and back. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_SESSIONS_NOT_FOUND } from './errors.ts'
import { HOST_COOKIE, readCookie } from './hooks.ts'
import type { Oidc } from './oidc.ts'
import { OIDC_LIFETIME_MS } from './oidc-tickets.ts'
import { endReplaced, type RouteSettings } from './routes.ts'
import { routeSchemas } from './schemas.ts'

/** Carries the login to the provider and back. Lax: the way back is a link of another site. */
const COOKIE = '__Host-single-sign-on'
const ATTRIBUTES = { ...HOST_COOKIE, sameSite: 'lax' as const }

/** Registers the routes of every provider under the prefix. */
export function registerOidcRoutes(app: FastifyInstance, given: RouteSettings, login: Oidc): void {
  const { prefix, settings, service, parts, transport } = given
  const routes = app.withTypeProvider<TypeBoxTypeProvider>()
  const config = { sessions: 'ignored' } as const

  routes.get(
    `${prefix}/oidc/:provider`,
    { schema: routeSchemas.oidcBegin, config },
    async (request, reply) => {
      const { provider } = request.params
      requireProvider(provider)
      const { url, cookie } = await login.begin(provider, request.query.returnTo ?? '/')
      void reply.setCookie(COOKIE, cookie, { ...ATTRIBUTES, maxAge: OIDC_LIFETIME_MS / 1000 })
      return reply.header('cache-control', 'no-store').redirect(url, 303)
    },
  )

  routes.get(
    `${prefix}/oidc/:provider/callback`,
    { schema: routeSchemas.oidcFinish, config },
    async (request, reply) => {
      const { provider } = request.params
      requireProvider(provider)
      void reply.clearCookie(COOKIE, ATTRIBUTES)
      const found = await finish(request, provider)
      await endReplaced(request, given)
      const grant = await service.start(found.user, found.proof, request)
      const body = transport.hand(reply, grant)
      if (settings.cookies === undefined) return body
      return reply.redirect(found.returnTo, 303)
    },
  )

  function requireProvider(name: string): void {
    if (!Object.hasOwn(settings.oidc, name)) throw new PARAPET_SESSIONS_NOT_FOUND()
  }

  async function finish(request: FastifyRequest, provider: string) {
    // The query as it was sent: a provider's parameter given twice must be seen as such.
    const mark = request.url.indexOf('?')
    const query = new URLSearchParams(mark === -1 ? '' : request.url.slice(mark + 1))
    try {
      return await login.finish(provider, query, readCookie(request, COOKIE))
    } catch (error) {
      const details = { method: `oidc:${provider}`, loginHash: null }
      parts.securityEvents.emit('sessions.login_failed', { details }, request)
      throw error
    }
  }
}
