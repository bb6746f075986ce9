/** Hashes of the Merkle tree, with WebCrypto. @see RFC 6962, section 2.1 */
import { concat, sha256, utf8, type Bytes } from './bytes.ts'

/** Length of a hash. */
export const HASH_BYTES = 32

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

/** A tree as a checkpoint names it. */
export interface Tree {
  readonly size: number
  readonly root: Bytes
}

/** The hash of one entry. */
export function leafHash(entry: string | Bytes): Promise<Bytes> {
  return sha256(concat(LEAF, typeof entry === 'string' ? utf8(entry) : entry))
}

/** The hash of two subtrees. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Promise<Bytes> {
  return sha256(concat(NODE, left, right))
}

/** Reads the root of the perfect subtree number `index` among those of `2^height` leaves. */
export type SubtreeReader = (height: number, index: number) => Promise<Bytes>

/** The root of the leaves from `start` (inclusive) to `end` (exclusive). */
export async function rangeHash(read: SubtreeReader, start: number, end: number): Promise<Bytes> {
  const size = end - start
  const height = Math.log2(size)
  if (Number.isInteger(height) && start % size === 0) return read(height, start / size)
  // RFC 6962 splits at the largest power of two below the size.
  const split = start + 2 ** Math.floor(Math.log2(size - 1))
  const halves = [rangeHash(read, start, split), rangeHash(read, split, end)] as const
  const [left, right] = await Promise.all(halves)
  return nodeHash(left, right)
}
