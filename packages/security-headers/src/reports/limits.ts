/** Limits violation reports by client and in total, and deduplicates them. Memory is bounded. */
import { createEventFold, type Clock } from '@parapet/kit'
import type { Report } from './read-reports.ts'

/** The limits. All counters are kept per process. */
export interface ReportLimits {
  /** An identical report is emitted once in this time. */
  readonly windowMs: number
  /** Accepted reports per minute from all clients together. */
  readonly maxPerMinute: number
  /** Accepted reports per minute from one client. */
  readonly maxPerClientPerMinute: number
}

const MINUTE_MS = 60_000
const MAX_REMEMBERED_REPORTS = 1000

/**
 * Creates the rate limiter.
 *
 * @returns whether a client may send that many reports now.
 */
export function createReportLimiter(
  limits: ReportLimits,
  clock: Pick<Clock, 'now'>,
): (client: string, reports: number) => boolean {
  const clients = new Map<string, number>()
  let minute = 0
  let total = 0
  return (client, reports) => {
    // An empty list counts as one, so that the total also bounds the number of clients in the map.
    const amount = Math.max(1, reports)
    const now = Math.floor(clock.now() / MINUTE_MS)
    if (now !== minute) {
      minute = now
      total = 0
      clients.clear()
    }
    const ofClient = (clients.get(client) ?? 0) + amount
    if (ofClient > limits.maxPerClientPerMinute || total + amount > limits.maxPerMinute) {
      return false
    }
    clients.set(client, ofClient)
    total += amount
    return true
  }
}

/**
 * Creates the deduplication.
 *
 * @returns how many reports were suppressed since the last one that was emitted; `null` if this report
 *   is suppressed.
 */
export function createReportDeduplication(
  { windowMs }: ReportLimits,
  clock: Pick<Clock, 'now'>,
): (report: Report) => number | null {
  const limits = { windowMs, maxKeys: MAX_REMEMBERED_REPORTS, whenFull: 'evict' } as const
  const fold = createEventFold(limits, clock)
  return ({ kind, disposition, directive, blocked, page, source, line }) =>
    fold(JSON.stringify([kind, disposition, directive, blocked, page, source, line]))
}
