/** Writes prepared records to the spool by the policy of their actions, and tells of what could not be written. */
import { PARAPET_AUDIT_LOG_INVALID_RECORD, PARAPET_AUDIT_LOG_UNAVAILABLE } from '../errors.ts'
import type { FrameEntry } from '../wal/frames.ts'
import type { Spool } from '../wal/spool.ts'
import type { ActionRegistry, ResolvedAction } from './actions.ts'
import { finishLeaf } from './leaf.ts'
import { mergeRanges } from './ranges.ts'
import type { Prepared, Recorder } from './recorder.ts'

/** What {@link AuditWriter} takes. */
export interface WriterSettings {
  readonly spool: Spool
  readonly recorder: Recorder
  readonly actions: ActionRegistry
  readonly now: () => number
  readonly onRefused: (action: string) => void
  readonly onDropped: (count: number) => void
}

const RETRY_AFTER_SECONDS = 5
const MAX_COUNTED_ACTIONS = 100
/** With what may stand in one frame beside it, far less than a frame may have. */
const MAX_BESIDE_CHARS = 32 * 1024 * 1024

/** See the top of the file. */
export class AuditWriter {
  readonly #settings: WriterSettings
  readonly #dropped = new Map<string, number>()
  #droppedFrom = 0
  #telling = false

  constructor(settings: WriterSettings) {
    this.#settings = settings
  }

  /** Records that were not written and are not told of yet. */
  get droppedRecords(): number {
    let sum = 0
    for (const count of this.#dropped.values()) sum += count
    return sum
  }

  /** @throws PARAPET_AUDIT_LOG_UNAVAILABLE a record of a closed action would not be taken now. */
  requireRoom(action: ResolvedAction): void {
    if (action.closed && !this.#settings.spool.canAccept()) this.#refuse(action)
  }

  /**
   * Writes a record.
   *
   * @param promised what was let through before draws on the reserve of the spool.
   * @returns whether it is on disk; false only for an open action.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE it is not, and the action is closed.
   */
  write(action: ResolvedAction, prepared: Prepared, promised = false): Promise<boolean> {
    const { spool } = this.#settings
    if (!spool.canAccept(promised)) return Promise.resolve(this.#leaveOut(action))
    if (this.#dropped.size > 0 || spool.lostSeqs.length > 0) this.tellGap()
    return spool
      .append((seq) => finish(prepared, spool.writer, seq), promised)
      .then(isWritten, () => this.#leaveOut(action))
  }

  /** Writes what is known of records that are missing, as soon as the spool takes it. */
  tellGap(): void {
    const { spool, recorder, actions, now } = this.#settings
    const missing = this.#dropped.size > 0 || spool.lostSeqs.length > 0
    if (!missing || this.#telling || !spool.canAccept(true)) return
    const dropped = new Map(this.#dropped)
    const lost = spool.lostSeqs.splice(0)
    this.#dropped.clear()
    const prepared = recorder.prepare(actions.getOpen('audit_log.gap_recorded'), {
      result: 'failure',
      data: {
        writer: spool.writer,
        from: this.#droppedFrom,
        to: now(),
        dropped: Object.fromEntries(dropped),
        lost: lost.map(([from, to]) => [from, to]),
      },
    }) as Prepared
    this.#telling = true
    void spool
      .append((seq) => finish(prepared, spool.writer, seq), true)
      .catch(() => {
        for (const [name, count] of dropped) this.#count(name, count)
        spool.lostSeqs.splice(0, Infinity, ...mergeRanges([...lost, ...spool.lostSeqs]))
      })
      .finally(() => (this.#telling = false))
  }

  /** What becomes of a record that is not written. */
  #leaveOut(action: ResolvedAction): false {
    if (action.closed) this.#refuse(action)
    this.#drop(action)
    return false
  }

  #drop({ name }: ResolvedAction): void {
    if (this.#dropped.size === 0) this.#droppedFrom = this.#settings.now()
    this.#count(name, 1)
    this.#settings.onDropped(this.droppedRecords)
  }

  #count(name: string, count: number): void {
    const counted = this.#dropped.size < MAX_COUNTED_ACTIONS || this.#dropped.has(name)
    const key = counted ? name : 'other'
    this.#dropped.set(key, (this.#dropped.get(key) ?? 0) + count)
  }

  #refuse({ name }: ResolvedAction): never {
    this.#settings.onRefused(name)
    const headers = { 'retry-after': String(RETRY_AFTER_SECONDS) }
    throw Object.assign(new PARAPET_AUDIT_LOG_UNAVAILABLE(), { headers })
  }
}

/**
 * The frame of a record, with what is kept beside it.
 *
 * @param seq `undefined` in a transaction
 * @throws PARAPET_AUDIT_LOG_INVALID_RECORD it is too large.
 */
export function finish(
  { draft, beside }: Prepared,
  writer: string,
  seq: number | undefined,
): FrameEntry {
  const { leaf, blob } = finishLeaf(draft, writer, seq)
  const kept = blob === null ? beside : { ...beside, blob }
  const text = kept === null ? null : JSON.stringify(kept)
  if (text !== null && text.length > MAX_BESIDE_CHARS) {
    throw new PARAPET_AUDIT_LOG_INVALID_RECORD(`it has more than ${MAX_BESIDE_CHARS} characters`)
  }
  return { leaf, beside: text }
}

function isWritten(): true {
  return true
}
