/**
 * Cross-site request forgery: browsers send cookies with requests of other sites as well, so a request
 * that uses cookies must prove its origin. A bearer token is not sent by itself and needs no check.
 *
 * @see OWASP Cross-Site Request Forgery Prevention Cheat Sheet; W3C Fetch Metadata Request Headers
 */
import type { FastifyRequest } from 'fastify'
import { PARAPET_SESSIONS_CROSS_SITE } from '../errors.ts'

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses a request of another site. Safe methods pass, except for WebSockets. Other requests need the
 * same origin or a trusted one; a client that sends neither `Sec-Fetch-Site` nor `Origin` is refused.
 *
 * @param trustedOrigins other origins that are accepted, for instance `https://app.example.com`.
 * @throws PARAPET_SESSIONS_CROSS_SITE
 */
export function requireSameOrigin(
  request: FastifyRequest,
  trustedOrigins: readonly string[],
): void {
  const { 'sec-fetch-site': fetchSite, origin, upgrade } = request.headers
  // Any page may open a WebSocket, which is a GET, and may read what it receives.
  const opensWebSocket = /websocket/i.test(upgrade ?? '')
  if (SAFE_METHODS.has(request.method) && !opensWebSocket) return
  // Browsers set `Sec-Fetch-Site`, and no page can forge it.
  if (fetchSite === 'same-origin') return
  if (origin !== undefined && trustedOrigins.includes(origin)) return
  // Older browsers send only `Origin`.
  const ownOrigin = `${request.protocol}://${request.host}`
  if (fetchSite === undefined && origin === ownOrigin) return
  throw new PARAPET_SESSIONS_CROSS_SITE()
}
