/** The rule of a route: which tiers a request must pass, and when that is decided. */
import { MOMENTS, type Moment } from '../keys/identity.ts'
import type { Policy } from '../limits/policy.ts'
import { countingOf, isCounting, momentOf } from './compile-tiers.ts'
import { earlyTiersOf, type EarlyTier } from './early-tiers.ts'
import type { Tier, TierOptions } from './tier.ts'

/** `config.rateLimit` of a route: a tier, several of which all must admit, or an object. */
export type RateLimitRule =
  | string
  | readonly string[]
  | {
      readonly tiers: string | readonly string[]
      /** Replaces the cost of the tiers. */
      readonly cost?: TierOptions['cost']
      /** Replaces what the tiers count. */
      readonly count?: TierOptions['count']
      /**
       * Whether a response below 300 proves who the caller is, as that of a login does. Only then do
       * tiers with `provenBy` exempt the caller. @default false
       */
      readonly proves?: boolean
      /** Decides later than the keys require, for instance because `cost` reads the body. */
      readonly at?: 'principal' | 'body'
    }
  | {
      /** Why the route needs no limit, in at least three characters. */
      readonly exempt: string
    }

/** A rule as requests use it. */
export interface CompiledRule {
  /** Empty: the route is exempt. */
  readonly tiers: readonly Tier[]
  readonly moment: Moment
  /** What refuses before the decision, and counts what it does not see or what a client can evade. */
  readonly early: readonly EarlyTier[]
  readonly proves: boolean
  /** Whether a tier limits the requests that run at the same time. */
  readonly limitsRunning: boolean
  /** Whether something has to be done when the response has been sent. */
  readonly hasEnd: boolean
}

/** More would make a decision slow. */
const MAX_TIERS = 6

/**
 * Compiles a rule.
 *
 * @returns the rule, or the problem, which continues `must be …` or `names …`.
 */
export function compileRule(raw: unknown, tiers: ReadonlyMap<string, Tier>): CompiledRule | string {
  const form =
    'must be a tier, an array of tiers, { tiers, cost, count, proves, at } or { exempt: reason }'
  if (typeof raw === 'string' || Array.isArray(raw)) return ruleOf([raw].flat(), {}, tiers)
  if (typeof raw !== 'object' || raw === null) return form
  const { tiers: names, exempt, ...rest } = raw as Record<string, unknown>
  if (exempt !== undefined) {
    const isReason = typeof exempt === 'string' && exempt.trim().length >= 3
    if (!isReason || names !== undefined || Object.keys(rest).length > 0) {
      return 'must have only "exempt", with a reason of at least three characters'
    }
    return {
      tiers: [],
      moment: 'peer',
      early: [],
      proves: false,
      limitsRunning: false,
      hasEnd: false,
    }
  }
  return names === undefined ? form : ruleOf([names].flat(), rest, tiers)
}

function ruleOf(
  names: readonly unknown[],
  rest: Readonly<Record<string, unknown>>,
  tiers: ReadonlyMap<string, Tier>,
): CompiledRule | string {
  const { cost, count, proves = false, at = 'peer', ...unknown } = rest
  const [surplus] = Object.keys(unknown)
  if (surplus !== undefined) return `has the unknown member "${surplus}"`
  if (cost !== undefined && typeof cost !== 'function' && !isCost(cost)) {
    return 'has a "cost" that is neither a function nor an integer from 1 to 1000000'
  }
  if (count !== undefined && !isCounting(count)) {
    return 'has a "count" that is neither "all", "failures" nor a function'
  }
  if (typeof proves !== 'boolean') return 'has a "proves" that is neither true nor false'
  if (!MOMENTS.includes(at as Moment)) return 'has an "at" that is neither "principal" nor "body"'
  const expanded = expand(names, tiers)
  if (typeof expanded === 'string') return expanded
  const used = expanded.map((tier) => ({
    ...tier,
    ...(cost === undefined ? undefined : { cost: cost as Tier['cost'] }),
    ...(count === undefined ? undefined : { counts: countingOf(count) }),
  }))
  const moments = [at as Moment, ...used.map(momentOf)].map((each) => MOMENTS.indexOf(each))
  const moment = MOMENTS[Math.max(...moments)]!
  const limitsRunning = used.some(({ policy }) => policy.maxInFlight > 0)
  return {
    tiers: used,
    moment,
    early: earlyTiersOf(used, moment),
    proves,
    limitsRunning,
    hasEnd: limitsRunning || used.some(({ counts }) => counts !== 'all'),
  }
}

/** The tiers and those that go with them, each once. */
function expand(names: readonly unknown[], tiers: ReadonlyMap<string, Tier>): Tier[] | string {
  const found = new Map<string, Tier>()
  for (const name of names) {
    const tier = typeof name === 'string' ? tiers.get(name) : undefined
    if (tier === undefined) {
      const shown = typeof name === 'string' ? JSON.stringify(name.slice(0, 64)) : typeof name
      return `names the tier ${shown}, known are ${[...tiers.keys()].join(', ')}`
    }
    found.set(tier.name, tier)
  }
  // Those that go with a tier may have others; in a dry run of all that lead to them, they are, too.
  for (const isEnforced of [true, false]) {
    for (const tier of found.values()) {
      if (tier.policy.isEnforced !== isEnforced) continue
      for (const name of tier.with) {
        const other = tiers.get(name)!
        if (!found.has(name)) found.set(name, isEnforced ? other : inDryRun(other))
      }
    }
  }
  if (found.size === 0 || found.size > MAX_TIERS) {
    return `must name 1 to ${MAX_TIERS} tiers, got ${found.size}`
  }
  return [...found.values()]
}

const dryRuns = new WeakMap<Tier, Tier>()

function inDryRun(tier: Tier): Tier {
  if (!tier.policy.isEnforced) return tier
  let dry = dryRuns.get(tier)
  if (dry === undefined) {
    const plans = [...tier.plans].map(([plan, policy]) => [plan, dryPolicy(policy)] as const)
    dry = { ...tier, policy: dryPolicy(tier.policy), plans: new Map(plans) }
    dryRuns.set(tier, dry)
  }
  return dry
}

function dryPolicy(policy: Policy): Policy {
  return Object.freeze({ ...policy, isEnforced: false })
}

function isCost(cost: unknown): boolean {
  return Number.isInteger(cost) && (cost as number) >= 1 && (cost as number) <= 1_000_000
}
