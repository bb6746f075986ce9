/** What attempts with time-based codes and with backup codes share. */
import { createLimitError } from '../limits/limit-error.ts'
import { decideAttempt, type AttemptHistory } from '../limits/wrong-codes.ts'
import type { MfaProof } from '../proofs/proof.ts'
import type { FactorContext, Origin } from './context.ts'

/** The result of a right code. */
export interface CodeVerified {
  readonly proof: MfaProof
  /** Steps of 30 s by which the user's clock is ahead of ours; `null` for a backup code. */
  readonly driftSteps: number | null
  readonly backupCodesLeft: number
}

/** Why an attempt did not succeed. */
export interface RefusedAttempt<R extends string> {
  readonly ok: false
  readonly reason: R
  /** Wrong attempts in a row so far; a wrong attempt counts itself. */
  readonly failures: number
  readonly error: Error
}

/** Checks the limits of the account; `null` if another attempt is allowed. */
export function checkLimits(
  context: FactorContext,
  history: AttemptHistory,
  now: number,
): RefusedAttempt<'throttled' | 'locked'> | null {
  const verdict = decideAttempt(history, now, context.limits)
  if (verdict.allowed) return null
  const { failures } = history
  return { ok: false, reason: verdict.reason, failures, error: createLimitError(verdict) }
}

/**
 * Emits the event of a refused attempt. The attempt that reaches the hard stop also emits
 * `mfa.locked` and notifies the user; later attempts do not.
 */
export function reportRefusal(
  context: FactorContext,
  userId: string,
  method: 'totp' | 'backup-code',
  { reason, failures }: RefusedAttempt<'wrong' | 'used' | 'throttled' | 'locked'>,
  origin: Origin,
): void {
  if (reason === 'used') context.emit('mfa.replayed', userId, { method }, origin)
  else context.emit('mfa.failed', userId, { method, reason, failures }, origin)
  if (reason !== 'wrong' || failures !== context.limits.hardStop) return
  context.emit('mfa.locked', userId, { method, failures }, origin)
  context.notify({ kind: 'locked', userId, factor: method })
}
