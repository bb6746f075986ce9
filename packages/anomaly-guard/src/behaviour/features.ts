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

/** Turns values in their own units into rows of the forest, and back into words. */
export interface FeatureSet {
  readonly names: readonly string[]
  /** Fills `row` from `values`. */
  transform(values: Float64Array, row: Float64Array): void
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
    explain(forest, row, profileOf) {
      forest.attribute(row, parts)
      const sum = parts.reduce((total, part) => total + part, 0)
      const shares = names.map((feature, i) => {
        const { low, median, high, spread } = profileOf(i) ?? {
          low: row[i]!,
          median: row[i]!,
          high: row[i]!,
          spread: 1,
        }
        return {
          feature,
          value: restore(i, row[i]!),
          deviation: (row[i]! - median) / spread,
          usual: [restore(i, low), restore(i, high)] as const,
          share: parts[i]! / (sum || 1),
        }
      })
      return shares.toSorted((a, b) => b.share - a.share).slice(0, MOST_SHARES)
    },
  }
}
