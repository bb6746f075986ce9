/** Tiers: named limits, as options describe them and as requests use them. */
import type { KeyName, KeySpec } from '../keys/identity.ts'
import type { Algorithm, Policy } from '../limits/policy.ts'
import type { ReplyLike, RequestLike } from './request-like.ts'

/** At most `limit` units in any window. */
export interface LimitOptions {
  /** Units, 1 to 1 000 000; for exact windows at most 1000. */
  readonly limit: number
  /** 1000 (a second) to 2 592 000 000 (30 days), in milliseconds. */
  readonly windowMs: number
}

/** Which requests count: every one, or those whose response has a status from 400. */
export type Counting = 'all' | 'failures'

/** A tier as an option. What is left out comes from the built-in tier of that name, if there is one. */
export interface TierOptions {
  /** All must admit a request: one to four. Required for a name that is not built in. */
  readonly limits?: readonly LimitOptions[]
  /** `exact`: a log of each request. `gcra`: a bucket that refills evenly. @default 'gcra' */
  readonly algorithm?: Algorithm
  /** How long a key is refused after it exceeds a limit, up to 30 days; 0: not at all. @default 0 */
  readonly blockMs?: number
  /** What is counted by: one component, or several combined. @default 'ip' */
  readonly key?: KeyName | readonly KeyName[]
  /** Units that a request consumes: a number, or a function that reads the request. @default 1 */
  readonly cost?: number | ((request: RequestLike) => number)
  /**
   * Which requests count. All are counted before the handler runs; what need not count is given back when
   * the response is sent. A function returns whether a response counts. @default 'all'
   */
  readonly count?: Counting | ((reply: ReplyLike, request: RequestLike) => boolean)
  /** Requests of one key that may run at the same time; 0: any number. @default 0 */
  readonly maxInFlight?: number
  /** When a running request whose end was lost no longer counts. @default 300000 */
  readonly leaseMs?: number
  /** Other limits by the plan that the option `plan` returns. @default none */
  readonly plans?: Readonly<Record<string, readonly LimitOptions[]>>
  /** Refuse nothing, and report who would be refused. @default false */
  readonly dryRun?: boolean
  /**
   * The share of a limit that all instances together admit while Redis is down, from 0.01 to 1.
   * @default 1, for "auth" 0.5
   */
  readonly degradedRatio?: number
  /**
   * Exempts the combination of these components, such as `['ip', 'account']`, for 30 days after a response
   * that does not count, on a route whose rule has `proves`. Requires `count`. @default none
   */
  readonly provenBy?: readonly KeyName[]
  /** Tiers that apply wherever this one does. @default none, for "auth" 'auth-address' */
  readonly with?: readonly string[]
}

/** A compiled tier. */
export interface Tier {
  readonly name: string
  readonly key: KeySpec
  readonly policy: Policy
  readonly plans: ReadonlyMap<string, Policy>
  readonly cost: number | ((request: RequestLike) => number)
  readonly counts: 'all' | ((reply: ReplyLike, request: RequestLike) => boolean)
  readonly degradedRatio: number
  readonly provenBy: KeySpec | undefined
  readonly with: readonly string[]
}
