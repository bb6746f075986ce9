/** The error of an attempt that the limits forbid. */
import { PARAPET_MFA_LOCKED, PARAPET_MFA_THROTTLED } from '../errors.ts'
import type { AttemptVerdict } from './wrong-codes.ts'

/** Creates PARAPET_MFA_LOCKED, or PARAPET_MFA_THROTTLED with a `Retry-After` header. */
export function createLimitError(verdict: Exclude<AttemptVerdict, { allowed: true }>): Error {
  if (verdict.reason === 'locked') return new PARAPET_MFA_LOCKED()
  const seconds = Math.max(1, Math.ceil(verdict.retryAfterMs / 1000))
  return Object.assign(new PARAPET_MFA_THROTTLED(), { headers: { 'retry-after': String(seconds) } })
}
