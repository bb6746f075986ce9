/**
 * The store: state that the instances of a fleet share. Small atomic primitives, each on one key, so
 * that all are safe on Redis Cluster.
 *
 * Keys start with the plugin's noun: `mfa:used-step:<user>:<step>`. A key holds one kind of value
 * (text, counter, timeline or set); using it as another is PARAPET_KIT_STORE_FAILED.
 */
import type { BreakerState } from './breaker.ts'

/** One sliding window of {@link Store.count}. */
export interface CountWindow {
  /** Length in milliseconds. */
  readonly windowMs: number
  /** Nothing is counted if the window would exceed it. @default no limit */
  readonly limit?: number
}

/** The state of one window after {@link Store.count}. */
export interface CountReading {
  /** How many in the window, rounded up. */
  readonly count: number
  /** Until the same amount would fit; 0 when it fits now, Infinity when it never will. */
  readonly retryAfterMs: number
  /** Until the window is empty if nothing more is counted. */
  readonly resetMs: number
}

/** The result of {@link Store.count}. */
export interface CountResult {
  /** Whether the amount was counted: in every window, or in none. */
  readonly counted: boolean
  /** One reading for each window, in the order asked. */
  readonly windows: readonly CountReading[]
}

/** One entry of a timeline. */
export interface TimelineEntry {
  /** Milliseconds since the Unix epoch, by the store's clock; never before the previous entry's. */
  readonly time: number
  readonly value: string
}

/** The callbacks of a subscription. What they throw is reported to the store's `onError`. */
export interface SubscriptionListener {
  readonly message: (message: string) => void
  /** Messages may be missing from now on: ask the store instead of trusting what was pushed. */
  readonly interrupted: (reason: string) => void
  /** Messages arrive again, those in between are lost: read the shared state again. */
  readonly restored: () => void
}

/** A setting of the store, or a missing right, on which plugins cannot rely. */
export interface StoreRisk {
  /**
   * `evicts`: entries may disappear before they expire. `replica`: writes are refused. `no_scripting`,
   * `no_publish`: the user lacks the right. `unknown_eviction`: the policy could not be read.
   */
  readonly kind: 'evicts' | 'replica' | 'no_scripting' | 'no_publish' | 'unknown_eviction'
  /** What is at stake and what to do, as a sentence. */
  readonly message: string
}

/** The port; `createMemoryStore` and `createRedisStore` implement one contract. */
export interface Store {
  /** `closed`: working. `open`: down, calls fail at once. `half-open`: the next call is a probe. */
  readonly state: BreakerState
  /** Calls `listener` on each change of {@link Store.state}. @returns a function that stops it. */
  onStateChange(listener: (state: BreakerState) => void): () => void

  /** The text at `key`, or `null`. */
  get(key: string): Promise<string | null>
  /** Stores a text for `ttlMs` milliseconds. */
  set(key: string, value: string, ttlMs: number): Promise<void>
  /** Stores a text where there is none. @returns whether it did: of concurrent callers, one does. */
  setIfAbsent(key: string, value: string, ttlMs: number): Promise<boolean>
  /** Deletes the text and returns it: of concurrent callers one gets it, the others get `null`. */
  getAndDelete(key: string): Promise<string | null>
  /** Replaces `expected` (`null`: absent) by `next` (`null`: delete). @returns whether it did. */
  compareAndSet(
    key: string,
    expected: string | null,
    next: string | null,
    ttlMs: number,
  ): Promise<boolean>
  /** Deletes any kind of value. @returns whether there was one. */
  delete(key: string): Promise<boolean>

  /**
   * Counts `amount` in all windows, or in none if one would exceed its limit.
   *
   * Each window slides, estimated from two buckets: the share of the previous bucket that is still
   * inside the window, plus the current one. Memory is constant, and no burst passes at the edge of a
   * bucket.
   *
   * @param windows 1 to 8, of different lengths.
   * @param amount 0 (only read) to 1 000 000. @default 1
   */
  count(key: string, windows: readonly CountWindow[], amount?: number): Promise<CountResult>

  /**
   * Appends to a timeline and drops what is older than `windowMs` or beyond the newest `maxEntries`
   * (at most 10 000). @returns how many entries it holds now.
   */
  append(
    key: string,
    value: string,
    bounds: { readonly windowMs: number; readonly maxEntries: number },
  ): Promise<number>
  /** The entries of the last `windowMs` milliseconds, oldest first. */
  timeline(key: string, windowMs: number): Promise<TimelineEntry[]>

  /**
   * Adds a member, or renews it, for `ttlMs`; members expire one by one. Beyond `maxMembers` (at most
   * 100 000) the member that expires first is removed.
   *
   * @returns whether it is new, and how many there are now.
   */
  addMember(
    key: string,
    member: string,
    bounds: { readonly ttlMs: number; readonly maxMembers: number },
  ): Promise<{ readonly added: boolean; readonly size: number }>
  /** @returns whether it was a member. */
  removeMember(key: string, member: string): Promise<boolean>
  hasMember(key: string, member: string): Promise<boolean>
  /** All members, the first to expire first. */
  members(key: string): Promise<string[]>

  /** Sends a message to every subscriber of `channel` in the fleet, this instance included. */
  publish(channel: string, message: string): Promise<void>
  /**
   * Listens to a channel, from when the promise resolves.
   *
   * @returns a function that ends the subscription; it does not wait for a server that does not respond.
   */
  subscribe(channel: string, listener: SubscriptionListener): Promise<() => Promise<void>>

  /**
   * Looks for settings and missing rights that make the store unsafe.
   *
   * @throws STORE_TIMEOUT or STORE_UNAVAILABLE.
   */
  inspect(): Promise<readonly StoreRisk[]>

  /** Ends subscriptions, timers and own connections; later calls fail with STORE_UNAVAILABLE. */
  close(): Promise<void>
}
