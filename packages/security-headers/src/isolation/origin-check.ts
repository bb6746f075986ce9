/** Compares `Origin` and `Referer` with `Host`, for browsers without fetch metadata. */

/** The headers that are compared. */
interface OriginHeaders {
  readonly origin: string | undefined
  readonly referer: string | undefined
  readonly host: string | undefined
  /** Whether the request is known to have come over https: an origin includes its scheme. */
  readonly secure: boolean
}

/**
 * A request with neither header does not come from a browser, so it is accepted.
 *
 * @returns `null`: the request is accepted.
 */
export function checkOrigin({
  origin,
  referer,
  host,
  secure,
}: OriginHeaders): 'origin-mismatch' | 'referer-mismatch' | null {
  if (origin !== undefined) return isOf(origin, host, secure) ? null : 'origin-mismatch'
  if (referer !== undefined) return isOf(referer, host, secure) ? null : 'referer-mismatch'
  return null
}

/** An empty `Host` must match no URL: the host of `file:///a` is empty as well. */
function isOf(url: string, host: string | undefined, secure: boolean): boolean {
  if (host === '' || !URL.canParse(url)) return false
  const { protocol, host: own } = new URL(url)
  return own === host && (!secure || protocol === 'https:')
}
