/** What is usual: quantiles of each feature over what was learnt, and how far the stream has left them. */
import type { Matrix } from '../forest/types.ts'

const BINS = 10
/** At most this many rows are sorted for one feature. */
const SAMPLE = 2048
/** After this many rows, older ones count half. */
const HALF_LIFE = 256
/** The quartiles of a normal distribution are this many standard deviations apart. */
const QUARTILES = 1.349
/** The first and the last decile. */
const DECILES = 2.563

/** The usual values of one feature. */
export interface FeatureProfile {
  readonly low: number
  readonly median: number
  readonly high: number
  /** A robust standard deviation; 0 if hardly anything varies. */
  readonly spread: number
}

/** Profiles of all features, and the drift against them. */
export interface Profile {
  /** Asks for new profiles; {@link Profile.work} makes them, one feature at a time. */
  renew(): void
  readonly hasWork: boolean
  work(buffer: Matrix): void
  /** Counts a row of the stream for the drift. */
  count(row: Float64Array): void
  of(feature: number): FeatureProfile | undefined
  /** Profiles of a saved model, until they are renewed. */
  adopt(saved: readonly FeatureProfile[]): void
  /** The population stability index of a feature, 0 where there is too little to compare. */
  driftOf(feature: number): number
}

interface Reference extends FeatureProfile {
  readonly edges: Float32Array
  readonly shares: Float64Array
}

export function createProfile(features: number): Profile {
  const references: (Reference | undefined)[] = Array.from({ length: features })
  let adopted: readonly FeatureProfile[] = []
  const recent = Array.from({ length: features }, () => new Float64Array(BINS))
  const waiting = new Set<number>()
  let sinceFade = 0
  let counted = 0

  return {
    renew() {
      for (let feature = 0; feature < features; feature++) waiting.add(feature)
    },
    get hasWork() {
      return waiting.size > 0
    },
    work(buffer) {
      const [feature] = waiting
      if (feature === undefined) return
      waiting.delete(feature)
      references[feature] = describe(buffer, feature)
      // What was counted in other bins cannot be compared with these.
      recent[feature]!.fill(0)
      counted = 0
    },
    count(row) {
      counted += 1
      sinceFade += 1
      const fades = sinceFade === HALF_LIFE
      if (fades) sinceFade = 0
      for (let feature = 0; feature < features; feature++) {
        const reference = references[feature]
        if (reference === undefined) continue
        const bins = recent[feature]!
        // The edges are values of 32 bits, so the row must be, too.
        bins[binOf(reference.edges, Math.fround(row[feature]!))]! += 1
        if (fades) for (let bin = 0; bin < BINS; bin++) bins[bin]! /= 2
      }
    },
    of: (feature) => references[feature] ?? adopted[feature],
    adopt(saved) {
      adopted = saved
    },
    driftOf(feature) {
      const reference = references[feature]
      if (reference === undefined || counted < HALF_LIFE) return 0
      return stabilityIndex(reference.shares, recent[feature]!)
    },
  }
}

function describe({ values, rows, columns }: Matrix, feature: number): Reference {
  const step = Math.max(1, Math.floor(rows / SAMPLE))
  const sample = Float32Array.from({ length: Math.floor(rows / step) }, (_, i) => {
    return values[i * step * columns + feature]!
  })
  const sorted = sample.toSorted()
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!
  const edges = Float32Array.from({ length: BINS - 1 }, (_, bin) => at((bin + 1) / BINS))
  const shares = new Float64Array(BINS)
  for (const value of sorted) shares[binOf(edges, value)]! += 1
  const spread = (at(0.75) - at(0.25)) / QUARTILES || (at(0.9) - at(0.1)) / DECILES
  return { low: at(0.05), median: at(0.5), high: at(0.95), spread, edges, shares }
}

function binOf(edges: Float32Array, value: number): number {
  let bin = 0
  while (bin < edges.length && value > edges[bin]!) bin++
  return bin
}

/** The sum over the bins of (recent − usual) · ln(recent / usual), with shares that are never 0. */
function stabilityIndex(usual: Float64Array, recent: Float64Array): number {
  const [before, now] = [sharesOf(usual), sharesOf(recent)]
  return now.reduce(
    (sum, each, bin) => sum + (each - before[bin]!) * Math.log(each / before[bin]!),
    0,
  )
}

function sharesOf(bins: Float64Array): Float64Array {
  const sum = bins.reduce((total, count) => total + count, 0)
  return bins.map((count) => (count + 0.5) / (sum + BINS / 2))
}
