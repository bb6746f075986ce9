/** Reads a forest that scikit-learn has fitted. */
import { PARAPET_ANOMALY_GUARD_INVALID_MODEL } from '../errors.ts'
import { IsolationForest } from './forest.ts'
import { createTreeSet, fillMeans, writeLeaf, writeSplit } from './tree-set.ts'
import type { TreeSet } from './types.ts'

/** One tree: the arrays of the same names of scikit-learn's `estimator.tree_`. */
interface ScikitLearnTree {
  readonly children_left: readonly number[]
  readonly children_right: readonly number[]
  readonly feature: readonly number[]
  readonly threshold: readonly number[]
  readonly n_node_samples: readonly number[]
  /** Of `estimators_features_`, where `max_features` is below 1. @default all, in order */
  readonly features?: readonly number[]
}

/** A fitted `sklearn.ensemble.IsolationForest` as JSON. */
export interface ScikitLearnForest {
  /** `forest.n_features_in_` */
  readonly n_features: number
  /** `forest.max_samples_` */
  readonly max_samples: number
  readonly trees: readonly ScikitLearnTree[]
}

/** Perfect trees double with each level. */
const MAX_DEPTH = 16
const MAX_TREES = 10_000

/**
 * Builds the forest, whose scores are those of `-forest.score_samples(rows)`.
 *
 * @throws PARAPET_ANOMALY_GUARD_INVALID_MODEL it is not such a forest, or a tree is deeper than 16.
 */
export function readScikitLearnForest(source: ScikitLearnForest): IsolationForest {
  const { n_features: features, max_samples: sampleSize, trees } = source
  if (!isCount(features, 65_535) || !isCount(sampleSize, 2 ** 31)) {
    throw new PARAPET_ANOMALY_GUARD_INVALID_MODEL('"n_features" or "max_samples" is not a count')
  }
  if (!isList(trees) || trees.length === 0 || trees.length > MAX_TREES) {
    throw new PARAPET_ANOMALY_GUARD_INVALID_MODEL(`"trees" must list 1 to ${MAX_TREES} trees`)
  }
  const depth = Math.max(1, ...trees.map((tree, index) => depthOf(tree, { index, features })))
  const set = createTreeSet(trees.length, sampleSize, depth)
  for (const [index, tree] of trees.entries()) {
    copyNode(tree, set, { index, at: 0, node: 1, level: 0 })
    fillMeans(set, index)
  }
  return new IsolationForest(features, [set])
}

/** Checks a tree, and returns its depth. */
function depthOf(
  tree: ScikitLearnTree,
  { index, features }: { readonly index: number; readonly features: number },
): number {
  const fault = (what: string) =>
    new PARAPET_ANOMALY_GUARD_INVALID_MODEL(`tree ${index} of the forest ${what}`)
  const { children_left: left, children_right: right, feature, threshold } = tree
  const arrays = [left, right, feature, threshold, tree.n_node_samples]
  const isWhole = arrays.every((each) => isList(each) && each.length === left.length)
  if (!isWhole || left.length === 0) throw fault('has arrays of different lengths')
  const visit = (at: number, level: number): number => {
    if (level > MAX_DEPTH) throw fault(`is deeper than ${MAX_DEPTH}`)
    if (!isCount(tree.n_node_samples[at]!, 2 ** 32)) throw fault('has a node without rows')
    if (left[at] === -1) return level
    const original = featureOf(tree, at)
    if (!Number.isFinite(threshold[at]!)) throw fault('has a threshold that is no number')
    if (!Number.isInteger(original) || original < 0 || original >= features) {
      throw fault('splits a feature that does not exist')
    }
    return Math.max(visit(left[at]!, level + 1), visit(right[at]!, level + 1))
  }
  return visit(0, 0)
}

function copyNode(
  tree: ScikitLearnTree,
  set: TreeSet,
  place: {
    readonly index: number
    readonly at: number
    readonly node: number
    readonly level: number
  },
): void {
  const { index, at, node, level } = place
  const rows = tree.n_node_samples[at]!
  if (tree.children_left[at] === -1) {
    writeLeaf(set, index, { node, level, rows })
    return
  }
  const threshold = tree.threshold[at]!
  writeSplit(set, index, { node, rows, feature: featureOf(tree, at), threshold })
  copyNode(tree, set, { index, at: tree.children_left[at]!, node: 2 * node, level: level + 1 })
  copyNode(tree, set, { index, at: tree.children_right[at]!, node: 2 * node + 1, level: level + 1 })
}

function featureOf(tree: ScikitLearnTree, at: number): number {
  return tree.features?.[tree.feature[at]!] ?? tree.feature[at]!
}

function isCount(value: number, most: number): boolean {
  return Number.isInteger(value) && value > 0 && value <= most
}

/** `Array.isArray`, which turns a readonly array into one of `any`. */
function isList(value: readonly unknown[]): boolean {
  return Array.isArray(value)
}
