/** How an author writes a policy: typed and checked at once, plain data afterwards. */
import type { AttributeSchema } from '../attributes/attributes.ts'
import type { Condition } from '../conditions/condition.ts'
import { environmentAttributes, subjectAttributes } from '../conditions/context.ts'
import { PARAPET_RBAC_INVALID_POLICY } from '../errors.ts'
import { compilePolicy } from './compile-policy.ts'
import type { Policy, PolicySource } from './policy-types.ts'
import { readPolicy } from './read-policy.ts'

// Not an index signature: that would let a condition use any attribute.
// oxlint-disable-next-line typescript/no-empty-object-type -- no attributes are declared
type None = {}

type LooseCondition = Condition | ((scope: object) => Condition)

interface LooseSource {
  readonly permissions?: unknown
  readonly resources?: Readonly<Record<string, AttributeSchema>>
  readonly subject?: AttributeSchema
  readonly environment?: AttributeSchema
  readonly facts?: AttributeSchema
  readonly roles?: Readonly<
    Record<string, { readonly when?: Readonly<Record<string, LooseCondition>> } | undefined>
  >
  readonly deny?: readonly LooseDeny[]
}

interface LooseDeny {
  readonly permissions?: readonly string[]
  readonly when?: LooseCondition
}

// oxlint-disable typescript/no-unnecessary-type-parameters -- each is inferred from its own member
/**
 * Checks a policy and returns it as frozen data that can be stored, compared and published. An
 * unknown permission, role or attribute is a compiler error and makes this call throw.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY with every fault.
 */
export function definePolicy<
  const P extends string,
  const R extends string,
  const Resources extends Readonly<Record<string, AttributeSchema>> = None,
  const Subject extends AttributeSchema = None,
  const Surroundings extends AttributeSchema = None,
  const Facts extends AttributeSchema = None,
>(
  source: PolicySource<
    P,
    R,
    { resources: Resources; subject: Subject; environment: Surroundings; facts: Facts }
  >,
): Policy<P, R> {
  const policy = readPolicy(buildConditions(source as LooseSource))
  compilePolicy(policy)
  return policy as Policy<P, R>
}

// oxlint-enable typescript/no-unnecessary-type-parameters

/**
 * Makes a policy from a map of each permission to the roles that have it.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY if a name is invalid or a value is not an array.
 */
export function fromMap<const M extends Readonly<Record<string, readonly string[]>>>(
  map: M,
): Policy<keyof M & string, M[keyof M][number]> {
  const grants = new Map<string, string[]>()
  for (const [permission, roles] of Object.entries(map)) {
    if (!Array.isArray(roles)) {
      throw new PARAPET_RBAC_INVALID_POLICY(
        `  ${permission}: must list its roles in an array, got ${roles === null ? 'null' : `a ${typeof roles}`}`,
      )
    }
    for (const role of roles as readonly string[]) {
      const list = grants.get(role)
      if (list === undefined) grants.set(role, [permission])
      else list.push(permission)
    }
  }
  const roles = Object.fromEntries([...grants].map(([role, list]) => [role, { grants: list }]))
  const policy = readPolicy({ permissions: Object.keys(map), roles })
  compilePolicy(policy)
  return policy
}

/** Replaces the functions that build conditions by what they return. readPolicy checks the rest. */
function buildConditions(source: LooseSource): unknown {
  if (typeof source !== 'object' || source === null) return source
  const build = (condition: LooseCondition, permissions: readonly string[]): Condition =>
    typeof condition === 'function' ? condition(createScope(source, permissions)) : condition
  return {
    ...source,
    roles: mapMembers(source.roles, (role) => ({
      ...role,
      ...(role?.when === undefined
        ? undefined
        : { when: mapMembers(role.when, (condition, grant) => build(condition, [grant])) }),
    })),
    deny: Array.isArray(source.deny)
      ? source.deny.map((rule: LooseDeny) => ({
          ...rule,
          ...(rule.when === undefined
            ? undefined
            : { when: build(rule.when, rule.permissions ?? []) }),
        }))
      : source.deny,
  }
}

function mapMembers<T>(
  value: Readonly<Record<string, T>> | undefined,
  map: (member: T, name: string) => unknown,
): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, map(member, name)]),
  )
}

function createScope(source: LooseSource, permissions: readonly string[]): object {
  // Whether an attribute exists in each of these types is checked by compilePolicy.
  const types = permissions.flatMap((permission) =>
    permission === '*' ? Object.keys(source.resources ?? {}) : permission.split(':', 1),
  )
  const resource = types.map((type) => source.resources?.[type] ?? {})
  return {
    subject: refsOf('subject', { ...subjectAttributes, ...source.subject }),
    resource: refsOf('resource', Object.assign({}, ...resource) as object),
    environment: refsOf('environment', { ...environmentAttributes, ...source.environment }),
    fact: refsOf('fact', source.facts ?? {}),
  }
}

/** An undeclared attribute throws here, where it is written; it does not become `undefined`. */
function refsOf(root: string, schema: object): object {
  const refs = new Map(Object.keys(schema).map((name) => [name, { ref: `${root}.${name}` }]))
  return new Proxy(Object.create(null) as object, {
    get(_, name) {
      const ref = refs.get(String(name))
      if (ref === undefined) {
        throw new PARAPET_RBAC_INVALID_POLICY(
          `  a condition uses the attribute "${root}.${String(name)}", which the policy does not declare; declared: ${[...refs.keys()].join(', ') || 'none'}`,
        )
      }
      return ref
    },
  })
}
