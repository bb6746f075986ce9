/** Plans a step of the log: which records enter it, at which index, and the signed checkpoint. */
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { formatCheckpoint } from '../log/checkpoint.ts'
import type { InboxRecord, Integration, LogState, PlanIntegration } from '../log/log-store.ts'
import { signNote } from '../log/signed-note.ts'
import type { LogSigner } from '../log/signing-key.ts'
import { TreeEdge } from '../log/tree-edge.ts'
import { MAX_ENTRY_BYTES, parseLeaf, type AuditRecord } from '../record/leaf.ts'
import type { Attachments } from '../record/personal-data.ts'
import { isValidRecord, parseAttachments } from '../record/validate.ts'
import { requireSignedState, type TrustedKeys } from '../trust/signed-state.ts'

const EDGE_DIFFERS = 'the stored edge of the tree does not match its root'

interface Accepted {
  readonly record: AuditRecord
  readonly leaf: string
  readonly attachments: Attachments | null
}

/** How many rows of the inbox were refused, and why. */
interface Refused {
  readonly count: number
  readonly forged: number
  readonly replayed: number
}

/** What {@link createPlan} needs. */
export interface PlanSettings {
  readonly signer: LogSigner
  readonly trusted: TrustedKeys
  readonly now: () => number
  readonly onRefused: (refused: Refused) => void
}

/** Makes the plan for `LogStore.sequence`. Each number of a writer enters the log once, in order. */
export function createPlan({ signer, trusted, now, onRefused }: PlanSettings): PlanIntegration {
  let last: LogState | undefined
  return async (current, inbox, writers) => {
    if (last === undefined || !isSame(last, current)) requireSignedState(current, trusted)
    const next = new Map(writers)
    const accepted: Accepted[] = []
    const refused = { count: 0, forged: 0, replayed: 0 }
    for (const item of inbox) {
      const found = item.refusal === undefined ? readInbox(item) : undefined
      if (found === undefined) {
        refused.count++
        if (item.refusal === 'forged') refused.forged++
        else if (item.refusal !== undefined) refused.replayed++
      }
      // The spool may ship a record twice; a number below the next one is in the log already.
      else if (item.seq === null || item.seq >= (next.get(item.writer) ?? 0)) {
        if (item.seq !== null) next.set(item.writer, item.seq + 1)
        accepted.push(found)
      }
    }
    if (refused.count > 0) onRefused(refused)
    if (accepted.length === 0) return null
    const step = await integrate(current, accepted, next, signer, now())
    last = step.next
    return step
  }
}

/** The state that this process signed itself needs no second look at its signature. */
function isSame(a: LogState, b: LogState): boolean {
  return a.note === b.note && a.size === b.size && a.origin === b.origin && a.root.equals(b.root)
}

async function integrate(
  current: LogState,
  accepted: readonly Accepted[],
  writers: ReadonlyMap<string, number>,
  signer: LogSigner,
  time: number,
): Promise<Integration> {
  const tree = new TreeEdge(current.size, current.edge)
  // Sign only a tree that continues the last signed root.
  if (!tree.root().equals(current.root)) throw new PARAPET_AUDIT_LOG_CORRUPT(EDGE_DIFFERS)
  const tiles = tree.append(accepted.map(({ leaf }) => leaf))
  const root = tree.root()
  const { origin, minIndex } = current
  const body = formatCheckpoint({ origin, size: tree.size, root, previous: current.size })
  const note = await signNote(body, signer.key, signer.sign)
  return {
    next: { origin, size: tree.size, root, edge: tree.partialTiles(), minIndex, note },
    entries: accepted.map(({ leaf, record }, at) => ({ index: current.size + at, leaf, record })),
    tiles,
    writers,
    attachments: accepted.flatMap(({ attachments }) => attachments ?? []),
    time,
  }
}

/**
 * A process with write access to the inbox can write anything. Only a valid record that has the writer
 * and number of its row is accepted. The log records its own actions under a writer, never under `tx`.
 */
function readInbox({ leaf, writer, seq, attachments }: InboxRecord): Accepted | undefined {
  const record = parseLeaf(leaf)
  if (record === undefined || record.writer !== writer || (record.seq ?? null) !== seq) {
    return undefined
  }
  if (!isValidRecord(record)) return undefined
  if (seq === null && record.action.startsWith('audit_log.')) return undefined
  if (leaf.length > MAX_ENTRY_BYTES || Buffer.byteLength(leaf) > MAX_ENTRY_BYTES) return undefined
  const parsed = attachments === null ? null : parseAttachments(attachments)
  return parsed === undefined ? undefined : { record, leaf, attachments: parsed }
}
