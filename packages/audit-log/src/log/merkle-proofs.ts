/**
 * Inclusion and consistency proofs, and their verification.
 *
 * @see RFC 9162, sections 2.1.3 and 2.1.4
 */
import { HASH_BYTES, nodeHash, rangeHash, splitOf, type SubtreeReader } from './merkle-tree.ts'

/** Proves that the leaf `index` is in the tree of `size` leaves. @returns hashes from the leaf up */
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

/** Proves that the tree of `oldSize` leaves is a prefix of the tree of `newSize` leaves. */
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

/**
 * Whether the proof shows that the leaf is at `index` in the tree with this root. Malformed input
 * returns `false`.
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
 * Whether the proof shows that the first tree is a prefix of the second. A first size of 0 and
 * malformed input return `false`.
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
