/** What is decided and what a decision says. Pure types, without Fastify, clock or store. All times are in µs. */

/** `exact`: a log of every request in the window. `gcra`: a token bucket that refills evenly. */
export type Algorithm = 'exact' | 'gcra'

/** At most `limit` units in any `windowUs`. */
export interface Bound {
  readonly limit: number
  readonly windowUs: number
}

/** The limits of a tier in the form that stores work with. */
export interface Policy {
  readonly tier: string
  readonly algorithm: Algorithm
  /** At least one. All must admit a request. */
  readonly bounds: readonly Bound[]
  /** How long a key is blocked after it exceeds a bound; 0: not at all. */
  readonly blockUs: number
  /** Requests of one key that may run at the same time; 0: any number. */
  readonly maxInFlight: number
  /** After this time a request that never ended no longer counts as running. */
  readonly leaseUs: number
  /** Whether a violation refuses the request; `false` in a dry run. */
  readonly isEnforced: boolean
}

/** One key of one request under one policy. */
export interface Slot {
  readonly policy: Policy
  /** The key in the store: tier, algorithm and identity. */
  readonly id: string
  /** Units that the request consumes, at least 0. */
  readonly cost: number
  /** Components of the identity, for {@link import('./store.ts').LimitStore.tighten}. */
  readonly components: readonly string[]
  /** The component of the client address, if the key does not count by it, so that it can be tightened. */
  readonly address?: string | undefined
  /** The identity that may be exempt because it has succeeded before; `undefined`: it is never exempt. */
  readonly proof: string | undefined
}

/** Why a slot does or does not admit a request. `proven`: it admits without consuming. */
export type Outcome = 'fits' | 'limit' | 'blocked' | 'in-flight' | 'proven'

/** The outcomes as Redis returns them. */
export const OUTCOMES: readonly Outcome[] = ['fits', 'limit', 'blocked', 'in-flight', 'proven']

/** Whether a slot with this outcome admits the request. */
export function admits({ outcome }: Pick<SlotReading, 'outcome'>): boolean {
  return outcome === 'fits' || outcome === 'proven'
}

/** One bound after a decision. */
export interface BoundReading {
  /** The limit in force, after tightening. */
  readonly limit: number
  readonly windowUs: number
  remaining: number
  /** Until the whole limit is available again. */
  resetUs: number
  /** Until this bound would admit the request; 0: it does. */
  readonly retryUs: number
}

/** One slot after a decision. */
export interface SlotReading {
  readonly outcome: Outcome
  /** How long the key remains blocked; 0: it is not blocked. */
  readonly blockedUs: number
  /** Refusals of the key in the longest window. */
  readonly refusals: number
  readonly bounds: readonly BoundReading[]
}

/** A decision on all slots of a request: either all of them consume, or none does. */
export interface Verdict {
  readonly allowed: boolean
  /** The time of the store at which it was decided. */
  readonly atUs: number
  /** In the order of the slots. */
  readonly readings: readonly SlotReading[]
  /** Decided by this instance alone, because Redis did not answer. */
  readonly isLocal: boolean
}

/** The interval at which one unit refills: rounded up, so that the rate is never above the limit. */
export function intervalOf({ limit, windowUs }: Bound): number {
  return Math.ceil(windowUs / limit)
}

/** How long a refused key has to wait until all bounds and its block admit it. */
export function waitOf({ blockedUs, bounds }: SlotReading): number {
  return bounds.reduce((longest, { retryUs }) => Math.max(longest, retryUs), blockedUs)
}

/** The longest window of a policy. */
export function longestWindow({ bounds }: Policy): number {
  return bounds.reduce((longest, { windowUs }) => Math.max(longest, windowUs), 0)
}
