/** What the state of a key admits. */
import {
  intervalOf,
  type Bound,
  type BoundReading,
  type Outcome,
  type Policy,
  type SlotReading,
} from './policy.ts'
import { debtOf, type State } from './state.ts'

/** Reads a pruned state: whether a request of `cost` is admitted, and what is left without it. */
export function read(
  state: State,
  policy: Policy,
  bounds: readonly Bound[],
  cost: number,
  now: number,
): SlotReading {
  const readings =
    policy.algorithm === 'exact'
      ? bounds.map((bound) => readExact(state, bound, cost, now))
      : bounds.map((bound) => readGcra(state, bound, cost, now))
  return {
    outcome: outcomeOf(state, policy, readings, now),
    blockedUs: Math.max(0, state.blockedUntil - now),
    refusals: state.refusals,
    bounds: readings,
  }
}

function outcomeOf(
  state: State,
  { maxInFlight }: Policy,
  readings: readonly BoundReading[],
  now: number,
): Outcome {
  if (state.blockedUntil > now) return 'blocked'
  if (readings.some(({ retryUs }) => retryUs > 0)) return 'limit'
  return maxInFlight > 0 && (state.leases?.size ?? 0) >= maxInFlight ? 'in-flight' : 'fits'
}

function readExact(
  { times, units }: State,
  { limit, windowUs }: Bound,
  cost: number,
  now: number,
): BoundReading {
  let used = 0
  let first = times.length
  while (first > 0 && times[first - 1]! > now - windowUs) used += units[--first]!
  let retryUs = 0
  let missing = used + cost - limit
  for (let index = first; missing > 0 && index < times.length; index++) {
    missing -= units[index]!
    retryUs = times[index]! + windowUs - now
  }
  const last = first === times.length ? now - windowUs : times.at(-1)!
  const remaining = Math.max(0, limit - used)
  return { limit, windowUs, remaining, resetUs: last + windowUs - now, retryUs }
}

function readGcra(state: State, bound: Bound, cost: number, now: number): BoundReading {
  const interval = intervalOf(bound)
  const capacity = bound.limit * interval
  const debt = Math.min(debtOf(state, bound, now), capacity)
  return {
    limit: bound.limit,
    windowUs: bound.windowUs,
    remaining: Math.floor((capacity - debt) / interval),
    resetUs: debt,
    retryUs: Math.max(0, debt + cost * interval - capacity),
  }
}
