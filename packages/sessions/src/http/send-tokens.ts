/** Sends tokens to the client: in the response body, or in cookies that no script can read. */
import type { Clock } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CookieSettings, SiteData } from '../options.ts'
import type { AccountOperations } from '../service/account-operations.ts'
import type { IdentityOperations } from '../service/linked-identities.ts'
import type { SessionOperations } from '../service/operations.ts'
import type { OperatorHand } from '../service/operator-operations.ts'
import type { SessionGrant } from '../session/grant.ts'
import { requireSameOrigin } from './same-origin.ts'
import {
  createHostCookie,
  hasOwnCookie,
  REFRESH_COOKIE,
  SESSION_COOKIE,
  type HostCookie,
} from './session-cookie.ts'

/** The response body of a login or a refresh. It contains the tokens only if they are not in cookies. */
export interface HandedTokens {
  readonly token_type: 'Bearer'
  readonly expires_in: number
  readonly access_token?: string
  readonly refresh_token?: string
}

/** The decorator `app.sessions`. */
export interface Sessions extends SessionOperations, OperatorHand, IdentityOperations {
  /** What the application asks of the option `account`. @throws PARAPET_SESSIONS_INVALID_ARGUMENT it is not set */
  readonly account: AccountOperations

  /**
   * Sends the tokens of a grant, for your own login route: sets the cookies, or returns the body.
   *
   * @throws PARAPET_SESSIONS_CROSS_SITE another site sent the request, so its user did not ask for the
   *   cookies: a page could log its visitors in to an account of the attacker.
   */
  hand(reply: FastifyReply, grant: SessionGrant): HandedTokens
  /** Tells the browser to delete the own cookies, for your own logout route. */
  forget(reply: FastifyReply): void
}

/** See {@link createTokenTransport}. */
export interface TokenTransport extends Pick<Sessions, 'hand' | 'forget'> {
  readonly sessionCookie: HostCookie
  /** As `hand`, where something else proves that the user of this browser asked for the login. */
  readonly handProven: (reply: FastifyReply, grant: SessionGrant) => HandedTokens
  /** Whether the tokens for this client are sent in cookies. */
  usesCookies(request: FastifyRequest): boolean
  /** Refuses a request of another site if cookies are used. @throws PARAPET_SESSIONS_CROSS_SITE */
  requireSameOrigin(request: FastifyRequest): void
  /** The refresh token of a request: from its cookie if cookies are used, otherwise from its body. */
  refreshTokenOf(request: FastifyRequest): string | undefined
}

/** What {@link createTokenTransport} needs: options of the plugin with the defaults filled in. */
export interface TransportSettings {
  /** `undefined`: tokens are sent in response bodies. */
  readonly cookies: CookieSettings | undefined
  readonly clearSiteData: readonly SiteData[]
  readonly clock: Clock
}

/** Creates the transport. */
export function createTokenTransport(settings: TransportSettings): TokenTransport {
  const { cookies, clearSiteData, clock } = settings
  const sameSite = cookies?.sameSite ?? 'strict'
  const sessionCookie = createHostCookie(SESSION_COOKIE, sameSite)
  const refreshCookie = createHostCookie(REFRESH_COOKIE, sameSite)
  const clearHeader = clearSiteData.map((each) => `"${each}"`).join(', ')
  const secondsUntil = (time: number): number =>
    Math.max(0, Math.floor((time - clock.now()) / 1000))
  const usesCookies = (request: FastifyRequest): boolean =>
    cookies !== undefined && (isBrowser(request) || hasOwnCookie(request.headers.cookie))
  const requireOwnSite = (request: FastifyRequest): void => {
    if (cookies === undefined || !usesCookies(request)) return
    requireSameOrigin(request, cookies.trustedOrigins)
  }
  const handProven = (reply: FastifyReply, grant: SessionGrant): HandedTokens => {
    const expiresIn = secondsUntil(grant.accessExpiresAt)
    void reply.header('cache-control', 'no-store')
    const base = { token_type: 'Bearer', expires_in: expiresIn } as const
    if (!usesCookies(reply.request)) {
      return { ...base, access_token: grant.accessToken, refresh_token: grant.refreshToken }
    }
    sessionCookie.set(reply, grant.accessToken, expiresIn)
    refreshCookie.set(reply, grant.refreshToken, secondsUntil(grant.refreshExpiresAt))
    return base
  }

  return {
    usesCookies,
    sessionCookie,
    requireSameOrigin: requireOwnSite,
    hand(reply, grant) {
      requireOwnSite(reply.request)
      return handProven(reply, grant)
    },
    handProven,
    refreshTokenOf(request) {
      const cookie = cookies && refreshCookie.read(request)
      if (cookie !== undefined) return cookie
      const body = request.body as RefreshBody | null | undefined
      return body?.refresh_token ?? body?.refreshToken
    },
    forget(reply) {
      void reply.header('cache-control', 'no-store')
      // W3C Clear Site Data
      if (clearHeader !== '') void reply.header('clear-site-data', clearHeader)
      if (cookies === undefined) return
      sessionCookie.clear(reply)
      refreshCookie.clear(reply)
    },
  }
}

interface RefreshBody {
  readonly refresh_token?: string
  readonly refreshToken?: string
}

/**
 * Whether a browser sent the request. Every browser sends one of these headers with a POST, and no page
 * can leave them out, so that injected code cannot ask for the tokens in a body.
 *
 * @see W3C Fetch Metadata Request Headers, section 2; Fetch Standard, "forbidden request-header"
 */
function isBrowser({ headers }: FastifyRequest): boolean {
  return headers['sec-fetch-site'] !== undefined || headers.origin !== undefined
}
