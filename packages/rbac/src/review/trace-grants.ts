/** Traces which grants and deny rules of a policy concern a permission. */
import { printValue, readMember, type Normal } from '../attributes/attributes.ts'
import { compileCondition, evaluateSafely } from '../conditions/compile-condition.ts'
import { compileReader, type DecisionContext } from '../conditions/context.ts'
import type { Node, Reference, Truth } from '../conditions/nodes.ts'
import { printNode } from '../conditions/print-condition.ts'
import { covers, type PolicyModel } from '../policy/policy-model.ts'

/** One way in which the policy grants a permission to the principal. */
export interface GrantTrace {
  /**
   * The roles from one of the principal to the one that grants, as `['admin', 'editor']`. It is empty
   * for a permission of the principal itself.
   */
  readonly path: readonly string[]
  /** The grant as written in the policy; may be a wildcard. */
  readonly grant: string
  /** The condition with the values that it read; absent if there is none. */
  readonly condition?: string
  /** `null`: unknown, because an attribute of the condition is missing. */
  readonly holds: Truth
}

/** A deny rule for the permission and the roles of the principal. */
export interface DenyTrace {
  readonly id: string
  readonly condition?: string
  /** The deny rule applies unless this is false. */
  readonly holds: Truth
}

/** Returns all roles of a principal, with the path to each from a role it has. Breadth first. */
export function pathsOf(
  { policy }: PolicyModel,
  roles: readonly string[],
): Map<string, readonly string[]> {
  const paths = new Map<string, readonly string[]>()
  for (const role of roles) if (Object.hasOwn(policy.roles, role)) paths.set(role, [role])
  for (const [role, path] of paths) {
    for (const parent of policy.roles[role]!.inherits) {
      if (!paths.has(parent)) paths.set(parent, [...path, parent])
    }
  }
  return paths
}

/** Returns the id of the separation of duty that the roles violate. */
export function violatedDutyOf(
  { policy }: PolicyModel,
  paths: ReadonlyMap<string, unknown>,
): string | undefined {
  return policy.sod.find(({ roles, max }) => roles.filter((role) => paths.has(role)).length > max)
    ?.id
}

/** Returns every grant of a permission to these roles. */
export function traceGrants(
  model: PolicyModel,
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

/** Returns every deny rule of a permission for these roles. */
export function traceDenies(
  model: PolicyModel,
  paths: ReadonlyMap<string, unknown>,
  permission: string,
  context: DecisionContext,
): DenyTrace[] {
  return model.policy.deny.flatMap(({ id, permissions, roles }, index): DenyTrace[] => {
    const applies = roles === null || roles.some((role) => paths.has(role))
    if (!applies || !permissions.some((grant) => covers(grant, permission))) return []
    const { node } = model.denies[index]!
    return node === null ? [{ id, holds: true }] : [{ id, ...traceCondition(node, context) }]
  })
}

function traceCondition(
  node: Node,
  context: DecisionContext,
): { readonly condition: string; readonly holds: Truth } {
  const holds = evaluateSafely(compileCondition(node), context)
  try {
    const condition = printNode(node, (ref) => {
      const value = compileReader(ref)(context)
      return ` (${value === undefined ? 'missing' : showValue(ref, value)})`
    })
    return { condition, holds }
  } catch {
    return { condition: `${printNode(node)} (reading an attribute failed)`, holds }
  }
}

function showValue({ type }: Reference, value: Normal): string {
  // A time is shown as it is compared, in milliseconds.
  return type === 'time' ? JSON.stringify(value) : printValue(type, value)
}
