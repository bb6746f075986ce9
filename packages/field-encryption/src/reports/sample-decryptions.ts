/** Samples the events of decryptions. */

/** Binary fractions: ten times 0.1 is slightly less than 1. */
const TOLERANCE = 1e-9

/**
 * Creates a sampler that lets every `1 / ratio`-th decryption of a column emit an event.
 *
 * @param ratio 0 to 1; 0: no event.
 * @returns a function that takes the count of one decryption, and returns the count of all decryptions
 *   since the last event if an event is due, otherwise 0.
 */
export function createDecryptionSampler(ratio: number): (column: string, count: number) => number {
  const pending = new Map<string, { share: number; count: number }>()
  return (column, count) => {
    if (ratio === 0) return 0
    const state = pending.get(column) ?? { share: 0, count: 0 }
    pending.set(column, state)
    state.share += ratio
    state.count += count
    if (state.share < 1 - TOLERANCE) return 0
    const due = state.count
    state.share -= 1
    state.count = 0
    return due
  }
}
