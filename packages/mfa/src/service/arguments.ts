/** Checks arguments of `app.mfa`, which JavaScript calls without type checks. */
import { PARAPET_MFA_INVALID_ARGUMENT } from '../errors.ts'

/** @throws PARAPET_MFA_INVALID_ARGUMENT the value is not a string. The value itself is not shown. */
export function requireText(what: string, value: unknown): void {
  if (typeof value === 'string') return
  const got = value === null ? 'null' : typeof value
  throw new PARAPET_MFA_INVALID_ARGUMENT(`the ${what} must be a string, got ${got}`)
}
