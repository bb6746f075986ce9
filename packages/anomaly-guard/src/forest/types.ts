/** What the Isolation Forest takes and returns. */

/** Settings of a forest. */
export interface ForestSettings {
  /** @default 100 */
  readonly trees?: number
  /** Rows for each tree (psi), used in turn: `[64, 256, 1024]` mixes three sizes. @default [256] */
  readonly sampleSizes?: readonly number[]
  /** The same seed and rows give the same forest on every platform. @default 0 */
  readonly seed?: number
}

/** Rows of equal length, one after another. */
export interface Matrix {
  readonly values: Float32Array
  readonly rows: number
  readonly columns: number
}

/**
 * Trees of one sample size, as perfect binary trees: node `i` of a tree has the children `2i` and
 * `2i + 1`, the root is node 1. A branch that ends early is continued to the left down to the last level,
 * so that every row takes the same number of steps and no step is a jump that the processor must guess.
 */
export interface TreeSet {
  readonly trees: number
  /** How many rows a tree is grown from, if there are as many. */
  readonly sampleSize: number
  readonly depth: number
  /** By tree: how many rows it was grown from. */
  readonly sampleRows: Uint32Array
  /** By tree and inner node; `2 ** depth` for each tree. */
  readonly feature: Uint16Array
  /** A row goes right if its value is above; `Infinity` where a branch is continued. */
  readonly threshold: Float32Array
  /**
   * By tree and node, `2 ** (depth + 1)` for each tree: the length of the path of a leaf divided by
   * c(sampleRows); of an inner node, the mean of the leaves below it.
   */
  readonly value: Float64Array
  /** By tree and node: how many rows reached it. */
  readonly count: Uint32Array
}
