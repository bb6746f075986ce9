/** Decides which rows may be learnt, so that an attacker cannot teach the model that an attack is usual. */

const RECENT = 512
const ENOUGH = 256
/** Above this share of suspicious votes, the service itself has changed. */
const MOVED = 0.3

/** Watches the share of suspicious rows; each key has one vote in a window, however many rows it gives. */
export interface LearningGate {
  /**
   * Suspicious rows are refused, unless so many votes are suspicious that what is usual must have changed:
   * attackers cause that only if they are three tenths of all clients.
   *
   * @param voter whose vote the row replaces; without it, the row is a vote of its own.
   */
  accepts(suspicious: boolean, voter?: string): boolean
  /** The share of suspicious votes of the last 512. */
  readonly rate: number
}

export function createLearningGate(): LearningGate {
  const recent = new Uint8Array(RECENT)
  const voters: (string | undefined)[] = []
  const places = new Map<string, number>()
  let seen = 0
  let suspects = 0
  const rate = () => (seen === 0 ? 0 : suspects / Math.min(seen, RECENT))
  const placeOf = (voter: string | undefined): number => {
    const known = voter === undefined ? undefined : places.get(voter)
    if (known !== undefined) return known
    const at = seen++ % RECENT
    const former = voters[at]
    if (former !== undefined) places.delete(former)
    voters[at] = voter
    if (voter !== undefined) places.set(voter, at)
    return at
  }
  return {
    accepts(suspicious, voter) {
      const at = placeOf(voter)
      suspects += (suspicious ? 1 : 0) - recent[at]!
      recent[at] = suspicious ? 1 : 0
      return !suspicious || (seen >= ENOUGH && rate() > MOVED)
    },
    get rate() {
      return rate()
    },
  }
}
