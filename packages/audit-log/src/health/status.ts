/** The state of the audit log, for metrics. */
import type { LogStore } from '../log/log-store.ts'
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
  /** The number of entries that the witness cosigned; `null` without a witness or an answer of it. */
  readonly cosignedSize: number | null
  /** The number of entries that each sink has not received yet. */
  readonly lag: Readonly<Record<string, number>>
}

/** How far records came on their way from the spool to the log and the sinks. */
export interface RecordFlow {
  /** Whether the last call of the store succeeded. */
  readonly storeIsUp: boolean
  /** Why sequencing stopped; `undefined` while it works. */
  readonly halted: string | undefined
  /** Why records do not reach the log, as far as it is known. */
  readonly problem: string | undefined
  /** The age of the oldest record that is not in the log; 0 if all are. */
  oldestUnsequencedMs(): Promise<number>
  readonly cosignedSize: number | undefined
  readonly followers: readonly {
    readonly sink: { readonly name: string }
    readonly position: number
  }[]
}

/** What {@link readStatus} reads. */
export interface StatusSources {
  readonly spool: Spool
  readonly store: LogStore
  readonly droppedRecords: number
  readonly flow: RecordFlow
  readonly spoolMaxBytes: number
  readonly stallMs: number
}

/** Reads the state; while the store does not answer, the size is 0. */
export async function readStatus({
  spool,
  store,
  droppedRecords,
  flow,
  spoolMaxBytes,
  stallMs,
}: StatusSources): Promise<AuditStatus> {
  // A store that is known to be down is not asked: a readiness route must answer at once.
  const [state, oldestUnsequencedMs] = await Promise.all([
    flow.storeIsUp ? store.state().catch(() => null) : null,
    flow.oldestUnsequencedMs(),
  ])
  const size = state?.size ?? 0
  // The events come from a watch that looks now and then; a readiness route must not wait for it.
  const isStalled = oldestUnsequencedMs >= stallMs
  return {
    writer: spool.writer,
    size,
    spoolBytes: spool.bytes,
    spoolMaxBytes,
    droppedRecords,
    storeIsUp: flow.storeIsUp,
    oldestUnsequencedMs,
    isStalled,
    ...readinessOf(spool, flow, isStalled),
    halted: flow.halted ?? null,
    cosignedSize: flow.cosignedSize ?? null,
    lag: Object.fromEntries(
      flow.followers.map(({ sink, position }) => [sink.name, Math.max(0, size - position)]),
    ),
  }
}

function readinessOf(
  spool: Spool,
  flow: RecordFlow,
  isStalled: boolean,
): Pick<AuditStatus, 'isReady' | 'problem'> {
  const { halted } = flow
  const isReady = spool.canAccept() && halted === undefined && flow.storeIsUp && !isStalled
  if (isReady) return { isReady, problem: null }
  const full = spool.canAccept() ? undefined : 'the spool is full, or its disk fails'
  return { isReady, problem: full ?? flow.problem ?? 'records wait for the log' }
}
