/** Decides where a request over http is redirected to. */

/** The parts of a request that decide on a redirect. */
interface HttpRequest {
  readonly method: string
  readonly host: string
  readonly url: string
  readonly headers: { readonly authorization?: string | undefined }
}

/**
 * Only requests for pages are redirected. A program with credentials would send them in clear text
 * again and again if the redirect hid its mistake.
 *
 * @param isPage whether the route serves pages.
 * @param hosts the host names that a redirect may go to.
 * @returns the https URL. `null`: the request must be refused.
 */
export function httpsRedirect(
  { method, host, url, headers }: HttpRequest,
  isPage: boolean,
  hosts: ReadonlySet<string>,
): string | null {
  const isBrowsing = isPage && headers.authorization === undefined
  // @see RFC 9110, section 4.2.3
  const name = host.toLowerCase().replace(/:80$/, '')
  if (!isBrowsing || (method !== 'GET' && method !== 'HEAD') || !hosts.has(name)) return null
  return `https://${name}${url.startsWith('/') ? url : '/'}`
}
