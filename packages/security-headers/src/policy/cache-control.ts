/** `Cache-Control`: which responses caches may store. @see RFC 9111, section 5.2.2 */

/** The values of the option `cacheControl`. */
export const cacheControls = Object.freeze(['no-store', 'authenticated', 'handler'] as const)

/** A value of the option `cacheControl`. */
export type CacheControl = (typeof cacheControls)[number]

/** The header value that keeps a response out of every cache, as OWASP's list writes it. */
export const NO_STORE = 'no-store, max-age=0'

const NO_STORE_DIRECTIVE = /(?:^|[\s,])no-store(?:[\s,]|$)/i
/** `private="name"` does not match: it protects one header only. */
const PRIVATE_DIRECTIVE = /(?:^|[\s,])private(?:[\s,]|$)/i

/** Whether a header value forbids every cache to store the response. */
export function isNoStore(cacheControl: unknown): boolean {
  return typeof cacheControl === 'string' && NO_STORE_DIRECTIVE.test(cacheControl)
}

/** Whether a header value forbids shared caches to store the response. */
export function isPrivate(cacheControl: unknown): boolean {
  return typeof cacheControl === 'string' && PRIVATE_DIRECTIVE.test(cacheControl)
}
