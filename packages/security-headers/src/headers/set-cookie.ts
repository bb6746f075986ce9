/** Finds missing attributes in a `Set-Cookie` header. @see RFC 6265bis, section 4.1; OWASP ASVS 5.0, V3.3 */

/** The name of a cookie and its faults. The value is never included. */
export interface CookieFaults {
  readonly name: string
  readonly faults: readonly string[]
}

/** Browsers ignore a longer cookie; the name and the attributes count as well. */
const MAX_BYTES = 4096
const MAX_NAME_LENGTH = 64

/**
 * Checks one `Set-Cookie` value.
 *
 * @param readable the names of cookies that scripts may read; they need no `HttpOnly`.
 * @returns `null` if there are no faults.
 */
export function findCookieFaults(
  setCookie: string,
  readable: ReadonlySet<string>,
): CookieFaults | null {
  const [pair = '', ...rest] = setCookie.split(';')
  const name = pair.split('=', 1)[0]!.trim()
  const attributes = new Map(
    rest.map((text) => {
      const [key = '', value = ''] = text.split('=', 2)
      return [key.trim().toLowerCase(), value.trim()] as const
    }),
  )
  const faults = [
    ...(isDeletion(attributes) ? [] : attributeFaults(name, attributes, readable)),
    ...prefixFaults(name, attributes),
    ...(Buffer.byteLength(setCookie) > MAX_BYTES ? [`longer than ${MAX_BYTES} bytes`] : []),
  ]
  return faults.length === 0 ? null : { name: name.slice(0, MAX_NAME_LENGTH), faults }
}

/** Whether a cookie of this name looks like the session of a user. */
export function looksLikeSession(name: string): boolean {
  // The double-submit cookie of a CSRF library has to be readable.
  return /sess|sid|auth|jwt|token$/i.test(name) && !/[cx]srf/i.test(name)
}

type Attributes = ReadonlyMap<string, string>

/** Whether the header deletes the cookie. A deleted cookie has no value to protect. */
function isDeletion(attributes: Attributes): boolean {
  const maxAge = attributes.get('max-age')
  if (maxAge !== undefined) return /^(?:0+|-\d+)$/.test(maxAge)
  return Date.parse(attributes.get('expires') ?? '') <= 0
}

function attributeFaults(
  name: string,
  attributes: Attributes,
  readable: ReadonlySet<string>,
): string[] {
  const faults: string[] = []
  if (!attributes.has('secure')) faults.push('no Secure')
  if (!attributes.has('httponly') && !readable.has(name)) faults.push('no HttpOnly')
  const sameSite = attributes.get('samesite')?.toLowerCase()
  if (sameSite === undefined) faults.push('no SameSite')
  else if (sameSite === 'none') faults.push('SameSite=None')
  return faults
}

/** Browsers ignore a `__Host-` cookie with a `Domain`, or without `Path=/`. @see RFC 6265bis, section 4.1.3.2 */
function prefixFaults(name: string, attributes: Attributes): string[] {
  if (!/^__host-/i.test(name)) return []
  const faults: string[] = []
  if (attributes.has('domain')) faults.push('__Host- with Domain')
  if (attributes.get('path') !== '/') faults.push('__Host- without Path=/')
  return faults
}
