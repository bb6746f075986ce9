/** `app.rbac.list` and `app.rbac.pack`: everything that one principal may do. */
import type { Principal } from '@parapet/kit'
import type { DecisionContext } from '../conditions/context.ts'
import { foldRule, loadResidual, type Residual } from '../decide/filter.ts'
import type { LookupLimits } from '../decide/find-related.ts'
import { requirePrincipal } from '../decide/require-principal.ts'
import { isAllowed, isConditional, type Rights } from '../decide/rights.ts'
import { isCurrent, lookUpStanding, type Standing } from '../decide/standing.ts'
import {
  PARAPET_RBAC_STALE,
  PARAPET_RBAC_TOO_MANY_RELATIONS,
  PARAPET_RBAC_UNKNOWN_PERMISSION,
} from '../errors.ts'
import type { LivePolicy } from '../live/live-policy.ts'
import type { RbacSettings } from '../options.ts'
import { packRule, type Pack } from '../pack/pack.ts'
import type { Permission } from '../policy/policy-types.ts'
import type { Relations } from '../tuples/relations.ts'
import { listResources, type PageOptions, type ResourcePage } from '../search/list-resources.ts'

/** Attributes that are not those of the principal itself. */
export interface AccessContext {
  /** Attributes that the policy declares under `subject`. @default what the option `subject` returns */
  readonly subject?: Readonly<Record<string, unknown>>
  /** @default the current time and no address */
  readonly environment?: { readonly time?: number; readonly ip?: string } & Readonly<
    Record<string, unknown>
  >
}

/** Everything that a principal may do. */
export interface Lists {
  /**
   * Lists the ids of the resources on which a principal has a permission, in the order of the lister. Facts
   * are unknown.
   *
   * @param type the resource type. @default that of the permission
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_NO_LISTER
   * @throws PARAPET_RBAC_FACT_IN_FILTER
   * @throws PARAPET_RBAC_TOO_MANY_RELATIONS
   * @throws PARAPET_RBAC_LOOKUP_TIMEOUT
   * @throws PARAPET_RBAC_STALE
   */
  list(
    principal: Principal,
    permission: Permission,
    type?: string,
    page?: PageOptions & AccessContext,
  ): Promise<ResourcePage>
  /**
   * Returns the rights of a principal as JSON, for `can` of `@parapet/rbac/client`: for showing and hiding
   * controls. It has the conditions on resources with the values of the principal in them; facts, times and
   * exact numbers of resources are unknown in it, and a relation to more than 10 000 objects.
   *
   * @param options `maxAgeMs`: how long it may be used, 1000 to 3 600 000 ms. @default 60 000
   * @throws PARAPET_RBAC_STALE
   */
  pack(
    principal: Principal,
    options?: { readonly maxAgeMs?: number } & AccessContext,
  ): Promise<Pack>
}

const DEFAULT_AGE_MS = 60_000
const MAX_PACKED = 10_000
const MIN_AGE_MS = 1000
const MAX_AGE_MS = 3_600_000

/** Creates the lists. */
export function createLists(live: LivePolicy, settings: RbacSettings): Lists {
  const { clock, factTimeoutMs, relations, resources } = settings
  const limits: LookupLimits = { clock, timeoutMs: factTimeoutMs }
  const lists: Lists = {
    async list(principal, permission, type = permission.split(':', 1)[0]!, page = {}) {
      const { standing, rights, context } = open(live, settings, principal, page)
      const { engine } = standing
      const id = engine.permissionIds.get(permission)
      if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
      const question = { engine, rights, permission: id, type, context }
      const found = await listResources({ resources, relations, limits }, question, page)
      // A role may have been revoked during the lookup.
      return isCurrent(standing, live, clock)
        ? found
        : lists.list(principal, permission, type, page)
    },
    async pack(principal, options = {}) {
      const { standing, rights, context } = open(live, settings, principal, options)
      const { engine } = standing
      // Permissions test the same relations, and a list of them can be long.
      const once = relations && listOnce(relations)
      const yes: string[] = []
      const rules: Record<string, Exclude<ReturnType<typeof packRule>, boolean>> = {}
      for (const [permission, id] of engine.permissionIds) {
        if (isAllowed(rights, id)) yes.push(permission)
        else if (isConditional(rights, id)) {
          const rule = packRule(await residualFor(standing, id, context, once, limits))
          if (rule === true) yes.push(permission)
          else if (rule !== false) rules[permission] = rule
        }
      }
      if (!isCurrent(standing, live, clock)) return lists.pack(principal, options)
      const age = Math.min(Math.max(options.maxAgeMs ?? DEFAULT_AGE_MS, MIN_AGE_MS), MAX_AGE_MS)
      return { v: 1, exp: Math.min(clock.now() + age, standing.until), yes, if: rules }
    },
  }
  return lists
}

/** A pack has no room for more related objects than a list has: their relations stay unknown in it. */
async function residualFor(
  { engine, rights }: Standing,
  permission: number,
  context: DecisionContext,
  relations: Relations | undefined,
  limits: LookupLimits,
): Promise<Residual> {
  try {
    return await loadResidual(engine, rights!, permission, context, relations, limits)
  } catch (error) {
    if (!(error instanceof PARAPET_RBAC_TOO_MANY_RELATIONS)) throw error
    return foldRule(engine, rights!, permission, context)
  }
}

/** Lists each relation once. @throws PARAPET_RBAC_TOO_MANY_RELATIONS if a pack has no room for the list. */
function listOnce(relations: Relations): Relations {
  const lists = new Map<string, ReturnType<Relations['list']>>()
  const listShort: Relations['list'] = async (principalId, plan) => {
    const page = await relations.list(principalId, plan, { limit: MAX_PACKED })
    if (page.hasMore) throw new PARAPET_RBAC_TOO_MANY_RELATIONS(plan.key, `${MAX_PACKED} objects`)
    return page
  }
  return {
    check: (principalId, questions) => relations.check(principalId, questions),
    list(principalId, plan, page) {
      const list = lists.get(plan.key) ?? listShort(principalId, plan, page)
      lists.set(plan.key, list)
      return list
    },
  }
}

function open(
  live: LivePolicy,
  { clock, subject }: RbacSettings,
  principal: Principal,
  given: AccessContext,
): { readonly standing: Standing; readonly rights: Rights; readonly context: DecisionContext } {
  requirePrincipal(principal, '"principal"')
  const standing = lookUpStanding(live, principal, clock)
  if (standing.rights === null) throw new PARAPET_RBAC_STALE()
  const { time = clock.now(), ip, ...attributes } = given.environment ?? {}
  // The option `subject` may read the request, which there is none of here.
  const own =
    subject !== undefined && subject.length < 2 ? subject(principal, undefined as never) : {}
  const context: DecisionContext = {
    principal,
    subject: given.subject ?? own,
    resource: undefined,
    environment: { time, ip, attributes },
    facts: undefined,
  }
  return { standing, rights: standing.rights, context }
}
