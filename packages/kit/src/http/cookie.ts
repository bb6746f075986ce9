/** Reads cookies from the `Cookie` header itself, so that no cookie plugin has to run first. */

/**
 * The value of one cookie.
 *
 * Names are compared exactly, and only spaces and tabs around a pair are removed. Node decodes
 * header bytes as latin1, and `trim()` would also remove 0xA0: `<0xA0>__Host-session` is a name
 * that a sibling host may set, and must not be read as `__Host-session`.
 *
 * @param header the `Cookie` header.
 * @returns `undefined` where the cookie is absent; `''` where it is empty or was sent twice. A browser
 *   sends a `__Host-` cookie once, so a second one was planted by another host: refuse both.
 * @see RFC 6265bis, section 5.4
 */
export function readCookie(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined
  let found: string | undefined
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals === -1 || stripBlanks(pair.slice(0, equals)) !== name) continue
    if (found !== undefined) return ''
    found = stripBlanks(pair.slice(equals + 1))
  }
  return found
}

function stripBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
