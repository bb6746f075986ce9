/** Grows one tree in steps of bounded cost. */
import type { Random } from './random.ts'
import { fillMeans, writeLeaf, writeSplit } from './tree-set.ts'
import type { Matrix, TreeSet } from './types.ts'

interface Node {
  readonly node: number
  readonly level: number
  readonly start: number
  readonly end: number
}

/** Where a tree is written. */
export interface TreePlace {
  readonly set: TreeSet
  readonly tree: number
}

/**
 * The growth of one tree. A node splits a random feature, of those that vary in it, at a random threshold
 * between its least and its greatest value, as scikit-learn does.
 */
export class TreeGrowth {
  readonly #sample: Matrix
  readonly #place: TreePlace
  readonly #random: Random
  readonly #order: Int32Array
  readonly #features: Int32Array
  readonly #open: Node[]
  #visited = 0

  /**
   * @param sample the rows of the tree; they must not change before it is complete.
   * @param place receives the tree; it must not be scored before that is complete.
   */
  constructor(sample: Matrix, place: TreePlace, random: Random) {
    const { rows, columns } = sample
    this.#sample = sample
    this.#place = place
    this.#random = random
    this.#order = Int32Array.from({ length: rows }, (_, row) => row)
    this.#features = Int32Array.from({ length: columns }, (_, feature) => feature)
    this.#open = [{ node: 1, level: 0, start: 0, end: rows }]
    place.set.sampleRows[place.tree] = rows
  }

  /** How many values were read so far: what the growth has cost. */
  get visited(): number {
    return this.#visited
  }

  /**
   * Splits nodes until about `visits` values were read; the last node may exceed it by the size of its
   * sample times the number of features.
   *
   * @returns true when the tree is complete.
   */
  step(visits: number): boolean {
    const until = this.#visited + visits
    for (let node = this.#open.pop(); node !== undefined; node = this.#open.pop()) {
      this.#split(node)
      if (this.#visited >= until) break
    }
    if (this.#open.length > 0) return false
    fillMeans(this.#place.set, this.#place.tree)
    return true
  }

  #split({ node, level, start, end }: Node): void {
    const { set, tree } = this.#place
    const rows = end - start
    const split = level < set.depth && rows > 1 ? this.#choose(start, end) : undefined
    if (split === undefined) {
      writeLeaf(set, tree, { node, level, rows })
      return
    }
    writeSplit(set, tree, { node, rows, ...split })
    const middle = this.#partition(split, start, end)
    this.#open.push({ node: 2 * node + 1, level: level + 1, start: middle, end })
    this.#open.push({ node: 2 * node, level: level + 1, start, end: middle })
  }

  #choose(start: number, end: number): { feature: number; threshold: number } | undefined {
    const features = this.#features
    for (let left = features.length; left > 0; left--) {
      const pick = this.#random.below(left)
      const feature = features[pick]!
      const [low, high] = this.#rangeOf(feature, start, end)
      if (low < high) {
        const threshold = low + this.#random.next() * (high - low)
        return { feature, threshold: threshold >= high ? low : threshold }
      }
      features[pick] = features[left - 1]!
      features[left - 1] = feature
    }
    return undefined
  }

  #rangeOf(feature: number, start: number, end: number): [low: number, high: number] {
    const { values, columns } = this.#sample
    let low = Infinity
    let high = -Infinity
    for (let i = start; i < end; i++) {
      const value = values[this.#order[i]! * columns + feature]!
      if (value < low) low = value
      if (value > high) high = value
    }
    this.#visited += end - start
    return [low, high]
  }

  /** Moves the rows that go left to the front. @returns where those begin that go right. */
  #partition(
    { feature, threshold }: { readonly feature: number; readonly threshold: number },
    start: number,
    end: number,
  ): number {
    const { values, columns } = this.#sample
    const order = this.#order
    let middle = start
    for (let i = start; i < end; i++) {
      const row = order[i]!
      if (values[row * columns + feature]! > threshold) continue
      order[i] = order[middle]!
      order[middle++] = row
    }
    this.#visited += end - start
    return middle
  }
}

/** Draws rows without replacement into a matrix of their own. */
export function drawSample(from: Matrix, size: number, random: Random): Matrix {
  const { rows, columns } = from
  const wanted = Math.min(size, rows)
  const values = new Float32Array(wanted * columns)
  // Floyd's algorithm: it costs as much as the sample, however many rows there are.
  const drawn = new Set<number>()
  for (let last = rows - wanted; last < rows; last++) {
    const row = random.below(last + 1)
    drawn.add(drawn.has(row) ? last : row)
  }
  let at = 0
  for (const row of drawn) {
    values.set(from.values.subarray(row * columns, (row + 1) * columns), at)
    at += columns
  }
  return { values, rows: wanted, columns }
}
