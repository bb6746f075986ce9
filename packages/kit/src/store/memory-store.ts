/**
 * The store of a single instance: exact, bounded, and no entry is dropped before it expires. The file
 * is long because the port is wide: one short method for each of {@link Store}.
 */
import { systemClock, type Clock } from '../time/clock.ts'
import { PARAPET_KIT_STORE_FAILED, PARAPET_KIT_STORE_UNAVAILABLE } from '../errors.ts'
import { ExpiringMap } from './expiring-map.ts'
import { itemBytes, MemberSet, Timeline } from './memory-collections.ts'
import { option } from '../options/option-readers.ts'
import { readOptions } from '../options/options.ts'
import {
  bindListener,
  MAX_WINDOWS,
  readWindow,
  requireCount,
  requireDuration,
  requireKey,
  requireMemberBounds,
  requireTimelineBounds,
  requireValue,
  rollBuckets,
  weigh,
  type Buckets,
} from './store-rules.ts'
import type {
  CountResult,
  CountWindow,
  Store,
  SubscriptionListener,
  TimelineEntry,
} from './store.ts'
import { warn } from '../warn.ts'

/** What {@link createMemoryStore} takes. */
export interface MemoryStoreOptions {
  /** The most that all keys and values may take, in bytes; a generous estimate. @default 67_108_864 */
  readonly maxBytes?: number
  /** @default the machine's clock */
  readonly clock?: Clock
  /** Gets what a subscriber throws. @default a process warning */
  readonly onError?: (error: unknown) => void
}

/**
 * Makes a store in this process's memory, for one instance and for tests.
 *
 * No entry is dropped to make room before it expires: a blocked peer would be unblocked, a used code
 * would be accepted again. A full store refuses new entries until others have expired.
 *
 * @throws PARAPET_KIT_INVALID_OPTION
 */
export function createMemoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(
    readOptions('createMemoryStore', options, {
      maxBytes: option.bytes({ min: 1024, default: 67_108_864 }),
      clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
      onError: option.callback<(error: unknown) => void>({ default: warn }),
    }),
  )
}

interface Contents {
  text: string
  counter: Map<number, Buckets>
  timeline: Timeline
  set: MemberSet
}
type Kind = keyof Contents

interface Slot<K extends Kind = Kind> {
  readonly kind: K
  readonly content: Contents[K]
}

const COUNTER_BYTES = 96

/** The time at creation plus what has passed since: entries outlive no jump of the machine's clock. */
function steadyClock({ now, monotonic }: Clock): () => number {
  if (monotonic === undefined) return now
  const offset = now() - monotonic()
  return () => Math.floor(offset + monotonic())
}

class MemoryStore implements Store {
  readonly state = 'closed'
  readonly #slots: ExpiringMap<Slot>
  readonly #channels = new Map<string, Set<SubscriptionListener>>()
  readonly #now: () => number
  readonly #onError: (error: unknown) => void
  #closed = false

  constructor({ maxBytes, clock, onError }: Required<MemoryStoreOptions>) {
    this.#now = steadyClock(clock)
    this.#slots = new ExpiringMap(maxBytes, this.#now)
    this.#onError = onError
  }

  /** Memory is never down, so no listener is ever called. */
  onStateChange(): () => void {
    return () => {}
  }

  async get(key: string): Promise<string | null> {
    requireKey(key)
    return this.#read(key, 'text')?.content ?? null
  }

  async set(key: string, value: string, ttlMs: number): Promise<void> {
    requireKey(key)
    requireValue(value)
    requireDuration('ttlMs', ttlMs)
    this.#writeText(key, value, ttlMs)
  }

