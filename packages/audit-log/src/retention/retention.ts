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

/**
 * The end of the prefix that may be removed: it is before the first record that must be kept, and at
 * the boundary of an entry bundle. 0: nothing may be removed.
 *
 * @see https://c2sp.org/tlog-tiles, "Pruning"
 */
export async function retentionEnd(
  store: LogStore,
  rules: RetentionRules,
  now: number,
): Promise<number> {
  const state = await store.state()
  if (state === null) return 0
  for (let start = state.minIndex; start < state.size; start += BATCH_RECORDS) {
    const entries = await store.entries(start, Math.min(state.size, start + BATCH_RECORDS))
    for (const { index, leaf } of entries) {
      const record = parseLeaf(leaf)
      if (record === undefined || isKept(record, rules, now)) return edge(index, state.minIndex)
    }
  }
  return edge(state.size, state.minIndex)
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

function edge(index: number, minIndex: number): number {
  const before = Math.floor(index / TILE_WIDTH) * TILE_WIDTH
  return before > minIndex ? before : 0
}
