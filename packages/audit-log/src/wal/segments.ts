/** The files of the spool: their names, what is left in them after a crash, and reading them. */
import { open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { decodeFrame, findFrame, type SpooledRecord } from './frames.ts'

/** One file of the spool. */
export interface Segment {
  readonly path: string
  readonly writer: string
  /** Bytes of whole frames. */
  bytes: number
  /** No more is written to it. */
  closed: boolean
}

const NAME = /^(\d{15})-([0-9a-f]{16})-(\d{6})\.wal$/
/** What another version of this form would be called. */
const FOREIGN = /\.wal\w*$/
const READ_BYTES = 1 << 20
const DIGITS_TIME = 15
const DIGITS_NUMBER = 6

/** The name of a segment; names sort in the order segments were begun. */
export function segmentName(startedAt: number, writer: string, number: number): string {
  const time = String(startedAt).padStart(DIGITS_TIME, '0')
  return `${time}-${writer}-${String(number).padStart(DIGITS_NUMBER, '0')}.wal`
}

/** What {@link recoverSegments} found. */
export interface Recovery {
  readonly segments: Segment[]
  /** Bytes in no whole frame, which a crash or damage left behind: cut off at the end, else passed over. */
  readonly cutBytes: number
  /** When the newest segment was begun, by the clock of then; 0 without one. */
  readonly newestStart: number
  /** The last record of the newest writer, for the next writer to name. */
  readonly last: { readonly writer: string; readonly seq: number } | undefined
}

/**
 * Reads every segment of a folder, cuts torn tails off and removes empty files.
 *
 * @throws PARAPET_AUDIT_LOG_CORRUPT a segment is of another version: nobody would ship it.
 */
export async function recoverSegments(folder: string): Promise<Recovery> {
  const segments: Segment[] = []
  let cutBytes = 0
  let newestStart = 0
  let last: Recovery['last']
  for (const name of (await readdir(folder)).toSorted()) {
    const [, start, writer] = NAME.exec(name) ?? []
    if (writer === undefined) {
      if (!FOREIGN.test(name)) continue
      throw new PARAPET_AUDIT_LOG_CORRUPT(`${join(folder, name)} is of another version`)
    }
    newestStart = Number(start)
    const path = join(folder, name)
    const { size } = await stat(path)
    const segment: Segment = { path, writer, bytes: size, closed: true }
    const reader = new SegmentReader(segment)
    for (;;) {
      const records = await reader.read(READ_BYTES)
      if (records.length === 0) break
      last = { writer, seq: records.at(-1)!.seq }
    }
    await reader.close()
    cutBytes += reader.skippedBytes + size - reader.offset
    if (reader.offset < size) await truncate(path, reader.offset)
    segment.bytes = reader.offset
    if (segment.bytes === 0) await unlink(path)
    else segments.push(segment)
  }
  return { segments, cutBytes, newestStart, last }
}

async function truncate(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.truncate(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Reads a segment from its start, whole frames at a time, never beyond what is durable. */
export class SegmentReader {
  readonly segment: Segment
  /** Where the next frame begins. */
  offset = 0
  /** Damage before {@link offset} that whole frames follow. */
  skippedBytes = 0
  #file: FileHandle | undefined

  constructor(segment: Segment) {
    this.segment = segment
  }

  /** At least one frame and about `maxBytes`; nothing where no whole frame follows. */
  async read(maxBytes: number): Promise<SpooledRecord[]> {
    const records: SpooledRecord[] = []
    let wanted = maxBytes
    while (records.length === 0 && this.offset < this.segment.bytes) {
      const rest = this.segment.bytes - this.offset
      const needed = this.#take(await this.#readAt(this.offset, Math.min(wanted, rest)), records)
      if (records.length > 0) break
      if (needed > wanted && needed <= rest) wanted = needed
      else if (!(await this.#stepOver(rest))) break
    }
    return records
  }

  /** Reads whole frames. @returns how many bytes the next one has, as far as it is known. */
  #take(buffer: Buffer, records: SpooledRecord[]): number {
    let at = 0
    while (at < buffer.length) {
      const frame = decodeFrame(buffer, at, this.segment.writer)
      if (frame.kind !== 'frame') return frame.kind === 'cut' ? frame.needed : 0
      for (const record of frame.records) records.push(record)
      this.offset += frame.end - at
      at = frame.end
    }
    return 0
  }

  /** Behind damage there may be records that were acknowledged. */
  async #stepOver(rest: number): Promise<boolean> {
    const next = findFrame(await this.#readAt(this.offset, rest), 0, this.segment.writer)
    if (next === undefined) return false
    this.skippedBytes += next
    this.offset += next
    return true
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }

  async #readAt(position: number, length: number): Promise<Buffer> {
    this.#file ??= await open(this.segment.path, 'r')
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await this.#file.read(buffer, 0, length, position)
    return buffer.subarray(0, bytesRead)
  }
}
