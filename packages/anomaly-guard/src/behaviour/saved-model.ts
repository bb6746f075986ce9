/** A saved behaviour model: the forest, and the notes that belong to it. */
import { PARAPET_ANOMALY_GUARD_INVALID_MODEL } from '../errors.ts'
import type { IsolationForest } from '../forest/forest.ts'
import { readForest, writeForest } from '../forest/model-file.ts'
import type { FeatureProfile } from './profile.ts'

/** Everything that is saved; it contains aggregates of what was learnt, and no row. */
export interface SavedModel {
  readonly forest: IsolationForest
  readonly names: readonly string[]
  readonly learnt: number
  readonly threshold: number
  readonly profiles: readonly FeatureProfile[]
}

export function writeModel({ forest, names, learnt, threshold, profiles }: SavedModel): Uint8Array {
  const numbers = profiles.map(({ low, median, high, spread }) => [low, median, high, spread])
  return writeForest({ forest, notes: { names, learnt, threshold, profiles: numbers } })
}

/** @throws PARAPET_ANOMALY_GUARD_INVALID_MODEL it is damaged, or was saved with other features. */
export function readModel(bytes: Uint8Array, names: readonly string[]): SavedModel {
  const { forest, notes } = readForest(bytes)
  const { learnt, threshold, profiles, ...rest } = (notes ?? {}) as Record<string, unknown>
  const found = Array.isArray(rest['names']) ? rest['names'].join(', ') : 'none'
  if (found !== names.join(', ') || forest.features !== names.length) {
    throw new PARAPET_ANOMALY_GUARD_INVALID_MODEL(
      `it was saved with the features ${found}, expected ${names.join(', ')}`,
    )
  }
  const isWhole =
    Number.isSafeInteger(learnt) &&
    isNumbers([threshold], 1) &&
    Array.isArray(profiles) &&
    profiles.length <= names.length &&
    profiles.every((each) => isNumbers(each, 4))
  if (!isWhole) throw new PARAPET_ANOMALY_GUARD_INVALID_MODEL('its notes are malformed')
  return {
    forest,
    names,
    learnt: learnt as number,
    threshold: threshold as number,
    profiles: (profiles as [number, number, number, number][]).map(
      ([low, median, high, spread]) => ({ low, median, high, spread }),
    ),
  }
}

function isNumbers(value: unknown, length: number): boolean {
  return Array.isArray(value) && value.length === length && value.every(Number.isFinite)
}
