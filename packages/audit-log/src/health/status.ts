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
  /** The age of the oldest record that is not in the log; 0 if all are. */
  readonly oldestUnsequencedMs: number
  /** Whether a record waits longer than `stallMs`. */
  readonly isStalled: boolean
  /**
   * For a readiness route: records are accepted, and they reach the log. While only the store is
   * down, records are still accepted until the spool is full; see `spoolBytes`.
   */
  readonly isReady: boolean
  /** Why `isReady` is false; `null` while it is true. */
  readonly problem: string | null
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

/** Reads the state; while the store does not answer, the size is 0. */
export async function readStatus({
  spool,
  store,
  writer,
  pipeline,
  spoolMaxBytes,
}: StatusSources): Promise<AuditStatus> {
  // A store that is known to be down is not asked: a readiness route must answer at once.
  const [state, oldestUnsequencedMs] = await Promise.all([
    pipeline.storeIsUp ? store.state().catch(() => null) : null,
    pipeline.oldestUnsequencedMs(),
  ])
  const size = state?.size ?? 0
  return {
    writer: spool.writer,
    size,
    spoolBytes: spool.bytes,
    spoolMaxBytes,
    droppedRecords: writer.droppedRecords,
    storeIsUp: pipeline.storeIsUp,
    oldestUnsequencedMs,
    isStalled: pipeline.isStalled,
    ...readinessOf(spool, pipeline),
    halted: pipeline.sequencer.halted ?? null,
    lag: Object.fromEntries(
      pipeline.followers.map(({ sink, position }) => [sink.name, Math.max(0, size - position)]),
    ),
  }
}

function readinessOf(spool: Spool, pipeline: Pipeline): Pick<AuditStatus, 'isReady' | 'problem'> {
  const { halted } = pipeline.sequencer
  const isReady =
    spool.canAccept() && halted === undefined && pipeline.storeIsUp && !pipeline.isStalled
  if (isReady) return { isReady, problem: null }
  const full = spool.canAccept() ? undefined : 'the spool is full, or its disk fails'
  return { isReady, problem: full ?? pipeline.problem ?? 'records wait for the log' }
}
