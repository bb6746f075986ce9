/** What an instance has decided alone and Redis does not know yet. It is kept until Redis has taken it. */
import { intervalOf, longestWindow, type Policy, type Slot } from '../limits/policy.ts'
import type { Shares } from '../limits/shares.ts'
import { debtOf, type State } from '../limits/state.ts'
import type { Entry } from './bounded-states.ts'
import type { MemoryLimits } from './memory-limits.ts'
import type { RedisLimits } from './redis-limits.ts'

/** Values in one call when counters are merged: more would take Redis longer than a deadline. */
const MERGE_VALUES = 1000
/** Values of each key besides its uses. */
const VALUES = 6
/** Ended requests that are kept; the lease of an older one ends by itself. */
const MAX_RELEASES = 10_000
/** Calls that are sent at once. */
const AT_ONCE = 50

/** What a key has consumed and Redis does not know. */
interface Usage {
  readonly entry: Entry
  readonly id: string
  /** The policy of the fleet, not the local share. */
  readonly policy: Policy
  readonly uses: Pick<State, 'full' | 'times' | 'units'>
}

export class Unsent {
  readonly #local: MemoryLimits
  readonly #redis: RedisLimits
  readonly #shares: Shares
  readonly #releases = new Map<string, readonly Slot[]>()
  #hasUses = false
  #sending: Promise<number> | undefined

  constructor(local: MemoryLimits, redis: RedisLimits, shares: Shares) {
    this.#local = local
    this.#redis = redis
    this.#shares = shares
  }

  /** Notes that uses are to be merged. */
  addUses(): void {
    this.#hasUses = true
  }

  /** Sends the end of a running request, now or when Redis answers. */
  async release(slots: readonly Slot[], lease: string, isUp: boolean): Promise<void> {
    const limited = slots.filter(({ policy }) => policy.maxInFlight > 0)
    if (limited.length === 0) return
    this.#releases.set(lease, limited)
    const [oldest] = this.#releases.keys()
    if (this.#releases.size > MAX_RELEASES) this.#releases.delete(oldest!)
    if (isUp) await this.#sendRelease(lease, limited).catch(() => {})
  }

  async #sendRelease(lease: string, slots: readonly Slot[]): Promise<void> {
    await this.#redis.release(slots, lease)
    this.#releases.delete(lease)
  }

  /** Sends everything; what Redis does not take remains. @returns the keys that were merged. */
  async send(): Promise<number> {
    this.#sending ??= this.#sendAll()
    try {
      return await this.#sending
    } finally {
      this.#sending = undefined
    }
  }

  async #sendAll(): Promise<number> {
    let merged = 0
    try {
      for (const releases of chunksOf([...this.#releases], AT_ONCE)) {
        await Promise.all(releases.map(([lease, slots]) => this.#sendRelease(lease, slots)))
      }
      if (!this.#hasUses) return 0
      for (const batch of this.#batches()) {
        await this.#merge(batch)
        merged += batch.length
      }
      this.#hasUses = false
    } catch {
      // Redis is down again; the next heartbeat or recovery sends what is left.
    }
    return merged
  }

  async #merge(batch: readonly Usage[]): Promise<void> {
    const now = this.#local.now()
    // Copied before the call: what is used during it is not sent.
    const sent = batch.map(({ entry: { state } }) => ({
      at: now,
      full: [...state.full],
      refusals: state.refusals,
    }))
    const numbers = batch.flatMap((usage) => numbersOf(usage, now))
    await this.#redis.merge(
      batch.map(({ id }) => id),
      numbers,
    )
    for (const [index, { entry }] of batch.entries()) entry.sent = sent[index]!
  }

  *#batches(): Generator<Usage[]> {
    let batch: Usage[] = []
    let values = 0
    for (const [id, entry] of this.#local.entries()) {
      const policy = this.#shares.fleetPolicyOf(entry.policy)
      const uses = policy && unsentOf(entry, this.#local.now())
      if (policy === undefined || uses === undefined) continue
      batch.push({ entry, id, policy, uses })
      values += VALUES + uses.full.length + 2 * uses.times.length
      if (values < MERGE_VALUES) continue
      yield batch
      batch = []
      values = 0
    }
    if (batch.length > 0) yield batch
  }
}

/** What a key has consumed since it was sent. */
function unsentOf({ state, sent }: Entry, now: number): Usage['uses'] | undefined {
  const full: number[] = []
  for (let index = 0; index < state.full.length; index += 3) {
    const [windowUs, interval, end] = state.full.slice(index, index + 3) as [number, number, number]
    // What was sent, and is not refilled yet, at the interval of now: that of the share may have changed.
    const known = debtAt(sent?.full ?? [], windowUs, interval, now)
    const debt = Math.floor(Math.max(0, end - now) - known)
    if (debt > 0) full.push(windowUs, interval, now + debt)
  }
  const first = sent === undefined ? 0 : state.times.findIndex((time) => time > sent.at)
  const times = first === -1 ? [] : state.times.slice(first)
  if (full.length === 0 && times.length === 0) return undefined
  return { full, times, units: first === -1 ? [] : state.units.slice(first) }
}

function debtAt(full: readonly number[], windowUs: number, interval: number, now: number): number {
  for (let index = 0; index < full.length; index += 3) {
    if (full[index] !== windowUs) continue
    return (Math.max(0, full[index + 2]! - now) * interval) / full[index + 1]!
  }
  return 0
}

/** The numbers of a key that the script reads. */
function numbersOf({ entry: { state, sent }, policy, uses }: Usage, now: number): number[] {
  const exact = policy.algorithm === 'exact'
  const block = Math.min(Math.max(0, state.blockedUntil - now), policy.blockUs)
  const refusals = Math.max(0, state.refusals - (sent?.refusals ?? 0))
  const head = [exact ? 1 : 0, block, refusals, longestWindow(policy)]
  if (exact) {
    const most = policy.bounds.reduce((largest, { limit }) => Math.max(largest, limit), 0)
    const entries = uses.times.flatMap((time, index) => [now - time, uses.units[index]!])
    return [...head, entries.length, most, ...entries]
  }
  const debts = policy.bounds.flatMap((bound) => {
    const interval = intervalOf(bound)
    return [bound.windowUs, interval, debtOf(uses, bound, now), bound.limit * interval]
  })
  return [...head, debts.length, ...debts]
}

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  )
}
