/** How tokens reach the client: in the body, or in cookies that no script can read. */
import type { Static } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  ACCESS_COOKIE,
  HOST_COOKIE,
  readCookie,
  REFRESH_COOKIE,
  requireOwnRequest,
} from './hooks.ts'
import type { SessionsSettings } from './options.ts'
import type { Tokens } from './schemas.ts'
import type { SessionOperations } from './service.ts'
import type { SessionGrant } from './session-book.ts'

/** What a login or a refresh answers; the tokens themselves only where no cookie carries them. */
export type HandedTokens = Static<typeof Tokens>

/** What is at `app.sessions`. */
export interface Sessions extends SessionOperations {
  /** Hands tokens to the client, for a login route of your own: sets the cookies, or answers the body. */
  hand(reply: FastifyReply, grant: SessionGrant): HandedTokens
  /** Lets the browser forget cookies, cache and storage, for a logout route of your own. */
  forget(reply: FastifyReply): void
}

/** See {@link createTokenTransport}. */
export interface TokenTransport extends Pick<Sessions, 'hand' | 'forget'> {
  /** @throws PARAPET_SESSIONS_CROSS_SITE cookies are in use, and another site sent the request. */
  requireOwn(request: FastifyRequest): void
  /** The refresh token of a request: in its cookie where cookies are in use, else in its body. */
  refreshTokenOf(request: FastifyRequest): string | undefined
}

/** Makes the transport that the options ask for. */
export function createTokenTransport({ cookies, clock }: SessionsSettings): TokenTransport {
  const attributes = { ...HOST_COOKIE, sameSite: cookies?.sameSite ?? 'strict' }
  const secondsUntil = (time: number): number =>
    Math.max(0, Math.floor((time - clock.now()) / 1000))

  return {
    requireOwn(request) {
      if (cookies !== undefined) requireOwnRequest(request, cookies)
    },
    hand(reply, grant) {
      const expiresIn = secondsUntil(grant.accessExpiresAt)
      void reply.header('cache-control', 'no-store')
      const base = { token_type: 'Bearer', expires_in: expiresIn } as const
      if (cookies === undefined) {
        return { ...base, access_token: grant.accessToken, refresh_token: grant.refreshToken }
      }
      const refreshIn = secondsUntil(grant.refreshExpiresAt)
      void reply.setCookie(ACCESS_COOKIE, grant.accessToken, { ...attributes, maxAge: expiresIn })
      void reply.setCookie(REFRESH_COOKIE, grant.refreshToken, { ...attributes, maxAge: refreshIn })
      return base
    },
    refreshTokenOf(request) {
      const body = request.body as { readonly refreshToken?: string } | null | undefined
      return (cookies && readCookie(request, REFRESH_COOKIE)) ?? body?.refreshToken
    },
    // W3C Clear Site Data
    forget(reply) {
      void reply.headers({
        'cache-control': 'no-store',
        'clear-site-data': '"cache", "cookies", "storage"',
      })
      if (cookies === undefined) return
      void reply.clearCookie(ACCESS_COOKIE, attributes)
      void reply.clearCookie(REFRESH_COOKIE, attributes)
    },
  }
}
