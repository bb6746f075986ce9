/** The files of the spool: names, recovery after a crash, and reading. */
import { open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { decodeFrame, findFrame, type SpooledRecord } from './frames.ts'

/** One file of the spool. */
export interface Segment {
  readonly path: string
  readonly writer: string
  /** Bytes of complete frames. */
  bytes: number
  /** Whether writing has ended. */
  closed: boolean
}

const NAME = /^(\d{15})-([0-9a-f]{16})-(\d{6})\.wal$/
/** File names of another version of the format. */
const FOREIGN = /\.wal\w*$/
const READ_BYTES = 1 << 20
const DIGITS_TIME = 15
const DIGITS_NUMBER = 6

/** The name of a segment. Names sort in the order in which the segments were started. */
export function segmentName(startedAt: number, writer: string, number: number): string {
  const time = String(startedAt).padStart(DIGITS_TIME, '0')
  return `${time}-${writer}-${String(number).padStart(DIGITS_NUMBER, '0')}.wal`
}

/** The result of {@link recoverSegments}. */
export interface Recovery {
  readonly segments: Segment[]
  /** Bytes outside complete frames, after a crash or damage: removed at the end of a file, else skipped. */
  readonly cutBytes: number
  /** The start time in the name of the newest segment; 0 if there is none. */
  readonly newestStart: number
  /** The last record of the newest writer; the first record of the next writer names it. */
  readonly last: { readonly writer: string; readonly seq: number } | undefined
}

/**
 * Reads every segment of a folder, truncates incomplete ends and removes empty files.
 *
 * @throws PARAPET_AUDIT_LOG_CORRUPT a segment has another format version, so its records would be lost.
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
      throw new PARAPET_AUDIT_LOG_CORRUPT(
        `the spool file ${join(folder, name)} has an unknown format version`,
      )
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

/** Reads complete frames of a segment from its start, never beyond the synced bytes. */
export class SegmentReader {
  readonly segment: Segment
  /** The offset of the next frame. */
  offset = 0
  /** Damaged bytes before {@link offset} that were skipped. */
  skippedBytes = 0
  #file: FileHandle | undefined

  constructor(segment: Segment) {
    this.segment = segment
  }

  /** Reads at least one frame and about `maxBytes`; an empty result means that no complete frame follows. */
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

  /** Decodes complete frames. @returns the bytes that the next frame needs, 0 if it is damaged */
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

  /** Skips damage, because acknowledged records may follow it. */
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
