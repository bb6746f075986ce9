/**
 * The budget for false positives of one rule: a threshold that the given share of readings exceeds, learnt
 * from the readings themselves.
 */

/** How many of the largest readings are kept of each half: more make the threshold steadier. */
const KEPT = 64

/** See {@link createBudget}. */
export interface Budget {
  /**
   * Learns a reading, and returns the threshold before it: a reading up to the threshold is within what
   * ordinary traffic shows. A key counts once among the largest readings of a half.
   */
  learn(key: number, reading: number): number
  /** Forgets what was learnt. */
  reset(): void
  readonly threshold: number
}

interface Half {
  seen: number
  /** The largest reading of each key, at most {@link KEPT} keys. */
  readonly largest: Map<number, number>
  /** A reading up to it is not among the largest. */
  floor: number
}

const createHalf = (): Half => ({ seen: 0, largest: new Map(), floor: 0 })

/**
 * Creates a budget. The threshold is the (ratio × n)-th largest of the last n readings; n is between one and
 * two halves of `64 / ratio / 2` readings, so that about 32 to 64 readings exceed it. Before enough readings
 * were seen to allow one, nothing exceeds it.
 *
 * @param ratio the share of readings that may exceed the threshold, above 0.
 * @param cap the threshold never exceeds it: a key above it is an attacker, of whom nothing is learnt.
 */
export function createBudget(ratio: number, cap = Infinity): Budget {
  const halfLength = Math.ceil(KEPT / ratio / 2)
  let present = createHalf()
  let past = createHalf()
  let threshold = 0
  let untilUpdate = 1

  const update = (): void => {
    const seen = present.seen + past.seen
    const allowed = Math.floor(seen * ratio)
    const merged = [...past.largest.values(), ...present.largest.values()].toSorted((a, b) => b - a)
    threshold = merged[Math.min(allowed, merged.length - 1)] ?? 0
    // Often at first, later a hundred times in each half.
    untilUpdate = Math.max(1, Math.min(seen >> 4, Math.ceil(halfLength / 100)))
  }
  return {
    learn(key, reading) {
      if (reading > cap) {
        for (const half of [past, present]) if (half.largest.delete(key)) untilUpdate = 1
        return Math.min(threshold, cap)
      }
      present.seen++
      keep(present, key, reading)
      const before = threshold
      if (--untilUpdate <= 0) update()
      if (present.seen >= halfLength) {
        past = present
        present = createHalf()
      }
      return before
    },
    reset() {
      present = createHalf()
      past = createHalf()
      threshold = 0
      untilUpdate = 1
    },
    get threshold() {
      return threshold
    },
  }
}

function keep(half: Half, key: number, reading: number): void {
  const { largest, floor } = half
  if (reading <= floor) return
  const known = largest.get(key) ?? -Infinity
  largest.set(key, Math.max(known, reading))
  if (largest.size > KEPT) largest.delete(leastOf(largest)[0])
  if (largest.size === KEPT) half.floor = leastOf(largest)[1]
}

function leastOf(largest: ReadonlyMap<number, number>): readonly [key: number, reading: number] {
  let least: readonly [number, number] = [0, Infinity]
  for (const entry of largest) if (entry[1] < least[1]) least = entry
  return least
}
