/** The routes of single sign-on: to the identity provider, and back. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { LOGIN_LIFETIME_MS } from '../oidc/login-ticket.ts'
import type { Service } from '../service/create-service.ts'
import { routeSchemas } from './schemas.ts'
import type { TokenTransport } from './send-tokens.ts'
import { createHostCookie, SINGLE_SIGN_ON_COOKIE } from './session-cookie.ts'

/** Registers `GET /oidc/:provider` and its callback under the prefix. */
export function registerOidcRoutes(
  app: FastifyInstance,
  prefix: string,
  { logins }: Service,
  transport: TokenTransport,
): void {
  const routes = app.withTypeProvider<TypeBoxTypeProvider>()
  const config = { sessions: 'ignored' } as const
  // Lax, because the way back is a navigation that another site starts.
  const cookie = createHostCookie(SINGLE_SIGN_ON_COOKIE, 'lax')

  const start = { schema: routeSchemas.oidcStart, config }
  routes.get(`${prefix}/oidc/:provider`, start, async (request, reply) => {
    const { provider } = request.params
    const login = await logins.startSingleSignOn(provider, request.query.returnTo ?? '/')
    cookie.set(reply, login.cookie, LOGIN_LIFETIME_MS / 1000)
    return reply.header('cache-control', 'no-store').redirect(login.url, 303)
  })

  const finish = { schema: routeSchemas.oidcFinish, config }
  routes.get(`${prefix}/oidc/:provider/callback`, finish, async (request, reply) => {
    const { provider } = request.params
    logins.requireProvider(provider)
    cookie.clear(reply)
    const callback = { provider, query: rawQueryOf(request.url), cookie: cookie.read(request) }
    const replaced = transport.refreshTokenOf(request)
    const { grant, returnTo } = await logins.finishSingleSignOn(callback, replaced, request)
    const body = transport.hand(reply, grant)
    return transport.usesCookies ? reply.redirect(returnTo, 303) : body
  })
}

/** The query exactly as it was sent: a parameter that was sent twice must be visible as such. */
function rawQueryOf(url: string): URLSearchParams {
  const mark = url.indexOf('?')
  return new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1))
}
