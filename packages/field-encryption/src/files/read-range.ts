/** Reads ranges of an encrypted file, segment by segment. */
import { PARAPET_FIELD_ENCRYPTION_OPEN_FAILED } from '../errors.ts'
import type { StoredFile } from './file-store.ts'
import { PREFIX_BYTES } from './file-key.ts'
import { cutSegments, openSegment, type SegmentKeys } from './segments.ts'
import { headerBytes, plainStart, segmentOf, type StreamParameters } from './stream-layout.ts'
import { collect } from './take-head.ts'

/** Reads single segments of one stored file. */
export interface SegmentReader {
  /** Reads and decrypts the last segment, which authenticates the length of the file. */
  checkSize(): Promise<void>
  /** Decrypts the bytes from `start` to `end`, both included. It reads the storage once. */
  range(start: number, end: number): Promise<AsyncGenerator<Buffer>>
}

/** Creates a {@link SegmentReader}. @param size the length of the plaintext */
export function createSegmentReader(
  file: StoredFile,
  keys: SegmentKeys,
  size: number,
  parameters: StreamParameters,
): SegmentReader {
  const { segmentBytes } = parameters
  const last = segmentOf(Math.max(0, size - 1), parameters)
  const storedStart = (number: number) =>
    PREFIX_BYTES + (number === 0 ? headerBytes(parameters) : number * segmentBytes)
  const storedEnd = (number: number) => PREFIX_BYTES + (number + 1) * segmentBytes - 1

  async function* decrypt(
    sealed: AsyncIterable<Uint8Array>,
    first: number,
    start: number,
    end: number,
  ): AsyncGenerator<Buffer> {
    const wanted = segmentOf(end, parameters)
    const firstBytes = segmentBytes - (first === 0 ? headerBytes(parameters) : 0)
    for await (const segment of cutSegments(sealed, firstBytes, segmentBytes)) {
      const number = first + segment.number
      const isLast = number === last
      const plain = Buffer.concat(openSegment(keys, { ...segment, number, last: isLast }))
      const offset = plainStart(number, parameters)
      yield plain.subarray(Math.max(0, start - offset), end + 1 - offset)
      if (number === wanted) return
    }
    // The storage ended at the end of a segment: without an error the range would be short.
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }

  return {
    async checkSize() {
      const sealed = await file.read({ start: storedStart(last), end: storedEnd(last) })
      openSegment(keys, { number: last, last: true, pieces: [await collect(sealed)] })
    },
    async range(start, end) {
      const first = segmentOf(start, parameters)
      const lastRead = segmentOf(end, parameters)
      const sealed = await file.read({ start: storedStart(first), end: storedEnd(lastRead) })
      return decrypt(sealed, first, start, end)
    },
  }
}
