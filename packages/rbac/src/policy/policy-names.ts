/** Looks up the names that a policy uses, and reports those that it does not declare. */
import type { AttributeType } from '../attributes/attributes.ts'
import { environmentAttributes, subjectAttributes } from '../conditions/context.ts'
import type { Declared } from '../conditions/resolve-condition.ts'
import { planRelation } from '../relations/relation-plan.ts'
import type { PolicyDocument } from './policy-types.ts'

/** The declared names of a policy, as numbers. */
export interface Names {
  readonly permissionIds: ReadonlyMap<string, number>
  roles(names: readonly string[], path: string): number[]
  /** Returns the permissions that a grant covers. */
  cover(grant: string, path: string): readonly number[]
}

/** Indexes the names of a policy. @param faults receives a line for every undeclared name. */
export function createNames(
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
          faults.push(`  ${path}: uses the role "${name}", which the policy does not declare`)
        return id ?? []
      }),
    cover: (grant, path) => {
      const id = permissionIds.get(grant)
      const covered = id === undefined ? wildcards.get(grant) : [id]
      if (covered === undefined) {
        faults.push(`  ${path}: uses the permission "${grant}", which the policy does not declare`)
      }
      return covered ?? []
    },
  }
}

function own(
  schema: Readonly<Record<string, AttributeType>> | undefined,
  name: string,
): AttributeType | undefined {
  return schema !== undefined && Object.hasOwn(schema, name) ? schema[name] : undefined
}

/**
 * Returns what a condition on these permissions can use: relations, and the types of attributes. An attribute of
 * the resource must be declared with one type in every resource type covered.
 */
export function declaredFor(policy: PolicyDocument, permissions: readonly number[]): Declared {
  const resources = [...new Set(permissions.map((id) => policy.permissions[id]!.split(':', 1)[0]!))]
  const typeOf: Declared['typeOf'] = (root, name) => {
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
  return { typeOf, planOf: (relation) => planRelation(policy.relations ?? {}, relation) }
}

/** Maps each name to its position. */
export function indexOf(names: readonly string[]): Map<string, number> {
  return new Map(names.map((name, index) => [name, index]))
}
