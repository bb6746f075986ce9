/** The decorator `app.rateLimits`: what operators and other plugins may ask and change. */
import type { FastifyRequest } from 'fastify'
import type { KeyValues } from '../keys/identity.ts'
import type { StoreStatus } from '../limits/store.ts'
import type { TierCounts, WouldBeRefusal } from '../watch/tally.ts'

/** What is left of one limit of a key. */
export interface LimitReading {
  readonly limit: number
  readonly windowMs: number
  readonly remaining: number
  readonly resetMs: number
}

/** The state of one tier for one subject. */
export interface TierReading {
  readonly tier: string
  /** Whether one more request would be admitted now. */
  readonly allowed: boolean
  /** Why not: over a limit, blocked, or too many running requests. */
  readonly reason: 'limit' | 'blocked' | 'in-flight' | undefined
  /** How long until it would be admitted; 0: now. */
  readonly retryAfterMs: number
  readonly limits: readonly LimitReading[]
}

/** Why a request was, or would be, admitted or refused. */
export interface Explanation {
  readonly route: string
  /** The route is exempt from limits. */
  readonly exempt: boolean
  /** When the rule is decided. */
  readonly decidedAt: 'peer' | 'principal' | 'body'
  /** The decision, if it was made. */
  readonly allowed: boolean | undefined
  readonly tiers: readonly (TierReading & {
    /** The components of the key, as `ip=192.0.2.7`; accounts and API keys are digests. */
    readonly key: readonly string[]
    readonly dryRun: boolean
  })[]
}

/** The counters of a process since its start. */
export interface RateLimitMetrics {
  readonly tiers: Readonly<Record<string, TierCounts>>
  readonly store: StoreStatus
}

/** The decorator `app.rateLimits`. */
export interface RateLimits {
  /** Reads a tier for a request or a subject, and changes nothing. */
  peek(tier: string, subject: FastifyRequest | KeyValues): Promise<TierReading>
  /**
   * Lowers all limits of a component, such as `{ ip }` or `{ principal }`, to a share of them.
   *
   * @param factor above 0, up to 1: 0.1 leaves a tenth, at least one unit.
   * @throws PARAPET_RATE_LIMITS_STORE_UNAVAILABLE
   */
  tighten(subject: KeyValues, factor: number, ttlMs: number): Promise<void>
  /**
   * Forgets counts and blocks of a subject, in one tier or in all for which its members suffice.
   *
   * @throws PARAPET_RATE_LIMITS_INVALID_ARGUMENT if a member is missing, as `account` for "auth".
   * @throws PARAPET_RATE_LIMITS_STORE_UNAVAILABLE
   */
  reset(subject: KeyValues, tier?: string): Promise<void>
  /** Lifts blocks of a subject, as `reset` does. Other instances follow within `recheckMs`. */
  unblock(subject: KeyValues, tier?: string): Promise<void>
  /** Why a request was or would be refused. Changes nothing. */
  explain(request: FastifyRequest): Promise<Explanation>
  /** Who would have been refused by tiers with `dryRun`, most refusals first. At most 1000 keys. */
  dryRunReport(): readonly WouldBeRefusal[]
  metrics(): RateLimitMetrics
}
