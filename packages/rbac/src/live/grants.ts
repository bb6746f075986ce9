/** Roles that principals have for a limited time. */
import type { Clock, Principal } from '@parapet/kit'
import {
  PARAPET_RBAC_ASSIGNMENT_LIMIT,
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_SEPARATION_OF_DUTY,
} from '../errors.ts'
import { hasBit } from '../policy/bit-set.ts'
import { closureOf, violatedDuty, type PolicyModel } from '../policy/policy-model.ts'
import { MAX_GRANTS, type TimedGrant } from './policy-store.ts'

const MAX_ID_LENGTH = 512

/** The grants of one revision, by principal. */
export class TimedGrants {
  readonly #byPrincipal = new Map<string, TimedGrant[]>()

  constructor(grants: readonly TimedGrant[] = []) {
    for (const grant of grants) {
      const others = this.#byPrincipal.get(grant.principalId)
      if (others === undefined) this.#byPrincipal.set(grant.principalId, [grant])
      else others.push(grant)
    }
  }

  /** Returns the roles that a principal has now; `undefined`: none. */
  rolesOf(principalId: string, clock: Pick<Clock, 'now'>): readonly string[] | undefined {
    if (this.#byPrincipal.size === 0) return undefined
    if (!this.#byPrincipal.has(principalId)) return undefined
    const roles = this.activeOf(principalId, clock.now()).map(({ role }) => role)
    return roles.length === 0 ? undefined : roles
  }

  /** Returns the grants of a principal that have started and not expired. */
  activeOf(principalId: string, now: number): readonly TimedGrant[] {
    const grants = this.#byPrincipal.get(principalId) ?? []
    return grants.filter(({ from = now, until }) => from <= now && until > now)
  }

  /** Returns when the roles of a principal next change; `Infinity`: never. */
  nextChange(principalId: string, now: number): number {
    if (this.#byPrincipal.size === 0) return Infinity
    const grants = this.#byPrincipal.get(principalId) ?? []
    const times = grants.flatMap(({ from = now, until }) => [from, until])
    return Math.min(...times.filter((time) => time > now))
  }

  /** Returns the roles that a principal has now or will have. */
  futureRolesOf(principalId: string, now: number): readonly string[] {
    const grants = this.#byPrincipal.get(principalId) ?? []
    return grants.filter(({ until }) => until > now).map(({ role }) => role)
  }

  /** Returns the grants that have not expired at `now`. */
  list(now: number): readonly TimedGrant[] {
    return [...this.#byPrincipal.values()].flat().filter(({ until }) => until > now)
  }
}

/**
 * Checks a new grant against the policy and the other grants.
 *
 * @param held roles that the principal is known to have.
 * @throws PARAPET_RBAC_INVALID_ARGUMENT
 * @throws PARAPET_RBAC_SEPARATION_OF_DUTY
 * @throws PARAPET_RBAC_ASSIGNMENT_LIMIT
 */
export function requireGrant(
  model: PolicyModel,
  grants: TimedGrants,
  grant: TimedGrant,
  held: readonly string[],
  now: number,
): void {
  requireValid(model, grant, now)
  if (grants.list(now).length >= MAX_GRANTS) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      'The number of grants',
      `must not exceed ${MAX_GRANTS}; revoke one first`,
    )
  }
  const { principalId, role } = grant
  const others = [...held, ...grants.futureRolesOf(principalId, now)]
  const duty = violatedDuty(model, closureOf(model, [...others, role]))
  if (duty !== undefined) throw new PARAPET_RBAC_SEPARATION_OF_DUTY(duty.id)
  const holders = grants.list(now).filter((each) => each.role === role)
  requireAssignable(
    model,
    role,
    others,
    new Set(holders.map((each) => each.principalId).filter((id) => id !== principalId)).size,
  )
}

/** Checks the limits of the policy. @param holders other principals that have the role. */
function requireAssignable(
  model: PolicyModel,
  role: string,
  others: readonly string[],
  holders: number,
): void {
  const { assignment } = model.policy
  if (assignment === undefined) return
  const { maxRoles, maxHolders, requires } = assignment
  const held = closureOf(model, others)
  const missing = (requires[role] ?? []).filter((each) => !hasBit(held, model.roleIds.get(each)!))
  if (missing.length > 0) {
    throw new PARAPET_RBAC_ASSIGNMENT_LIMIT(role, `requires the role "${missing.join('", "')}"`)
  }
  if (maxRoles !== null && new Set([...others, role]).size > maxRoles) {
    throw new PARAPET_RBAC_ASSIGNMENT_LIMIT(role, `would be more than ${maxRoles} roles`)
  }
  const most = Object.hasOwn(maxHolders, role) ? maxHolders[role]! : Infinity
  if (holders >= most) {
    throw new PARAPET_RBAC_ASSIGNMENT_LIMIT(role, `already has ${most} holders, its maximum`)
  }
}

function requireValid(
  model: PolicyModel,
  { principalId, role, from, until }: TimedGrant,
  now: number,
): void {
  if (!model.roleIds.has(role)) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"role"',
      `must be a role that the policy declares, got "${role}"`,
    )
  }
  if (typeof principalId !== 'string' || principalId === '' || principalId.length > MAX_ID_LENGTH) {
    const got = typeof principalId === 'string' ? `${principalId.length} characters` : 'no string'
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      'The id of "principal"',
      `must be a string of 1 to ${MAX_ID_LENGTH} characters, got ${got}`,
    )
  }
  if (!Number.isSafeInteger(until) || until <= now) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"until"',
      `must be an integer greater than ${now}, the current time (milliseconds), got ${until}`,
    )
  }
  if (from !== undefined && (!Number.isSafeInteger(from) || from >= until)) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"from"',
      `must be an integer less than "until" (${until}, milliseconds), got ${from}`,
    )
  }
}

/**
 * Returns until when a principal may grant and revoke a role; `-Infinity`: it may not. A credential that
 * is limited by scopes may not. A role that the principal has for a limited time delegates until its end,
 * so that no role outlives itself by being passed on.
 *
 * @param timed roles that the principal has now for a limited time.
 */
export function endOfDelegation(
  model: PolicyModel,
  by: Principal,
  timed: readonly TimedGrant[],
  role: string,
): number {
  const { delegation = {} } = model.policy
  if (by.scopes !== undefined && !by.scopes.includes('*')) return -Infinity
  const delegates = Object.keys(delegation).filter((each) => delegation[each]!.includes(role))
  const mayGrant = (roles: readonly string[]): boolean => {
    const held = closureOf(model, roles)
    return delegates.some((each) => hasBit(held, model.roleIds.get(each)!))
  }
  if (mayGrant(by.roles)) return Infinity
  return Math.max(
    -Infinity,
    ...timed.filter((each) => mayGrant([each.role])).map(({ until }) => until),
  )
}
