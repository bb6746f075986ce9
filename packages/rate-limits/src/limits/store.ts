/** The port to the state of limits: in memory, on Redis, or both. */
import type { Policy, Slot, SlotReading, Verdict } from './policy.ts'

/** A key under its policy. */
export type Target = Pick<Slot, 'id' | 'policy'>

/** How many keys are stored, and how the store does. */
export interface StoreStatus {
  /** Whether Redis does not answer, so that this instance decides with its local share. */
  readonly isDegraded: boolean
  /** Keys in the memory of this instance. */
  readonly keys: number
  /** Live instances, as far as known: local shares are the limit divided by this. */
  readonly instances: number
}

/** Decides requests atomically. A method without a promise in its result never waits. */
export interface LimitStore {
  /**
   * Decides all slots at once: consumes from all, or from none.
   *
   * @param lease identifies the request, if a slot limits running requests.
   */
  decide(slots: readonly Slot[], lease: string): Verdict | Promise<Verdict>
  /** Reads slots without changing anything. */
  peek(slots: readonly Slot[]): Promise<readonly SlotReading[]>
  /**
   * A refusal that this instance knows of, counted; `undefined`: ask `decide`.
   *
   * @param also `block`: only of a blocked key; `limit`: also of one that is over a limit.
   */
  knownRefusal(slot: Slot, also: 'block' | 'limit'): SlotReading | undefined
  /** Gives back what slots of a decision have consumed. */
  refund(slots: readonly Slot[], verdict: Pick<Verdict, 'atUs' | 'isLocal'>): Promise<void>
  /** Ends a running request. */
  release(slots: readonly Slot[], lease: string): Promise<void>
  /** Notes that identities have succeeded. */
  prove(proofs: readonly string[], ttlMs: number): Promise<void>
  /** Lowers every limit of an identity component to a share of it. */
  tighten(component: string, factor: number, ttlMs: number): Promise<void>
  /** Lifts blocks, and with `all` forgets counts too. */
  clear(targets: readonly Target[], all: boolean): Promise<void>
  readonly status: StoreStatus
  start(): Promise<void>
  close(): void
}

/** Tells the plugin about Redis. */
export interface StoreListener {
  degraded(reason: string): void
  recovered(downMs: number, merged: number): void
  /** Redis may drop keys before they expire. @param policy its `maxmemory-policy`. */
  evicts(policy: string): void
}

/** The policy with the share that one instance may admit alone. */
export type ShareOf = (policy: Policy, instances: number) => Policy
