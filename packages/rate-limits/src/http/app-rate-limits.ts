/** Makes the decorator `app.rateLimits`. */
import type { FastifyRequest } from 'fastify'
import { PARAPET_RATE_LIMITS_STORE_UNAVAILABLE } from '../errors.ts'
import type { KeyValues } from '../keys/identity.ts'
import { admits, type Slot, type SlotReading } from '../limits/policy.ts'
import type { LimitStore } from '../limits/store.ts'
import type { CompiledRule } from '../tiers/rule.ts'
import { guardOf } from '../tiers/early-tiers.ts'
import { targetOf } from '../tiers/slots.ts'
import type { Tier } from '../tiers/tier.ts'
import type { Tally } from '../watch/tally.ts'
import type { Explanation, RateLimits, TierReading } from './decorator.ts'
import { kCheck, type Limiter, type RequestCheck } from './limiter.ts'
import { retryOf } from './limit-headers.ts'
import {
  closestTier,
  componentsOf,
  invalid,
  missingOf,
  requireComplete,
  requireSubject,
} from '../tiers/subjects.ts'
import type { RouteRules } from './route-rules.ts'

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
    const chosen =
      name === undefined
        ? [...tiers.values()].filter((tier) => missingOf(tier, subject) === undefined)
        : [tierNamed(name)]
    if (chosen.length === 0) chosen.push(closestTier(tiers.values(), subject))
    for (const tier of chosen) requireComplete(tier, subject)
    const guards = subject.ip === undefined ? [] : chosen.map(guardOf)
    return [...chosen, ...guards].map((tier) => targetOf(tier, subject))
  }
  const slotOfSubject = (tier: Tier, subject: FastifyRequest | KeyValues): Slot => {
    if (isRequest(subject)) return limiter.slotsOf([tier], subject)[0]!
    requireSubject(subject)
    requireComplete(tier, subject)
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

async function written(change: Promise<void>): Promise<void> {
  try {
    await change
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new PARAPET_RATE_LIMITS_STORE_UNAVAILABLE(reason, { cause: error })
  }
}
