/** The slots of a request: its keys under the policies of its tiers. */
import { addressComponent, identify, type KeyValues } from '../keys/identity.ts'
import type { Policy, Slot } from '../limits/policy.ts'
import { attempt } from './callbacks.ts'
import type { ReplyLike, RequestLike } from './request-like.ts'
import type { Tier } from './tier.ts'

/** What a request provides for its slots. */
export interface Subject {
  readonly values: KeyValues
  readonly plan: string | undefined
  readonly request: RequestLike
}

/** The slot of a request in a tier. @param costOf calls the function of a tier. */
export function slotOf(
  tier: Tier,
  subject: Subject,
  costOf: (cost: (request: RequestLike) => number, request: RequestLike) => number,
): Slot {
  const { policy, id, components } = targetOf(tier, subject.values, subject.plan)
  const cost = typeof tier.cost === 'number' ? tier.cost : costOf(tier.cost, subject.request)
  const { ip } = subject.values
  const isByAddress = ip === undefined || components.some((each) => each.startsWith('ip='))
  const proof = tier.provenBy && identify(tier.provenBy, subject.values)
  // Without an account, all requests of an address would be exempt together.
  return {
    policy,
    id,
    cost,
    components,
    address: isByAddress ? undefined : addressComponent(ip),
    proof: proof?.isComplete === true ? proof.text : undefined,
  }
}

type SlotTarget = Pick<Slot, 'id' | 'policy' | 'components'>

/** Most requests come from few addresses, so the keys of the last ones are kept. */
const MAX_KNOWN = 1000
/** A longer text is no address. */
const MAX_LENGTH = 45
const known = new WeakMap<Tier, Map<string, SlotTarget>>()

/** The key of a subject in a tier. */
export function targetOf(tier: Tier, values: KeyValues, plan?: string): SlotTarget {
  const isByAddress = tier.key.names.length === 1 && tier.key.names[0] === 'ip'
  const { ip } = isByAddress && plan === undefined ? values : { ip: undefined }
  if (ip === undefined || ip.length > MAX_LENGTH) return createTarget(tier, values, plan)
  const targets = knownOf(tier)
  let target = targets.get(ip)
  if (target === undefined) {
    target = createTarget(tier, values, plan)
    targets.set(ip, target)
  }
  return target
}

function knownOf(tier: Tier): Map<string, SlotTarget> {
  let targets = known.get(tier)
  if (targets === undefined || targets.size >= MAX_KNOWN) {
    targets = new Map()
    known.set(tier, targets)
  }
  return targets
}

function createTarget(tier: Tier, values: KeyValues, plan: string | undefined): SlotTarget {
  const policy: Policy = (plan === undefined ? undefined : tier.plans.get(plan)) ?? tier.policy
  const { text, components } = identify(tier.key, values)
  const letter = policy.algorithm === 'exact' ? 'x' : 'g'
  return { policy, id: `${tier.name}:${letter} ${text}`, components }
}

/** Whether a response counts; a function that fails or is asynchronous counts it. */
export function countsResponse(tier: Tier, reply: ReplyLike, request: RequestLike): boolean {
  const { counts } = tier
  return counts === 'all' || (attempt(() => counts(reply, request)) ?? true)
}
