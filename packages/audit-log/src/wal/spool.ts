/**
 * The write-ahead spool: a record is acknowledged when it is on disk, and stays there until the
 * store has it. Whatever arrives while one group is being written becomes the next group.
 */
import { randomBytes } from 'node:crypto'
import { close, fdatasync, ftruncate, open as openFile, write } from 'node:fs'
import { mkdir, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createBreaker, type Breaker, type Clock } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_UNAVAILABLE } from '../errors.ts'
import type { SeqRange } from '../record/ranges.ts'
import { FrameEncoder, FULL_FRAME_CHARS, type FrameEntry } from './frames.ts'
import { lockFolder } from './lock.ts'
import { syncFolder } from './sync.ts'
import { recoverSegments, segmentName, type Recovery, type Segment } from './segments.ts'

const writeAt = promisify(write)
const sync = promisify(fdatasync)
const truncate = promisify(ftruncate)
const openPath = promisify(openFile)
const closeFile = promisify(close)

/** What {@link Spool.open} takes. */
export interface SpoolSettings {
  readonly folder: string
  /** The most the spool may hold on disk. */
  readonly maxBytes: number
  readonly segmentBytes: number
  readonly clock: Clock
  /** A group could not be written. */
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

/** Above the bound, for outcomes of what was let through and for the spool's own records. */
const RESERVE_RATIO = 0.05
const RETRY_MS = 1000
const PRIVATE_FOLDER = 0o700
const PRIVATE_FILE = 0o600

/** See the top of the file. One for each process; the folder is locked. */
export class Spool {
  /** The name of this writer: new at each start, so that numbers are never used twice. */
  readonly writer: string = randomBytes(8).toString('hex')
  /** Oldest first; the last may still grow. */
  readonly segments: Segment[]
  /** What the last start left behind. */
  readonly recovered: Pick<Recovery, 'cutBytes' | 'last'>
  /** Numbers that were given to records which may have been lost; the next record should tell. */
  readonly lostSeqs: SeqRange[] = []

  readonly #settings: SpoolSettings
  readonly #unlock: () => Promise<void>
  readonly #breaker: Breaker
  readonly #encoder = new FrameEncoder()
  readonly #startedAt: number
  /** Oldest first; the last one takes what comes. */
  readonly #batches: Batch[] = []
  #waitingBytes = 0
  #writing: Promise<void> | undefined
  #segment: { readonly fd: number; readonly entry: Segment } | undefined
  #segmentNumber = 0
  #nextSeq = 0
  #bytes: number
  #closed = false

  static async open(settings: SpoolSettings): Promise<Spool> {
    await mkdir(settings.folder, { recursive: true, mode: PRIVATE_FOLDER })
    const unlock = await lockFolder(settings.folder)
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
    this.#settings = settings
    this.#unlock = unlock
    // After every earlier segment, also when the clock was put back.
    this.#startedAt = Math.max(settings.clock.now(), newestStart + 1)
    this.#breaker = createBreaker({
      failureThreshold: 1,
      cooldownMs: RETRY_MS,
      clock: settings.clock,
    })
    this.segments = segments
    this.recovered = { cutBytes, last }
    this.#bytes = segments.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Bytes on disk and on their way there. */
  get bytes(): number {
    return this.#bytes + this.#waitingBytes
  }

  /** The number the next record gets. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  /** Whether a record would be taken now. @param reserve draws on the room kept for what must not fail. */
  canAccept(reserve = false): boolean {
    const { maxBytes } = this.#settings
    const most = reserve ? maxBytes * (1 + RESERVE_RATIO) : maxBytes
    return !this.#closed && this.#breaker.state !== 'open' && this.bytes < most
  }

