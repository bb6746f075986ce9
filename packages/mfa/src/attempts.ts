/** What attempts at every kind of code share: the limits of the account, and what is told of them. */
import { refusalOf, type Core, type Origin } from './core.ts'
import type { MfaProof } from './proof.ts'
import { decideAttempt, type ThrottleState } from './throttle.ts'

/** A code was right. */
export interface CodeVerified {
  readonly proof: MfaProof
  /** How many steps of 30 seconds the user's clock is ahead of ours; `null` for a backup code. */
  readonly driftSteps: number | null
  readonly backupCodesLeft: number
}

/** Why an attempt did not succeed. */
export interface Refused<R extends string> {
  readonly ok: false
  readonly reason: R
  readonly failures: number
  readonly error: Error
}

/** What the limits of an account say of another attempt; `null`: it may be made. */
export function limitOf(
  core: Core,
  throttle: ThrottleState,
  now: number,
): Refused<'throttled' | 'locked'> | null {
  const attempt = decideAttempt(throttle, now, core.throttle)
  if (attempt.allowed) return null
  const { failures } = throttle
  return { ok: false, reason: attempt.reason, failures, error: refusalOf(attempt) }
}

/** Tells of a refused attempt; of the lock once, by the attempt that reached the stop. */
export function tellRefused(
  core: Core,
  userId: string,
  method: 'totp' | 'backup-code',
  { reason, failures }: Refused<'wrong' | 'used' | 'throttled' | 'locked'>,
  origin: Origin,
): void {
  if (reason === 'used') core.emit('mfa.replayed', userId, { method }, origin)
  else core.emit('mfa.failed', userId, { method, reason, failures }, origin)
  if (reason !== 'wrong' || failures !== core.throttle.hardStop) return
  core.emit('mfa.locked', userId, { method, failures }, origin)
  core.notify({ kind: 'locked', userId, factor: method })
}
