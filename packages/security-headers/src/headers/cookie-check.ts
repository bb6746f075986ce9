/** Checks the cookies that responses set. */
import { PARAPET_SECURITY_HEADERS_WEAK_COOKIE } from '../errors.ts'
import { findCookieFaults, type CookieFaults } from './set-cookie.ts'

/** The option `cookies` with every default filled in. */
export interface CookieSettings {
  readonly mode: 'report' | 'strict' | 'off'
  readonly readable: readonly string[]
}

/** Bounds the memory in an app that generates cookie names. Later names are not reported. */
const MAX_REPORTED_NAMES = 1000

/**
 * Creates the check of `Set-Cookie` values.
 *
 * @param report called once for each cookie name with faults.
 * @returns a function that throws PARAPET_SECURITY_HEADERS_WEAK_COOKIE in strict mode.
 */
export function createCookieCheck<Request>(
  { mode, readable }: CookieSettings,
  report: (found: CookieFaults, request: Request) => void,
): (setCookie: unknown, request: Request) => void {
  if (mode === 'off') return () => {}
  const readableNames = new Set(readable)
  const reported = new Set<string>()
  return (setCookie, request) => {
    for (const value of Array.isArray(setCookie) ? (setCookie as unknown[]) : [setCookie]) {
      const found = findCookieFaults(String(value), readableNames)
      if (found === null) continue
      const { name, faults } = found
      if (!reported.has(name) && reported.size < MAX_REPORTED_NAMES) {
        reported.add(name)
        report(found, request)
      }
      if (mode === 'strict') throw new PARAPET_SECURITY_HEADERS_WEAK_COOKIE(name, faults.join(', '))
    }
  }
}
