/** Whether two kinds of requests can be told apart by their durations. */
import { randomInt } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'

/** What {@link comparePairs} found. */
export interface PairedTimes {
  /** In how many pairs the first kind took longer. */
  readonly slower: number
  /** How far that is from one half, in standard deviations of a fair coin. Fail from 5 on: once in 1.7 million runs. */
  readonly deviations: number
  /** The sentence for the report: what was found, and the smallest difference that the test would see. */
  readonly text: string
}

const MAX_DEVIATIONS = 5
/** One more, so that a difference of this size is found in five of six runs. */
const POWER = 1

/**
 * Times pairs of one request of each kind, in random order, one right behind the other: what else the machine does slows
 * both. Under equal durations, each kind is the slower one in half of the pairs, whatever their distribution is.
 *
 * @param kinds send one request; called with the number of the pair.
 */
export async function comparePairs(
  pairs: number,
  kinds: readonly [(pair: number) => Promise<unknown>, (pair: number) => Promise<unknown>],
): Promise<PairedTimes> {
  const differences: number[] = []
  for (let pair = 0; pair < pairs; pair++) {
    const isSwapped = randomInt(2) === 1
    const first = await time(kinds[isSwapped ? 1 : 0], pair)
    const second = await time(kinds[isSwapped ? 0 : 1], pair)
    differences.push(isSwapped ? second - first : first - second)
  }
  const slower = differences.filter((each) => each > 0).length
  const deviations = Math.abs(slower - pairs / 2) / (Math.sqrt(pairs) / 2)
  // A difference is seen when it turns so many of the pairs over: half of them are closer than it to the middle.
  const turned = Math.min(0.49, (MAX_DEVIATIONS + POWER) / 2 / Math.sqrt(pairs))
  const sizes = differences.map(Math.abs).toSorted((a, b) => a - b)
  const seen = sizes[Math.min(pairs - 1, Math.ceil(2 * turned * pairs))]!
  const share = Math.round((0.5 + turned) * 100)
  return {
    slower,
    deviations,
    text:
      `slower in ${slower} of ${pairs} pairs (${deviations.toFixed(1)} sd); the smallest difference that is seen ` +
      `makes ${share} % slower, here about ${(seen / 1e6).toFixed(3)} ms`,
  }
}

/** In nanoseconds. */
async function time(send: (pair: number) => Promise<unknown>, pair: number): Promise<number> {
  const start = process.hrtime.bigint()
  await send(pair)
  const took = Number(process.hrtime.bigint() - start)
  // Work behind the answer is not part of it; a client that waits for the next answer sees it as load.
  await setImmediate()
  return took
}
