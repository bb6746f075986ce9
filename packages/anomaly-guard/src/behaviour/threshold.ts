/** From where on a score is an anomaly: followed online, from the scores of accepted rows. */

const BINS = 2048
/** Below this many scores the tail is unknown. */
const ENOUGH = 200
/** After this many scores, older ones count half. */
const HALF_LIFE = 2048
const DEFAULT = 0.65
const LEAST = 0.55
const MOST = 0.95

type Quantiles = [middle: number, high: number, higher: number, highest: number]

/** A histogram of scores whose old entries fade. */
export interface ScoreThreshold {
  add(score: number): void
  readonly value: number
}

/**
 * Estimates the score that only the share `contamination` of accepted rows exceeds. It continues the
 * slope between the 95th and the 99th percentile, because a rare tail has too few samples to be counted,
 * and an attacker who reaches it must not be able to move the threshold.
 *
 * @param start the value until there are enough scores.
 */
export function createScoreThreshold(contamination: number, start = DEFAULT): ScoreThreshold {
  const bins = new Float64Array(BINS)
  let total = 0
  let sinceFade = 0
  let value = start

  const quantile = (share: number) => {
    let above = total * (1 - share)
    for (let bin = BINS - 1; bin >= 0; bin--) {
      above -= bins[bin]!
      if (above < 0) return (bin + 1) / BINS
    }
    return 0
  }

  const update = () => {
    if (total < ENOUGH) return
    const [middle, high, higher, highest] = [0.5, 0.9, 0.95, 0.99].map(quantile) as Quantiles
    const beyond = Math.max(0, Math.log(0.01 / contamination))
    const tail = highest + ((highest - higher) / Math.log(5)) * beyond
    // Of what attackers do with less than a tenth of all rows, these two know nothing.
    const bound =
      high + ((high - middle) / Math.log(5)) * Math.max(0, Math.log(0.1 / contamination))
    value = Math.min(Math.max(Math.min(tail, bound), LEAST), MOST)
  }

  return {
    add(score) {
      bins[Math.min(BINS - 1, Math.max(0, Math.floor(score * BINS)))]! += 1
      total += 1
      sinceFade += 1
      if (sinceFade === HALF_LIFE) {
        for (let bin = 0; bin < BINS; bin++) bins[bin]! /= 2
        total /= 2
        sinceFade = 0
      }
      // Walking the histogram costs a microsecond or two.
      if (sinceFade % 32 === 0) update()
    },
    get value() {
      return value
    },
  }
}
