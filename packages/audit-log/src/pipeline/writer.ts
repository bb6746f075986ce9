/** The one way to record: prepares a record, writes it to the spool, and accounts for lost records. */
import { PARAPET_AUDIT_LOG_INVALID_RECORD, PARAPET_AUDIT_LOG_UNAVAILABLE } from '../errors.ts'
import { uuidV7 } from '@parapet/kit'
import type { ActionRegistry, ResolvedAction } from '../record/actions.ts'
import type { AuditFields, InternalFields } from '../record/fields.ts'
import { finishLeaf, type Draft } from '../record/leaf.ts'
import type { Prepared, Recorder } from '../record/recorder.ts'
import type { FrameEntry } from '../wal/frames.ts'
import { mergeRanges } from '../wal/number-ranges.ts'
import type { Spool } from '../wal/spool.ts'

/** The result of recording. */
export interface AuditReceipt {
  /** The id of the record, a UUIDv7. */
  readonly id: string
  /** Whether the record is on disk; `false` only for an open action that could not be stored. */
  readonly recorded: boolean
}

/** What {@link AuditWriter} needs. */
export interface WriterSettings {
  readonly spool: Spool
  readonly recorder: Recorder
  readonly actions: ActionRegistry
  readonly now: () => number
  /** Signs a statement: a record that the verifier trusts only by its own signature. */
  readonly signStatement: (draft: Draft) => Promise<void>
  readonly onRefused: (action: string) => void
  readonly onDropped: (count: number) => void
}

/** One record for {@link AuditWriter.record}. */
export interface RecordEntry extends InternalFields {
  readonly action: ResolvedAction
  readonly fields?: AuditFields
  /** Whether the record may use the reserved space of the spool. @default false */
  readonly useReserve?: boolean
  /** Whether the record is signed by the key of the log. @default false */
  readonly isStatement?: boolean
}

const RETRY_AFTER_SECONDS = 5
const MAX_COUNTED_ACTIONS = 100
/** A frame may hold far more than one record with attachments of this size. */
const MAX_ATTACHMENT_CHARS = 32 * 1024 * 1024

/** Writes records by the durability and availability policy of their actions. */
export class AuditWriter {
  readonly #settings: WriterSettings
  readonly #dropped = new Map<string, number>()
  #droppedFrom = 0
  #isRecordingGap = false

  constructor(settings: WriterSettings) {
    this.#settings = settings
  }

  /** The number of dropped records that no gap record mentions yet. */
  get droppedRecords(): number {
    let sum = 0
    for (const count of this.#dropped.values()) sum += count
    return sum
  }

  /** @throws PARAPET_AUDIT_LOG_UNAVAILABLE the action is closed and the spool accepts no records now. */
  requireRoom(action: ResolvedAction): void {
    if (action.closed && !this.#settings.spool.canAccept()) this.#refuse(action)
  }

  /**
   * Records once. For a durable action the promise resolves when the record is on disk, for a
   * deferred action when it was accepted.
   *
   * @throws PARAPET_AUDIT_LOG_INVALID_RECORD the fields do not fit the action.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE the record cannot be stored, and the action is closed.
   */
  async record(entry: RecordEntry): Promise<AuditReceipt> {
    const { action, fields = {}, useReserve = false } = entry
    const prepared = this.#settings.recorder.prepare(action, fields, entry)
    const ready = prepared instanceof Promise ? await this.#wait(prepared, action) : prepared
    if (ready === undefined) return { id: entry.id ?? uuidV7(), recorded: false }
    if (entry.isStatement === true) await this.#settings.signStatement(ready.draft)
    const { id } = ready.draft
    const written = this.#write(action, ready, useReserve)
    if (action.durable) return { id, recorded: await written }
    // An event reports a failed write; the caller of a deferred action does not wait for it.
    written.catch(() => {})
    return { id, recorded: true }
  }

  /** Records which records were dropped or lost, if there are any and the spool accepts a record. */
  async recordGap(): Promise<void> {
    const { spool } = this.#settings
    const missing = this.#dropped.size > 0 || spool.lostSeqs.length > 0
    if (!missing || this.#isRecordingGap || !spool.canAccept(true)) return
    const dropped = new Map(this.#dropped)
    const lost = spool.lostSeqs.splice(0)
    this.#dropped.clear()
    this.#isRecordingGap = true
    try {
      await this.#writeGap(dropped, lost)
    } catch {
      for (const [name, count] of dropped) this.#count(name, count)
      spool.lostSeqs.splice(0, Infinity, ...mergeRanges([...lost, ...spool.lostSeqs]))
    } finally {
      this.#isRecordingGap = false
    }
  }

  /** Not through {@link #write}: a gap record that cannot be written must not count as a dropped record. */
  async #writeGap(
    dropped: ReadonlyMap<string, number>,
    lost: readonly (readonly [from: number, to: number])[],
  ): Promise<void> {
    const { spool, recorder, actions, now, signStatement } = this.#settings
    const prepared = await recorder.prepare(actions.getOpen('audit_log.gap_recorded'), {
      result: 'failure',
      data: {
        writer: spool.writer,
        from: this.#droppedFrom,
        to: now(),
        dropped: Object.fromEntries(dropped),
        lost: lost.map(([from, to]) => [from, to]),
      },
    })
    await signStatement(prepared.draft)
    await spool.append((seq) => finishRecord(prepared, spool.writer, seq), true)
  }

  /** @returns `undefined` for an open action whose personal values cannot be encrypted now. */
  async #wait(prepared: Promise<Prepared>, action: ResolvedAction): Promise<Prepared | undefined> {
    try {
      return await prepared
    } catch (error) {
      if (error instanceof PARAPET_AUDIT_LOG_INVALID_RECORD) throw error
      this.#skip(action)
      return undefined
    }
  }

  /** @returns whether the record is on disk; `false` only for an open action. */
  #write(action: ResolvedAction, prepared: Prepared, useReserve: boolean): Promise<boolean> {
    const { spool } = this.#settings
    if (!spool.canAccept(useReserve)) return Promise.resolve(this.#skip(action))
    if (this.#dropped.size > 0 || spool.lostSeqs.length > 0) void this.recordGap()
    return spool
      .append((seq) => finishRecord(prepared, spool.writer, seq), useReserve)
      .then(isWritten, () => this.#skip(action))
  }

  /** Refuses a record of a closed action; counts one of an open action as dropped. */
  #skip(action: ResolvedAction): false {
    if (action.closed) this.#refuse(action)
    if (this.#dropped.size === 0) this.#droppedFrom = this.#settings.now()
    this.#count(action.name, 1)
    this.#settings.onDropped(this.droppedRecords)
    return false
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
 * Turns a prepared record into what a frame holds.
 *
 * @param seq the number of the record; `undefined` for a record of the app's own transaction.
 * @throws PARAPET_AUDIT_LOG_INVALID_RECORD the record is too large.
 */
export function finishRecord(
  { draft, attachments }: Prepared,
  writer: string,
  seq: number | undefined,
): FrameEntry {
  const { leaf, blob } = finishLeaf(draft, writer, seq)
  const all = blob === null ? attachments : { ...attachments, blob }
  const text = all === null ? null : JSON.stringify(all)
  if (text !== null && text.length > MAX_ATTACHMENT_CHARS) {
    throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
      `its data and changes must be at most ${MAX_ATTACHMENT_CHARS} characters, got ${text.length}`,
    )
  }
  return { leaf, attachments: text }
}

function isWritten(): true {
  return true
}
