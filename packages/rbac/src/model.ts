/** A policy with every name resolved: the source of the engine and of the explanations. */
import type { AttributeType } from './attributes.ts'
import { hasBit, mergeBits, setBit, wordsFor } from './bits.ts'
import { resolveCondition, type Node, type TypeLookup } from './condition-nodes.ts'
import { environmentAttributes, subjectAttributes } from './context.ts'
import { PARAPET_RBAC_INVALID_POLICY } from './errors.ts'
import { sortRoles } from './hierarchy.ts'
import type { PolicyDocument } from './policy-types.ts'

/** A grant that holds while its condition is true. */
interface ConditionalGrant {
  readonly role: number
  /** As the policy has it, perhaps a wildcard. */
  readonly grant: string
  readonly permissions: readonly number[]
  readonly node: Node
}

/** A deny rule. */
interface DenyRule {
  readonly id: string
  readonly permissions: readonly number[]
  readonly roles: readonly number[] | null
  readonly node: Node | null
}

/** A static separation of duty. */
interface Duty {
  readonly id: string
  readonly roles: readonly number[]
  readonly max: number
}

/** A policy that is sound. */
export interface Model {
  readonly policy: PolicyDocument
  readonly permissionIds: ReadonlyMap<string, number>
  readonly roleIds: ReadonlyMap<string, number>
  readonly roleNames: readonly string[]
  /** Parents before children. */
  readonly order: readonly number[]
  readonly parents: readonly (readonly number[])[]
  /** By role, what it grants without a condition, without what it inherits. */
  readonly grants: readonly (readonly number[])[]
  readonly conditionals: readonly ConditionalGrant[]
  readonly denies: readonly DenyRule[]
  readonly duties: readonly Duty[]
  /** By role, the bits of itself and of all it inherits; `closureWords` words each. */
  readonly closure: Uint32Array
  readonly closureWords: number
}

/**
 * Resolves a policy.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY a name that is not declared, a cycle of roles, a role that
 *   breaks a separation of duty by itself; with every fault.
 */
export function createModel(policy: PolicyDocument): Model {
  const faults: string[] = []
  const roleNames = Object.keys(policy.roles)
  const roleIds = indexOf(roleNames)
  const names = createNames(policy, roleIds, faults)
  const parents = roleNames.map((role) =>
    names.roles(policy.roles[role]!.inherits, `roles.${role}.inherits`),
  )
  const sorted = sortRoles(parents)
  if ('cycle' in sorted) {
    faults.push(
      `  roles: inherit in a circle: ${sorted.cycle.map((role) => roleNames[role]).join(' → ')}`,
    )
  }
  const order = 'order' in sorted ? sorted.order : []
  const closureWords = wordsFor(roleNames.length)
  const model: Model = {
    policy,
    permissionIds: names.permissionIds,
    roleIds,
    roleNames,
    order,
    parents,
    grants: roleNames.map((role) =>
      policy.roles[role]!.grants.flatMap((grant) => names.cover(grant, `roles.${role}.grants`)),
    ),
    conditionals: roleNames.flatMap((role, id) =>
      Object.entries(policy.roles[role]!.when).map(([grant, condition]) => {
        const path = `roles.${role}.when["${grant}"]`
        const permissions = names.cover(grant, path)
        const node = resolveCondition(condition, typesFor(policy, permissions), (problem) =>
          faults.push(`  ${path}: ${problem}`),
        )
        return { role: id, grant, permissions, node }
      }),
    ),
    denies: policy.deny.map((rule) => readDeny(rule, policy, names, faults)),
    duties: policy.sod.map((duty) => ({
      ...duty,
      roles: names.roles(duty.roles, `sod.${duty.id}`),
    })),
    closure: closeRoles(order, parents, closureWords),
    closureWords,
  }
  checkFields(policy, names, faults)
  checkIds(policy, faults)
  if (order.length > 0) checkDuties(model, faults)
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_POLICY(faults.join('\n'))
  return Object.freeze(model)
}

/** The separation of duty that a set of roles, inherited ones included, breaks; `undefined`: none. */
export function brokenDuty(model: Model, held: Uint32Array): Duty | undefined {
  return model.duties.find(
    ({ roles, max }) => roles.filter((role) => hasBit(held, role)).length > max,
  )
}

interface Names {
  readonly permissionIds: ReadonlyMap<string, number>
  roles(names: readonly string[], path: string): number[]
  /** The permissions that a grant covers. */
  cover(grant: string, path: string): readonly number[]
}

