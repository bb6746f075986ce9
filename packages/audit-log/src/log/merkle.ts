/**
 * The Merkle tree of RFC 6962: hashes, the proofs and their verification.
 *
 * @see RFC 6962, section 2.1; RFC 9162, sections 2.1.3.2 and 2.1.4.2
 */
import { createHash, hash } from 'node:crypto'

/** The length of a hash in bytes. */
export const HASH_BYTES = 32

const LEAF = '\u0000'
const NODE_PREFIX = 1
const nodeInput = Buffer.alloc(1 + 2 * HASH_BYTES, NODE_PREFIX)

/** The root of the empty tree. */
export const EMPTY_ROOT: Buffer = createHash('sha256').digest()

/**
 * A hash as a text of 32 characters, one for each byte: made, compared and written into a buffer in
 * a third of the time of a `Buffer`.
 */
export type BinaryHash = string

/** The hash of one leaf. */
export function leafHashBinary(leaf: string): BinaryHash {
  return hash('sha256', LEAF + leaf, 'binary')
}

/** The hash of two subtrees. */
export function nodeHashBinary(left: BinaryHash, right: BinaryHash): BinaryHash {
  nodeInput.write(left, 1, 'latin1')
  nodeInput.write(right, 1 + HASH_BYTES, 'latin1')
  return hash('sha256', nodeInput, 'binary')
}

/** The hash of one leaf given as bytes. */
export function leafHash(leaf: Uint8Array): Buffer {
  return createHash('sha256').update(LEAF).update(leaf).digest()
}

/** The hash of two subtrees. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  nodeInput.set(left, 1)
  nodeInput.set(right, 1 + HASH_BYTES)
  return Buffer.from(hash('sha256', nodeInput, 'binary'), 'latin1')
}

/** Reads the hash of the perfect subtree of `2^height` leaves whose place in its row is `index`. */
export type SubtreeReader = (height: number, index: number) => Promise<Uint8Array>

/** The root of the leaves `[start, end)`. */
export async function rangeHash(
  read: SubtreeReader,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const size = end - start
  const height = Math.log2(size)
  if (Number.isInteger(height) && start % size === 0) return read(height, start / size)
  const split = start + splitOf(size)
  return nodeHash(await rangeHash(read, start, split), await rangeHash(read, split, end))
}

/** The proof that the leaf `index` is in the tree of `size` leaves. */
export async function inclusionProof(
  read: SubtreeReader,
  index: number,
  size: number,
): Promise<Uint8Array[]> {
  const ranges: [number, number][] = []
  let start = 0
  let end = size
  while (end - start > 1) {
    const split = start + splitOf(end - start)
    if (index < split) {
      ranges.push([split, end])
      end = split
    } else {
      ranges.push([start, split])
      start = split
    }
  }
  return Promise.all(ranges.toReversed().map(([from, to]) => rangeHash(read, from, to)))
}

/** The proof that the tree of `newSize` leaves only appended to that of `oldSize`. */
export async function consistencyProof(
  read: SubtreeReader,
  oldSize: number,
  newSize: number,
): Promise<Uint8Array[]> {
  if (oldSize === 0 || oldSize === newSize) return []
  const ranges: [number, number][] = []
  let start = 0
  let end = newSize
  while (oldSize !== end) {
    const split = start + splitOf(end - start)
    if (oldSize <= split) {
      ranges.push([split, end])
      end = split
    } else {
      ranges.push([start, split])
      start = split
    }
  }
  if (start > 0) ranges.push([start, end])
  return Promise.all(ranges.toReversed().map(([from, to]) => rangeHash(read, from, to)))
}

/** The largest power of two below `size`. */
function splitOf(size: number): number {
  return 2 ** Math.floor(Math.log2(size - 1))
}

/**
 * Whether the proof shows the leaf at `index` in the tree of that root. Anything malformed is `false`.
 *
 * @see RFC 9162, section 2.1.3.2
 */
export function verifyInclusion(
  hashOfLeaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!isCount(index) || !isCount(size) || index >= size) return false
  if (!areHashes([hashOfLeaf, root, ...proof])) return false
  let node = index
  let last = size - 1
  let current = hashOfLeaf
  for (const sibling of proof) {
    if (last === 0) return false
    if (node % 2 === 1 || node === last) {
      current = nodeHash(sibling, current)
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2)
        last = Math.floor(last / 2)
      }
    } else {
      current = nodeHash(current, sibling)
    }
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 && Buffer.compare(current, root) === 0
}

/**
 * Whether the proof shows that the second tree only appended to the first. A first size of zero
 * proves nothing and is `false`. Anything malformed is `false`.
 *
 * @see RFC 9162, section 2.1.4.2
 */
export function verifyConsistency(
  oldSize: number,
  newSize: number,
  oldRoot: Uint8Array,
  newRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!isCount(oldSize) || !isCount(newSize) || oldSize === 0 || oldSize > newSize) return false
  if (oldSize === newSize) return proof.length === 0 && Buffer.compare(oldRoot, newRoot) === 0
  if (!areHashes([oldRoot, newRoot, ...proof])) return false
  const path = Number.isInteger(Math.log2(oldSize)) ? [oldRoot, ...proof] : [...proof]
  const first = path.shift()
  if (first === undefined || proof.length === 0) return false
  let node = oldSize - 1
  let last = newSize - 1
  while (node % 2 === 1) {
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  let old = first
  let current = first
  for (const sibling of path) {
    if (last === 0) return false
    if (node % 2 === 1 || node === last) {
      old = nodeHash(sibling, old)
      current = nodeHash(sibling, current)
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2)
        last = Math.floor(last / 2)
      }
    } else {
      current = nodeHash(current, sibling)
    }
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 && Buffer.compare(old, oldRoot) === 0 && Buffer.compare(current, newRoot) === 0
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function areHashes(values: readonly Uint8Array[]): boolean {
  return values.every((value) => value.length === HASH_BYTES)
}
