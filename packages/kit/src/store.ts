/**
 * The store: what the instances of a fleet share. Small atomic primitives, each on one key, so that
 * every one of them is safe on Redis Cluster.
 *
 * Keys start with the plugin's noun: `mfa:used-step:<user>:<step>`. A key holds one kind of value
 * (text, counter, timeline or set); using it as another is PARAPET_KIT_STORE_FAILED.
 */
import type { BreakerState } from './breaker.ts'

/** One sliding window of {@link Store.count}. */
export interface CountWindow {
  /** Length in milliseconds. */
  readonly windowMs: number
  /** Nothing is counted when the window would pass it. @default no limit */
  readonly limit?: number
}

/** One window after a {@link Store.count}. */
export interface CountReading {
  /** How many in the window, rounded up. */
  readonly count: number
  /** Until the same amount would fit; 0 when it fits now, Infinity when it never will. */
  readonly retryAfterMs: number
  /** Until the window is empty if nothing more is counted. */
  readonly resetMs: number
}

/** The answer of {@link Store.count}. */
export interface CountResult {
  /** Whether the amount was counted: in every window, or in none. */
  readonly counted: boolean
  /** One reading for each window, in the order asked. */
  readonly windows: readonly CountReading[]
}

/** One entry of a timeline. */
export interface TimelineEntry {
  /** Milliseconds since the Unix epoch, by the store's clock; never before the entry ahead of it. */
  readonly time: number
  readonly value: string
}

/** What a subscriber must be ready for. What it throws is reported to the store's `onError`. */
export interface SubscriptionListener {
  readonly message: (message: string) => void
  /** From now on messages may be missing: stop trusting what was pushed and ask the store instead. */
  readonly interrupted: (reason: string) => void
  /** Messages flow again, and those in between are lost: read the shared state anew, then trust again. */
  readonly restored: () => void
}

/** The port. {@link createMemoryStore} and {@link createRedisStore} keep one contract. */
export interface Store {
  /** `closed`: well. `open`: down, calls fail at once. `half-open`: the next call finds out. */
  readonly state: BreakerState
  /** Calls `listener` on each change of {@link Store.state}. @returns a function that stops it. */
  onStateChange(listener: (state: BreakerState) => void): () => void

  /** The text at `key`, or `null`. */
  get(key: string): Promise<string | null>
  /** Stores a text for `ttlMs` milliseconds. */
  set(key: string, value: string, ttlMs: number): Promise<void>
  /** Stores a text where there is none. @returns whether it did: of any number of racers one wins. */
  setIfAbsent(key: string, value: string, ttlMs: number): Promise<boolean>
  /** Takes the text away and returns it: of any number of racers one gets it, the others `null`. */
  getAndDelete(key: string): Promise<string | null>
  /** Replaces `expected` (`null`: absent) by `next` (`null`: delete). @returns whether it did. */
  compareAndSet(
    key: string,
    expected: string | null,
    next: string | null,
    ttlMs: number,
  ): Promise<boolean>
  /** Removes whatever is at `key`. @returns whether there was anything. */
  delete(key: string): Promise<boolean>

  /**
   * Counts `amount` in every window, or in none where a window would pass its limit.
   *
   * Each window slides, estimated from two buckets: what the previous bucket still weighs, plus the
   * current one. Memory is constant; a limit lets through no burst at a bucket's edge.
   *
   * @param windows 1 to 8, of different lengths.
   * @param amount 0 (only look) to 1 000 000. @default 1
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
   * Adds a member, or renews it, for `ttlMs`; each member expires by itself. Beyond `maxMembers`
   * (at most 100 000) the member soonest to expire makes room.
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
  /** All members, soonest to expire first. */
  members(key: string): Promise<string[]>

  /** Sends a message to every subscriber of `channel` in the fleet, this instance included. */
  publish(channel: string, message: string): Promise<void>
  /**
   * Listens to a channel, from when the promise resolves.
   *
   * @returns a function that stops it; it does not wait for a server that does not answer.
   */
  subscribe(channel: string, listener: SubscriptionListener): Promise<() => Promise<void>>

  /** Ends subscriptions, timers and own connections; later calls fail with STORE_UNAVAILABLE. */
  close(): Promise<void>
}
