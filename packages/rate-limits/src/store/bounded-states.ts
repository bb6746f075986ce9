/**
 * The states of keys in memory, bounded. A live state is never dropped: keys that find no place share
 * counters by hash, so that a flood of keys neither frees a blocked key nor lifts a limit.
 */
import { hash, randomBytes } from 'node:crypto'
import type { Policy } from '../limits/policy.ts'
import { createState, horizon, type State } from '../limits/state.ts'
import type { Target } from '../limits/store.ts'

/** A stored key. */
export interface Entry {
  readonly state: State
  policy: Policy
  expiresAt: number
  /** What was in `state` when its uses were last sent to another store. */
  sent?: { readonly at: number; readonly full: readonly number[]; readonly refusals: number }
}

/** Shared counters of each tier. */
const BUCKETS = 4096
/** Entries that each new key checks for expiry. */
const SWEEP_STEPS = 2
/** A full map is searched for expired entries at most this often. */
const FULL_SWEEP_US = 1_000_000

export class BoundedStates {
  readonly #entries = new Map<string, Entry>()
  /** Shared counters, by tier and bucket. */
  readonly #shared = new Map<string, Entry>()
  readonly #maxKeys: number
  /** Clients that know the hash could choose keys of one bucket. */
  readonly #salt = randomBytes(16).toString('hex')
  #sweep = this.#entries.entries()
  #nextFullSweep = 0

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  get size(): number {
    return this.#entries.size + this.#shared.size
  }

  /** The entry of a key; `undefined`: it has not been used, or has expired. */
  find(target: Target, now: number): Entry | undefined {
    let entry = this.#entries.get(target.id)
    if (entry === undefined && this.#shared.size > 0) {
      entry = this.#shared.get(this.#bucketOf(target))
    }
    return entry !== undefined && entry.expiresAt > now ? entry : undefined
  }

  /** The entry of a key, to be written. It is not swept before {@link keep}, which must follow. */
  open(target: Target, now: number): Entry {
    const own = this.#entries.get(target.id)
    if (own !== undefined) {
      own.policy = target.policy
      own.expiresAt = Infinity
      return own
    }
    for (let step = 0; step < SWEEP_STEPS; step++) this.#sweepOne(now)
    if (this.#entries.size >= this.#maxKeys) this.#sweepAll(now)
    const isFull = this.#entries.size >= this.#maxKeys
    if (!isFull && this.#shared.size === 0) {
      return this.#add(this.#entries, target.id, target.policy, createState())
    }
    const bucket = this.#bucketOf(target)
    const shared = this.#shared.get(bucket)
    const live = shared !== undefined && shared.expiresAt > now ? shared : undefined
    if (isFull) return live ?? this.#add(this.#shared, bucket, target.policy, createState())
    // A key that has shared a counter keeps what was counted there.
    const state = live === undefined ? createState() : structuredClone(live.state)
    return this.#add(this.#entries, target.id, target.policy, state)
  }

  /** Sets when an entry expires. */
  keep(entry: Entry): void {
    entry.expiresAt = horizon(entry.state, entry.policy)
  }

  delete(target: Target): void {
    this.#entries.delete(target.id)
    if (this.#shared.size > 0) this.#shared.delete(this.#bucketOf(target))
  }

  /** Keys with an entry of their own. The map may change meanwhile. */
  own(): IterableIterator<[string, Entry]> {
    return this.#entries.entries()
  }

  #add(map: Map<string, Entry>, id: string, policy: Policy, state: State): Entry {
    const entry: Entry = { state, policy, expiresAt: Infinity }
    map.set(id, entry)
    return entry
  }

  #bucketOf({ id, policy }: Target): string {
    const digest = hash('sha1', this.#salt + id)
    return `${policy.tier} ${Number.parseInt(digest.slice(0, 8), 16) % BUCKETS}`
  }

  #sweepOne(now: number): void {
    const { done, value } = this.#sweep.next()
    if (done === true) this.#sweep = this.#entries.entries()
    else if (value[1].expiresAt <= now) this.#entries.delete(value[0])
  }

  #sweepAll(now: number): void {
    if (now < this.#nextFullSweep && this.#nextFullSweep - now <= FULL_SWEEP_US) return
    this.#nextFullSweep = now + FULL_SWEEP_US
    for (const map of [this.#entries, this.#shared]) {
      for (const [id, entry] of map) if (entry.expiresAt <= now) map.delete(id)
    }
  }
}