  /**
   * Takes one record.
   *
   * @param finish writes the record, given its number; when it throws, the number is not used.
   * @returns when it is on disk.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE at once when the spool is full or fails, or later when
   *   the disk refuses it.
   */
  append(finish: (seq: number) => FrameEntry, reserve = false): Promise<void> {
    if (!this.canAccept(reserve)) return Promise.reject(unavailable())
    const entry = finish(this.#nextSeq)
    const last = this.#batches.at(-1)
    const isFull = last === undefined || last.bytes >= FULL_FRAME_CHARS
    const batch = isFull ? this.#startBatch() : last
    this.#nextSeq++
    const bytes = entry.leaf.length + (entry.beside?.length ?? 0)
    batch.entries.push(entry)
    batch.bytes += bytes
    this.#waitingBytes += bytes
    return batch.promise
  }

  /** Resolves when everything taken so far is on disk, or was refused. */
  async settle(): Promise<void> {
    while (this.#batches.length > 0 || this.#writing !== undefined) {
      await (this.#writing ?? this.#batches[0]?.promise)?.catch(() => {})
    }
  }

  /** Removes a segment whose records the store has. */
  async remove(segment: Segment): Promise<void> {
    await unlink(segment.path).catch(() => {})
    const index = this.segments.indexOf(segment)
    if (index !== -1) this.segments.splice(index, 1)
    this.#bytes -= segment.bytes
  }

  /** Puts away a segment whose end cannot be read, so that it holds up nothing; the log will lack its numbers. */
  async setAside(segment: Segment): Promise<void> {
    await rename(segment.path, `${segment.path}.damaged`).catch(() => {})
    await this.remove(segment)
    this.#settings.onFailure(Object.assign(new Error('a segment is damaged'), { code: 'DAMAGED' }))
  }

  /** Ends the segment that grows, so that it can be removed once it is shipped. */
  async rotate(): Promise<void> {
    await this.settle()
    await this.#endSegment()
  }

  /** Writes what is left and gives the folder back. */
  async close(): Promise<void> {
    await this.settle()
    this.#closed = true
    await this.#endSegment()
    await this.#unlock()
  }

  #startBatch(): Batch {
    const { promise, resolve, reject } = withResolvers()
    // Whoever does not wait for it must not make it an unhandled rejection.
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
    const tell = await this.#write(batch)
    this.#writing = undefined
    tell()
    // One turn of the event loop lets the woken waiters join the next group.
    if (this.#batches.length > 0) setImmediate(() => this.#flush())
  }

  /** @returns what tells those who wait how it went. */
  async #write(batch: Batch): Promise<() => void> {
    try {
      this.#breaker.tryEnter()
      const frame = this.#encoder.encode(batch.firstSeq, batch.entries)
      const segment = await this.#segmentFor(frame.length)
      await this.#append(segment, frame)
      segment.entry.bytes += frame.length
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

  /** A disk that is full for hours must not make a list of hours. */
  #lose(from: number, to: number): void {
    const last = this.lostSeqs.at(-1)
    if (last !== undefined && last[1] + 1 === from) last[1] = to
    else this.lostSeqs.push([from, to])
  }

  async #append({ fd, entry }: { fd: number; entry: Segment }, frame: Buffer): Promise<void> {
    try {
      let written = 0
      while (written < frame.length) {
        const { bytesWritten } = await writeAt(
          fd,
          frame,
          written,
          frame.length - written,
          entry.bytes + written,
        )
        written += bytesWritten
      }
      await sync(fd)
    } catch (error) {
      // After a failed sync nothing is known of the pages; this file is not written to again.
      await truncate(fd, entry.bytes).catch(() => {})
      await this.#endSegment()
      if (entry.bytes === 0) await this.remove(entry)
      throw error
    }
  }

  async #segmentFor(frameBytes: number): Promise<{ fd: number; entry: Segment }> {
    const current = this.#segment
    const { folder, segmentBytes } = this.#settings
    if (current !== undefined && current.entry.bytes + frameBytes <= segmentBytes) return current
    if (current !== undefined) await this.#endSegment()
    const path = join(folder, segmentName(this.#startedAt, this.writer, this.#segmentNumber++))
    const fd = await openPath(path, 'wx', PRIVATE_FILE)
    await syncFolder(folder)
    const entry: Segment = { path, writer: this.writer, bytes: 0, closed: false }
    this.segments.push(entry)
    return (this.#segment = { fd, entry })
  }

  async #endSegment(): Promise<void> {
    const segment = this.#segment
    if (segment === undefined) return
    this.#segment = undefined
    segment.entry.closed = true
    await closeFile(segment.fd)
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
