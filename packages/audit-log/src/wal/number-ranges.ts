/** Ranges of record numbers of a writer. */

/** Both ends are inclusive. */
export type SeqRange = [from: number, to: number]

/** Merges overlapping and adjacent ranges, and sorts them. */
export function mergeRanges(ranges: readonly SeqRange[]): SeqRange[] {
  const merged: SeqRange[] = []
  for (const [from, to] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else merged.push([from, to])
  }
  return merged
}
