/** The sequencer's plan: which records enter the log, where, and the checkpoint that says so. */
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'
import type { Beside } from '../record/personal.ts'
import { isSound, parseBeside } from '../record/sound.ts'
import type { InboxRecord, Integration, LogState, PlanIntegration } from '../store/log-store.ts'
import { EMPTY_ROOT } from './merkle.ts'
import { formatCheckpoint, signNote } from './note.ts'
import type { LogSigner } from './signer.ts'
import { MAX_ENTRY_BYTES, TreeEdge } from './tiles.ts'

/** The log before its first entry. */
export function emptyState(origin: string): LogState {
  return { origin, size: 0, root: EMPTY_ROOT, edge: [], minIndex: 0, note: '' }
}

const EDGE_DIFFERS = 'the edge of the tree does not lead to its root'

interface Accepted {
  readonly record: AuditRecord
  readonly leaf: string
  readonly beside: Beside | null
}

/** What {@link createPlan} works with. */
export interface PlanSettings {
  readonly signer: LogSigner
  readonly now: () => number
  /** Hears of what the inbox held and the log refuses. */
  readonly onRefused: (count: number) => void
}

/** Makes the plan of {@link LogStore.sequence}: a writer's number enters the log once, in order. */
export function createPlan({ signer, now, onRefused }: PlanSettings): PlanIntegration {
  return async (current, inbox, writers) => {
    const next = new Map(writers)
    const accepted: Accepted[] = []
    let refused = 0
    for (const item of inbox) {
      const found = readInbox(item)
      if (found === undefined) refused++
      // The spool repeats what it is not sure of; a number below the next one is in the log.
      else if (item.seq === null || item.seq >= (next.get(item.writer) ?? 0)) {
        if (item.seq !== null) next.set(item.writer, item.seq + 1)
        accepted.push(found)
      }
    }
    if (refused > 0) onRefused(refused)
    if (accepted.length === 0) return null
    return integrate(current, accepted, next, signer, now())
  }
}

async function integrate(
  current: LogState,
  accepted: readonly Accepted[],
  writers: ReadonlyMap<string, number>,
  signer: LogSigner,
  time: number,
): Promise<Integration> {
  const tree = new TreeEdge(current.size, current.edge)
  // Signed is only what continues the root that was signed last.
  if (!tree.root().equals(current.root)) throw new PARAPET_AUDIT_LOG_CORRUPT(EDGE_DIFFERS)
  const tiles = tree.append(accepted.map(({ leaf }) => leaf))
  const root = tree.root()
  const { origin, minIndex } = current
  const body = formatCheckpoint({ origin, size: tree.size, root })
  const note = await signNote(body, signer.key, signer.sign)
  return {
    next: { origin, size: tree.size, root, edge: tree.partialTiles(), minIndex, note },
    entries: accepted.map(({ leaf, record }, at) => ({ index: current.size + at, leaf, record })),
    tiles,
    writers,
    beside: accepted.flatMap(({ beside }) => beside ?? []),
    time,
  }
}

/**
 * Whoever may write to the inbox may write anything: only a record that names its own row, and that
 * every later step can take, enters.
 */
function readInbox({ leaf, writer, seq, beside }: InboxRecord): Accepted | undefined {
  const record = parseLeaf(leaf)
  if (record === undefined || record.writer !== writer || (record.seq ?? null) !== seq) {
    return undefined
  }
  if (!isSound(record)) return undefined
  if (leaf.length > MAX_ENTRY_BYTES || Buffer.byteLength(leaf) > MAX_ENTRY_BYTES) return undefined
  const kept = beside === null ? null : parseBeside(beside)
  return kept === undefined ? undefined : { record, leaf, beside: kept }
}
