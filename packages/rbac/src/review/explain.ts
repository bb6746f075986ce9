/**
 * Explains decisions. It reads the policy by names, independently of the engine; a test checks that
 * both always agree. It costs requests nothing.
 */
import type { Principal } from '@parapet/kit'
import { readMember } from '../attributes/attributes.ts'
import type { DecisionContext, RelatedAnswers } from '../conditions/context.ts'
import { printNode } from '../conditions/print-condition.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import type { Reason } from '../decide/reasons.ts'
import { requirePrincipal } from '../decide/require-principal.ts'
import { covers, type PolicyModel } from '../policy/policy-model.ts'
import {
  pathsOf,
  traceDenies,
  traceGrants,
  violatedDutyOf,
  type DenyTrace,
  type GrantTrace,
} from './trace-grants.ts'

/** Attributes and facts that an explanation assumes. */
export interface ExplainContext {
  /** Attributes that the policy declares under `subject`. */
  readonly subject?: Readonly<Record<string, unknown>>
  /** @default the current time and no address */
  readonly environment?: { readonly time?: number; readonly ip?: string } & Readonly<
    Record<string, unknown>
  >
  /** @default none: they are unknown */
  readonly facts?: Readonly<Record<string, unknown>>
  /** By relation, as `document#viewer`: the ids of objects. @default relations are unknown */
  readonly related?: Readonly<Record<string, readonly string[]>>
}

/** Why a permission is allowed or denied. It reveals the policy: show it to operators only. */
export interface Explanation {
  readonly allowed: boolean
  readonly reason: Reason
  readonly permission: string
  readonly grants: readonly GrantTrace[]
  readonly denies: readonly DenyTrace[]
  /** What would have allowed it, most likely first; at most 10 entries. */
  readonly nearestMisses: readonly string[]
  /** The explanation in one sentence. */
  readonly text: string
}

const MAX_MISSES = 10

/** Explains one decision. @param context `null`: the request has no principal. */
export function explain(
  model: PolicyModel,
  roles: readonly string[],
  permission: string,
  context: DecisionContext | null,
): Explanation {
  const { policy } = model
  if (!policy.permissions.includes(permission)) {
    return conclude(permission, 'unknown_permission', [], [], [])
  }
  const paths = pathsOf(model, roles)
  if (context === null) {
    return conclude(permission, 'anonymous', [], [], grantingRoles(model, permission, paths))
  }
  const grants = traceGrants(model, paths, permission, context)
  const denies = traceDenies(model, paths, permission, context)
  const duty = violatedDutyOf(model, paths)
  if (duty !== undefined) {
    const miss = `the separation of duty "${duty}" forbids this combination of roles`
    return conclude(permission, 'separation_of_duty', grants, denies, [miss])
  }
  if (grants.length > 0 && isOutOfScope(context.principal, permission)) {
    const miss = `the scopes of the credential do not include "${permission}"`
    return conclude(permission, 'out_of_scope', grants, denies, [miss])
  }
  if (grants.some(({ holds }) => holds === true) && !denies.some(applies)) {
    return conclude(permission, 'granted', grants, denies, [])
  }
  const reason = refusalReason(grants, denies)
  const misses = nearestMissesOf(grants, denies)
  const others = grants.length === 0 ? grantingRoles(model, permission, paths) : []
  return conclude(permission, reason, grants, denies, [...misses, ...others])
}

function isOutOfScope(principal: Principal, permission: string): boolean {
  const scopes = readMember(principal, 'scopes')
  return Array.isArray(scopes) && !scopes.some((scope: string) => covers(scope, permission))
}

function refusalReason(grants: readonly GrantTrace[], denies: readonly DenyTrace[]): Reason {
  if (grants.length === 0) return 'no_grant'
  const isGranted = grants.some(({ holds }) => holds === true)
  const isAlwaysDenied = denies.some(({ condition }) => condition === undefined)
  return isGranted || isAlwaysDenied ? 'denied_by_rule' : 'condition_failed'
}

function nearestMissesOf(grants: readonly GrantTrace[], denies: readonly DenyTrace[]): string[] {
  const refusals = denies
    .filter(applies)
    .map(({ id, condition }) =>
      condition === undefined
        ? `the deny rule "${id}" applies`
        : `the deny rule "${id}" applies: ${condition}`,
    )
  if (grants.some(({ holds }) => holds === true)) return refusals
  const failed = grants.map(
    ({ path, condition }) => `the role "${path.at(-1)}" grants it when ${condition}`,
  )
  return [...refusals, ...failed]
}

/** A deny rule whose condition is unknown applies. */
function applies({ holds }: DenyTrace): boolean {
  return holds !== false
}

/** Returns other roles that would grant the permission, unconditional grants first. */
function grantingRoles(
  model: PolicyModel,
  permission: string,
  held: ReadonlyMap<string, unknown>,
): string[] {
  const always: string[] = []
  const conditional: string[] = []
  for (const [role, { grants }] of Object.entries(model.policy.roles)) {
    if (held.has(role)) continue
    if (grants.some((grant) => covers(grant, permission))) {
      always.push(`the role "${role}" would allow it`)
    }
  }
  for (const { role, grant, node } of model.conditionals) {
    const name = model.roleNames[role]!
    if (held.has(name) || !covers(grant, permission)) continue
    conditional.push(`the role "${name}" would allow it when ${printNode(node)}`)
  }
  return [...always, ...conditional]
}

function conclude(
  permission: string,
  reason: Reason,
  grants: readonly GrantTrace[],
  denies: readonly DenyTrace[],
  misses: readonly string[],
): Explanation {
  const allowed = reason === 'granted'
  const nearestMisses = misses.slice(0, MAX_MISSES)
  const by = grants.find(({ holds }) => holds === true)
  const granted = by === undefined ? '' : describeGrant(by)
  const text = allowed
    ? `"${permission}" is allowed: ${granted}`
    : `"${permission}" is denied (${reason.replaceAll('_', ' ')})${nearestMisses.length === 0 ? '' : `: ${nearestMisses.join('; ')}`}`
  return { allowed, reason, permission, grants, denies, nearestMisses, text }
}

function describeGrant({ path, grant, condition }: GrantTrace): string {
  const source =
    path.length === 0
      ? 'the principal has the permission itself'
      : `${path.join(' → ')} grants "${grant}"`
  return condition === undefined ? source : `${source} when ${condition}`
}

/** Explains a decision of the policy in force. @param now the default of `environment.time`. */
export function explainInForce(
  policy: PolicyInForce,
  now: number,
  principal: Principal | null,
  permission: string,
  resource?: unknown,
  context: ExplainContext = {},
): Explanation {
  const { model } = policy.engine
  if (principal === null) return explain(model, [], permission, null)
  const { subject, environment = {}, facts = {}, related } = context
  const { time = now, ip, ...attributes } = environment
  requirePrincipal(principal, '"principal"')
  const roles = [...principal.roles, ...(policy.grantedTo(principal.id) ?? [])]
  const explanation = explain(model, roles, permission, {
    principal,
    subject,
    resource,
    environment: { time, ip, attributes },
    facts: new Map(Object.entries(facts)),
    related: related && answersOf(related),
  })
  if (!policy.stale) return explanation
  const text = `"${permission}" is denied (stale): the policy store is out of contact`
  return { ...explanation, allowed: false, reason: 'stale', text }
}

function answersOf(related: NonNullable<ExplainContext['related']>): RelatedAnswers {
  return {
    of: ({ key }, id) => (Object.hasOwn(related, key) ? related[key]!.includes(id) : null),
  }
}
