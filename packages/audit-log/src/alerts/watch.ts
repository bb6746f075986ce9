/** Evaluates the alert rules on the log. The log is delivered to it as to a sink. */
import { toEntries, type AuditEntry } from '../log/entries.ts'
import type { LogStore } from '../log/log-store.ts'
import { AlertEngine, type Alert, type AlertRule } from './rules.ts'

const LOOK_BACK_RECORDS = 10_000
const LOOK_BACK_BATCH = 1000

/** A sink that evaluates the rules. */
interface AlertWatch {
  readonly name: 'alerts'
  deliver(entries: readonly AuditEntry[]): Promise<void>
}

/**
 * Makes the watch. A process that takes over from another first reads back one window, so that an
 * alert does not depend on one process that saw every record.
 *
 * @param raise may be called twice for the same alert, with the same `id`.
 */
export function createAlertWatch(
  rules: readonly AlertRule[],
  store: LogStore,
  raise: (alert: Alert, entry: AuditEntry) => Promise<void>,
): AlertWatch {
  const engine = new AlertEngine(rules)
  let next = 0
  return {
    name: 'alerts',
    async deliver(entries) {
      const first = entries[0]
      if (first === undefined) return
      if (first.index !== next) await lookBack(engine, store, first)
      for (const entry of entries) {
        for (const alert of engine.observe(entry)) await raise(alert, entry)
        next = entry.index + 1
      }
    },
  }
}

async function lookBack(engine: AlertEngine, store: LogStore, until: AuditEntry): Promise<void> {
  engine.reset()
  const since = until.record.time - engine.longestWindowMs
  const seen: AuditEntry[][] = []
  let end = until.index
  const stop = Math.max(0, end - LOOK_BACK_RECORDS)
  while (end > stop) {
    const start = Math.max(stop, end - LOOK_BACK_BATCH)
    const entries = toEntries(await store.entries(start, end))
    seen.push(entries)
    if (entries.length === 0 || entries[0]!.record.time < since) break
    end = start
  }
  for (const entries of seen.toReversed()) for (const entry of entries) engine.observe(entry)
}
