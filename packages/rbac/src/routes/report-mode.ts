/** The report mode: denials are counted and reported, and nothing is refused. */
import type { Clock } from '@parapet/kit'
import type { Reason } from '../decide/reasons.ts'

/** Requests that would have been refused for the same reason. */
export interface ReportedDenial {
  /** Method and pattern, as `GET /content/:id`. */
  readonly route: string
  readonly reason: Reason
  readonly permissions: readonly string[]
  readonly count: number
}

/** What the report mode has found since the start. */
export interface AccessReport {
  /** Whether denials are reported only. It ends with the option `report.until`. */
  readonly active: boolean
  /** Routes that have no rule. */
  readonly undeclared: readonly string[]
  /** The number of requests and of calls of `authorize` that would have been refused. */
  readonly denied: number
  /** The most frequent first. Only the first 1000 kinds are counted one by one. */
  readonly denials: readonly ReportedDenial[]
}

const MAX_KINDS = 1000

/** Counts what would have been refused. */
export class ReportMode {
  readonly #until: number
  readonly #clock: Clock
  readonly #denials = new Map<string, ReportedDenial>()
  #denied = 0

  /** @param until milliseconds since the Unix epoch; `null`: the mode is off. */
  constructor(until: number | null, clock: Clock) {
    this.#until = until ?? -Infinity
    this.#clock = clock
  }

  get isActive(): boolean {
    return this.#until !== -Infinity && this.#clock.now() < this.#until
  }

  count(route: string, reason: Reason, permissions: readonly string[]): void {
    this.#denied++
    const key = JSON.stringify([route, reason, permissions])
    const known = this.#denials.get(key)
    if (known === undefined && this.#denials.size >= MAX_KINDS) return
    const count = (known?.count ?? 0) + 1
    this.#denials.set(key, { route, reason, permissions, count })
  }

  report(undeclared: readonly string[]): AccessReport {
    const denials = [...this.#denials.values()].toSorted((a, b) => b.count - a.count)
    return { active: this.isActive, undeclared, denied: this.#denied, denials }
  }
}

const DAY_MS = 86_400_000

/**
 * Reads the last day of something that must end, as `2027-03-01`. It may have passed: the calendar alone
 * must not stop the start of an application.
 *
 * @returns the first millisecond after that day, or a string that says what is wrong.
 */
export function endOfDay(day: string, now: number): number | string {
  const start = /^\d{4}-\d\d-\d\d$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : NaN
  if (Number.isNaN(start) || new Date(start).toISOString().slice(0, 10) !== day) {
    return `must be a day such as "2027-03-01", got ${JSON.stringify(day)}`
  }
  if (start > now + 366 * DAY_MS) return `must be within one year, got ${JSON.stringify(day)}`
  return start + DAY_MS
}
