/** The decorator `app.rateLimits`: what operators and other plugins may ask and change. */
import type { FastifyRequest } from 'fastify'
import {
  PARAPET_RATE_LIMITS_INVALID_ARGUMENT,
  PARAPET_RATE_LIMITS_STORE_UNAVAILABLE,
} from '../errors.ts'
import { compileKey, identify, isKeyName, type KeyName, type KeyValues } from '../keys/identity.ts'
import { admits, type Slot, type SlotReading } from '../limits/policy.ts'
import type { LimitStore, StoreStatus } from '../limits/store.ts'
import { targetOf, type CompiledRule } from '../tiers/rule.ts'
import type { Tier } from '../tiers/tier.ts'
import type { Tally, TierCounts, WouldBeRefusal } from '../watch/tally.ts'
import { kCheck, type Limiter, type RequestCheck } from './limiter.ts'
import { retryOf } from './limit-headers.ts'
import type { RouteRules } from './route-rules.ts'

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
  /** Forgets counts and blocks of a subject, in one tier or in all. @throws PARAPET_RATE_LIMITS_STORE_UNAVAILABLE */
  reset(subject: KeyValues, tier?: string): Promise<void>
  /** Lifts blocks of a subject, in one tier or in all. Other instances follow within `recheckMs`. */
  unblock(subject: KeyValues, tier?: string): Promise<void>
  /** Why a request was or would be refused. Changes nothing. */
  explain(request: FastifyRequest): Promise<Explanation>
  /** Who would have been refused by tiers with `dryRun`, most refusals first. At most 1000 keys. */
  dryRunReport(): readonly WouldBeRefusal[]
  metrics(): RateLimitMetrics
}

/** What {@link createRateLimits} needs. */
export interface RateLimitsParts {
  readonly tiers: ReadonlyMap<string, Tier>
  readonly store: LimitStore
  readonly rules: RouteRules
  readonly limiter: Limiter
  readonly tally: Tally
}

/** Creates the decorator. */
export function createRateLimits({
  tiers,
  store,
  rules,
  limiter,
  tally,
}: RateLimitsParts): RateLimits {
  const tierNamed = (name: string): Tier => {
    const tier = tiers.get(name)
    if (tier !== undefined) return tier
    return invalid(
      `there is no tier ${JSON.stringify(name)}, known are ${[...tiers.keys()].join(', ')}`,
    )
  }
  const targetsOf = (subject: KeyValues, name: string | undefined) => {
    requireSubject(subject)
    const chosen = name === undefined ? [...tiers.values()] : [tierNamed(name)]
    return chosen.map((tier) => targetOf(tier, subject))
  }
  const slotOfSubject = (tier: Tier, subject: FastifyRequest | KeyValues): Slot => {
    if (isRequest(subject)) return limiter.slotsOf([tier], subject)[0]!
    requireSubject(subject)
    return { ...targetOf(tier, subject), cost: 1, proof: undefined }
  }
  return {
    async peek(name, subject) {
      const slot = slotOfSubject(tierNamed(name), subject)
      const [reading] = await store.peek([slot])
      return readingOf(name, reading!)
    },
    async tighten(subject, factor, ttlMs) {
      if (!(factor > 0 && factor <= 1))
        invalid(`"factor" must be above 0 and at most 1, got ${factor}`)
      if (!Number.isSafeInteger(ttlMs) || ttlMs < 1) {
        invalid(`"ttlMs" must be a positive integer (milliseconds), got ${ttlMs}`)
      }
      requireSubject(subject)
      for (const component of componentsOf(subject)) {
        await written(store.tighten(component, factor, ttlMs))
      }
    },
    reset: (subject, tier) => written(store.clear(targetsOf(subject, tier), true)),
    unblock: (subject, tier) => written(store.clear(targetsOf(subject, tier), false)),
    explain: (request) => explain(request, rules.of(request), limiter, store),
    dryRunReport: () => tally.wouldBeRefusals(),
    metrics: () => ({ tiers: tally.counts(), store: store.status }),
  }
}

async function explain(
  request: FastifyRequest,
  rule: CompiledRule,
  limiter: Limiter,
  store: LimitStore,
): Promise<Explanation> {
  const check = (request as { readonly [kCheck]?: RequestCheck | null })[kCheck]
  const slots = check?.slots ?? limiter.slotsOf(rule.tiers, request)
  const readings = slots.length === 0 ? [] : await store.peek(slots)
  return {
    route: `${request.method} ${request.routeOptions.url ?? '(none)'}`,
    exempt: rule.tiers.length === 0,
    decidedAt: rule.moment,
    allowed: check?.verdict?.allowed,
    tiers: slots.map(({ policy, components }, index) => ({
      ...readingOf(policy.tier, readings[index]!),
      key: components,
      dryRun: !policy.isEnforced,
    })),
  }
}

function readingOf(tier: string, reading: SlotReading): TierReading {
  const { outcome, bounds } = reading
  const fits = admits(reading)
  return {
    tier,
    allowed: fits,
    reason: fits ? undefined : (outcome as TierReading['reason']),
    retryAfterMs: fits ? 0 : Math.ceil(retryOf(reading) / 1000),
    limits: bounds.map(({ limit, windowUs, remaining, resetUs }) => ({
      limit,
      windowMs: windowUs / 1000,
      remaining: Math.max(0, remaining),
      resetMs: Math.ceil(resetUs / 1000),
    })),
  }
}

function isRequest(subject: FastifyRequest | KeyValues): subject is FastifyRequest {
  return typeof subject === 'object' && subject !== null && 'routeOptions' in subject
}

function componentsOf(subject: KeyValues): readonly string[] {
  const { headers = {}, ...simple } = subject
  const names = [
    ...Object.entries(simple).flatMap(([name, value]) => (value === undefined ? [] : [name])),
    ...Object.keys(headers).map((name) => `header:${name}`),
  ] as KeyName[]
  return identify(compileKey(names), subject).components
}

/** @throws PARAPET_RATE_LIMITS_INVALID_ARGUMENT */
function requireSubject(subject: unknown): void {
  if (typeof subject !== 'object' || subject === null || Object.keys(subject).length === 0) {
    invalid('a subject must be an object such as { ip } or { principal }')
  }
  for (const [name, value] of Object.entries(subject)) {
    const isKnown = name === 'headers' || (isKeyName(name) && !name.startsWith('header:'))
    if (!isKnown) invalid(`a subject has no member ${JSON.stringify(name.slice(0, 32))}`)
    if (name !== 'headers' && (typeof value !== 'string' || value === '')) {
      invalid(`"${name}" of a subject must be a non-empty string`)
    }
  }
}

function invalid(problem: string): never {
  throw new PARAPET_RATE_LIMITS_INVALID_ARGUMENT(problem)
}

async function written(change: Promise<void>): Promise<void> {
  try {
    await change
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new PARAPET_RATE_LIMITS_STORE_UNAVAILABLE(reason, { cause: error })
  }
}
