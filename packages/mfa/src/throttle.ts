/** How often a code may be tried: growing waits, a hard stop, and the odds that all this leaves. */
import type { TotpSettings } from './totp.ts'
import { liveCodes } from './totp.ts'
import { BACKUP_CODE_BITS } from './backup-codes.ts'

/** The limits of one kind of attempt. */
export interface ThrottleSettings {
  /** Wrong attempts in a row before the first wait. */
  readonly freeAttempts: number
  readonly firstWaitSeconds: number
  /** Each wait is twice the one before, up to this. */
  readonly maxWaitSeconds: number
  /** Wrong attempts in a row that disable the factor until it is enrolled anew. */
  readonly hardStop: number
  /** Wrong attempts in any 30 days, whatever succeeded in between. */
  readonly failuresPer30Days: number
}

/** What is remembered of attempts. */
export interface ThrottleState {
  /** Wrong attempts since the last right one. */
  readonly failures: number
  readonly lastFailureAt: number
  /** Wrong attempts by day since the epoch, as `[day, count]`, the last 31 days. */
  readonly days: readonly (readonly [day: number, count: number])[]
}

/** The answer of {@link decideAttempt}. */
export type AttemptVerdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: 'locked'; readonly retryAfterMs: null }
  | { readonly allowed: false; readonly reason: 'throttled'; readonly retryAfterMs: number }

/** No attempt so far. */
export const FRESH: ThrottleState = Object.freeze({ failures: 0, lastFailureAt: 0, days: [] })

const DAY_MS = 86_400_000
/** A window of 30 days touches at most 31 days. */
const DAYS = 31

/** Says whether another attempt may be made now. */
export function decideAttempt(
  state: ThrottleState,
  now: number,
  settings: ThrottleSettings,
): AttemptVerdict {
  if (state.failures >= settings.hardStop) {
    return { allowed: false, reason: 'locked', retryAfterMs: null }
  }
  const days = recent(state.days, now)
  const total = days.reduce((sum, [, count]) => sum + count, 0)
  const until = Math.max(
    waitEnd(state, state.failures, now, settings),
    total < settings.failuresPer30Days ? 0 : (days[0]![0] + DAYS) * DAY_MS,
  )
  if (until <= now) return { allowed: true }
  return { allowed: false, reason: 'throttled', retryAfterMs: until - now }
}

/** The state after a wrong attempt. */
export function countFailure(state: ThrottleState, now: number): ThrottleState {
  const today = Math.floor(now / DAY_MS)
  const days = recent(state.days, now)
  const last = days.at(-1)
  const next: [number, number][] =
    last?.[0] === today ? [...days.slice(0, -1), [today, last[1] + 1]] : [...days, [today, 1]]
  return { failures: state.failures + 1, lastFailureAt: now, days: next }
}

/** The state after a right attempt: waits end, the count of the last 30 days stays. */
export function countSuccess(state: ThrottleState): ThrottleState {
  return { ...state, failures: 0 }
}

/** The same, for an attempt that was counted as wrong before it was made. */
export function refundSuccess(state: ThrottleState): ThrottleState {
  const last = state.days.length - 1
  const days = state.days.map(
    ([day, count], index) => [day, index === last ? count - 1 : count] as const,
  )
  return countSuccess({ ...state, days: days.filter(([, count]) => count > 0) })
}

/** Milliseconds to wait after so many failures in a row. */
export function waitAfter(failures: number, settings: ThrottleSettings): number {
  const doublings = failures - settings.freeAttempts
  if (doublings < 0) return 0
  // Beyond 2^20 every wait is at its bound.
  const seconds = settings.firstWaitSeconds * 2 ** Math.min(doublings, 20)
  return Math.min(seconds, settings.maxWaitSeconds) * 1000
}

/**
 * When the wait after the last of so many failures ends; 0 when none is left. A failure that lies
 * further ahead than its wait was written by a clock that has been set back, and means nothing.
 */
export function waitEnd(
  { lastFailureAt }: Pick<ThrottleState, 'lastFailureAt'>,
  failures: number,
  now: number,
  settings: ThrottleSettings,
): number {
  const wait = waitAfter(failures, settings)
  return Math.abs(now - lastFailureAt) < wait ? lastFailureAt + wait : 0
}

/** The days that still count; what a clock ahead of ours has written counts as of today. */
function recent(days: ThrottleState['days'], now: number): [number, number][] {
  const today = Math.floor(now / DAY_MS)
  const counts = new Map<number, number>()
  for (const [written, count] of days) {
    const day = Math.min(written, today)
    if (day > today - DAYS) counts.set(day, (counts.get(day) ?? 0) + count)
  }
  return [...counts]
}

/**
 * The probability that someone who has the first factor, from any number of addresses, guesses a
 * code of one enrolled secret within 30 days. The worst case is taken: the owner signs in whenever
 * that ends a wait, and every attempt meets the widest window.
 *
 * @see NIST SP 800-63B-4, section 3.2.2
 */
export function guessProbability(
  totp: Pick<TotpSettings, 'digits' | 'window'>,
  { failuresPer30Days }: Pick<ThrottleSettings, 'failuresPer30Days'>,
  backupCodes: number,
): number {
  const code = liveCodes(totp) / 10 ** totp.digits
  const backup = backupCodes / 2 ** BACKUP_CODE_BITS
  // log1p keeps what 1 - p would round away.
  return -Math.expm1(failuresPer30Days * (Math.log1p(-code) + Math.log1p(-backup)))
}
