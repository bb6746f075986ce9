/** What is missing from a cookie. @see RFC 6265bis, section 4.1; OWASP ASVS 5.0, V3.3 */

/** A cookie's name, and what is wrong with it. Never its value. */
export interface CookieFlaws {
  readonly name: string
  readonly faults: readonly string[]
}

/** Browsers drop what is longer, name and attributes included. */
const MAX_BYTES = 4096
const MAX_NAME = 64

/**
 * Looks at one `Set-Cookie` value.
 *
 * @param readable names that scripts are meant to read, so that `HttpOnly` is not missed.
 * @returns `null` when nothing is wrong.
 */
export function findCookieFlaws(
  setCookie: string,
  readable: ReadonlySet<string>,
): CookieFlaws | null {
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
  return faults.length === 0 ? null : { name: name.slice(0, MAX_NAME), faults }
}

type Attributes = ReadonlyMap<string, string>

/** A cookie that is gone has nothing to protect; how it is taken back is the browser's affair. */
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

/** Browsers drop cookies that break the promise of their prefix. */
function prefixFaults(name: string, attributes: Attributes): string[] {
  if (!/^__host-/i.test(name)) return []
  const faults: string[] = []
  if (attributes.has('domain')) faults.push('__Host- with Domain')
  if (attributes.get('path') !== '/') faults.push('__Host- without Path=/')
  return faults
}
