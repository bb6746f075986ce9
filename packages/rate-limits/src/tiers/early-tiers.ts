/**
 * What a rule refuses and counts by address besides its own decision: requests that end before it, for instance
 * with 401 or 400, and failures of clients that choose the key by which they are counted.
 */
import { compileKey, type KeyName, type Moment } from '../keys/identity.ts'
import type { Policy } from '../limits/policy.ts'
import { countingOf } from './compile-tiers.ts'
import type { Tier } from './tier.ts'

/** A tier beside the decision of its rule. */
export interface EarlyTier {
  readonly tier: Tier
  /** `limit`: what is over a limit is refused at once; `block`: only what is blocked. */
  readonly refuses: 'limit' | 'block' | 'never'
  /** Whether it also counts requests that the decision has admitted. */
  readonly countsAdmitted: boolean
}

/** Failures of keys that clients choose: users who share an address need one login. */
const CHOSEN_FACTOR = 10
const MAX_LIMIT = 1_000_000

/** The tiers of a rule that are known before the login, and a guard if none of them refuses an address. */
export function earlyTiersOf(tiers: readonly Tier[], moment: Moment): readonly EarlyTier[] {
  // A client that guesses names another account, or another key, each time.
  if (tiers.every(isChosen)) return guardsOf(tiers, true)
  if (moment === 'peer') return []
  const early = tiers
    .filter(({ key, plans }) => key.moment === 'peer' && plans.size === 0)
    .map((tier): EarlyTier => {
      // A cost that reads the body is not known yet.
      const known = typeof tier.cost === 'number' ? tier : { ...tier, cost: 1 }
      const isFinal = known === tier && tier.counts === 'all' && tier.policy.isEnforced
      const refuses = tier.provenBy !== undefined ? 'never' : isFinal ? 'limit' : 'block'
      return { tier: known, refuses, countsAdmitted: false }
    })
  const fixed = early.filter(({ tier }) => !isChosen(tier))
  if (fixed.some(({ refuses }) => refuses === 'limit')) return early
  const guarded = fixed.length > 0 ? fixed.map(({ tier }) => tier) : tiers
  return [...early, ...guardsOf(guarded, false)]
}

function guardsOf(tiers: readonly Tier[], countsAdmitted: boolean): readonly EarlyTier[] {
  return tiers.map((tier) => ({ tier: guardOf(tier), refuses: 'limit', countsAdmitted }))
}

/** Whether clients can have another key with each request. */
function isChosen({ key }: Pick<Tier, 'key'>): boolean {
  return key.names.some(
    (name: KeyName) => name === 'account' || name === 'apiKey' || name.startsWith('header:'),
  )
}

const guards = new WeakMap<Policy, Tier>()

/**
 * The guard of a tier counts only client errors, by address. A key of its own, so that
 * admitted requests of users who share an address do not use it up.
 */
export function guardOf(tier: Tier): Tier {
  let guard = guards.get(tier.policy)
  if (guard === undefined) {
    const factor = isChosen(tier) || tier.provenBy !== undefined ? CHOSEN_FACTOR : 1
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
