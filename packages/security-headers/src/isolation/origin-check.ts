/** Compares `Origin` and `Referer` with `Host`, for browsers without fetch metadata. */

/** The headers that are compared. */
interface OriginHeaders {
  readonly origin: string | undefined
  readonly referer: string | undefined
  readonly host: string | undefined
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
}: OriginHeaders): 'origin-mismatch' | 'referer-mismatch' | null {
  if (origin !== undefined) return hasHost(origin, host) ? null : 'origin-mismatch'
  if (referer !== undefined) return hasHost(referer, host) ? null : 'referer-mismatch'
  return null
}

/** An empty `Host` must match no URL: the host of `file:///a` is empty as well. */
function hasHost(url: string, host: string | undefined): boolean {
  return host !== '' && URL.canParse(url) && new URL(url).host === host
}
