/**
 * Reports decryptions as security events: one for each request and column, with its request. A value
 * that only left masked is not reported. A decryption outside a request is reported at once.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Clock, SecurityEvents } from '@parapet/kit'
import { createDenialReports } from './denials.ts'
import type { EventRequest, OpenedFields, RequestTally } from './request-tally.ts'
import { createDecryptionSampler } from './sample-decryptions.ts'

/** Opened values by column and field. */
type OpenedColumns = ReadonlyMap<string, OpenedFields>

/** Collects what requests decrypt, and emits the events. */
export interface DecryptionReports {
  /** Called with what a table has opened. */
  opened(table: string, columns: OpenedColumns): void
  /** Called when rows of a table could not be decrypted. */
  denied(table: string, error: unknown): void
  /** Collects in this tally what `next` decrypts, also asynchronously. */
  run(tally: RequestTally, next: () => void): void
  /** Emits the events of a tally. Call it before the response leaves, and when it has left. */
  finish(tally: RequestTally): void
  close(): void
}

/** What {@link createDecryptionReports} needs. */
export interface ReportPorts {
  readonly events: SecurityEvents
  readonly clock: Clock
  /** The share of events that are emitted, 0 to 1. */
  readonly ratio: number
}

/** Creates {@link DecryptionReports}. */
export function createDecryptionReports({ events, clock, ratio }: ReportPorts): DecryptionReports {
  const current = new AsyncLocalStorage<RequestTally>()
  const sample = createDecryptionSampler(ratio)
  const denials = createDenialReports(events, clock)

  function emit(table: string, column: string, count: number, request?: EventRequest): void {
    const due = sample(`${table}.${column}`, count)
    if (due === 0) return
    const details = { table, column, count: due }
    events.emit('field_encryption.decrypted', { details }, request)
  }

  return {
    opened(table, columns) {
      const tally = current.getStore()
      for (const [column, fields] of columns) {
        if (tally !== undefined) tally.add(table, column, fields)
        else emit(table, column, sum(fields))
      }
    },
    denied: (table, error) => denials.report(table, error, current.getStore()?.request),
    run: (tally, next) => current.run(tally, next),
    finish(tally) {
      for (const { table, column, count } of tally.take()) {
        emit(table, column, count, tally.request)
      }
    },
    close: () => denials.close(),
  }
}

function sum(fields: OpenedFields): number {
  let total = 0
  for (const count of fields.values()) total += count
  return total
}
