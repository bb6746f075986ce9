/** What the Isolation Forest takes and returns. */

/** Settings of a forest. */
export interface ForestSettings {
  /** @default 100 */
  readonly trees?: number
  /** Rows for each tree (psi); several sizes are used in turn. @default [256] */
  readonly sampleSizes?: readonly number[]
  /** The same seed and rows give the same forest on every platform. @default 0 */
  readonly seed?: number
}

/** A forest, ready to score. */
export interface IsolationForest {
  /** How many features a row has. */
  readonly features: number
  readonly trees: number
  /** The anomaly score of one row, 0 to 1; the negative of scikit-learn's `score_samples`. */
  score(row: Float64Array): number
  /**
   * Explains a score: adds to `parts` the depth that each feature saved or cost. The sum of the parts is
   * (expected mean depth − mean depth of the row).
   */
  attribute(row: Float64Array, parts: Float64Array): void
}
