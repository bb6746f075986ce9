/** The files of the spool: their names, what is left in them after a crash, and reading them. */
import { open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeFrame, type SpooledRecord } from './frames.ts'

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
  /** Bytes after the last whole frame that a crash, or damage, left behind; they were cut off. */
  readonly cutBytes: number
  /** The last record of the newest writer, for the next writer to name. */
  readonly last: { readonly writer: string; readonly seq: number } | undefined
}

/** Reads every segment of a folder, cuts torn tails off and removes empty files. */
export async function recoverSegments(folder: string): Promise<Recovery> {
  const segments: Segment[] = []
  let cutBytes = 0
  let last: Recovery['last']
  for (const name of (await readdir(folder)).toSorted()) {
    const [, , writer] = NAME.exec(name) ?? []
    if (writer === undefined) continue
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
    if (reader.offset < size) {
      await truncate(path, reader.offset)
      cutBytes += size - reader.offset
    }
    segment.bytes = reader.offset
    if (segment.bytes === 0) await unlink(path)
    else segments.push(segment)
  }
  return { segments, cutBytes, last }
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
  #file: FileHandle | undefined

  constructor(segment: Segment) {
    this.segment = segment
  }

  /** At least one frame and about `maxBytes`; nothing at the end, or where the file is damaged. */
  async read(maxBytes: number): Promise<SpooledRecord[]> {
    const records: SpooledRecord[] = []
    const start = this.offset
    let wanted = Math.min(maxBytes, this.segment.bytes - start)
    while (wanted > 0 && records.length === 0) {
      const buffer = await this.#readAt(start, wanted)
      let at = 0
      let needed = 0
      while (at < buffer.length) {
        const frame = decodeFrame(buffer, at, this.segment.writer)
        if (frame.kind === 'damaged') return records
        if (frame.kind === 'cut') {
          needed = frame.needed
          break
        }
        for (const record of frame.records) records.push(record)
        at = frame.end
        this.offset = start + at
      }
      if (needed <= wanted || start + needed > this.segment.bytes) break
      wanted = needed
    }
    return records
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
