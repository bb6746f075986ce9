/** Finds the credential of a request: a bearer token, or the session cookie. */
import type { FastifyRequest } from 'fastify'
import type { CookieSettings } from '../options.ts'
import { requireSameOrigin } from './same-origin.ts'
import type { HostCookie } from './session-cookie.ts'

/** What follows is read by the checks of tokens and keys, which refuse white space. */
const BEARER = /^bearer\b */i

/** Reads the credential of a request; `null`: the request is anonymous. */
export type CredentialReader = (request: FastifyRequest) => string | null

/**
 * Creates the reader.
 *
 * @param cookies `undefined`: cookies are not read.
 * @returns a reader that throws PARAPET_SESSIONS_CROSS_SITE for a cookie of another site.
 * @see RFC 6750, section 2.1
 */
export function createCredentialReader(
  cookies: CookieSettings | undefined,
  sessionCookie: HostCookie,
): CredentialReader {
  return (request) => {
    const { authorization } = request.headers
    const scheme = authorization === undefined ? null : BEARER.exec(authorization)
    // A malformed bearer header is an invalid token, not an anonymous request.
    if (scheme !== null) return authorization!.slice(scheme[0].length)
    const cookie = cookies === undefined ? undefined : sessionCookie.read(request)
    if (cookies === undefined || cookie === undefined) return null
    requireSameOrigin(request, cookies.trustedOrigins)
    return cookie
  }
}
