/** The list of features, how they are compared, and how they explain a score. */
import type { IsolationForest } from '../forest/forest.ts'
import type { FeatureProfile } from './profile.ts'
import { BUILT_IN } from './record.ts'
import type { FeatureDefinition, FeatureShare } from './types.ts'

/** Heavy-tailed features of every key, which are compared by their logarithm. */
const LOGARITHMIC = new Set<string>([
  'requestRate',
  'uniqueAddresses',
  'failedAuthentications',
  'bytesOut',
  'responseTime',
])
const MOST_SHARES = 3

/**
 * The least robust deviation of a feature, in the unit in which it is compared: what was constant so far
 * may vary a little without being an anomaly. Features that are compared by their logarithm have
 * {@link LOGARITHMIC_SPREAD}.
 */
const LEAST_SPREAD: Readonly<Record<string, number>> = {
  unusualHour: 0.1,
  newUserAgent: 0.2,
  geoAnomaly: 0.2,
  sequenceScore: 0.6,
  errorRate: 0.08,
}
const LOGARITHMIC_SPREAD = 0.15
const OWN_SPREAD = 0.5
/** Deviations up to this count for nothing by themselves; each doubling beyond it does, and more each time. */
const USUAL_DEVIATIONS = 4
const GROWTH = 1.5
/** What the first doubling is worth, and one feature at most, in the unit of the forest's mean depth. */
const DEPTH_OF_DOUBLING = 0.15
const MOST_DEPTH = 1
/** No path is shorter. */
const LEAST_DEPTH = 0.1

/** Turns values in their own units into rows of the forest, and back into words. */
export interface FeatureSet {
  readonly names: readonly string[]
  /** Fills `row` from `values`. */
  transform(values: Float64Array, row: Float64Array): void
  /**
   * The score of a row. A forest does not split a feature that never varied, nor does it tell how far beyond
   * all known values one is; so extreme deviations from the median shorten the path further.
   */
  score(
    forest: IsolationForest,
    row: Float64Array,
    profileOf: (feature: number) => FeatureProfile | undefined,
  ): number
  /** Whether a feature of the row is far above its usual values. */
  isExtreme(row: Float64Array, profileOf: (feature: number) => FeatureProfile | undefined): boolean
  /** The features that explain the score of `row` best. */
  explain(
    forest: IsolationForest,
    row: Float64Array,
    profileOf: (feature: number) => FeatureProfile | undefined,
  ): FeatureShare[]
}

export function createFeatureSet(own: readonly FeatureDefinition[]): FeatureSet {
  const names = [...BUILT_IN, ...own.map(({ name }) => name)]
  const logarithmic = [
    ...BUILT_IN.map((name) => LOGARITHMIC.has(name)),
    ...own.map((feature) => feature.logarithmic ?? true),
  ]
  const parts = new Float64Array(names.length)
  const leastSpreads = names.map((name, feature) =>
    logarithmic[feature]! ? LOGARITHMIC_SPREAD : (LEAST_SPREAD[name] ?? OWN_SPREAD),
  )
  const deviationOf = (feature: number, value: number, profile: FeatureProfile) =>
    (value - profile.median) / Math.max(profile.spread, leastSpreads[feature]!)
  /** By how much the deviation of one feature shortens the path; too little of something is no attack. */
  const shortening = (feature: number, value: number, profile: FeatureProfile | undefined) => {
    if (profile === undefined) return 0
    const deviations = deviationOf(feature, value, profile) / USUAL_DEVIATIONS
    if (deviations <= 1) return 0
    return Math.min(DEPTH_OF_DOUBLING * Math.log2(deviations) ** GROWTH, MOST_DEPTH)
  }
  const restore = (feature: number, value: number) =>
    logarithmic[feature]! ? Math.sign(value) * Math.expm1(Math.abs(value)) : value

  return {
    names,
    transform(values, row) {
      for (let i = 0; i < row.length; i++) {
        const value = values[i]!
        row[i] = logarithmic[i]! ? Math.sign(value) * Math.log1p(Math.abs(value)) : value
      }
    },
    score(forest, row, profileOf) {
      let depth = forest.depth(row)
      for (let i = 0; i < row.length; i++) depth -= shortening(i, row[i]!, profileOf(i))
      return 2 ** -Math.max(depth, LEAST_DEPTH)
    },
    isExtreme: (row, profileOf) => row.some((value, i) => shortening(i, value, profileOf(i)) > 0),
    explain(forest, row, profileOf) {
      forest.attribute(row, parts)
      for (let i = 0; i < row.length; i++) parts[i]! += shortening(i, row[i]!, profileOf(i))
      const sum = parts.reduce((total, part) => total + part, 0)
      const shares = names.map((feature, i) => {
        const own = { low: row[i]!, median: row[i]!, high: row[i]!, spread: 1 }
        const profile = profileOf(i) ?? own
        return {
          feature,
          value: restore(i, row[i]!),
          deviation: deviationOf(i, row[i]!, profile),
          usual: [restore(i, profile.low), restore(i, profile.high)] as const,
          share: parts[i]! / (sum || 1),
        }
      })
      return shares.toSorted((a, b) => b.share - a.share).slice(0, MOST_SHARES)
    },
  }
}
