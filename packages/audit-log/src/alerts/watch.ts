/** Runs the alert rules over the log, as one more follower of it. */
import { toEntries, type AuditEntry } from '../log/reader.ts'
import type { AuditSink } from '../sinks/follower.ts'
import type { LogStore } from '../store/log-store.ts'
import { AlertEngine, type Alert, type AlertRule } from './rules.ts'

const LOOK_BACK_RECORDS = 10_000
const LOOK_BACK_BATCH = 1000

/**
 * Makes the follower. Whoever takes it over first looks back one window, so that an alert needs no
 * process that saw all of it.
 *
 * @param raise may run twice for one alert; its `id` tells.
 */
export function createAlertWatch(
  rules: readonly AlertRule[],
  store: LogStore,
  raise: (alert: Alert, entry: AuditEntry) => Promise<void>,
): AuditSink {
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
