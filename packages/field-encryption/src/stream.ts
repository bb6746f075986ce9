/**
 * Streams in Tink's AES-GCM-HKDF format: segments that are each authentic for their number and for
 * being the last or not, so that nothing can be cut off, put in another order or appended.
 *
 * @see https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
 */
import {
  createCipheriv,
  createDecipheriv,
  hkdfSync,
  type CipherGCMTypes,
  type KeyObject,
} from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_OPEN_FAILED } from './errors.ts'

/** The parameters of a stream; both ends must know them. */
export interface StreamParameters {
  readonly hash: 'sha1' | 'sha256' | 'sha512'
  /** 16 or 32; also the length of the salt in the header. */
  readonly derivedKeyBytes: 16 | 32
  /** Ciphertext of one segment, the header of the first one included. */
  readonly segmentBytes: number
}

/** Tink's template `AES256_GCM_HKDF_1MB`. */
export const AES256_GCM_HKDF_1MB: StreamParameters = Object.freeze({
  hash: 'sha256',
  derivedKeyBytes: 32,
  segmentBytes: 1_048_576,
})

const NONCE_PREFIX_BYTES = 7
const NONCE_BYTES = 12
const TAG_BYTES = 16
const GCM = { authTagLength: TAG_BYTES } as const
/** So many pieces shorter than this become one: a client that sends bytes one by one costs no more memory. */
const MAX_CRUMBS = 256
const CRUMB_BYTES = 1024
/** Segments are numbered in 32 bits. */
const MAX_SEGMENTS = 2 ** 32

/** The length of the header: its own length, the salt and the prefix of every nonce. */
export function headerBytes({ derivedKeyBytes }: StreamParameters): number {
  return 1 + derivedKeyBytes + NONCE_PREFIX_BYTES
}

/** The ciphertext that a plaintext becomes. */
export function sealedSize(plainBytes: number, parameters: StreamParameters): number {
  const segments = segmentOf(Math.max(0, plainBytes - 1), parameters) + 1
  return headerBytes(parameters) + plainBytes + segments * TAG_BYTES
}

/** The plaintext in a ciphertext of this length, `undefined` where no plaintext has that. */
export function plainSize(sealedBytes: number, parameters: StreamParameters): number | undefined {
  const segments = Math.max(1, Math.ceil(sealedBytes / parameters.segmentBytes))
  const size = sealedBytes - headerBytes(parameters) - segments * TAG_BYTES
  return size >= 0 && sealedSize(size, parameters) === sealedBytes ? size : undefined
}

/** The number of the segment that holds the byte of the plaintext at `offset`. */
export function segmentOf(offset: number, parameters: StreamParameters): number {
  return Math.floor((offset + headerBytes(parameters)) / (parameters.segmentBytes - TAG_BYTES))
}

/** Where the plaintext of a segment starts. */
export function plainStart(segment: number, parameters: StreamParameters): number {
  const size = parameters.segmentBytes - TAG_BYTES
  return segment === 0 ? 0 : segment * size - headerBytes(parameters)
}

/** Encrypts a stream. It holds one segment, for the last one must be told from the others. */
export async function* sealStream(
  source: AsyncIterable<Uint8Array>,
  key: KeyObject,
  associatedData: Uint8Array,
  parameters: StreamParameters,
): AsyncGenerator<Buffer> {
  const header = Buffer.concat([
    Buffer.from([headerBytes(parameters)]),
    takeRandom(parameters.derivedKeyBytes + NONCE_PREFIX_BYTES),
  ])
  const segments = readHeader(header, key, associatedData, parameters)
  yield header
  const size = parameters.segmentBytes - TAG_BYTES
  for await (const { number, last, pieces } of cut(source, size - header.length, size)) {
    const cipher = createCipheriv(
      segments.algorithm,
      segments.key,
      segments.nonce(number, last),
      GCM,
    )
    for (const piece of pieces) yield cipher.update(piece)
    cipher.final()
    yield cipher.getAuthTag()
  }
}

/**
 * Decrypts a stream. No byte of a segment leaves before the whole segment is found authentic.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED
 */
export async function* openStream(
  source: AsyncIterable<Uint8Array>,
  key: KeyObject,
  associatedData: Uint8Array,
  parameters: StreamParameters,
): AsyncGenerator<Buffer> {
  const size = headerBytes(parameters)
  const { head, rest } = await takeHead(source, size)
  try {
    const segments = readHeader(head, key, associatedData, parameters)
    const { segmentBytes } = parameters
    for await (const segment of cut(rest, segmentBytes - size, segmentBytes)) {
      yield* openSegment(segments, segment)
    }
  } finally {
    await rest.return()
  }
}

/** What a header gives: the key of the stream and its nonces. */
export interface SegmentKeys {
  readonly algorithm: CipherGCMTypes
  readonly key: Uint8Array
  readonly nonce: (number: number, last: boolean) => Buffer
}

/** Reads a header. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
export function readHeader(
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

/** One segment, in the pieces it came in. */
export interface Segment {
  readonly number: number
  readonly last: boolean
  readonly pieces: readonly Uint8Array[]
}

/** The plaintext of one segment. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED */
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

/** Takes the tag off the end, across the pieces that it may lie in. */
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
 * Cuts a stream into segments of `size` bytes, the first one of `first`. A segment is handed on when
 * it is known whether another follows. There is always one, be it empty.
 */
async function* cut(
  source: AsyncIterable<Uint8Array>,
  first: number,
  size: number,
): AsyncGenerator<Segment> {
  let number = 0
  let pieces: Uint8Array[] = []
  let room = first
  /** How many short pieces in a row. */
  let crumbs = 0
  for await (const chunk of source) {
    for (let rest = chunk; rest.length > 0;) {
      if (room === 0) {
        yield { number, last: false, pieces }
        number++
        if (number >= MAX_SEGMENTS) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
        pieces = []
        crumbs = 0
        room = size
      }
      const piece = rest.subarray(0, room)
      pieces.push(piece)
      crumbs = piece.length < CRUMB_BYTES ? crumbs + 1 : 0
      if (crumbs === MAX_CRUMBS) {
        pieces.push(Buffer.concat(pieces.splice(-crumbs)))
        crumbs = 0
      }
      room -= piece.length
      rest = rest.subarray(piece.length)
    }
  }
  yield { number, last: true, pieces }
}

/** The rest of a stream. Whoever stops early, or never begins, calls `return`. */
export type Rest = AsyncIterableIterator<Uint8Array> & {
  return(): Promise<IteratorResult<Uint8Array>>
}

/** Takes the first `size` bytes off a stream; fewer where it is shorter. */
export async function takeHead(
  source: AsyncIterable<Uint8Array>,
  size: number,
): Promise<{ head: Buffer; rest: Rest }> {
  const iterator = source[Symbol.asyncIterator]()
  const pieces: Uint8Array[] = []
  let length = 0
  while (length < size) {
    const next = await iterator.next()
    if (next.done === true) break
    pieces.push(next.value)
    length += next.value.length
  }
  const bytes = Buffer.concat(pieces)
  let spare = bytes.length > size ? bytes.subarray(size) : undefined
  // No generator: one that was never begun would not let go of the file or the connection behind it.
  const rest: Rest = {
    [Symbol.asyncIterator]: () => rest,
    async next() {
      const value = spare
      spare = undefined
      return value === undefined ? iterator.next() : { done: false, value }
    },
    async return() {
      await iterator.return?.()
      return { done: true, value: undefined }
    },
  }
  return { head: bytes.subarray(0, size), rest }
}
