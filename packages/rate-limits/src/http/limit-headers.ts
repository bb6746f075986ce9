/** The headers that tell a client its limits. */
import type { FastifyReply } from 'fastify'
import {
  admits,
  waitOf,
  type BoundReading,
  type Policy,
  type Slot,
  type SlotReading,
  type Verdict,
} from '../limits/policy.ts'

const SECOND_US = 1_000_000
/** When a client that has too many running requests may try again. */
const IN_FLIGHT_RETRY_US = SECOND_US

/** Which headers are sent. */
export type HeaderChoice = 'both' | 'x-ratelimit' | 'ratelimit' | 'none'

/** The seconds after which a refused request may be repeated, at least 1. */
export function retryAfterOf(slots: readonly Slot[], readings: readonly SlotReading[]): number {
  let longest = 0
  for (const [index, reading] of readings.entries()) {
    if (!admits(reading) && slots[index]!.policy.isEnforced) {
      longest = Math.max(longest, retryOf(reading))
    }
  }
  return Math.max(1, Math.ceil(longest / SECOND_US))
}

/** How long a refused key has to wait. */
export function retryOf(reading: SlotReading): number {
  return reading.outcome === 'in-flight' ? IN_FLIGHT_RETRY_US : waitOf(reading)
}

/** Sets the headers of a decision. @param retryAfter `undefined`: the request was admitted. */
export function setLimitHeaders(
  reply: FastifyReply,
  slots: readonly Slot[],
  verdict: Pick<Verdict, 'readings' | 'isLocal'>,
  choice: HeaderChoice,
  retryAfter: number | undefined,
): void {
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  if (choice === 'none') return
  if (choice !== 'ratelimit') setTightest(reply, slots, verdict.readings, retryAfter)
  if (choice !== 'x-ratelimit') setStandard(reply, slots, verdict)
}

/** `X-RateLimit-*`: the bound with the least left, or the one that refused. */
function setTightest(
  reply: FastifyReply,
  slots: readonly Slot[],
  readings: readonly SlotReading[],
  retryAfter: number | undefined,
): void {
  let tightest: BoundReading | undefined
  for (let index = 0; index < readings.length; index++) {
    const reading = readings[index]!
    if (!slots[index]!.policy.isEnforced) continue
    if (retryAfter !== undefined && admits(reading)) continue
    for (const bound of reading.bounds) {
      if (tightest === undefined || isTighter(bound, tightest)) tightest = bound
    }
  }
  if (tightest === undefined) return
  const remaining = retryAfter === undefined ? Math.max(0, tightest.remaining) : 0
  reply.header('x-ratelimit-limit', tightest.limit)
  reply.header('x-ratelimit-remaining', remaining)
  reply.header('x-ratelimit-reset', retryAfter ?? Math.ceil(tightest.resetUs / SECOND_US))
}

function isTighter(a: BoundReading, b: BoundReading): boolean {
  if (a.retryUs !== b.retryUs) return a.retryUs > b.retryUs
  return a.remaining < b.remaining || (a.remaining === b.remaining && a.resetUs > b.resetUs)
}

/**
 * `RateLimit` and `RateLimit-Policy`, one item per bound.
 *
 * @see draft-ietf-httpapi-ratelimit-headers-10
 */
function setStandard(
  reply: FastifyReply,
  slots: readonly Slot[],
  { readings, isLocal }: Pick<Verdict, 'readings' | 'isLocal'>,
): void {
  let policies = ''
  let limits = ''
  for (let index = 0; index < slots.length; index++) {
    const { policy } = slots[index]!
    if (!policy.isEnforced || !isTightestOfPolicy(slots, readings, index)) continue
    const names = namesOf(policy)
    const { bounds, blockedUs, outcome } = readings[index]!
    for (let at = 0; at < bounds.length; at++) {
      const bound = bounds[at]!
      const [name, window] = names[at]!
      const left = outcome === 'blocked' ? 0 : Math.max(0, bound.remaining)
      const resetUs = outcome === 'blocked' ? blockedUs : Math.max(bound.resetUs, bound.retryUs)
      const separator = policies === '' ? '' : ', '
      policies += `${separator}"${name}";q=${bound.limit};w=${window}`
      limits += `${separator}"${name}";r=${left};t=${Math.ceil(resetUs / SECOND_US)}`
      // The numbers are those of this instance's share.
      if (isLocal) limits += ';degraded'
    }
  }
  if (policies === '') return
  reply.header('ratelimit-policy', policies)
  reply.header('ratelimit', limits)
}

/** Name and window in seconds of each bound. */
const knownNames = new WeakMap<Policy, readonly (readonly [name: string, window: number])[]>()

function namesOf(policy: Policy): readonly (readonly [name: string, window: number])[] {
  let names = knownNames.get(policy)
  if (names === undefined) {
    names = policy.bounds.map(({ windowUs }) => {
      const window = Math.ceil(windowUs / SECOND_US)
      return [policy.bounds.length === 1 ? policy.tier : `${policy.tier}-${window}`, window]
    })
    knownNames.set(policy, names)
  }
  return names
}

/** A login that names several accounts has a slot for each; of those of one policy the tightest is shown. */
function isTightestOfPolicy(
  slots: readonly Slot[],
  readings: readonly SlotReading[],
  index: number,
): boolean {
  const { policy } = slots[index]!
  for (let other = 0; other < slots.length; other++) {
    if (other === index || slots[other]!.policy !== policy) continue
    const difference = tightnessOf(readings[other]!) - tightnessOf(readings[index]!)
    if (difference > 0 || (difference === 0 && other < index)) return false
  }
  return true
}

/** Refused ones first, then those with the least left. */
function tightnessOf(reading: SlotReading): number {
  if (!admits(reading)) return waitOf(reading)
  return -reading.bounds.reduce((least, { remaining }) => Math.min(least, remaining + 1), Infinity)
}
