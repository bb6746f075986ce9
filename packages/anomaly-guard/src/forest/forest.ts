/** The Isolation Forest: scores rows by how few random splits isolate them. */
import { depthLimit } from './path-length.ts'
import { drawSample, TreeGrowth } from './grow-tree.ts'
import { createRandom } from './random.ts'
import { createTreeSet } from './tree-set.ts'
import type { ForestSettings, Matrix, TreeSet } from './types.ts'

/**
 * A forest that scores rows. It keeps no row that it learnt from. Values are compared as 32-bit floats,
 * as scikit-learn does; `NaN` counts as below every threshold.
 *
 * @see Liu, Ting and Zhou, "Isolation Forest" (ICDM 2008)
 */
export class IsolationForest {
  readonly features: number
  readonly sets: readonly TreeSet[]
  readonly trees: number
  readonly #row: Float32Array

  constructor(features: number, sets: readonly TreeSet[]) {
    this.features = features
    this.sets = sets
    this.trees = sets.reduce((sum, set) => sum + set.trees, 0)
    this.#row = new Float32Array(features)
  }

  /** The anomaly score of a row, 0 to 1: the negative of scikit-learn's `score_samples`. */
  score(row: ArrayLike<number>): number {
    return 2 ** -this.depth(row)
  }

  /** The mean length of the row's paths, each divided by c(psi) of its tree. */
  depth(row: ArrayLike<number>): number {
    const values = this.#row
    for (let i = 0; i < values.length; i++) values[i] = row[i]!
    let sum = 0
    for (const set of this.sets) sum += sumOfPaths(set, values)
    return sum / this.trees
  }

  /** The mean depth of the rows that the trees were grown from. */
  get expectedDepth(): number {
    let sum = 0
    for (const set of this.sets) {
      for (let tree = 0; tree < set.trees; tree++)
        sum += set.value[tree * 2 ** (set.depth + 1) + 1]!
    }
    return sum / this.trees
  }

  /**
   * Explains a score: how much each feature shortened (positive) or lengthened the mean path of the row.
   * The sum of the parts is `expectedDepth - depth(row)`.
   *
   * @param parts receives one part for each feature.
   */
  attribute(row: ArrayLike<number>, parts: Float64Array): void {
    parts.fill(0)
    const values = this.#row
    for (let i = 0; i < values.length; i++) values[i] = row[i]!
    for (const set of this.sets) addParts(set, values, parts)
    for (let i = 0; i < parts.length; i++) parts[i]! /= this.trees
  }
}

/**
 * Grows a forest from all rows at once. For a stream, see {@link StreamingForest}.
 *
 * @param rows at least one row of at least one column.
 */
export function fitForest(rows: Matrix, settings: ForestSettings = {}): IsolationForest {
  const { trees = 100, sampleSizes = [256], seed = 0 } = settings
  const random = createRandom(seed)
  const sets = allocateSets(trees, sampleSizes, rows.rows)
  for (const set of sets) {
    for (let tree = 0; tree < set.trees; tree++) {
      new TreeGrowth(drawSample(rows, set.sampleSize, random), { set, tree }, random).step(Infinity)
    }
  }
  return new IsolationForest(rows.columns, sets)
}

/** Shares the trees out to the sample sizes, none of which may exceed the number of rows. */
export function allocateSets(
  trees: number,
  sampleSizes: readonly number[],
  rows: number,
): TreeSet[] {
  return sampleSizes.flatMap((size, index) => {
    const share = Math.floor((trees + sampleSizes.length - 1 - index) / sampleSizes.length)
    const sampleSize = Math.min(size, rows)
    return share > 0 ? [createTreeSet(share, sampleSize, depthLimit(sampleSize))] : []
  })
}

/**
 * One bit for each comparison, without a jump: V8 compiles `x ? 1 : 0` to a branch, which the processor
 * guesses wrong half of the time. Four trees are walked at once, because each step waits for memory.
 */
function sumOfPaths(set: TreeSet, row: Float32Array): number {
  const { feature, threshold, value, depth, trees } = set
  const size = 1 << depth
  let sum = 0
  let tree = 0
  for (; tree + 3 < trees; tree += 4) {
    const a = tree * size
    const b = a + size
    const c = b + size
    const d = c + size
    let i = 1
    let j = 1
    let k = 1
    let l = 1
    for (let level = 0; level < depth; level++) {
      i = 2 * i + bit(row[feature[a + i]!]! > threshold[a + i]!)
      j = 2 * j + bit(row[feature[b + j]!]! > threshold[b + j]!)
      k = 2 * k + bit(row[feature[c + k]!]! > threshold[c + k]!)
      l = 2 * l + bit(row[feature[d + l]!]! > threshold[d + l]!)
    }
    sum += value[2 * a + i]! + value[2 * b + j]! + (value[2 * c + k]! + value[2 * d + l]!)
  }
  for (; tree < trees; tree++) {
    const a = tree * size
    let i = 1
    for (let level = 0; level < depth; level++) {
      i = 2 * i + bit(row[feature[a + i]!]! > threshold[a + i]!)
    }
    sum += value[2 * a + i]!
  }
  return sum
}

function addParts(set: TreeSet, row: Float32Array, parts: Float64Array): void {
  const { feature, threshold, value, depth, trees } = set
  const size = 1 << depth
  for (let tree = 0; tree < trees; tree++) {
    const base = tree * size
    let node = 1
    let before = value[2 * base + 1]!
    for (let level = 0; level < depth; level++) {
      const split = feature[base + node]!
      node = 2 * node + bit(row[split]! > threshold[base + node]!)
      const after = value[2 * base + node]!
      parts[split]! += before - after
      before = after
    }
  }
}

function bit(condition: boolean): number {
  return (condition as unknown as number) | 0
}
