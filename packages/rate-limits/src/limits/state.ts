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
  /** When the state was written last: a clock that shows less has been set back. */
  at: number
  /**
   * `gcra`: for each window that is not full its length, the interval that was counted with, and when it is
   * full again, one after another. By window, so that limits may be added and changed.
   *
   * @see ITU-T I.371, annex A
   */
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
    at: 0,
    full: [],
    times: [],
    units: [],
    leases: undefined,
  }
}

/** Forgets what no longer matters at `now`, and corrects times if the clock was set back. */
export function prune(state: State, policy: Policy, now: number): void {
  const longest = longestWindow(policy)
  if (state.at > now) moveBack(state, state.at - now)
  state.at = now
  if (now - state.refusedSince >= longest) state.refusals = 0
  const { times } = state
  let gone = 0
  while (gone < times.length && times[gone]! <= now - longest) gone++
  if (gone > 0) {
    state.times.splice(0, gone)
    state.units.splice(0, gone)
  }
  for (let index = state.full.length - 3; index >= 0; index -= 3) {
    if (state.full[index + 2]! <= now) state.full.splice(index, 3)
  }
  if (state.leases === undefined) return
  for (const [id, end] of state.leases) if (end <= now) state.leases.delete(id)
}

function moveBack(state: State, by: number): void {
  state.blockedUntil -= by
  state.refusedSince -= by
  for (let index = 2; index < state.full.length; index += 3) state.full[index]! -= by
  for (let index = 0; index < state.times.length; index++) state.times[index]! -= by
  for (const [id, end] of state.leases ?? []) state.leases!.set(id, end - by)
}

/** What a bucket owes at `now`, in µs of this bound: units that were counted at another pace remain units. */
export function debtOf({ full }: Pick<State, 'full'>, bound: Bound, now: number): number {
  const index = placeOf(full, bound)
  if (index === full.length) return 0
  const [interval, debt] = [full[index + 1]!, Math.max(0, full[index + 2]! - now)]
  const wanted = intervalOf(bound)
  return wanted === interval ? debt : Math.ceil((debt * wanted) / interval)
}

/** Where the window of a bound is in `full`, or its end. */
function placeOf(full: readonly number[], { windowUs }: Bound): number {
  let index = 0
  while (index < full.length && full[index] !== windowUs) index += 3
  return index
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
    if (algorithm === 'gcra') {
      const bound = bounds[index]!
      const place = placeOf(state.full, bound)
      state.full.splice(place, 3, bound.windowUs, intervalOf(bound), now + each.resetUs)
    }
  }
  if (algorithm === 'gcra') return
  if (now === state.times.at(-1)) state.units[state.units.length - 1]! += cost
  else {
    state.times.push(now)
    state.units.push(cost)
  }
}

/**
 * Gives units back that were consumed at `at`, at the pace at which they were counted. A bucket has refilled since then, so that much of them
 * is back already; otherwise slow requests would lift the limit.
 */
export function giveBack(state: State, units: number, at: number, now: number): void {
  for (let index = 0; index < state.full.length; index += 3) {
    const due = units * state.full[index + 1]! - Math.max(0, now - at)
    state.full[index + 2]! -= Math.max(0, due)
  }
  const index = state.times.indexOf(at)
  if (index === -1) return
  const left = state.units[index]! - units
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
  for (let index = 2; index < state.full.length; index += 3) end = Math.max(end, state.full[index]!)
  const last = state.times.at(-1)
  if (last !== undefined) end = Math.max(end, last + longest)
  for (const lease of state.leases?.values() ?? []) end = Math.max(end, lease)
  return end
}
