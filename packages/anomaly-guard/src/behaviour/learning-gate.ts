/** Decides which rows may be learnt, so that an attacker cannot teach the model that an attack is usual. */

const RECENT = 512
const ENOUGH = 256
/** Above this share of anomalous rows, the service itself has changed. */
const MOVED = 0.2

/** Watches the share of anomalous rows; each key gives only a few rows to it. */
export interface LearningGate {
  /**
   * Anomalous rows are refused, unless so many rows are anomalous that what is usual must have changed:
   * a few attackers cannot cause that, because the rows of one key are limited.
   */
  accepts(anomalous: boolean): boolean
  /** The share of anomalous rows of the last 512. */
  readonly anomalyRate: number
}

export function createLearningGate(): LearningGate {
  const recent = new Uint8Array(RECENT)
  let seen = 0
  let anomalies = 0
  const rate = () => (seen === 0 ? 0 : anomalies / Math.min(seen, RECENT))
  return {
    accepts(anomalous) {
      const at = seen % RECENT
      anomalies += (anomalous ? 1 : 0) - recent[at]!
      recent[at] = anomalous ? 1 : 0
      seen++
      return !anomalous || (seen >= ENOUGH && rate() > MOVED)
    },
    get anomalyRate() {
      return rate()
    },
  }
}
