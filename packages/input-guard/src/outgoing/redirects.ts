/** Follows redirects: how the next request differs from the one before. @see Fetch, section 4.4 */

/** A request that can be sent again. */
export interface PreparedRequest {
  readonly method: string
  readonly headers: Headers
  readonly body: string | Uint8Array | null
}

const REDIRECTS = new Set([301, 302, 303, 307, 308])
/** What another origin may get. Every API has its own header for credentials, so no list of those is complete. */
const HARMLESS = new Set(['accept', 'accept-encoding', 'accept-language', 'user-agent'])
const BODY_HEADERS = [
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-type',
]

/** The target of a redirect; `undefined`: the response is none. */
export function redirectTarget(
  status: number,
  location: string | null,
  from: URL,
): URL | undefined {
  if (!REDIRECTS.has(status) || location === null) return undefined
  return URL.canParse(location, from.href) ? new URL(location, from.href) : undefined
}

/** The request to send to the target; `undefined`: another origin would get the body. */
export function redirectRequest(
  { method, headers, body }: PreparedRequest,
  status: number,
  isOtherOrigin: boolean,
): PreparedRequest | undefined {
  const becomesGet =
    (status === 303 && method !== 'GET' && method !== 'HEAD') ||
    ((status === 301 || status === 302) && method === 'POST')
  if (isOtherOrigin && !becomesGet && body !== null) return undefined
  const kept = [...headers.entries()].filter(([name]) => !isOtherOrigin || HARMLESS.has(name))
  const next = new Headers(kept)
  if (becomesGet) for (const name of BODY_HEADERS) next.delete(name)
  return becomesGet ? { method: 'GET', headers: next, body: null } : { method, headers: next, body }
}
