/** What a principal may do at one moment. A request may last for hours, so this is looked up anew. */
import type { Clock, Principal } from '@parapet/kit'
import type { Engine } from './engine.ts'
import type { PolicyInForce } from './policy-in-force.ts'
import type { Rights } from './rights.ts'

/** The policy in force and the rights of a principal, until something changes them. */
export interface Standing {
  readonly engine: Engine
  /** `null`: there is no principal, or the policy is stale. */
  readonly rights: Rights | null
  readonly version: number
  readonly since: number
  /** When time alone changes the rights, in milliseconds since the Unix epoch; `Infinity`: never. */
  readonly until: number
}

/** Looks up what a principal may do now. */
export function lookUpStanding(
  policy: PolicyInForce,
  principal: Principal | null,
  clock: Pick<Clock, 'now'>,
): Standing {
  const { engine, version } = policy
  if (principal === null) return { engine, rights: null, version, since: 0, until: Infinity }
  const since = clock.now()
  // Contact with the store can return at any time, so a stale standing is never current.
  if (policy.stale) return { engine, rights: null, version, since, until: since }
  const until = policy.nextChange(principal.id, since)
  const rights = engine.rightsOf(principal, policy.grantedTo(principal.id))
  return { engine, rights, version, since, until }
}

/** Whether the rights are still the same. Without a store and grants, this compares two integers. */
export function isCurrent(
  { version, since, until }: Standing,
  policy: PolicyInForce,
  clock: Pick<Clock, 'now'>,
): boolean {
  if (version !== policy.version) return false
  if (until === Infinity) return true
  const now = clock.now()
  // If the clock was set back, a grant may not have started.
  return now >= since && now < until
}
