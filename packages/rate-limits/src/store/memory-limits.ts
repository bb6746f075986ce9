/** Limits in the memory of one process. Every decision is synchronous, and so atomic. */
import type { Clock } from '@parapet/kit'
import { admits, type Bound, type Slot, type SlotReading, type Verdict } from '../limits/policy.ts'
import {
  boundedCost,
  consume,
  createState,
  giveBack,
  prune,
  refuse,
  tightened,
} from '../limits/state.ts'
import { read } from '../limits/read-state.ts'
import type { LimitStore, StoreStatus, Target } from '../limits/store.ts'
import { BoundedStates, type Entry } from './bounded-states.ts'
import { ExpiringValues } from './expiring-values.ts'

/** Tightenings and proofs that are kept at the same time. */
const MAX_NOTES = 20_000

export class MemoryLimits implements LimitStore {
  readonly #states: BoundedStates
  readonly #factors: ExpiringValues<number>
  readonly #proofs: ExpiringValues<true>
  readonly #nowMs: () => number

  constructor(clock: Clock, maxKeys: number) {
    // A clock of the machine that is set back must not prolong a block.
    this.#nowMs = clock.monotonic ?? clock.now
    this.#states = new BoundedStates(maxKeys)
    this.#factors = new ExpiringValues(MAX_NOTES, () => this.now())
    this.#proofs = new ExpiringValues(MAX_NOTES, () => this.now())
  }

  get status(): StoreStatus {
    return { isDegraded: false, keys: this.#states.size, instances: 1 }
  }

  now(): number {
    return Math.round(this.#nowMs() * 1000)
  }

  decide(slots: readonly Slot[], lease: string): Verdict {
    const now = this.now()
    const entries = slots.map((slot) => this.#states.open(slot, now))
    const readings = entries.map((entry, index) => this.#read(slots[index]!, entry, now))
    const allowed = readings.every(
      (reading, index) => admits(reading) || !slots[index]!.policy.isEnforced,
    )
    for (let index = 0; index < slots.length; index++) {
      const entry = entries[index]!
      const reading = readings[index]!
      if (!admits(reading)) {
        readings[index] = refuse(entry.state, slots[index]!.policy, reading, now)
      } else if (allowed) this.#admit(slots[index]!, entry, reading, lease, now)
      this.#states.keep(entry)
    }
    return { allowed, atUs: now, readings, isLocal: false }
  }

  #read(slot: Slot, { state }: Entry, now: number): SlotReading {
    prune(state, slot.policy, now)
    const bounds = tightened(slot.policy.bounds, this.#factorOf(slot))
    const reading = read(state, slot.policy, bounds, this.#costOf(slot, bounds), now)
    return this.#isProven(slot) ? { ...reading, outcome: 'proven', blockedUs: 0 } : reading
  }

  #admit(slot: Slot, { state }: Entry, reading: SlotReading, lease: string, now: number): void {
    const { policy } = slot
    const cost = this.#costOf(slot, reading.bounds)
    consume(state, policy, reading.bounds, reading, cost, now)
    if (policy.maxInFlight > 0) {
      state.leases ??= new Map()
      state.leases.set(lease, now + policy.leaseUs)
    }
  }

  #costOf(slot: Slot, bounds: readonly Bound[]): number {
    return this.#isProven(slot) ? 0 : boundedCost(slot.cost, bounds)
  }

  #isProven({ proof }: Slot): boolean {
    return proof !== undefined && this.#proofs.get(proof) === true
  }

  #factorOf({ components, address }: Slot): number {
    if (this.#factors.size === 0) return 1
    const own = address === undefined ? 1 : (this.#factors.get(address) ?? 1)
    return components.reduce((least, each) => Math.min(least, this.#factors.get(each) ?? 1), own)
  }

  async peek(slots: readonly Slot[]): Promise<readonly SlotReading[]> {
    const now = this.now()
    return slots.map((slot) => {
      const entry = this.#states.find(slot, now)
      const state = entry === undefined ? createState() : structuredClone(entry.state)
      return this.#read(slot, { state, policy: slot.policy, expiresAt: 0 }, now)
    })
  }

  knownRefusal(slot: Slot, also: 'block' | 'limit'): SlotReading | undefined {
    const now = this.now()
    const entry = this.#states.find(slot, now)
    if (entry === undefined || (also === 'block' && entry.state.blockedUntil <= now)) {
      return undefined
    }
    const reading = this.#read(slot, entry, now)
    if (reading.outcome !== 'blocked' && reading.outcome !== 'limit') return undefined
    const refused = refuse(entry.state, slot.policy, reading, now)
    this.#states.keep(entry)
    return refused
  }

  /**
   * Keeps a refusal that another store has decided, for as long as it lasts.
   *
   * @returns the refusals in the window: those that were answered here are not known there.
   */
  noteRefusal(target: Target, refusedUs: number, refusals: number): number {
    const now = this.now()
    const entry = this.#states.open(target, now)
    const { state } = entry
    prune(state, target.policy, now)
    state.blockedUntil = now + refusedUs
    if (state.refusals === 0) state.refusedSince = now
    state.refusals = Math.max(state.refusals + 1, refusals)
    this.#states.keep(entry)
    return state.refusals
  }

  /** Forgets a refusal of another store, which admits the key again. */
  liftRefusal(target: Target): void {
    const state = this.#states.find(target, this.now())?.state
    if (state !== undefined && state.blockedUntil > 0) state.blockedUntil = state.refusals = 0
  }

  async refund(slots: readonly Slot[], { atUs }: Pick<Verdict, 'atUs'>): Promise<void> {
    const now = this.now()
    for (const slot of slots) {
      const entry = this.#states.find(slot, now)
      if (entry === undefined) continue
      giveBack(entry.state, boundedCost(slot.cost, slot.policy.bounds), atUs, now)
      this.#states.keep(entry)
    }
  }

  async release(slots: readonly Slot[], lease: string): Promise<void> {
    const now = this.now()
    for (const slot of slots) this.#states.find(slot, now)?.state.leases?.delete(lease)
  }

  async prove(proofs: readonly string[], ttlMs: number): Promise<void> {
    for (const proof of proofs) this.#proofs.set(proof, true, ttlMs)
  }

  async tighten(component: string, factor: number, ttlMs: number): Promise<void> {
    this.#factors.set(component, factor, ttlMs)
  }

  async clear(targets: readonly Target[], all: boolean): Promise<void> {
    const now = this.now()
    for (const target of targets) {
      if (all) this.#states.delete(target)
      const state = this.#states.find(target, now)?.state
      if (state !== undefined) state.blockedUntil = state.refusals = 0
    }
  }

  /** Keys with an entry of their own. */
  entries(): IterableIterator<[string, Entry]> {
    return this.#states.own()
  }

  async start(): Promise<void> {}

  close(): void {}
}
