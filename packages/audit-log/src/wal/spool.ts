/**
 * The write-ahead spool: a record is acknowledged when it is on disk, and stays there until the
 * store has it. Whatever arrives while one group is being written becomes the next group.
 */
import { randomBytes } from 'node:crypto'
import { close, fdatasync, ftruncate, open as openFile, write } from 'node:fs'
import { mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createBreaker, type Breaker, type Clock } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_UNAVAILABLE } from '../errors.ts'
import { FrameEncoder, type FrameEntry } from './frames.ts'
import { lockFolder } from './lock.ts'
import { recoverSegments, segmentName, type Segment } from './segments.ts'

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
  readonly recovered: {
    readonly cutBytes: number
    readonly last: { writer: string; seq: number } | undefined
  }
  /** Numbers that were given to records which may have been lost; the next record should tell. */
  readonly lostSeqs: [from: number, to: number][] = []

  readonly #settings: SpoolSettings
  readonly #unlock: () => Promise<void>
  readonly #breaker: Breaker
  readonly #encoder = new FrameEncoder()
  readonly #startedAt: number
  #batch: Batch | undefined
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
    { segments, cutBytes, last }: Awaited<ReturnType<typeof recoverSegments>>,
  ) {
    this.#settings = settings
    this.#unlock = unlock
    this.#startedAt = settings.clock.now()
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
    return this.#bytes + (this.#batch?.bytes ?? 0)
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
   * @param finish writes the record, given its number; it must not throw.
   * @returns when it is on disk.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE at once when the spool is full or fails, or later when
   *   the disk refuses it.
   */
  append(finish: (seq: number) => FrameEntry, reserve = false): Promise<void> {
    if (!this.canAccept(reserve)) return Promise.reject(unavailable())
    const batch = (this.#batch ??= this.#startBatch())
    const entry = finish(this.#nextSeq++)
    batch.entries.push(entry)
    batch.bytes += entry.leaf.length + (entry.beside?.length ?? 0)
    return batch.promise
  }

  /** Resolves when everything taken so far is on disk, or was refused. */
  async settle(): Promise<void> {
    while (this.#batch !== undefined || this.#writing !== undefined) {
      await (this.#writing ?? this.#batch?.promise)?.catch(() => {})
    }
  }

  /** Removes a segment whose records the store has. */
  async remove(segment: Segment): Promise<void> {
    await unlink(segment.path).catch(() => {})
    const index = this.segments.indexOf(segment)
    if (index !== -1) this.segments.splice(index, 1)
    this.#bytes -= segment.bytes
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
    return { firstSeq: this.#nextSeq, entries: [], bytes: 0, promise, resolve, reject }
  }

  #flush(): void {
    const batch = this.#batch
    if (batch === undefined || this.#writing !== undefined) return
    this.#batch = undefined
    this.#writing = this.#write(batch).finally(() => {
      this.#writing = undefined
      // One turn of the event loop lets the woken waiters join the next group.
      if (this.#batch !== undefined) setImmediate(() => this.#flush())
    })
  }

  async #write(batch: Batch): Promise<void> {
    try {
      this.#breaker.tryEnter()
      const frame = this.#encoder.encode(batch.firstSeq, batch.entries)
      const segment = await this.#segmentFor(frame.length)
      await this.#append(segment, frame)
      segment.entry.bytes += frame.length
      this.#bytes += frame.length
      this.#breaker.succeed()
      batch.resolve()
    } catch (error) {
      this.#breaker.fail()
      this.lostSeqs.push([batch.firstSeq, batch.firstSeq + batch.entries.length - 1])
      this.#settings.onFailure(error)
      batch.reject(unavailable(error))
    }
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

/** Makes the names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
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
