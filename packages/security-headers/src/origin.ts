/** Origins as browsers send them. @see RFC 6454, section 6.2 */

/** The URL parser lets quotes, brackets and commas into a host, which mean something in headers. */
const PLAIN = /^https?:\/\/(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[1-9]\d*)?$/

/** Whether the text is scheme, host and port and nothing else, the default port left out. */
export function isOrigin(text: string): boolean {
  return PLAIN.test(text) && URL.canParse(text) && new URL(text).origin === text
}
