/** Decides which rows may be learnt, so that an attacker cannot teach the model that an attack is usual. */

const RECENT = 512
const ENOUGH = 256
/** Above this share of suspicious rows, the service itself has changed. */
const MOVED = 0.2

/** Watches the share of suspicious rows; each key gives only a few rows to it. */
export interface LearningGate {
  /**
   * Suspicious rows are refused, unless so many rows are suspicious that what is usual must have changed:
   * a few attackers cannot cause that, because the rows of one key are limited.
   */
  accepts(suspicious: boolean): boolean
  /** The share of suspicious rows of the last 512. */
  readonly rate: number
}

export function createLearningGate(): LearningGate {
  const recent = new Uint8Array(RECENT)
  let seen = 0
  let suspects = 0
  const rate = () => (seen === 0 ? 0 : suspects / Math.min(seen, RECENT))
  return {
    accepts(suspicious) {
      const at = seen % RECENT
      suspects += (suspicious ? 1 : 0) - recent[at]!
      recent[at] = suspicious ? 1 : 0
      seen++
      return !suspicious || (seen >= ENOUGH && rate() > MOVED)
    },
    get rate() {
      return rate()
    },
  }
}
