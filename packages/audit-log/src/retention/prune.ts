/** Pruning: removes entries past their retention time. */
import type { RemovalSettings } from './erase.ts'
import { retentionEnd, type RetentionRules } from './retention.ts'

/** Prunes the log. @returns the index of the first kept entry, and the number of removed entries */
export async function pruneLog(
  { store, events, now, record, flush }: RemovalSettings,
  rules: RetentionRules,
): Promise<{ readonly before: number; readonly entries: number }> {
  const before = await retentionEnd(store, rules, now())
  if (before === 0) return { before, entries: 0 }
  await record('log_pruned', { data: { before } })
  await flush()
  const entries = await store.prune(before)
  events.emit('audit_log.log_pruned', { details: { before } })
  return { before, entries }
}