function createNames(
  { permissions }: PolicyDocument,
  roleIds: ReadonlyMap<string, number>,
  faults: string[],
): Names {
  const permissionIds = indexOf(permissions)
  const wildcards = new Map<string, number[]>([['*', []]])
  for (const [id, permission] of permissions.entries()) {
    wildcards.get('*')!.push(id)
    for (
      let colon = permission.indexOf(':');
      colon !== -1;
      colon = permission.indexOf(':', colon + 1)
    ) {
      const wildcard = `${permission.slice(0, colon)}:*`
      const covered = wildcards.get(wildcard)
      if (covered === undefined) wildcards.set(wildcard, [id])
      else covered.push(id)
    }
  }
  return {
    permissionIds,
    roles: (names, path) =>
      names.flatMap((name) => {
        const id = roleIds.get(name)
        if (id === undefined)
          faults.push(`  ${path}: names the role "${name}", which is not declared`)
        return id ?? []
      }),
    cover: (grant, path) => {
      const id = permissionIds.get(grant)
      const covered = id === undefined ? wildcards.get(grant) : [id]
      if (covered === undefined) {
        faults.push(`  ${path}: names the permission "${grant}", which is not declared`)
      }
      return covered ?? []
    },
  }
}

function readDeny(
  rule: PolicyDocument['deny'][number],
  policy: PolicyDocument,
  names: Names,
  faults: string[],
): DenyRule {
  const path = `deny.${rule.id}`
  const permissions = [...new Set(rule.permissions.flatMap((grant) => names.cover(grant, path)))]
  if (rule.permissions.length === 0) faults.push(`  ${path}: names no permission`)
  if (rule.roles?.length === 0)
    faults.push(`  ${path}: names no role; leave "roles" out for everybody`)
  return {
    id: rule.id,
    permissions,
    roles: rule.roles === null ? null : names.roles(rule.roles, path),
    node:
      rule.when === null
        ? null
        : resolveCondition(rule.when, typesFor(policy, permissions), (problem) =>
            faults.push(`  ${path}: ${problem}`),
          ),
  }
}

function own(
  schema: Readonly<Record<string, AttributeType>> | undefined,
  name: string,
): AttributeType | undefined {
  return schema !== undefined && Object.hasOwn(schema, name) ? schema[name] : undefined
}

/** An attribute of the resource must be one, and of one type, in every type of resource covered. */
function typesFor(policy: PolicyDocument, permissions: readonly number[]): TypeLookup {
  const resources = [...new Set(permissions.map((id) => policy.permissions[id]!.split(':', 1)[0]!))]
  return (root, name) => {
    if (root === 'subject') return own(subjectAttributes, name) ?? own(policy.subject, name)
    if (root === 'environment') {
      return own(environmentAttributes, name) ?? own(policy.environment, name)
    }
    if (root === 'fact') return own(policy.facts, name)
    const types = new Set(
      resources.map((type) =>
        own(Object.hasOwn(policy.resources, type) ? policy.resources[type] : undefined, name),
      ),
    )
    return types.size === 1 ? [...types][0] : undefined
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

function checkDuties(model: Model, faults: string[]): void {
  if (model.duties.length === 0) return
  for (const [role, name] of model.roleNames.entries()) {
    const start = role * model.closureWords
    const duty = brokenDuty(model, model.closure.subarray(start, start + model.closureWords))
    if (duty !== undefined) {
      faults.push(
        `  roles.${name}: holds, with what it inherits, roles that sod.${duty.id} keeps apart`,
      )
    }
  }
}

function checkFields({ fields, resources }: PolicyDocument, names: Names, faults: string[]): void {
  for (const [type, map] of Object.entries(fields)) {
    if (!Object.hasOwn(resources, type)) {
      faults.push(`  fields.${type}: names a resource type that is not declared`)
    }
    for (const [field, permission] of Object.entries(map)) {
      const known = names.permissionIds.has(permission) && permission.startsWith(`${type}:`)
      if (!known) {
        faults.push(`  fields.${type}.${field}: must name a declared permission of "${type}"`)
      }
    }
  }
}

function checkIds({ deny, sod }: PolicyDocument, faults: string[]): void {
  for (const [name, rules] of Object.entries({ deny, sod })) {
    const ids = rules.map(({ id }) => id)
    for (const id of new Set(ids.filter((each, index) => ids.indexOf(each) !== index))) {
      faults.push(`  ${name}.${id}: is there twice`)
    }
  }
}

function indexOf(names: readonly string[]): Map<string, number> {
  return new Map(names.map((name, index) => [name, index]))
}
