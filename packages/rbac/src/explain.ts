/**
 * Explanations: a second reading of the policy, by names and without the engine's bits, that says
 * why. That it always agrees with the engine is tested; tracing costs the request path nothing.
 */
import { readMember } from './attributes.ts'
import type { Truth } from './condition-compile.ts'
import { interpretNode } from './condition-interpret.ts'
import { printNode, type Node } from './condition-nodes.ts'
import { compileReader, type DecisionContext } from './context.ts'
import type { Model } from './model.ts'
import type { Reason } from './reasons.ts'

/** One way by which the policy grants a permission to the principal. */
export interface GrantTrace {
  /** From a role of the principal to the one that grants, as `admin`, `editor`. Empty for a permission of its own. */
  readonly path: readonly string[]
  /** The grant as the policy has it, perhaps a wildcard. */
  readonly grant: string
  /** The condition with the values it saw; absent where there is none. */
  readonly condition?: string
  /** `null`: something the condition needs is missing. */
  readonly holds: Truth
}

/** One deny rule that concerns the permission and the principal. */
export interface DenyTrace {
  readonly id: string
  readonly condition?: string
  /** A deny rule matches unless this is false. */
  readonly holds: Truth
}

/** Why a decision falls as it does. It tells the policy's inside: for operators, not for clients. */
export interface Explanation {
  readonly allowed: boolean
  readonly reason: Reason
  readonly permission: string
  readonly grants: readonly GrantTrace[]
  readonly denies: readonly DenyTrace[]
  /** What would have allowed it, nearest first; at most ten. */
  readonly nearestMisses: readonly string[]
  /** All of it in a sentence. */
  readonly text: string
}

const MAX_MISSES = 10

/** Explains one decision. @param context `null` for nobody. */
export function explain(
  model: Model,
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
  const broken = brokenDutyOf(model, paths)
  const grants = traceGrants(model, paths, permission, context)
  const denies = traceDenies(model, paths, permission, context)
  const matched = denies.filter(({ holds }) => holds !== false)
  if (broken !== undefined) {
    const miss = `the separation of duty "${broken}" keeps roles of this principal apart`
    return conclude(permission, 'separation_of_duty', grants, denies, [miss])
  }
  if (grants.some(({ holds }) => holds === true) && matched.length === 0) {
    return conclude(permission, 'granted', grants, denies, [])
  }
  const failed = grants.filter(({ holds }) => holds !== true)
  const misses = [
    ...matched.map(
      ({ id, condition }) =>
        `the deny rule "${id}" matches${condition === undefined ? '' : `: ${condition}`}`,
    ),
    ...(failed.length === grants.length ? failed : []).map(
      ({ path, condition }) => `the role "${path.at(-1)}" grants it when ${condition}`,
    ),
    ...(grants.length === 0 ? grantingRoles(model, permission, paths) : []),
  ]
  const reason =
    grants.length === 0
      ? 'no_grant'
      : failed.length < grants.length || denies.some((deny) => deny.condition === undefined)
        ? 'denied_by_rule'
        : 'condition_failed'
  return conclude(permission, reason, grants, denies, misses)
}

/** Whether a grant, perhaps a wildcard, covers a permission. */
function covers(grant: string, permission: string): boolean {
  return (
    grant === '*' ||
    grant === permission ||
    (grant.endsWith(':*') && permission.startsWith(grant.slice(0, -1)))
  )
}

/** Roles by name, each with the way from a role of the principal, breadth first. */
function pathsOf({ policy }: Model, roles: readonly string[]): Map<string, readonly string[]> {
  const paths = new Map<string, readonly string[]>()
  for (const role of roles) if (Object.hasOwn(policy.roles, role)) paths.set(role, [role])
  for (const [role, path] of paths) {
    for (const parent of policy.roles[role]!.inherits) {
      if (!paths.has(parent)) paths.set(parent, [...path, parent])
    }
  }
  return paths
}

function brokenDutyOf({ policy }: Model, paths: ReadonlyMap<string, unknown>): string | undefined {
  return policy.sod.find(({ roles, max }) => roles.filter((role) => paths.has(role)).length > max)
    ?.id
}

function traceGrants(
  model: Model,
  paths: ReadonlyMap<string, readonly string[]>,
  permission: string,
  context: DecisionContext,
): GrantTrace[] {
  const traces: GrantTrace[] = []
  const own = readMember(context.principal, 'permissions')
  if (Array.isArray(own) && own.includes(permission)) {
    traces.push({ path: [], grant: permission, holds: true })
  }
  for (const [role, path] of paths) {
    for (const grant of model.policy.roles[role]!.grants) {
      if (covers(grant, permission)) traces.push({ path, grant, holds: true })
    }
    for (const { role: owner, grant, node } of model.conditionals) {
      if (model.roleNames[owner] !== role || !covers(grant, permission)) continue
      traces.push({ path, grant, ...traceCondition(node, context) })
    }
  }
  return traces
}

function traceDenies(
  model: Model,
  paths: ReadonlyMap<string, unknown>,
  permission: string,
  context: DecisionContext,
): DenyTrace[] {
  return model.policy.deny.flatMap(({ id, permissions, roles }, index): DenyTrace[] => {
    const concerns = roles === null || roles.some((role) => paths.has(role))
    if (!concerns || !permissions.some((grant) => covers(grant, permission))) return []
    const { node } = model.denies[index]!
    return node === null ? [{ id, holds: true }] : [{ id, ...traceCondition(node, context) }]
  })
}

function traceCondition(
  node: Node,
  context: DecisionContext,
): { readonly condition: string; readonly holds: Truth } {
  try {
    const condition = printNode(
      node,
      (ref) => ` (${JSON.stringify(compileReader(ref)(context)) ?? 'missing'})`,
    )
    return { condition, holds: interpretNode(node, context) }
  } catch {
    return { condition: `${printNode(node)}, which threw`, holds: null }
  }
}

/** Which roles, not held, would grant the permission: those without a condition first. */
function grantingRoles(
  model: Model,
  permission: string,
  held: ReadonlyMap<string, unknown>,
): string[] {
  const always: string[] = []
  const conditional: string[] = []
  for (const [role, { grants }] of Object.entries(model.policy.roles)) {
    if (held.has(role)) continue
    if (grants.some((grant) => covers(grant, permission)))
      always.push(`the role "${role}" would allow it`)
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
    path.length === 0 ? 'it is a permission of its own' : `${path.join(' → ')} grants "${grant}"`
  return condition === undefined ? source : `${source} when ${condition}`
}
