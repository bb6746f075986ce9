/** Reads a range of an encrypted file, segment by segment. */
import type { FileStore } from './file-store.ts'
import { PREFIX_BYTES } from './file-key.ts'
import { openSegment, type SegmentKeys } from './segments.ts'
import { headerBytes, plainStart, segmentOf, type StreamParameters } from './stream-layout.ts'
import { collect } from './take-head.ts'

/** Reads single segments of one stored file. */
export interface SegmentReader {
  /** Reads and decrypts the last segment, which authenticates the length of the file. */
  checkSize(): Promise<void>
  /** Decrypts the bytes from `start` to `end`, both included. */
  range(start: number, end: number): AsyncGenerator<Buffer>
}

/** Creates a {@link SegmentReader}. @param size the length of the plaintext */
export function createSegmentReader(
  store: FileStore,
  name: string,
  keys: SegmentKeys,
  size: number,
  parameters: StreamParameters,
): SegmentReader {
  const { segmentBytes } = parameters
  const last = segmentOf(Math.max(0, size - 1), parameters)

  async function readSegment(number: number): Promise<Buffer[]> {
    const start = PREFIX_BYTES + (number === 0 ? headerBytes(parameters) : number * segmentBytes)
    const end = PREFIX_BYTES + (number + 1) * segmentBytes - 1
    const piece = await collect(await store.read(name, { start, end }))
    return openSegment(keys, { number, last: number === last, pieces: [piece] })
  }

  return {
    checkSize: async () => void (await readSegment(last)),
    async *range(start, end) {
      const lastRead = segmentOf(end, parameters)
      for (let number = segmentOf(start, parameters); number <= lastRead; number++) {
        const plain = Buffer.concat(await readSegment(number))
        const offset = plainStart(number, parameters)
        yield plain.subarray(Math.max(0, start - offset), end + 1 - offset)
      }
    },
  }
}
