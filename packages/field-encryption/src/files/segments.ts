/** The segments of a stream in Tink's AES-GCM-HKDF format: their keys, their nonces and their tags. */
import { createDecipheriv, hkdfSync, type CipherGCMTypes, type KeyObject } from 'node:crypto'
import { PARAPET_FIELD_ENCRYPTION_OPEN_FAILED } from '../errors.ts'
import {
  headerBytes,
  NONCE_PREFIX_BYTES,
  TAG_BYTES,
  type StreamParameters,
} from './stream-layout.ts'

const NONCE_BYTES = 12
export const GCM = { authTagLength: TAG_BYTES } as const
/** After this many short pieces in a row, they are joined: a client that sends single bytes must not
 * cost more memory than others. */
const MAX_SHORT_PIECES = 256
const SHORT_PIECE_BYTES = 1024
/** Segments are numbered in 32 bits. */
const MAX_SEGMENTS = 2 ** 32

/** The key of a stream and the nonces of its segments. */
export interface SegmentKeys {
  readonly algorithm: CipherGCMTypes
  readonly key: Uint8Array
  readonly nonce: (number: number, last: boolean) => Buffer
}

/** Derives the keys of a stream from its header. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
export function deriveSegmentKeys(
  header: Buffer,
  key: KeyObject,
  associatedData: Uint8Array,
  parameters: StreamParameters,
): SegmentKeys {
  const size = headerBytes(parameters)
  if (header.length !== size || header[0] !== size) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  const { hash, derivedKeyBytes } = parameters
  const salt = header.subarray(1, 1 + derivedKeyBytes)
  const prefix = header.subarray(1 + derivedKeyBytes)
  return {
    algorithm: derivedKeyBytes === 16 ? 'aes-128-gcm' : 'aes-256-gcm',
    key: new Uint8Array(hkdfSync(hash, key, salt, associatedData, derivedKeyBytes)),
    nonce(number, last) {
      const nonce = Buffer.alloc(NONCE_BYTES)
      nonce.set(prefix)
      nonce.writeUInt32BE(number, NONCE_PREFIX_BYTES)
      nonce[NONCE_BYTES - 1] = last ? 1 : 0
      return nonce
    },
  }
}

/** One segment, in the pieces in which it arrived. */
export interface Segment {
  readonly number: number
  readonly last: boolean
  readonly pieces: readonly Uint8Array[]
}

/** Decrypts one segment. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
export function openSegment(keys: SegmentKeys, { number, last, pieces }: Segment): Buffer[] {
  const { bodies, tag } = splitTag(pieces)
  const decipher = createDecipheriv(keys.algorithm, keys.key, keys.nonce(number, last), GCM)
  decipher.setAuthTag(tag)
  const plain = bodies.map((piece) => decipher.update(piece))
  try {
    decipher.final()
  } catch {
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }
  return plain
}

/** Separates the tag at the end, which may be spread over several pieces. */
function splitTag(pieces: readonly Uint8Array[]): { bodies: Uint8Array[]; tag: Buffer } {
  const bodies = [...pieces]
  let tag = Buffer.alloc(0)
  while (tag.length < TAG_BYTES) {
    const piece = bodies.pop()
    if (piece === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    const cut = Math.max(0, piece.length - (TAG_BYTES - tag.length))
    tag = Buffer.concat([piece.subarray(cut), tag])
    if (cut > 0) bodies.push(piece.subarray(0, cut))
  }
  return { bodies, tag }
}

/**
 * Cuts a stream into segments of `size` bytes, the first one of `first` bytes. A segment is yielded
 * once it is known whether another one follows. There is always a last segment, which may be empty.
 */
export async function* cutSegments(
  source: AsyncIterable<Uint8Array>,
  first: number,
  size: number,
): AsyncGenerator<Segment> {
  let number = 0
  let pieces: Uint8Array[] = []
  let room = first
  let shortPieces = 0
  for await (const chunk of source) {
    for (let rest = chunk; rest.length > 0;) {
      if (room === 0) {
        yield { number, last: false, pieces }
        number++
        if (number >= MAX_SEGMENTS) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
        pieces = []
        shortPieces = 0
        room = size
      }
      const piece = rest.subarray(0, room)
      pieces.push(piece)
      shortPieces = piece.length < SHORT_PIECE_BYTES ? shortPieces + 1 : 0
      if (shortPieces === MAX_SHORT_PIECES) {
        pieces.push(Buffer.concat(pieces.splice(-shortPieces)))
        shortPieces = 0
      }
      room -= piece.length
      rest = rest.subarray(piece.length)
    }
  }
  yield { number, last: true, pieces }
}
