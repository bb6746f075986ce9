/**
 * Encrypts and decrypts streams in Tink's AES-GCM-HKDF format. Each segment is authenticated together
 * with its number and whether it is the last one, so that a stream cannot be truncated, reordered or
 * extended.
 *
 * @see https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
 */
import { createCipheriv, type KeyObject } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import { cutSegments, deriveSegmentKeys, GCM, openSegment } from './segments.ts'
import {
  headerBytes,
  NONCE_PREFIX_BYTES,
  TAG_BYTES,
  type StreamParameters,
} from './stream-layout.ts'
import { takeHead } from './take-head.ts'

/** Encrypts a stream. It buffers one segment, because the last segment has another nonce. */
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
  const keys = deriveSegmentKeys(header, key, associatedData, parameters)
  yield header
  const size = parameters.segmentBytes - TAG_BYTES
  const segments = cutSegments(source, size - header.length, size)
  for await (const { number, last, pieces } of segments) {
    const cipher = createCipheriv(keys.algorithm, keys.key, keys.nonce(number, last), GCM)
    for (const piece of pieces) yield cipher.update(piece)
    cipher.final()
    yield cipher.getAuthTag()
  }
}

/**
 * Decrypts a stream. No byte of a segment is yielded before the whole segment is authenticated.
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
    const keys = deriveSegmentKeys(head, key, associatedData, parameters)
    const { segmentBytes } = parameters
    for await (const segment of cutSegments(rest, segmentBytes - size, segmentBytes)) {
      yield* openSegment(keys, segment)
    }
  } finally {
    await rest.return()
  }
}
