/** The cookie of a remembered device. */

/** `__Host-`: a browser takes it from this host alone, over TLS, for every path. */
const NAME = '__Host-parapet-device'

/** The value of the cookie in a request; `null` where it is missing, or there is more than one. */
export function readDeviceCookie(header: string | undefined): string | null {
  const values = (header ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${NAME}=`))
    .map((pair) => pair.slice(NAME.length + 1))
  return values.length === 1 ? values[0]! : null
}

/** The header that sets the cookie; `maxAgeSeconds` 0 takes it away. */
export function writeDeviceCookie(value: string, maxAgeSeconds: number): string {
  return `${NAME}=${value}; Max-Age=${maxAgeSeconds}; Path=/; Secure; HttpOnly; SameSite=Strict`
}
