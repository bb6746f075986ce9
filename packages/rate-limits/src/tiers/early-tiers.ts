/** What counts requests that end before their rule is decided, for instance with 401 or 400: always the address. */
import { compileKey } from '../keys/identity.ts'
import type { Policy } from '../limits/policy.ts'
import { countingOf } from './compile-tiers.ts'
import type { Tier } from './tier.ts'

/** A tier before the decision of its rule. */
export interface EarlyTier {
  readonly tier: Tier
  /** `limit`: what is over a limit is refused at once; `block`: only what is blocked. */
  readonly refuses: 'limit' | 'block' | 'never'
}

/** Of a tier by account, so many more bodies that cannot be read: users who share an address need one login. */
const BODY_FACTOR = 10
const MAX_LIMIT = 1_000_000

/** The tiers of a rule that are known before the login, and a guard if none of them refuses. */
export function earlyTiersOf(tiers: readonly Tier[]): readonly EarlyTier[] {
  const early = tiers
    .filter(({ key, plans }) => key.moment === 'peer' && plans.size === 0)
    .map((tier): EarlyTier => {
      // A cost that reads the body is not known yet.
      const known = typeof tier.cost === 'number' ? tier : { ...tier, cost: 1 }
      const isFinal = known === tier && tier.counts === 'all'
      if (tier.provenBy !== undefined) return { tier: known, refuses: 'never' }
      return { tier: known, refuses: isFinal && tier.policy.isEnforced ? 'limit' : 'block' }
    })
  if (early.some(({ refuses }) => refuses === 'limit')) return early
  const guarded = early.length > 0 ? early.map(({ tier }) => tier) : tiers
  return [
    ...early,
    ...guarded.map((tier): EarlyTier => ({ tier: guardOf(tier), refuses: 'limit' })),
  ]
}

const guards = new WeakMap<Policy, Tier>()

/**
 * The guard of a tier counts only client errors before the decision, by address. A key of its own, so that
 * admitted requests of users who share an address do not use it up.
 */
export function guardOf(tier: Tier): Tier {
  let guard = guards.get(tier.policy)
  if (guard === undefined) {
    const isByBody = tier.key.moment === 'body' || tier.provenBy !== undefined
    const factor = isByBody ? BODY_FACTOR : 1
    const bounds = tier.policy.bounds.map(({ limit, windowUs }) => ({
      limit: Math.min(limit * factor, MAX_LIMIT),
      windowUs,
    }))
    guard = {
      ...tier,
      name: `${tier.name}:early`,
      key: compileKey(['ip']),
      policy: Object.freeze({
        ...tier.policy,
        algorithm: 'gcra',
        bounds,
        blockUs: 0,
        maxInFlight: 0,
      }),
      plans: new Map(),
      cost: 1,
      counts: countingOf('failures'),
      provenBy: undefined,
    }
    guards.set(tier.policy, guard)
  }
  return guard
}
