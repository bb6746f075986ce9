/** A histogram of latencies with buckets that grow by the factor √2. Its error is at most 19 %. */

/** From 0.25 ms to 48 minutes. */
const BUCKETS = 48
const FIRST_MS = 0.25

/** Counts by bucket. */
export type Histogram = Uint32Array

/** Creates an empty histogram. */
export function createHistogram(): Histogram {
  return new Uint32Array(BUCKETS)
}

/** Counts one latency. */
export function observe(histogram: Histogram, ms: number): void {
  const bucket = ms <= FIRST_MS ? 0 : Math.ceil(2 * Math.log2(ms / FIRST_MS))
  const index = Math.min(bucket, BUCKETS - 1)
  histogram[index] = histogram[index]! + 1
}

/** Adds the counts of another histogram. */
export function addAll(histogram: Histogram, other: ArrayLike<number>): void {
  for (let at = 0; at < BUCKETS; at++) histogram[at] = histogram[at]! + (other[at] ?? 0)
}

/** The latency that a share of the requests did not exceed; `null` without requests. */
export function quantile(histogram: Histogram, share: number): number | null {
  const total = histogram.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  let left = total * share
  for (const [index, count] of histogram.entries()) {
    if (count > 0 && left <= count) return between(index, left / count)
    left -= count
  }
  return boundOf(BUCKETS - 1)
}

/** Latencies are taken as evenly spread in their bucket. */
function between(index: number, share: number): number {
  const low = index === 0 ? 0 : boundOf(index - 1)
  return Math.round((low + (boundOf(index) - low) * share) * 100) / 100
}

function boundOf(index: number): number {
  return FIRST_MS * 2 ** (index / 2)
}
