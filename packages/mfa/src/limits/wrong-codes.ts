/** Limits on wrong codes per account: growing waits, a hard stop, and a cap per 30 days. */

/** The limits of one kind of attempt. */
export interface AttemptLimits {
  /** Wrong attempts in a row before the first wait. */
  readonly freeAttempts: number
  readonly firstWaitSeconds: number
  /** Each wait is twice as long as the one before, up to this. */
  readonly maxWaitSeconds: number
  /** Wrong attempts in a row that disable the factor until it is enrolled again. */
  readonly hardStop: number
  /** Wrong attempts in any 30 days. A success does not reset this count. */
  readonly failuresPer30Days: number
}

/** The stored history of attempts at one factor. */
export interface AttemptHistory {
  /** Wrong attempts since the last success. */
  readonly failures: number
  readonly lastFailureAt: number
  /** Wrong attempts per day since the Unix epoch, for the last 31 days, oldest first. */
  readonly days: readonly (readonly [day: number, count: number])[]
}

/** The result of {@link decideAttempt}. */
export type AttemptVerdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: 'locked'; readonly retryAfterMs: null }
  | { readonly allowed: false; readonly reason: 'throttled'; readonly retryAfterMs: number }

/** No wrong attempt so far. */
export const NO_FAILURES: AttemptHistory = Object.freeze({
  failures: 0,
  lastFailureAt: 0,
  days: [],
})

const DAY_MS = 86_400_000
/** A window of 30 days touches at most 31 calendar days. */
const DAYS = 31

/** Decides whether another attempt is allowed now. */
export function decideAttempt(
  history: AttemptHistory,
  now: number,
  limits: AttemptLimits,
): AttemptVerdict {
  if (history.failures >= limits.hardStop) {
    return { allowed: false, reason: 'locked', retryAfterMs: null }
  }
  const days = recentDays(history.days, now)
  const total = days.reduce((sum, [, count]) => sum + count, 0)
  const until = Math.max(
    waitEnd(history, history.failures, now, limits),
    total < limits.failuresPer30Days ? 0 : (days[0]![0] + DAYS) * DAY_MS,
  )
  if (until <= now) return { allowed: true }
  return { allowed: false, reason: 'throttled', retryAfterMs: until - now }
}

/** The history after a wrong attempt. */
export function countFailure(history: AttemptHistory, now: number): AttemptHistory {
  const today = Math.floor(now / DAY_MS)
  const days = recentDays(history.days, now)
  const last = days.at(-1)
  const next: [number, number][] =
    last?.[0] === today ? [...days.slice(0, -1), [today, last[1] + 1]] : [...days, [today, 1]]
  return { failures: history.failures + 1, lastFailureAt: now, days: next }
}

/** The history after a success: the waits end, but the count of the last 30 days stays. */
export function countSuccess(history: AttemptHistory): AttemptHistory {
  return { ...history, failures: 0 }
}

/** The history after a success that was counted as a failure before its result was known. */
export function refundSuccess(history: AttemptHistory): AttemptHistory {
  const last = history.days.length - 1
  const days = history.days.map(
    ([day, count], index) => [day, index === last ? count - 1 : count] as const,
  )
  return countSuccess({ ...history, days: days.filter(([, count]) => count > 0) })
}

/** The wait after a number of failures in a row, in milliseconds. */
export function waitAfter(failures: number, limits: AttemptLimits): number {
  const doublings = failures - limits.freeAttempts
  if (doublings < 0) return 0
  // 2^20 seconds exceed every allowed maxWaitSeconds, so a larger exponent changes nothing.
  const seconds = limits.firstWaitSeconds * 2 ** Math.min(doublings, 20)
  return Math.min(seconds, limits.maxWaitSeconds) * 1000
}

/**
 * When the wait after the last failure ends; 0 if there is none. A last failure that lies further in
 * the future than its wait was written by a clock that has since been set back, and is ignored.
 */
export function waitEnd(
  { lastFailureAt }: Pick<AttemptHistory, 'lastFailureAt'>,
  failures: number,
  now: number,
  limits: AttemptLimits,
): number {
  const wait = waitAfter(failures, limits)
  return Math.abs(now - lastFailureAt) < wait ? lastFailureAt + wait : 0
}

/** The days that still count. A day in the future, written by a fast clock, counts as today. */
function recentDays(days: AttemptHistory['days'], now: number): [number, number][] {
  const today = Math.floor(now / DAY_MS)
  const counts = new Map<number, number>()
  for (const [written, count] of days) {
    const day = Math.min(written, today)
    if (day > today - DAYS) counts.set(day, (counts.get(day) ?? 0) + count)
  }
  return [...counts]
}
