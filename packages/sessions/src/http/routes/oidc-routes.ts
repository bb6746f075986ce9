/** The routes of single sign-on: to the identity provider, and back. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LOGIN_LIFETIME_MS } from '../../oidc/login-ticket.ts'
import type { CookieSettings } from '../../options.ts'
import { TICKET_LIFETIME_MS } from '../../second-factor/pending-logins.ts'
import type { SecondFactor } from '../../second-factor/second-factor.ts'
import type { Service } from '../../service/create-service.ts'
import type { TokenTransport } from '../send-tokens.ts'
import { createHostCookie, readCookieNames, SINGLE_SIGN_ON_COOKIE } from '../session-cookie.ts'
import { sendLogin, stepOf } from './login-routes.ts'
import { publicRoute } from './route-config.ts'
import { routeSchemas } from './schemas.ts'
import { ticketCookie } from './second-factor-routes.ts'

/** What the routes need. */
export interface OidcRouteSettings {
  readonly prefix: string
  readonly service: Service
  readonly transport: TokenTransport
  readonly cookies: CookieSettings | undefined
  readonly secondFactor: SecondFactor | undefined
}

/** How many logins a browser can have open at once: each has a cookie of up to 2 KB. */
const MAX_OPEN_LOGINS = 4
const STATE_LENGTH = 22

/** Registers `GET /oidc/:provider` and its callback under the prefix. */
export function registerOidcRoutes(app: FastifyInstance, settings: OidcRouteSettings): void {
  const { prefix, service, transport } = settings
  const { logins } = service
  const config = publicRoute('single sign-on')
  interface Params {
    readonly provider: string
  }

  const start = { schema: routeSchemas.oidcStart, config }
  app.get<{ Params: Params; Querystring: { readonly returnTo?: string } }>(
    `${prefix}/oidc/:provider`,
    start,
    async (request, reply) => {
      const { provider } = request.params
      const login = await logins.startSingleSignOn(provider, request.query.returnTo ?? '/')
      for (const name of staleLogins(request)) createHostCookie(name, 'lax').clear(reply)
      cookieOf(login.state).set(reply, login.cookie, LOGIN_LIFETIME_MS / 1000)
      return reply.header('cache-control', 'no-store').redirect(login.url, 303)
    },
  )

  const finish = { schema: routeSchemas.oidcFinish, config }
  app.get<{ Params: Params }>(
    `${prefix}/oidc/:provider/callback`,
    finish,
    async (request, reply) => {
      const { provider } = request.params
      logins.requireProvider(provider)
      const query = rawQueryOf(request.url)
      const cookie = cookieOf(query.get('state') ?? '')
      const callback = { provider, query, cookie: cookie.read(request) }
      if (callback.cookie !== undefined) cookie.clear(reply)
      const finished = await logins.finishSingleSignOn(callback, stepOf(request, reply))
      const { result, returnTo } = finished
      if (!transport.usesCookies(request)) {
        return sendLogin({ service, transport }, request, reply, result)
      }
      if ('ticket' in result) {
        ticketCookie.set(reply, result.ticket, TICKET_LIFETIME_MS / 1000)
        const query = new URLSearchParams({ returnTo })
        return redirect(reply, `${settings.secondFactor?.page}?${query.toString()}`, settings)
      }
      await sendLogin({ service, transport }, request, reply, result)
      return redirect(reply, returnTo, settings)
    },
  )
}

/**
 * Sends the browser to a path of this site. A browser that another site sent here does not send `strict`
 * cookies after a redirect, so that a page of this site has to forward it.
 *
 * @see RFC 6265bis, section 5.2
 */
function redirect(reply: FastifyReply, path: string, { cookies }: OidcRouteSettings): FastifyReply {
  if (cookies?.sameSite !== 'strict') return reply.redirect(path, 303)
  const target = path.replace(/[&"'<>]/g, (char) => `&#${char.charCodeAt(0)};`)
  return reply
    .code(200)
    .type('text/html; charset=utf-8')
    .send(
      `<!doctype html><title>…</title><meta http-equiv="refresh" content="0;url=${target}">` +
        `<a href="${target}">Continue</a>`,
    )
}

/** The cookie of the login with this state. The state of a callback is not trusted yet. */
function cookieOf(state: string) {
  return createHostCookie(
    SINGLE_SIGN_ON_COOKIE + state.replace(/[^\w-]/g, '').slice(0, STATE_LENGTH),
    'lax',
  )
}

/** The cookies of logins beyond the newest ones; browsers send older cookies first. */
function staleLogins({ headers }: FastifyRequest): string[] {
  const open = readCookieNames(headers.cookie).filter((name) =>
    name.startsWith(SINGLE_SIGN_ON_COOKIE),
  )
  return open.slice(0, Math.max(0, open.length - MAX_OPEN_LOGINS + 1))
}

/** The query exactly as it was sent: a parameter that was sent twice must be visible as such. */
function rawQueryOf(url: string): URLSearchParams {
  const mark = url.indexOf('?')
  return new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1))
}
