/** Roles that principals have for a limited time. */
import type { Clock } from '@parapet/kit'
import { PARAPET_RBAC_INVALID_ARGUMENT, PARAPET_RBAC_SEPARATION_OF_DUTY } from '../errors.ts'
import { mergeBits, wordsFor } from '../policy/bit-set.ts'
import { violatedDuty, type PolicyModel } from '../policy/policy-model.ts'
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
    const grants = this.#byPrincipal.get(principalId)
    if (grants === undefined) return undefined
    const now = clock.now()
    const roles = grants.filter(({ until }) => until > now).map(({ role }) => role)
    return roles.length === 0 ? undefined : roles
  }

  /** Returns the grants that are valid at `now`. */
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
  const roles = [...held, ...(grants.rolesOf(principalId, { now: () => now }) ?? []), role]
  const duty = violatedDuty(model, closureOf(model, roles))
  if (duty !== undefined) throw new PARAPET_RBAC_SEPARATION_OF_DUTY(duty.id)
}

function requireValid(model: PolicyModel, { principalId, role, until }: TimedGrant, now: number) {
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
}

/** Returns the bit set of the roles and all roles they inherit. */
function closureOf(model: PolicyModel, roles: readonly string[]): Uint32Array {
  const closure = new Uint32Array(wordsFor(model.roleNames.length))
  for (const name of roles) {
    const role = model.roleIds.get(name)
    if (role !== undefined) mergeBits(closure, model.closure, role * model.closureWords)
  }
  return closure
}
