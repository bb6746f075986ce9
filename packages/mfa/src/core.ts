/** What every part of the core works with. */
import type { SecurityEventType, SecurityEventTypes, Severity } from '@parapet/kit'
import type { Accounts } from './accounts.ts'
import { PARAPET_MFA_LOCKED, PARAPET_MFA_THROTTLED } from './errors.ts'
import type { Method } from './events.ts'
import { createProof, type Marks, type MfaProof, type Shown } from './proof.ts'
import type { AttemptVerdict, ThrottleSettings } from './throttle.ts'
import type { AddressGate, AttemptKind } from './throttle-ip.ts'

/** Where an attempt comes from. */
export interface Origin {
  /** Counts attempts by address too. */
  readonly ip?: string | undefined
  /** What the login has proved before. @see RFC 8176 @default nothing */
  readonly amr?: readonly string[] | undefined
  /** Handed on to the security events; the core does not look at it. */
  readonly request?: unknown
}

/** What a user is told of, beside every event: whoever owns the account should hear it. */
export interface Notice {
  readonly kind: 'enrolled' | 'removed' | 'backup_code_used' | 'locked' | 'reset'
  readonly userId: string
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly factor?: Method
  /** For `reset`: who did it. */
  readonly by?: string
}

/** The ports and settings of the core. */
export interface Core {
  readonly accounts: Accounts
  readonly marks: Marks
  readonly gate: AddressGate
  readonly now: () => number
  readonly throttle: ThrottleSettings
  readonly emit: <T extends MfaEvent>(
    type: T,
    userId: string,
    details: SecurityEventTypes[T],
    origin: Origin,
    severity?: Severity,
  ) => void
  readonly notify: (notice: Omit<Notice, 'at'>) => void
}

type MfaEvent = Extract<SecurityEventType, `mfa.${string}`>

/** What an attempt at a factor came to. */
export type Outcome<T> =
  | {
      readonly ok: true
      readonly value: T
      /** What the user got wrong just before, and has made up for. @default 0 */
      readonly failuresBefore?: number
    }
  | { readonly ok: false; readonly error: Error }

/**
 * Makes an attempt under the limits of its address: counted before, settled after. What `attempt`
 * throws (a store that is down) leaves it counted as wrong.
 */
export async function underGate<T>(
  core: Core,
  origin: Origin,
  method: Method,
  userId: string,
  attempt: () => Promise<Outcome<T>>,
): Promise<T> {
  const kind: AttemptKind = method === 'passkey' ? 'passkey' : 'code'
  const verdict = await core.gate.enter(kind, origin.ip)
  if (!verdict.allowed) {
    core.emit('mfa.failed', userId, { method, reason: 'throttled', failures: 0 }, origin)
    throw refusalOf(verdict)
  }
  const outcome = await attempt()
  await core.gate.settle(kind, origin.ip, outcome.ok ? 1 + (outcome.failuresBefore ?? 0) : null)
  if (!outcome.ok) throw outcome.error
  return outcome.value
}

/** An attempt that did not succeed. */
export function failed(error: Error): { readonly ok: false; readonly error: Error } {
  return { ok: false, error }
}

/** The error for an attempt that the limits forbid. */
export function refusalOf(verdict: Exclude<AttemptVerdict, { allowed: true }>): Error {
  if (verdict.reason === 'locked') return new PARAPET_MFA_LOCKED()
  const seconds = Math.max(1, Math.ceil(verdict.retryAfterMs / 1000))
  return Object.assign(new PARAPET_MFA_THROTTLED(), { headers: { 'retry-after': String(seconds) } })
}

/**
 * Ends what factors have proved that are gone or replaced: they may have been in other hands. Sessions
 * that showed another factor go on; remembered devices have been taken out of the account.
 */
export function endWhatItProved(
  core: Core,
  userId: string,
  factors: readonly Method[],
): Promise<void> {
  return core.marks.clear(userId, ({ method }) => method === 'device' || factors.includes(method))
}

/** Makes the proof, and tells. */
export function prove(
  core: Core,
  shown: Omit<Shown, 'before' | 'provedAt'>,
  origin: Origin,
  driftSteps: number | null = null,
): MfaProof {
  const proof = createProof({ ...shown, before: origin.amr ?? [], provedAt: core.now() })
  const { userId, method, aal } = proof
  core.emit('mfa.verified', userId, { method, aal, driftSteps }, origin)
  return proof
}
