/** The port of a sink: a place that receives the log. */
import type { AuditEntry } from './entries.ts'

/** An entry that a sink rejects for good. */
export interface Rejection {
  readonly index: number
  readonly reason: string
}

/** Receives the log. */
export interface AuditSink {
  /** The name of the stored cursor: letters, digits, `-`, `_`. Do not change it later. */
  readonly name: string
  /** The maximum number of entries in one call. @default 500 */
  readonly batchRecords?: number
  /**
   * Delivers entries. If it rejects or misses its deadline, the same entries are delivered again;
   * receivers can detect repetitions by `entry.record.id`.
   *
   * @param signal aborted at the deadline.
   * @returns entries that are rejected for good; they are written to the dead letters.
   * @throws SinkRefusal the whole call is rejected for good; any other error is retried.
   */
  deliver(entries: readonly AuditEntry[], signal: AbortSignal): Promise<readonly Rejection[] | void>
  close?(): Promise<void>
}

/** Thrown by a sink whose receiver asks for a pause, for example with `Retry-After`. */
export class SinkBusy extends Error {
  override readonly name = 'SinkBusy'
  readonly retryAfterMs: number

  constructor(message: string, retryAfterMs: number) {
    super(message)
    this.retryAfterMs = retryAfterMs
  }
}

/**
 * Thrown by a sink whose receiver took a delivery except for some entries, and does not say which.
 * The delivery counts as done: a repetition would store the other entries twice.
 */
export class SinkPartialRefusal extends Error {
  override readonly name = 'SinkPartialRefusal'
}

/** Thrown by a sink that rejects a delivery for good. The batch is then split to find the bad entry. */
export class SinkRefusal extends Error {
  override readonly name = 'SinkRefusal'
}
