/**
 * The write-ahead log: a record is acknowledged when it is on disk, and stays there until the store
 * has it. All records that arrive while one group is written form the next group.
 */
import { randomBytes } from 'node:crypto'
import { rename, unlink } from 'node:fs/promises'
import { createBreaker, type Breaker, type Clock } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_UNAVAILABLE } from '../errors.ts'
import { FrameEncoder, FULL_FRAME_CHARS, type FrameEntry } from './frames.ts'
import type { SeqRange } from './number-ranges.ts'
import { ownFolder } from './own-folder.ts'
import { SegmentWriter } from './segment-writer.ts'
import { recoverSegments, type Recovery, type Segment } from './segments.ts'

/** What {@link Spool.open} needs. */
export interface SpoolSettings {
  readonly folder: string
  /** The maximum size of the spool on disk. */
  readonly maxBytes: number
  readonly segmentBytes: number
  readonly clock: Clock
  /** Called when a group could not be written. */
  readonly onFailure: (error: unknown) => void
}

interface Batch {
  firstSeq: number
  readonly entries: FrameEntry[]
  bytes: number
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Extra space for outcomes of requests that were let in, and for the log's own records. */
const RESERVE_RATIO = 0.05
const RETRY_MS = 1000

/** A spool belongs to one process; its folder is locked. */
export class Spool {
  /** The name of this writer. It is new at each start, so that record numbers are never reused. */
  readonly writer: string = randomBytes(8).toString('hex')
  /** Oldest first; the last one may still grow. */
  readonly segments: Segment[]
  /** The state that the previous process left. */
  readonly recovered: Pick<Recovery, 'cutBytes' | 'last'>
  /** Numbers of records that may be lost; a gap record must declare them. */
  readonly lostSeqs: SeqRange[] = []

  readonly #settings: SpoolSettings
  readonly #unlock: () => Promise<void>
  readonly #breaker: Breaker
  readonly #encoder = new FrameEncoder()
  readonly #segmentWriter: SegmentWriter
  /** Oldest first; the last one accepts records. */
  readonly #batches: Batch[] = []
  #waitingBytes = 0
  #writing: Promise<void> | undefined
  #nextSeq = 0
  #bytes: number
  #closed = false
  /** Whether the files of the spool could not be found at the last look. */
  #isGone = false

  static async open(settings: SpoolSettings): Promise<Spool> {
    const unlock = await ownFolder(settings.folder)
    try {
      return new Spool(settings, unlock, await recoverSegments(settings.folder))
    } catch (error) {
      await unlock()
      throw error
    }
  }

  private constructor(
    settings: SpoolSettings,
    unlock: () => Promise<void>,
    { segments, cutBytes, newestStart, last }: Recovery,
  ) {
    const { folder, segmentBytes, clock } = settings
    this.#settings = settings
    this.#unlock = unlock
    this.#segmentWriter = new SegmentWriter({
      folder,
      segmentBytes,
      writer: this.writer,
      // Later than every existing segment, even if the clock was set back.
      startedAt: Math.max(clock.now(), newestStart + 1),
      onStarted: (segment) => this.segments.push(segment),
      onEmpty: (segment) => this.remove(segment),
    })
    this.#breaker = createBreaker({ failureThreshold: 1, cooldownMs: RETRY_MS, clock })
    this.segments = segments
    this.recovered = { cutBytes, last }
    this.#bytes = segments.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Bytes on disk and waiting to be written. */
  get bytes(): number {
    return this.#bytes + this.#waitingBytes
  }

  /** The number of the next record. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  /** Whether a record would be accepted now. @param reserve whether it may use the reserved space */
  canAccept(reserve = false): boolean {
    const { maxBytes } = this.#settings
    const most = reserve ? maxBytes * (1 + RESERVE_RATIO) : maxBytes
    return !this.#closed && !this.#isGone && this.#breaker.state !== 'open' && this.bytes < most
  }

