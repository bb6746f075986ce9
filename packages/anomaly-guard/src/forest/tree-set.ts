/** The typed arrays that hold trees. */
import { depthLimit, meanPathLength } from './path-length.ts'
import type { TreeSet } from './types.ts'

/** Allocates trees of one sample size; every tree is a single leaf until it is written. */
export function createTreeSet(
  trees: number,
  sampleSize: number,
  depth = depthLimit(sampleSize),
): TreeSet {
  const size = 2 ** depth
  return {
    trees,
    sampleSize,
    depth,
    sampleRows: new Uint32Array(trees).fill(sampleSize),
    feature: new Uint16Array(trees * size),
    threshold: new Float32Array(trees * size).fill(Infinity),
    value: new Float64Array(trees * size * 2),
    count: new Uint32Array(trees * size * 2),
  }
}

/** Copies one tree over another one of the same depth. */
export function copyTree(from: TreeSet, index: number, to: TreeSet, at: number): void {
  const size = 2 ** from.depth
  to.sampleRows[at] = from.sampleRows[index]!
  const inner = [index * size, (index + 1) * size] as const
  const all = [index * size * 2, (index + 1) * size * 2] as const
  to.feature.set(from.feature.subarray(...inner), at * size)
  to.threshold.set(from.threshold.subarray(...inner), at * size)
  to.value.set(from.value.subarray(...all), at * size * 2)
  to.count.set(from.count.subarray(...all), at * size * 2)
}

/**
 * Writes a leaf at a node of any level, and continues it to the left down to the last level.
 *
 * @param node the number of the node in its tree.
 * @param level of the node; the root has 0.
 */
export function writeLeaf(
  set: TreeSet,
  tree: number,
  { node, level, rows }: { readonly node: number; readonly level: number; readonly rows: number },
): void {
  const size = 2 ** set.depth
  const value = (level + meanPathLength(rows)) / (meanPathLength(set.sampleRows[tree]!) || 1)
  let at = node
  for (let below = level; below <= set.depth; below++) {
    set.value[tree * size * 2 + at] = value
    set.count[tree * size * 2 + at] = rows
    if (below < set.depth) {
      set.feature[tree * size + at] = 0
      set.threshold[tree * size + at] = Infinity
    }
    at *= 2
  }
}

/** Writes an inner node; its value is filled in by {@link fillMeans}. */
export function writeSplit(
  set: TreeSet,
  tree: number,
  split: {
    readonly node: number
    readonly rows: number
    readonly feature: number
    readonly threshold: number
  },
): void {
  const size = 2 ** set.depth
  set.feature[tree * size + split.node] = split.feature
  set.threshold[tree * size + split.node] = roundDown(split.threshold)
  set.count[tree * size * 2 + split.node] = split.rows
}

/** Fills in the values of the inner nodes of a tree from its leaves. */
export function fillMeans(set: TreeSet, tree: number): void {
  const size = 2 ** set.depth
  const base = tree * size * 2
  for (let node = size - 1; node >= 1; node--) {
    if (set.threshold[tree * size + node] === Infinity) continue
    const left = set.count[base + 2 * node]!
    const right = set.count[base + 2 * node + 1]!
    set.value[base + node] =
      (left * set.value[base + 2 * node]! + right * set.value[base + 2 * node + 1]!) /
      (left + right)
  }
}

const asFloat32 = new Float32Array(1)
const asInt32 = new Int32Array(asFloat32.buffer)

/**
 * The largest 32-bit float that is not above the number. A 32-bit value is above the one exactly if it
 * is above the other, so thresholds need no more bits.
 */
function roundDown(value: number): number {
  asFloat32[0] = value
  if (asFloat32[0] > value) {
    if (asFloat32[0] === 0) return -(2 ** -149)
    asInt32[0]! += asFloat32[0] > 0 ? -1 : 1
  }
  return asFloat32[0]
}
