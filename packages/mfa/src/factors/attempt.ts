/** Runs an attempt at a factor under the limits of its client address. */
import type { Method } from '../events.ts'
import type { AttemptKind } from '../limits/address-limits.ts'
import { createLimitError } from '../limits/limit-error.ts'
import { hashText } from '../tokens/hash-text.ts'
import type { FactorContext, Origin } from './context.ts'

/** The result of an attempt. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: Error }

/** Whose attempt it is, by which factor and from where. */
export interface Attempt {
  /** `''` if the user is not known yet. */
  readonly userId: string
  readonly method: Method
  /** For a passkey: attempts are counted for each passkey of an address, not for all together. */
  readonly credentialId?: string
  readonly origin: Origin
}

/**
 * Runs an attempt. It is counted against the address first and settled afterwards, so an attempt
 * that throws (for instance because the store is down) stays counted as wrong.
 *
 * @throws PARAPET_MFA_THROTTLED, and the error of an unsuccessful outcome.
 */
export async function runAttempt<T>(
  context: FactorContext,
  { userId, method, credentialId, origin }: Attempt,
  attempt: () => Promise<Outcome<T>>,
): Promise<T> {
  const kind: AttemptKind =
    credentialId === undefined ? 'code' : `passkey:${hashText(credentialId)}`
  // Codes are counted for each account of an address, passkeys for themselves.
  const account = credentialId === undefined ? userId : null
  const { addressLimits } = context
  const verdict = await addressLimits.begin(kind, origin.ip, account)
  if (!verdict.allowed) {
    context.emit('mfa.failed', userId, { method, reason: 'throttled', failures: 0 }, origin)
    throw createLimitError(verdict)
  }
  const outcome = await attempt()
  await addressLimits.finish(kind, origin.ip, account, outcome.ok)
  if (!outcome.ok) throw outcome.error
  return outcome.value
}

/** The outcome of an attempt that did not succeed. */
export function failed(error: Error): { readonly ok: false; readonly error: Error } {
  return { ok: false, error }
}