  /**
   * Accepts one record. Resolves when it is on disk.
   *
   * @param finish makes the record with its number; if it throws, the number is not used.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE at once if the spool is full or failing, or later if the
   *   write fails.
   */
  append(finish: (seq: number) => FrameEntry, reserve = false): Promise<void> {
    if (!this.canAccept(reserve)) return Promise.reject(unavailable())
    const entry = finish(this.#nextSeq)
    const last = this.#batches.at(-1)
    const isFull = last === undefined || last.bytes >= FULL_FRAME_CHARS
    const batch = isFull ? this.#startBatch() : last
    this.#nextSeq++
    const bytes = entry.leaf.length + (entry.attachments?.length ?? 0)
    batch.entries.push(entry)
    batch.bytes += bytes
    this.#waitingBytes += bytes
    return batch.promise
  }

  /** Resolves when every accepted record was written or has failed. */
  async settle(): Promise<void> {
    while (this.#batches.length > 0 || this.#writing !== undefined) {
      await (this.#writing ?? this.#batches[0]?.promise)?.catch(() => {})
    }
  }

  /** Looks whether the files of the spool still exist; until they do, records are refused. */
  async look(): Promise<void> {
    try {
      await this.#segmentWriter.requireReachable()
      this.#isGone = false
    } catch (error) {
      if (this.#closed) return
      if (!this.#isGone) this.#settings.onFailure(error)
      this.#isGone = true
      // If only the file is gone, the next look finds the folder, and a new file is started.
      await this.rotate()
    }
  }

  /** Removes a segment whose records are in the store. */
  async remove(segment: Segment): Promise<void> {
    await unlink(segment.path).catch(() => {})
    const index = this.segments.indexOf(segment)
    if (index !== -1) this.segments.splice(index, 1)
    this.#bytes -= segment.bytes
  }

  /** Renames a segment with a damaged end, so that later segments are shipped; its lost records stay missing. */
  async setAside(segment: Segment): Promise<void> {
    await rename(segment.path, `${segment.path}.damaged`).catch(() => {})
    await this.remove(segment)
    this.#settings.onFailure(
      Object.assign(new Error(`the segment ${segment.path} is damaged`), { code: 'DAMAGED' }),
    )
  }

  /** Ends the current segment, so that it can be removed once it is shipped. */
  async rotate(): Promise<void> {
    await this.settle()
    await this.#segmentWriter.end()
  }

  /** Writes waiting records and unlocks the folder. */
  async close(): Promise<void> {
    await this.settle()
    this.#closed = true
    await this.#segmentWriter.end()
    await this.#unlock()
  }

  #startBatch(): Batch {
    const { promise, resolve, reject } = withResolvers()
    // A caller that does not wait must not cause an unhandled rejection.
    promise.catch(() => {})
    if (this.#writing === undefined) setImmediate(() => this.#flush())
    const batch = { firstSeq: this.#nextSeq, entries: [], bytes: 0, promise, resolve, reject }
    this.#batches.push(batch)
    return batch
  }

  #flush(): void {
    if (this.#writing !== undefined) return
    const batch = this.#batches.shift()
    if (batch === undefined) return
    this.#waitingBytes -= batch.bytes
    this.#writing = this.#finish(batch)
  }

  async #finish(batch: Batch): Promise<void> {
    const settleBatch = await this.#write(batch)
    this.#writing = undefined
    settleBatch()
    if (this.#batches.length === 0) return
    // Callers that continue now, and requests that have arrived, can join the next group within two
    // turns of the event loop: it costs as much as a small one.
    setImmediate(() => setImmediate(() => this.#flush()))
  }

  /** @returns a function that resolves or rejects the batch. */
  async #write(batch: Batch): Promise<() => void> {
    try {
      this.#breaker.tryEnter()
      const frame = this.#encoder.encode(batch.firstSeq, batch.entries)
      await this.#segmentWriter.append(frame)
      this.#bytes += frame.length
      this.#breaker.succeed()
      return batch.resolve
    } catch (error) {
      this.#breaker.fail()
      this.#lose(batch.firstSeq, batch.firstSeq + batch.entries.length - 1)
      this.#settings.onFailure(error)
      return () => batch.reject(unavailable(error))
    }
  }

  /** Extends the last range if possible, so that a disk that stays full does not grow the list. */
  #lose(from: number, to: number): void {
    const last = this.lostSeqs.at(-1)
    if (last !== undefined && last[1] + 1 === from) last[1] = to
    else this.lostSeqs.push([from, to])
  }
}

function unavailable(cause?: unknown): Error {
  const error = new PARAPET_AUDIT_LOG_UNAVAILABLE()
  if (cause !== undefined) error.cause = cause
  return Object.assign(error, { headers: { 'retry-after': String(RETRY_MS / 1000) } })
}

function withResolvers() {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
