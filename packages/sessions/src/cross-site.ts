/**
 * Whether a request that carries cookies was made by the site itself. Cookies travel with requests
 * of other sites too; a bearer token does not, so it needs none of this.
 *
 * @see OWASP Cross-Site Request Forgery Prevention Cheat Sheet; W3C Fetch Metadata Request Headers
 */

/** What is looked at. */
export interface RequestOrigin {
  readonly method: string
  /** Asks for a WebSocket: a GET that any page may make, and whose replies it may read. */
  readonly opensWebSocket: boolean
  /** `Sec-Fetch-Site`: a browser sets it and no page can forge it. */
  readonly fetchSite: string | undefined
  /** `Origin`, which older browsers send with WebSockets and with all methods but GET and HEAD. */
  readonly origin: string | undefined
  /** The origin this request was sent to, as the server sees it behind its proxy. */
  readonly ownOrigin: string
}

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Whether cookies may be believed: always for methods that change nothing; else for a request of
 * the same origin, or of one that is listed. A client that says nothing of itself is refused.
 *
 * @param trustedOrigins other origins that may, for instance `https://app.example.com`.
 */
export function isOwnRequest(request: RequestOrigin, trustedOrigins: readonly string[]): boolean {
  const { method, opensWebSocket, fetchSite, origin, ownOrigin } = request
  if (SAFE_METHODS.has(method) && !opensWebSocket) return true
  if (fetchSite === 'same-origin') return true
  if (origin !== undefined && trustedOrigins.includes(origin)) return true
  return fetchSite === undefined && origin === ownOrigin
}
