/** The cookie of a remembered device. */
import { readCookie } from '@parapet/kit'

/** With `__Host-` a browser accepts the cookie from this host only, over TLS, for every path. */
const NAME = '__Host-parapet-device'

/** The value of the cookie in a `Cookie` header; `undefined` if absent, `''` if sent twice. */
export function readDeviceCookie(header: string | undefined): string | undefined {
  return readCookie(header, NAME)
}

/** The `Set-Cookie` header; `maxAgeSeconds` 0 removes the cookie. */
export function writeDeviceCookie(value: string, maxAgeSeconds: number): string {
  return `${NAME}=${value}; Max-Age=${maxAgeSeconds}; Path=/; Secure; HttpOnly; SameSite=Strict`
}
