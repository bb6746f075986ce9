/** `Cache-Control`: which responses caches may store. @see RFC 9111, section 5.2.2 */

/** The values of the option `cacheControl`. */
export const cacheControls = Object.freeze(['no-store', 'authenticated', 'handler'] as const)

/** A value of the option `cacheControl`. */
export type CacheControl = (typeof cacheControls)[number]

/** The header value that keeps a response out of every cache, as OWASP's list writes it. */
export const NO_STORE = 'no-store, max-age=0'

/** Whether a header value keeps the response out of every cache. */
export function isNoStore(value: unknown): boolean {
  return keeps(value, ['no-store'])
}

/** Whether a header value keeps the response out of shared caches. */
export function isUnshared(value: unknown): boolean {
  return keeps(value, ['no-store', 'private'])
}

/** Directives that let a shared cache store the response, whatever stands beside them. */
const SHARED = /^(?:public|s-maxage|must-understand)\b/

/**
 * A contradictory value does not count: caches differ in which directive they follow. Neither does
 * `private="name"`, which protects one header only.
 */
function keeps(value: unknown, wanted: readonly string[]): boolean {
  if (typeof value !== 'string') return false
  const unquoted = value.replaceAll(/"[^"]*"/g, '')
  // An open quote: caches differ in where the text ends.
  if (unquoted.includes('"')) return false
  const directives = unquoted.split(',').map((directive) => directive.trim().toLowerCase())
  return (
    directives.some((directive) => wanted.includes(directive)) &&
    !directives.some((directive) => SHARED.test(directive))
  )
}

/** Names of targeted fields that do not end in `-cache-control`. */
export const targetedNames: readonly string[] = Object.freeze([
  'edge-control',
  'surrogate-control',
  'x-accel-expires',
])

/** Whether caches of a CDN or proxy follow this header in place of `Cache-Control`. @see RFC 9213, section 2.2 */
export function isTargeted(name: string): boolean {
  return name.endsWith('-cache-control') || targetedNames.includes(name)
}
