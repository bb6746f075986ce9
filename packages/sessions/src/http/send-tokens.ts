/** Sends tokens to the client: in the response body, or in cookies that no script can read. */
import type { Clock } from '@parapet/kit'
import type { Static } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SessionOperations } from '../service/operations.ts'
import type { SessionGrant } from '../session/grant.ts'
import { requireSameOrigin } from './same-origin.ts'
import type { Tokens } from './schemas.ts'
import {
  createHostCookie,
  REFRESH_COOKIE,
  SESSION_COOKIE,
  type CookieSettings,
  type HostCookie,
} from './session-cookie.ts'

/** The response body of a login or a refresh. It contains the tokens only if cookies are not used. */
export type HandedTokens = Static<typeof Tokens>

/** The decorator `app.sessions`. */
export interface Sessions extends SessionOperations {
  /** Sends the tokens of a grant, for your own login route: sets the cookies, or returns the body. */
  hand(reply: FastifyReply, grant: SessionGrant): HandedTokens
  /** Tells the browser to delete cookies, cache and storage, for your own logout route. */
  forget(reply: FastifyReply): void
}

/** See {@link createTokenTransport}. */
export interface TokenTransport extends Pick<Sessions, 'hand' | 'forget'> {
  readonly usesCookies: boolean
  readonly sessionCookie: HostCookie
  /** Refuses a request of another site if cookies are used. @throws PARAPET_SESSIONS_CROSS_SITE */
  requireSameOrigin(request: FastifyRequest): void
  /** The refresh token of a request: from its cookie if cookies are used, otherwise from its body. */
  refreshTokenOf(request: FastifyRequest): string | undefined
}

/** @param cookies `undefined`: tokens are sent in response bodies. */
export function createTokenTransport(
  cookies: CookieSettings | undefined,
  clock: Clock,
): TokenTransport {
  const sameSite = cookies?.sameSite ?? 'strict'
  const sessionCookie = createHostCookie(SESSION_COOKIE, sameSite)
  const refreshCookie = createHostCookie(REFRESH_COOKIE, sameSite)
  const secondsUntil = (time: number): number =>
    Math.max(0, Math.floor((time - clock.now()) / 1000))

  return {
    usesCookies: cookies !== undefined,
    sessionCookie,
    requireSameOrigin(request) {
      if (cookies !== undefined) requireSameOrigin(request, cookies.trustedOrigins)
    },
    hand(reply, grant) {
      const expiresIn = secondsUntil(grant.accessExpiresAt)
      void reply.header('cache-control', 'no-store')
      const base = { token_type: 'Bearer', expires_in: expiresIn } as const
      if (cookies === undefined) {
        return { ...base, access_token: grant.accessToken, refresh_token: grant.refreshToken }
      }
      sessionCookie.set(reply, grant.accessToken, expiresIn)
      refreshCookie.set(reply, grant.refreshToken, secondsUntil(grant.refreshExpiresAt))
      return base
    },
    refreshTokenOf(request) {
      const body = request.body as { readonly refreshToken?: string } | null | undefined
      return (cookies && refreshCookie.read(request)) ?? body?.refreshToken
    },
    forget(reply) {
      // W3C Clear Site Data
      void reply.headers({
        'cache-control': 'no-store',
        'clear-site-data': '"cache", "cookies", "storage"',
      })
      if (cookies === undefined) return
      sessionCookie.clear(reply)
      refreshCookie.clear(reply)
    },
  }
}
