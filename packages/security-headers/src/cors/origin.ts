/** Origins in the form that browsers send. @see RFC 6454, section 6.2 */

/** Stricter than the URL parser, which accepts quotes, brackets and commas in a host. */
const ORIGIN = /^https?:\/\/(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[1-9]\d*)?$/

/** Whether the text consists of a scheme, a host and an optional non-default port only. */
export function isOrigin(text: string): boolean {
  return ORIGIN.test(text) && URL.canParse(text) && new URL(text).origin === text
}

/** Whether the origin uses https or is on the local machine. */
export function isSecureOrigin(origin: string): boolean {
  const { protocol, hostname } = new URL(origin)
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
}
