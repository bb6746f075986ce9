/**
 * The format of the write-ahead log: frames, each a group of records that were synced together.
 *
 * A frame is `length (u32) ‖ CRC-32 of the payload (u32) ‖ payload`; the payload is the number of
 * the first record (u64), then for each record `leaf length (u32) ‖ leaf ‖ attachments length (u32) ‖
 * attachments`. All numbers are little-endian.
 *
 * @see docs/spec/audit-log.md
 */
import { crc32 } from 'node:zlib'

/** A record that was read from the spool. */
export interface SpooledRecord {
  readonly writer: string
  readonly seq: number
  readonly leaf: string
  /** JSON of the record's attachments, or `null`. */
  readonly attachments: string | null
}

/** A record to be written to a frame. */
export interface FrameEntry {
  readonly leaf: string
  readonly attachments: string | null
}

const HEADER_BYTES = 8
const SEQ_BYTES = 8
/** No frame is longer, so a larger length means damage. */
const MAX_FRAME_BYTES = 256 * 1024 * 1024
/** A frame with this many characters takes no more records. A character has at most 3 bytes. */
export const FULL_FRAME_CHARS = 16 * 1024 * 1024

/** A larger buffer is not kept, so that one huge record does not occupy memory forever. */
const MAX_KEPT_BYTES = 8 * 1024 * 1024

/** Encodes frames into one reused buffer: write a frame to disk before you encode the next. */
export class FrameEncoder {
  #kept = Buffer.allocUnsafeSlow(1 << 20)

  encode(firstSeq: number, entries: readonly FrameEntry[]): Buffer {
    let most = HEADER_BYTES + SEQ_BYTES
    for (const { leaf, attachments } of entries) {
      most += 8 + 3 * (leaf.length + (attachments?.length ?? 0))
    }
    const buffer = this.#bufferOf(most)
    buffer.writeBigUInt64LE(BigInt(firstSeq), HEADER_BYTES)
    let at = HEADER_BYTES + SEQ_BYTES
    for (const { leaf, attachments } of entries) {
      at = writeText(buffer, leaf, at)
      at = writeText(buffer, attachments ?? '', at)
    }
    buffer.writeUInt32LE(at - HEADER_BYTES, 0)
    buffer.writeUInt32LE(crc32(buffer.subarray(HEADER_BYTES, at)), 4)
    return buffer.subarray(0, at)
  }

  #bufferOf(bytes: number): Buffer {
    if (bytes <= this.#kept.length) return this.#kept
    if (bytes > MAX_KEPT_BYTES) return Buffer.allocUnsafeSlow(bytes)
    return (this.#kept = Buffer.allocUnsafeSlow(Math.min(bytes * 2, MAX_KEPT_BYTES)))
  }
}

function writeText(buffer: Buffer, text: string, at: number): number {
  if (text === '') {
    buffer.writeUInt32LE(0, at)
    return at + 4
  }
  const length = buffer.write(text, at + 4)
  buffer.writeUInt32LE(length, at)
  return at + 4 + length
}

/** The result of {@link decodeFrame}. */
export type DecodedFrame =
  | { readonly kind: 'frame'; readonly end: number; readonly records: SpooledRecord[] }
  /** The buffer ends inside the frame; `needed` bytes from its start are known to be needed. */
  | { readonly kind: 'cut'; readonly needed: number }
  | { readonly kind: 'damaged' }

/** The offset of the next valid frame after damage at `at`; `undefined` if there is none. */
export function findFrame(buffer: Buffer, at: number, writer: string): number | undefined {
  for (let next = at + 1; next + HEADER_BYTES + SEQ_BYTES <= buffer.length; next++) {
    if (decodeFrame(buffer, next, writer).kind === 'frame') return next
  }
  return undefined
}

/** Decodes the frame at offset `at`. */
export function decodeFrame(buffer: Buffer, at: number, writer: string): DecodedFrame {
  if (at + HEADER_BYTES > buffer.length) return { kind: 'cut', needed: HEADER_BYTES }
  const length = buffer.readUInt32LE(at)
  if (length < SEQ_BYTES || length > MAX_FRAME_BYTES) return { kind: 'damaged' }
  const start = at + HEADER_BYTES
  const end = start + length
  if (end > buffer.length) return { kind: 'cut', needed: HEADER_BYTES + length }
  if (crc32(buffer.subarray(start, end)) !== buffer.readUInt32LE(at + 4)) return { kind: 'damaged' }
  let seq = Number(buffer.readBigUInt64LE(start))
  if (!Number.isSafeInteger(seq)) return { kind: 'damaged' }
  const records: SpooledRecord[] = []
  for (let next = start + SEQ_BYTES; next < end; seq++) {
    const leaf = readText(buffer, next, end)
    const attachments = leaf && readText(buffer, leaf.end, end)
    if (attachments === undefined) return { kind: 'damaged' }
    records.push({ writer, seq, leaf: leaf!.text, attachments: attachments.text || null })
    next = attachments.end
  }
  return { kind: 'frame', end, records }
}

function readText(buffer: Buffer, at: number, limit: number) {
  if (at + 4 > limit) return undefined
  const end = at + 4 + buffer.readUInt32LE(at)
  return end > limit ? undefined : { text: buffer.toString('utf8', at + 4, end), end }
}
