/** Retention: which entries may be removed. */
import type { LogStore } from '../log/log-store.ts'
import { TILE_WIDTH } from '../log/tiles.ts'
import { matchesAction } from '../record/filter.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'

/** The retention rules. */
export interface RetentionRules {
  /** How long records are kept; 0 forever. */
  readonly days: number
  /** Days by action name or prefix (`user.*`); the longest matching pattern counts. */
  readonly byAction: Readonly<Record<string, number>>
  readonly isOnHold: (record: AuditRecord) => boolean
}

const DAY_MS = 86_400_000
const BATCH_RECORDS = 4096

/** What may be removed. */
interface RetentionEnd {
  /** The index of the first entry to keep; 0: nothing may be removed. */
  readonly before: number
  /** The latest time of a record that is removed. */
  readonly newest: number
}

/**
 * The end of the prefix that may be removed: it is before the first record that must be kept, and at
 * the boundary of an entry bundle.
 *
 * @see https://c2sp.org/tlog-tiles, "Pruning"
 */
export async function retentionEnd(
  store: LogStore,
  rules: RetentionRules,
  now: number,
): Promise<RetentionEnd> {
  const state = await store.state()
  const none = { before: 0, newest: 0 }
  if (state === null) return none
  let end = none
  let newest = 0
  for (let start = state.minIndex; start < state.size; start += BATCH_RECORDS) {
    const entries = await store.entries(start, Math.min(state.size, start + BATCH_RECORDS))
    for (const { index, leaf } of entries) {
      const record = parseLeaf(leaf)
      if (record === undefined || isKept(record, rules, now)) return end
      newest = Math.max(newest, record.time)
      if ((index + 1) % TILE_WIDTH === 0) end = { before: index + 1, newest }
    }
  }
  return end
}

function isKept(record: AuditRecord, rules: RetentionRules, now: number): boolean {
  if (rules.isOnHold(record)) return true
  const days = daysOf(record.action, rules)
  return days === 0 || record.time > now - days * DAY_MS
}

function daysOf(action: string, { days, byAction }: RetentionRules): number {
  const [best] = Object.keys(byAction)
    .filter((pattern) => matchesAction(pattern, action))
    .toSorted((a, b) => b.length - a.length)
  return best === undefined ? days : byAction[best]!
}
