/** The routes of single sign-on: to the identity provider, and back. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LOGIN_LIFETIME_MS } from '../../oidc/login-ticket.ts'
import type { ResponseMode } from '../../oidc/provider.ts'
import type { StartedLogin } from '../../oidc/single-sign-on.ts'
import type { CookieSettings } from '../../options.ts'
import { TICKET_LIFETIME_MS } from '../../second-factor/pending-logins.ts'
import type { SecondFactor } from '../../second-factor/second-factor.ts'
import type { Service } from '../../service/create-service.ts'
import type { TokenTransport } from '../send-tokens.ts'
import {
  createHostCookie,
  readCookieNames,
  SINGLE_SIGN_ON_COOKIE,
  type HostCookie,
} from '../session-cookie.ts'
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
  /** Whether the responses of a provider come as forms. */
  readonly usesForms: boolean
}

/** How many logins a browser can have open at once: each has a cookie of up to 2 KB. */
const MAX_OPEN_LOGINS = 4
const STATE_LENGTH = 22
const FORM = 'application/x-www-form-urlencoded'
const MAX_FORM_BYTES = 16_384

interface Params {
  readonly provider: string
}

/** Registers `GET /oidc/:provider` its callbacks and the logout by a provider under the prefix. */
export async function registerOidcRoutes(
  app: FastifyInstance,
  settings: OidcRouteSettings,
): Promise<void> {
  const { prefix, service, transport, usesForms } = settings
  const config = publicRoute('single sign-on')

  const start = { schema: routeSchemas.oidcStart, config }
  app.get<{ Params: Params; Querystring: { readonly returnTo?: string } }>(
    `${prefix}/oidc/:provider`,
    start,
    async (request, reply) => {
      const { returnTo = '/' } = request.query
      const refreshToken = transport.refreshTokenOf(request)
      const { provider } = request.params
      const login = await service.logins.startSingleSignOn(provider, returnTo, refreshToken)
      rememberLogin(request, reply, login)
      return reply.redirect(login.url, 303)
    },
  )

  const url = `${prefix}/oidc/:provider/callback`
  const finish = { schema: routeSchemas.oidcFinish, config }
  app.get<{ Params: Params }>(url, finish, (request, reply) =>
    finishLogin(settings, request, reply, 'query', rawQueryOf(request.url)),
  )
  // In a context of its own, so that no other route of the application accepts forms because of this one.
  await app.register(async (forms) => {
    readFormsAsText(forms)
    const logout = { schema: routeSchemas.oidcLogout, config, bodyLimit: MAX_FORM_BYTES }
    forms.post<{ Params: Params; Body: string }>(
      `${prefix}/oidc/:provider/backchannel-logout`,
      logout,
      async (request, reply) => {
        const sent = new URLSearchParams(request.body).getAll('logout_token')
        const token = sent.length === 1 ? sent[0]! : null
        await service.logins.logOutByProvider(request.params.provider, token, request)
        return reply.header('cache-control', 'no-store').send(null)
      },
    )
    if (!usesForms) return
    const finishForm = { schema: routeSchemas.oidcFinishForm, config, bodyLimit: MAX_FORM_BYTES }
    forms.post<{ Params: Params; Body: string }>(url, finishForm, (request, reply) =>
      finishLogin(settings, request, reply, 'form_post', new URLSearchParams(request.body)),
    )
  })
}

/** Sets the cookie with which the browser comes back. */
export function rememberLogin(
  request: FastifyRequest,
  reply: FastifyReply,
  { state, cookie: value, responseMode }: StartedLogin,
): void {
  for (const name of staleLogins(request)) createHostCookie(name, 'lax').clear(reply)
  cookieOf(state, responseMode).set(reply, value, LOGIN_LIFETIME_MS / 1000)
  void reply.header('cache-control', 'no-store')
}

/**
 * Finishes a login. A form of the provider comes from another site; the cookie of the login shows that this
 * browser began it.
 */
async function finishLogin(
  settings: OidcRouteSettings,
  request: FastifyRequest<{ Params: Params }>,
  reply: FastifyReply,
  responseMode: ResponseMode,
  response: URLSearchParams,
): Promise<object> {
  const { service, transport } = settings
  const { provider } = request.params
  service.logins.requireProvider(provider)
  const cookie = cookieOf(response.get('state') ?? '', responseMode)
  const callback = { provider, responseMode, response, cookie: cookie.read(request) }
  if (callback.cookie !== undefined) cookie.clear(reply)
  const refreshToken = transport.refreshTokenOf(request)
  const step = stepOf(request, reply)
  const finished = await service.logins.finishSingleSignOn(callback, step, refreshToken)
  const { result, returnTo } = finished
  if (result === null) return redirect(reply, returnTo, settings)
  const proven = { service, transport: { ...transport, hand: transport.handProven } }
  if (!transport.usesCookies(request)) return sendLogin(proven, request, reply, result)
  if ('ticket' in result) {
    ticketCookie.set(reply, result.ticket, TICKET_LIFETIME_MS / 1000)
    const page = settings.secondFactor?.page ?? '/'
    const query = new URLSearchParams({ returnTo }).toString()
    // The path of the application may have a query of its own.
    return redirect(reply, `${page}${page.includes('?') ? '&' : '?'}${query}`, settings)
  }
  await sendLogin(proven, request, reply, result)
  return redirect(reply, returnTo, settings)
}

/** The text itself is kept: a parameter that was sent twice must be visible as such. */
function readFormsAsText(forms: FastifyInstance): void {
  // Those of the application, which this context inherits.
  forms.removeAllContentTypeParsers()
  forms.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => {
    done(null, body)
  })
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
function cookieOf(state: string, responseMode: ResponseMode): HostCookie {
  const name = SINGLE_SIGN_ON_COOKIE + state.replace(/[^\w-]/g, '').slice(0, STATE_LENGTH)
  // Browsers send a form of another site with no other cookies.
  return createHostCookie(name, responseMode === 'form_post' ? 'none' : 'lax')
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
