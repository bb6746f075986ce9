/** Pruning: removes entries past their retention time. */
import type { LogStore } from '../log/log-store.ts'
import { rangeHash } from '../log/merkle-tree.ts'
import { storedSubtrees } from '../log/proofs.ts'
import type { RemovalSettings } from './erase.ts'
import { retentionEnd, type RetentionRules } from './retention.ts'

/** Prunes the log. @returns the index of the first kept entry, and the number of removed entries */
export async function pruneLog(
  { store, events, now, record, flush }: RemovalSettings,
  rules: RetentionRules,
): Promise<{ readonly before: number; readonly entries: number }> {
  const { before, newest } = await retentionEnd(store, rules, now())
  if (before === 0) return { before, entries: 0 }
  const { days, byAction } = rules
  const root = await rootBefore(store, before)
  // The verifier compares these members with what is left, and with each other.
  await record('log_pruned', { data: { before, newest, root, policy: { days, byAction } } }, true)
  await flush()
  const entries = await store.prune(before)
  events.emit('audit_log.log_pruned', { details: { before } })
  return { before, entries }
}

/** The root of the entries that are removed. */
async function rootBefore(store: LogStore, before: number): Promise<string> {
  return Buffer.from(await rangeHash(storedSubtrees(store, before), 0, before)).toString('base64')
}
