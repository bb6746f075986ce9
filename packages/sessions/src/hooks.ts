/** The request path: which routes need a login, and who is asking. */
import type { CookieSerializeOptions } from '@fastify/cookie'
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { AccessToken } from './access-tokens.ts'
import { looksLikeApiKey } from './api-key-text.ts'
import type { ApiKey } from './api-keys.ts'
import { isOwnRequest } from './cross-site.ts'
import {
  PARAPET_SESSIONS_CROSS_SITE,
  PARAPET_SESSIONS_INVALID_RULE,
  PARAPET_SESSIONS_UNAUTHENTICATED,
  PARAPET_SESSIONS_UNAVAILABLE,
} from './errors.ts'
import type { SessionsSettings } from './options.ts'
import type { SessionService } from './service.ts'

/**
 * What a route says of itself. `required`: only with a login. `optional`: also without one, but
 * never with a broken one. `ignored`: nobody looks, as on the login itself.
 */
export type SessionRule = 'required' | 'optional' | 'ignored'

declare module 'fastify' {
  interface FastifyRequest {
    /** The verified access token of this request; `null` for anybody without one. */
    sessions: AccessToken | null
  }
  interface FastifyContextConfig {
    /** Whether the route needs a login. @default what `requireByDefault` says */
    sessions?: SessionRule
  }
}

/** The cookie that carries the access token. */
export const ACCESS_COOKIE = '__Host-session'
/** The cookie that carries the refresh token. */
export const REFRESH_COOKIE = '__Host-refresh'
/**
 * `__Host-`: no other host of the domain can set it, and no plain connection carries it. What the app
 * gave `@fastify/cookie` as its defaults must not change that.
 */
export const HOST_COOKIE: CookieSerializeOptions = {
  path: '/',
  httpOnly: true,
  secure: true,
  signed: false,
  ...({ domain: undefined } as object),
}
const BEARER = /^bearer +(\S+)$/i
const kRule = Symbol('@parapet/sessions:rule')
const RULES: readonly unknown[] = ['required', 'optional', 'ignored'] satisfies SessionRule[]

/** The route's config as this plugin sees it. Its type promises nothing: JavaScript may have written it. */
interface RouteConfig {
  readonly [kRule]?: SessionRule
  readonly sessions?: unknown
}

/**
 * The value of a cookie of ours, from the header itself: an app may have `@fastify/cookie` parse later.
 * One that came twice is worth nothing: a browser keeps one, so another host has tossed the other in.
 */
export function readCookie({ headers }: FastifyRequest, name: string): string | undefined {
  const start = `${name}=`
  const given = headers.cookie?.split(';').map((pair) => pair.trim())
  const [value, another] = given?.filter((pair) => pair.startsWith(start)) ?? []
  return another === undefined ? value?.slice(start.length) : ''
}

/** Compiles the rule of a route. @throws PARAPET_SESSIONS_INVALID_RULE */
export function readRoute(route: RouteOptions): void {
  const raw = (route.config as RouteConfig | undefined)?.sessions
  if (raw === undefined) return
  if (!RULES.includes(raw)) {
    throw new PARAPET_SESSIONS_INVALID_RULE(`${String(route.method)} ${route.url}`)
  }
  // A copy: the caller may share one config object among routes.
  route.config = { ...route.config, [kRule]: raw } as RouteOptions['config'] & object
}

/** Refuses a request that carries cookies and comes from another site. @throws PARAPET_SESSIONS_CROSS_SITE */
export function requireOwnRequest(
  request: FastifyRequest,
  cookies: NonNullable<SessionsSettings['cookies']>,
): void {
  const { 'sec-fetch-site': fetchSite, origin, upgrade } = request.headers
  const own = isOwnRequest(
    {
      method: request.method,
      opensWebSocket: /websocket/i.test(upgrade ?? ''),
      fetchSite: typeof fetchSite === 'string' ? fetchSite : undefined,
      origin,
      ownOrigin: `${request.protocol}://${request.host}`,
    },
    cookies.trustedOrigins,
  )
  if (!own) throw new PARAPET_SESSIONS_CROSS_SITE()
}

function ruleOf(request: FastifyRequest, unmarked: SessionRule): SessionRule {
  const { [kRule]: rule, sessions }: RouteConfig = request.routeOptions.config
  if (rule !== undefined) return rule
  // A rule that nobody compiled: the route was declared before the plugin was ready.
  if (sessions !== undefined) return 'required'
  // What matches no route is answered 404 to everybody.
  return request.is404 ? 'optional' : unmarked
}

/** `null`: the request carries no token of ours. @throws PARAPET_SESSIONS_CROSS_SITE */
export function tokenOf(
  request: FastifyRequest,
  cookies: SessionsSettings['cookies'],
): string | null {
  const { authorization } = request.headers
  if (authorization !== undefined && /^bearer\b/i.test(authorization)) {
    // A header that only begins as one is a broken token, not an anonymous request.
    return BEARER.exec(authorization)?.[1] ?? ''
  }
  const cookie = cookies === undefined ? undefined : readCookie(request, ACCESS_COOKIE)
  if (cookies === undefined || cookie === undefined) return null
  requireOwnRequest(request, cookies)
  return cookie
}

/** Makes the hook that says who is asking. */
export function createAuthenticate(
  settings: SessionsSettings,
  service: SessionService,
  securityEvents: SecurityEvents,
) {
  const { cookies, apiKeyPrefix, requireByDefault } = settings
  const unmarked: SessionRule = requireByDefault ? 'required' : 'optional'

  function refuse(request: FastifyRequest, reply: FastifyReply, reason: string): never {
    if (cookies !== undefined && readCookie(request, ACCESS_COOKIE) !== undefined) {
      // Else open pages would be refused until the cookie has expired, too.
      void reply.clearCookie(ACCESS_COOKIE, { ...HOST_COOKIE, sameSite: cookies.sameSite })
    }
    securityEvents.emit('sessions.token_refused', { details: { reason } }, request)
    return refuseAnonymous(reply)
  }

  async function checkApiKey(text: string): Promise<ApiKey | null> {
    try {
      return await service.apiKeys.verify(text)
    } catch (error) {
      throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
    }
  }

  return async function sessionsAuthenticate(
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const rule = ruleOf(request, unmarked)
    if (rule === 'ignored') return
    const text = tokenOf(request, cookies)
    if (text === null) {
      // Another login may have said who is asking.
      if (rule === 'required' && request.principal === null) refuseAnonymous(reply)
      return
    }
    if (looksLikeApiKey(text, apiKeyPrefix)) {
      const key = await checkApiKey(text)
      if (key === null) return refuse(request, reply, 'api_key')
      request.principal = principalOfKey(key)
      return
    }
    const checked = service.check(text)
    const token = checked instanceof Promise ? await checked : checked
    if (typeof token === 'string') return refuse(request, reply, token)
    request.sessions = token
    request.principal = principalOf(token)
  }
}

/** One answer for a missing, a broken and a revoked token. @see RFC 6750, section 3 */
function refuseAnonymous(reply: FastifyReply): never {
  void reply.header('www-authenticate', 'Bearer')
  throw new PARAPET_SESSIONS_UNAUTHENTICATED()
}

function principalOf({ user, sessionId, authenticatedAt, amr }: AccessToken): Principal {
  return Object.freeze({ ...user, sessionId, authenticatedAt, amr })
}

function principalOfKey({ ownerId, roles, scopes }: ApiKey): Principal {
  return Object.freeze({
    id: ownerId,
    roles: Object.freeze([...roles]),
    permissions: Object.freeze([...scopes]),
    amr: Object.freeze(['api-key']),
  })
}