  async setIfAbsent(key: string, value: string, ttlMs: number): Promise<boolean> {
    requireKey(key)
    requireValue(value)
    requireDuration('ttlMs', ttlMs)
    if (this.#find(key) !== undefined) return false
    this.#writeText(key, value, ttlMs)
    return true
  }

  async getAndDelete(key: string): Promise<string | null> {
    requireKey(key)
    const slot = this.#read(key, 'text')
    if (slot === undefined) return null
    this.#slots.delete(key)
    return slot.content
  }

  async compareAndSet(
    key: string,
    expected: string | null,
    next: string | null,
    ttlMs: number,
  ): Promise<boolean> {
    requireKey(key)
    if (next !== null) requireValue(next)
    requireDuration('ttlMs', ttlMs)
    if ((this.#read(key, 'text')?.content ?? null) !== expected) return false
    if (next === null) this.#slots.delete(key)
    else this.#writeText(key, next, ttlMs)
    return true
  }

  async delete(key: string): Promise<boolean> {
    requireKey(key)
    return this.#find(key) !== undefined && this.#slots.delete(key)
  }

  async count(key: string, windows: readonly CountWindow[], amount = 1): Promise<CountResult> {
    requireKey(key)
    requireCount(windows, amount)
    const now = this.#now()
    const stored = this.#read(key, 'counter')?.content
    const asked = windows.map((window) => ({
      window,
      buckets: rollBuckets(stored?.get(window.windowMs), window.windowMs, now),
    }))
    const counted = asked.every(
      ({ window: { windowMs, limit = Infinity }, buckets }) =>
        weigh(buckets, windowMs, now) + amount <= limit,
    )
    if (counted && amount > 0) {
      const counter = new Map(stored)
      for (const entry of asked) {
        entry.buckets = { ...entry.buckets, current: entry.buckets.current + amount }
        counter.set(entry.window.windowMs, entry.buckets)
      }
      this.#writeCounter(key, counter, now)
    }
    return {
      counted,
      windows: asked.map(({ window, buckets }) =>
        readWindow(window, buckets, Math.max(1, amount), now),
      ),
    }
  }

  async append(
    key: string,
    value: string,
    { windowMs, maxEntries }: { readonly windowMs: number; readonly maxEntries: number },
  ): Promise<number> {
    requireKey(key)
    requireValue(value)
    requireTimelineBounds(windowMs, maxEntries)
    const timeline = this.#read(key, 'timeline')?.content ?? new Timeline()
    const time = timeline.timeAt(this.#now())
    const slot: Slot = { kind: 'timeline', content: timeline }
    this.#slots.set(key, slot, time + windowMs, timeline.bytes + itemBytes(value))
    timeline.append({ time, value }, windowMs, maxEntries)
    return timeline.entries.length
  }

  async timeline(key: string, windowMs: number): Promise<TimelineEntry[]> {
    requireKey(key)
    requireDuration('windowMs', windowMs)
    const from = this.#now() - windowMs
    return (this.#read(key, 'timeline')?.content.entries ?? []).filter(({ time }) => time > from)
  }

  async addMember(
    key: string,
    member: string,
    { ttlMs, maxMembers }: { readonly ttlMs: number; readonly maxMembers: number },
  ): Promise<{ added: boolean; size: number }> {
    requireKey(key)
    requireValue(member)
    requireMemberBounds(ttlMs, maxMembers)
    const members = this.#members(key)
    const expiresAt = this.#now() + ttlMs
    const slot: Slot = { kind: 'set', content: members }
    const lastExpiry = Math.max(expiresAt, members.lastExpiry)
    this.#slots.set(key, slot, lastExpiry, members.bytes + itemBytes(member))
    return { added: members.add(member, expiresAt, maxMembers), size: members.size }
  }

  async removeMember(key: string, member: string): Promise<boolean> {
    requireKey(key)
    requireValue(member)
    return this.#members(key).delete(member)
  }

  async hasMember(key: string, member: string): Promise<boolean> {
    requireKey(key)
    requireValue(member)
    return this.#members(key).expiryOf(member) > 0
  }

  async members(key: string): Promise<string[]> {
    requireKey(key)
    return this.#members(key).names()
  }

  async publish(channel: string, message: string): Promise<void> {
    requireKey(channel)
    requireValue(message)
    this.#requireOpen()
    for (const listener of this.#channels.get(channel) ?? []) {
      // As over a network, `publish` returns before the message is delivered.
      queueMicrotask(() => {
        try {
          if (this.#channels.get(channel)?.has(listener) === true) listener.message(message)
        } catch (error) {
          this.#onError(error)
        }
      })
    }
  }

  async subscribe(channel: string, listener: SubscriptionListener): Promise<() => Promise<void>> {
    requireKey(channel)
    this.#requireOpen()
    const own = bindListener(listener)
    const listeners = this.#channels.get(channel) ?? new Set()
    this.#channels.set(channel, listeners.add(own))
    return async () => {
      listeners.delete(own)
      if (listeners.size === 0 && this.#channels.get(channel) === listeners) {
        this.#channels.delete(channel)
      }
    }
  }

  /** Memory never evicts, and there are no rights to lack. */
  async inspect(): Promise<[]> {
    return []
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#slots.clear()
    this.#channels.clear()
  }

  #requireOpen(): void {
    if (this.#closed) throw new PARAPET_KIT_STORE_UNAVAILABLE('it is closed')
  }

  #find(key: string): Slot | undefined {
    this.#requireOpen()
    return this.#slots.get(key)
  }

  #read<K extends Kind>(key: string, kind: K): Slot<K> | undefined {
    const slot = this.#find(key)
    if (slot !== undefined && slot.kind !== kind) {
      throw new PARAPET_KIT_STORE_FAILED('the key holds another kind of value')
    }
    return slot as Slot<K> | undefined
  }

  #writeText(key: string, content: string, ttlMs: number): void {
    this.#requireOpen()
    this.#slots.set(key, { kind: 'text', content }, this.#now() + ttlMs, 2 * content.length)
  }

  #writeCounter(key: string, content: Map<number, Buckets>, now: number): void {
    if (content.size > MAX_WINDOWS) {
      throw new PARAPET_KIT_STORE_FAILED(`a counter holds at most ${MAX_WINDOWS} windows`)
    }
    // Twice the window: the current bucket weighs until the end of the next one.
    const expiresAt = now + 2 * Math.max(...content.keys())
    const slot: Slot = { kind: 'counter', content }
    this.#slots.set(key, slot, expiresAt, content.size * COUNTER_BYTES)
  }

  /** The set at `key` without its expired members; a new set where there is none. */
  #members(key: string): MemberSet {
    const members = this.#read(key, 'set')?.content ?? new MemberSet()
    members.purge(this.#now())
    return members
  }
}
