/** A share of many, chosen so that nobody can foresee which. */
import { randomInt } from 'node:crypto'

const STEPS = 2 ** 32

/** @param ratio from 0 (never) to 1 (always). @returns whether this one is chosen. */
export function createSampler(ratio: number): () => boolean {
  if (ratio === 0) return () => false
  if (ratio === 1) return () => true
  return () => randomInt(STEPS) < ratio * STEPS
}
