/** Compiles a policy: resolves every name and checks what depends on more than one member. */
import { resolveCondition } from '../conditions/resolve-condition.ts'
import { PARAPET_RBAC_INVALID_POLICY } from '../errors.ts'
import { relationFaults } from '../relations/check-relations.ts'
import { mergeBits, setBit, wordsFor } from './bit-set.ts'
import {
  violatedDuty,
  type ConditionalGrant,
  type DenyRule,
  type PolicyModel,
} from './policy-model.ts'
import { createNames, declaredFor, indexOf, type Names } from './policy-names.ts'
import type { PolicyDocument } from './policy-types.ts'
import { sortRoles } from './role-order.ts'

/**
 * Compiles a policy.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY with every fault: undeclared names, cycles of roles, roles that
 *   violate a separation of duty by themselves.
 */
export function compilePolicy(policy: PolicyDocument): PolicyModel {
  const faults: string[] = []
  const roleNames = Object.keys(policy.roles)
  const roleIds = indexOf(roleNames)
  const names = createNames(policy, roleIds, faults)
  const parents = roleNames.map((role) =>
    names.roles(policy.roles[role]!.inherits, `roles.${role}.inherits`),
  )
  const order = orderRoles(roleNames, parents, faults)
  const closureWords = wordsFor(roleNames.length)
  const model: PolicyModel = {
    policy,
    permissionIds: names.permissionIds,
    roleIds,
    roleNames,
    order,
    parents,
    grants: roleNames.map((role) =>
      policy.roles[role]!.grants.flatMap((grant) => names.cover(grant, `roles.${role}.grants`)),
    ),
    conditionals: resolveGrants(policy, names, faults),
    denies: policy.deny.map((rule) => resolveDeny(rule, policy, names, faults)),
    duties: policy.sod.map((duty) => ({
      ...duty,
      roles: names.roles(duty.roles, `sod.${duty.id}`),
    })),
    closure: closeRoles(order, parents, closureWords),
    closureWords,
  }
  faults.push(...relationFaults(policy.relations ?? {}))
  checkFields(policy, names, faults)
  checkAssignment(policy, names)
  checkIds(policy, faults)
  if (order.length > 0) checkDuties(model, faults)
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_POLICY(faults.join('\n'))
  return Object.freeze(model)
}

/** Returns an empty order if the roles inherit in a cycle. */
function orderRoles(
  roleNames: readonly string[],
  parents: readonly (readonly number[])[],
  faults: string[],
): readonly number[] {
  const sorted = sortRoles(parents)
  if ('order' in sorted) return sorted.order
  const cycle = sorted.cycle.map((role) => roleNames[role]).join(' → ')
  faults.push(`  roles: must not inherit in a cycle, got ${cycle}`)
  return []
}

function resolveGrants(policy: PolicyDocument, names: Names, faults: string[]): ConditionalGrant[] {
  return Object.entries(policy.roles).flatMap(([role, { when }], id) =>
    Object.entries(when).map(([grant, condition]) => {
      const path = `roles.${role}.when["${grant}"]`
      const permissions = names.cover(grant, path)
      const node = resolveCondition(condition, declaredFor(policy, permissions), (problem) =>
        faults.push(`  ${path}: ${problem}`),
      )
      return { role: id, grant, permissions, node }
    }),
  )
}

function resolveDeny(
  rule: PolicyDocument['deny'][number],
  policy: PolicyDocument,
  names: Names,
  faults: string[],
): DenyRule {
  const path = `deny.${rule.id}`
  const permissions = [...new Set(rule.permissions.flatMap((grant) => names.cover(grant, path)))]
  if (rule.permissions.length === 0) faults.push(`  ${path}: must list at least one permission`)
  if (rule.roles?.length === 0)
    faults.push(
      `  ${path}: must list at least one role; omit "roles" to apply it to all principals`,
    )
  return {
    id: rule.id,
    permissions,
    roles: rule.roles === null ? null : names.roles(rule.roles, path),
    node:
      rule.when === null
        ? null
        : resolveCondition(rule.when, declaredFor(policy, permissions), (problem) =>
            faults.push(`  ${path}: ${problem}`),
          ),
  }
}

function closeRoles(
  order: readonly number[],
  parents: readonly (readonly number[])[],
  words: number,
): Uint32Array {
  const closure = new Uint32Array(parents.length * words)
  for (const role of order) {
    const row = closure.subarray(role * words, (role + 1) * words)
    setBit(row, role)
    for (const parent of parents[role]!) mergeBits(row, closure, parent * words)
  }
  return closure
}

function checkDuties(model: PolicyModel, faults: string[]): void {
  if (model.duties.length === 0) return
  for (const [role, name] of model.roleNames.entries()) {
    const start = role * model.closureWords
    const duty = violatedDuty(model, model.closure.subarray(start, start + model.closureWords))
    if (duty !== undefined) {
      faults.push(
        `  roles.${name}: has, with inherited roles, more roles of sod.${duty.id} than "max" allows`,
      )
    }
  }
}

function checkFields({ fields, resources }: PolicyDocument, names: Names, faults: string[]): void {
  for (const [type, map] of Object.entries(fields)) {
    if (!Object.hasOwn(resources, type)) {
      faults.push(`  fields.${type}: uses a resource type that the policy does not declare`)
    }
    for (const [field, permission] of Object.entries(map)) {
      const known = names.permissionIds.has(permission) && permission.startsWith(`${type}:`)
      if (!known) {
        faults.push(
          `  fields.${type}.${field}: must be a declared permission of "${type}", got "${permission}"`,
        )
      }
    }
  }
}

function checkIds({ deny, sod }: PolicyDocument, faults: string[]): void {
  for (const [name, rules] of Object.entries({ deny, sod })) {
    const ids = rules.map(({ id }) => id)
    for (const id of new Set(ids.filter((each, index) => ids.indexOf(each) !== index))) {
      faults.push(`  ${name}.${id}: is used twice; ids must be unique`)
    }
  }
}

/** Reports roles that are not declared. */
function checkAssignment({ assignment, delegation }: PolicyDocument, names: Names): void {
  const lists = {
    'assignment.requires': assignment?.requires ?? {},
    delegation: delegation ?? {},
  }
  names.roles(Object.keys(assignment?.maxHolders ?? {}), 'assignment.maxHolders')
  for (const [path, byRole] of Object.entries(lists)) {
    for (const [role, others] of Object.entries(byRole)) names.roles([role, ...others], path)
  }
}
