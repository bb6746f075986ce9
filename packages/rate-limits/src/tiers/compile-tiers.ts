/** Compiles the option `tiers` over the built-in tiers. */
import { compileKey, MOMENTS } from '../keys/identity.ts'
import type { Bound, Policy } from '../limits/policy.ts'
import { builtInTiers } from './built-in.ts'
import type { Counting, LimitOptions, Tier, TierOptions } from './tier.ts'

/** More would make the log of a key too large. */
const MAX_EXACT = 1000

/** It is part of headers and of keys in Redis. */
const TIER_NAME = /^[a-z][a-z0-9-]{0,31}$/

/** Receives what is wrong: the path of the option, and how the sentence goes on. */
export type Faults = (path: string, problem: string) => void

/** Compiles all tiers. Faults are reported, and what is faulty is left out. */
export function compileTiers(
  given: Readonly<Record<string, TierOptions>>,
  faults: Faults,
): ReadonlyMap<string, Tier> {
  const tiers = new Map<string, Tier>()
  const names = new Set([...Object.keys(builtInTiers), ...Object.keys(given)])
  for (const name of names) {
    if (!TIER_NAME.test(name)) {
      faults(`tiers.${name}`, 'must be named in lower case, as "standard" or "search-by-name"')
      continue
    }
    const preset: TierOptions | undefined = Object.hasOwn(builtInTiers, name)
      ? builtInTiers[name as keyof typeof builtInTiers]
      : undefined
    const tier = compileTier(name, { ...preset, ...definedOf(given[name]) }, faults)
    if (tier !== undefined) tiers.set(name, tier)
  }
  for (const tier of tiers.values()) {
    for (const other of tier.with.filter((each) => !names.has(each))) {
      faults(`tiers.${tier.name}.with`, `names "${other}", but there is no such tier`)
    }
  }
  return tiers
}

function definedOf(options: TierOptions | undefined): TierOptions {
  return Object.fromEntries(
    Object.entries(options ?? {}).filter(([, value]) => value !== undefined),
  )
}

function compileTier(name: string, options: TierOptions, faults: Faults): Tier | undefined {
  const { limits, plans = {}, count = 'all', provenBy, cost = 1, degradedRatio = 1 } = options
  const { key = 'ip' } = options
  if (limits === undefined) {
    faults(`tiers.${name}.limits`, 'is required, because no built-in tier has this name')
    return undefined
  }
  if (options.algorithm === 'exact') {
    const all = [limits, ...Object.values(plans)].flat()
    const most = all.reduce((largest, { limit }) => Math.max(largest, limit), 0)
    if (most > MAX_EXACT) {
      faults(`tiers.${name}.limits`, `must be at most ${MAX_EXACT} for exact windows, got ${most}`)
    }
  }
  for (const bounds of [limits, ...Object.values(plans)]) {
    const windows = new Set(bounds.map(({ windowMs }) => windowMs))
    if (windows.size < bounds.length) {
      faults(`tiers.${name}.limits`, 'must have one limit for each windowMs; the least decides')
    }
  }
  if (provenBy !== undefined && count === 'all') {
    faults(`tiers.${name}.provenBy`, 'requires "count", which says which responses prove it')
  }
  const policy = policyOf(name, options, limits)
  const entries = Object.entries(plans).map(
    ([plan, bounds]) => [plan, policyOf(name, options, bounds)] as const,
  )
  return {
    name,
    key: compileKey(typeof key === 'string' ? [key] : key),
    policy,
    plans: new Map(entries),
    cost,
    counts: countingOf(count),
    degradedRatio,
    provenBy: provenBy === undefined ? undefined : compileKey(provenBy),
    with: options.with ?? [],
  }
}

function policyOf(tier: string, options: TierOptions, limits: readonly LimitOptions[]): Policy {
  return Object.freeze({
    tier,
    algorithm: options.algorithm ?? 'gcra',
    bounds: limits.map(({ limit, windowMs }) => ({ limit, windowUs: windowMs * 1000 })),
    blockUs: (options.blockMs ?? 0) * 1000,
    maxInFlight: options.maxInFlight ?? 0,
    leaseUs: (options.leaseMs ?? 300_000) * 1000,
    isEnforced: options.dryRun !== true,
  })
}

/** `failures`: the faults of the client, so that an outage of the service does not lock users out. */
export function countingOf(count: NonNullable<TierOptions['count']>): Tier['counts'] {
  if (typeof count === 'function') return count
  return count === 'all' ? 'all' : ({ statusCode }) => statusCode >= 400 && statusCode < 500
}

/** Whether a value is one of {@link Counting}, or a function. */
export function isCounting(value: unknown): value is Counting {
  return value === 'all' || value === 'failures' || typeof value === 'function'
}

/** The share of a policy that one instance may admit while Redis is down; never none, never all of a fleet. */
export function shareOf(policy: Policy, ratio: number, instances: number): Policy {
  const part = (limit: number): number => Math.max(1, Math.floor((limit * ratio) / instances))
  const bounds = policy.bounds.map(({ limit, windowUs }): Bound => ({
    limit: part(limit),
    windowUs,
  }))
  const { maxInFlight } = policy
  return Object.freeze({ ...policy, bounds, maxInFlight: maxInFlight > 0 ? part(maxInFlight) : 0 })
}

/** When the key of a tier and its plan are known. */
export function momentOf(tier: Tier): (typeof MOMENTS)[number] {
  const { key, provenBy, plans } = tier
  const moments = [key.moment, provenBy?.moment ?? 'peer', plans.size > 0 ? 'principal' : 'peer']
  return MOMENTS[Math.max(...moments.map((each) => MOMENTS.indexOf(each as never)))]!
}
