/**
 * The state of one key, and the arithmetic on it. The Lua script in `store/decide-script.ts` has the same
 * formulas; a test compares both. Times are whole microseconds, so that no sum is rounded.
 */
import { intervalOf, longestWindow, type Bound, type Policy, type SlotReading } from './policy.ts'

/** What is stored for a key. */
export interface State {
  blockedUntil: number
  refusals: number
  /** When the first of the counted refusals was. */
  refusedSince: number
  /** `gcra`: for each bound, when it is full again. @see ITU-T I.371, annex A */
  full: number[]
  /** `exact`: times of requests, oldest first. */
  times: number[]
  /** `exact`: the units of each request in `times`. */
  units: number[]
  /** Running requests: when each lease ends, by its id. */
  leases: Map<string, number> | undefined
}

/** Creates the state of a key that has not been used. */
export function createState(): State {
  return {
    blockedUntil: 0,
    refusals: 0,
    refusedSince: 0,
    full: [],
    times: [],
    units: [],
    leases: undefined,
  }
}

/** Forgets what no longer matters at `now`, and corrects times that a clock which was set back made too late. */
export function prune(state: State, policy: Policy, now: number): void {
  const longest = longestWindow(policy)
  state.blockedUntil = Math.min(state.blockedUntil, now + policy.blockUs)
  if (now - state.refusedSince >= longest) state.refusals = 0
  const { times } = state
  let gone = 0
  while (gone < times.length && times[gone]! <= now - longest) gone++
  if (gone > 0) {
    state.times.splice(0, gone)
    state.units.splice(0, gone)
  }
  if (state.leases === undefined) return
  for (const [id, end] of state.leases) if (end <= now) state.leases.delete(id)
}

/** The bounds in force: tightening never goes below one unit. */
export function tightened(bounds: readonly Bound[], factor: number): readonly Bound[] {
  if (factor >= 1) return bounds
  return bounds.map(({ limit, windowUs }) => ({
    limit: Math.max(1, Math.floor(limit * factor)),
    windowUs,
  }))
}

/** A request never costs more than the smallest bound, or it could never be admitted. */
export function boundedCost(cost: number, bounds: readonly Bound[]): number {
  return bounds.reduce((least, { limit }) => Math.min(least, limit), cost)
}

/** Consumes `cost` from a state that admits it, and corrects the reading. */
export function consume(
  state: State,
  { algorithm }: Policy,
  bounds: readonly Bound[],
  reading: SlotReading,
  cost: number,
  now: number,
): void {
  if (cost === 0) return
  for (let index = 0; index < bounds.length; index++) {
    const each = reading.bounds[index]!
    each.remaining -= cost
    each.resetUs =
      algorithm === 'exact' ? each.windowUs : each.resetUs + cost * intervalOf(bounds[index]!)
    if (algorithm === 'gcra') state.full[index] = now + each.resetUs
  }
  if (algorithm === 'gcra') return
  // A clock that was set back must not make the list unordered.
  const time = Math.max(now, state.times.at(-1) ?? 0)
  if (time === state.times.at(-1)) state.units[state.units.length - 1]! += cost
  else {
    state.times.push(time)
    state.units.push(cost)
  }
}

/**
 * Gives `cost` units back that were consumed at `at`. A bucket has refilled since then, so that much of them
 * is back already; otherwise slow requests would lift the limit.
 */
export function giveBack(
  state: State,
  policy: Policy,
  cost: number,
  at: number,
  now: number,
): void {
  const returned = boundedCost(cost, policy.bounds)
  for (const [index, bound] of policy.bounds.entries()) {
    const full = state.full[index]
    const due = Math.max(0, returned * intervalOf(bound) - Math.max(0, now - at))
    if (full !== undefined) state.full[index] = full - due
  }
  const index = state.times.indexOf(at)
  if (index === -1) return
  const left = state.units[index]! - returned
  if (left > 0) state.units[index] = left
  else {
    state.times.splice(index, 1)
    state.units.splice(index, 1)
  }
}

/** Notes a refusal and blocks the key, if it is not blocked yet. @returns the reading after it. */
export function refuse(
  state: State,
  policy: Policy,
  reading: SlotReading,
  now: number,
): SlotReading {
  if (state.refusals === 0) state.refusedSince = now
  state.refusals++
  if (reading.outcome === 'limit') state.blockedUntil = now + policy.blockUs
  return {
    ...reading,
    refusals: state.refusals,
    blockedUs: Math.max(0, state.blockedUntil - now),
  }
}

/** When a state no longer differs from a new one. */
export function horizon(state: State, policy: Policy): number {
  const longest = longestWindow(policy)
  let end = state.blockedUntil
  if (state.refusals > 0) end = Math.max(end, state.refusedSince + longest)
  for (const each of state.full) end = Math.max(end, each)
  const last = state.times.at(-1)
  if (last !== undefined) end = Math.max(end, last + longest)
  for (const lease of state.leases?.values() ?? []) end = Math.max(end, lease)
  return end
}
