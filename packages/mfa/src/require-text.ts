/** What the functions at `app.mfa` are given: JavaScript calls them too. */
import { PARAPET_MFA_INVALID_ARGUMENT } from './errors.ts'

/** @throws PARAPET_MFA_INVALID_ARGUMENT the value is no text. */
export function requireText(what: string, value: unknown): void {
  if (typeof value !== 'string') throw new PARAPET_MFA_INVALID_ARGUMENT(what, 'must be a text')
}
