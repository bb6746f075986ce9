/** The mean length of a path in a random tree. */

const EULER = 0.577_215_664_901_532_9

/**
 * c(n): the mean length of an unsuccessful search in a binary search tree of n rows.
 *
 * @see Liu, Ting and Zhou, "Isolation Forest" (ICDM 2008), equation 1
 */
export function meanPathLength(rows: number): number {
  if (rows <= 1) return 0
  if (rows === 2) return 1
  return 2 * (Math.log(rows - 1) + EULER) - (2 * (rows - 1)) / rows
}

/** The greatest depth of a tree grown from this many rows. */
export function depthLimit(sampleSize: number): number {
  return Math.max(1, Math.ceil(Math.log2(sampleSize)))
}
