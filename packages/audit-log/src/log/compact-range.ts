/** A tree as the roots of its perfect subtrees: enough to append leaves and to compute the root. */
import { EMPTY_ROOT, nodeHashBinary, type BinaryHash } from './merkle-tree.ts'

/** Called when a perfect subtree is complete, with its height, its position in its row, and its root. */
export type SubtreeListener = (height: number, index: number, root: BinaryHash) => void

/** Grows leaf by leaf; memory is logarithmic in the number of leaves. */
export class CompactRange {
  size = 0
  /** Largest subtree first. */
  #peaks: BinaryHash[] = []

  /** Appends the hash of a leaf. */
  append(hash: BinaryHash, onSubtree?: SubtreeListener): void {
    let node = hash
    let height = 0
    for (let rest = this.size; rest % 2 === 1; rest = (rest - 1) / 2) {
      node = nodeHashBinary(this.#peaks.pop()!, node)
      height++
      onSubtree?.(height, Math.floor(this.size / 2 ** height), node)
    }
    this.#peaks.push(node)
    this.size++
  }

  root(): Buffer {
    const last = this.#peaks.at(-1)
    if (last === undefined) return EMPTY_ROOT
    const root = this.#peaks
      .slice(0, -1)
      .reduceRight((right, left) => nodeHashBinary(left, right), last)
    return Buffer.from(root, 'latin1')
  }

  copy(): CompactRange {
    const copy = new CompactRange()
    copy.size = this.size
    copy.#peaks = [...this.#peaks]
    return copy
  }
}
