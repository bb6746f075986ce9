/** The state of the audit log, for metrics. */
import type { LogStore } from '../log/log-store.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import type { AuditWriter } from '../pipeline/writer.ts'
import type { Spool } from '../wal/spool.ts'

/** The state of the audit log. */
export interface AuditStatus {
  /** The name of this writer. */
  readonly writer: string
  /** The number of entries in the log. */
  readonly size: number
  readonly spoolBytes: number
  readonly spoolMaxBytes: number
  /** Dropped records of open actions that no gap record mentions yet. */
  readonly droppedRecords: number
  readonly storeIsUp: boolean
  /** Why sequencing stopped; `null` while it works. */
  readonly halted: string | null
  /** The number of entries that each sink has not received yet. */
  readonly lag: Readonly<Record<string, number>>
}

/** What {@link readStatus} reads. */
export interface StatusSources {
  readonly spool: Spool
  readonly store: LogStore
  readonly writer: AuditWriter
  readonly pipeline: Pipeline
  readonly spoolMaxBytes: number
}

/** Reads the state; if the store does not answer, the size is 0. */
export async function readStatus({
  spool,
  store,
  writer,
  pipeline,
  spoolMaxBytes,
}: StatusSources): Promise<AuditStatus> {
  const state = await store.state().catch(() => null)
  const size = state?.size ?? 0
  return {
    writer: spool.writer,
    size,
    spoolBytes: spool.bytes,
    spoolMaxBytes,
    droppedRecords: writer.droppedRecords,
    storeIsUp: pipeline.storeIsUp,
    halted: pipeline.sequencer.halted ?? null,
    lag: Object.fromEntries(
      pipeline.followers.map(({ sink, position }) => [sink.name, Math.max(0, size - position)]),
    ),
  }
}
