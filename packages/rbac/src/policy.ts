/** The author's side of a policy: typed, checked when it is written, plain data afterwards. */
import type { AttributeSchema } from './attributes.ts'
import type { Condition } from './conditions.ts'
import { environmentAttributes, subjectAttributes } from './context.ts'
import { createModel } from './model.ts'
import { readPolicy } from './policy-reader.ts'
import type { Policy, PolicySource } from './policy-types.ts'
import { PARAPET_RBAC_INVALID_POLICY } from './errors.ts'

// Not an index signature: that would let a condition name any attribute.
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
 * Makes a policy: checks it whole, and returns it as frozen data that can be stored, compared and
 * published. An unknown permission, role or attribute is an error of the compiler and of this call.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY with every fault, each by its name.
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
  createModel(policy)
  return policy as Policy<P, R>
}

// oxlint-enable typescript/no-unnecessary-type-parameters

/**
 * Makes a policy from the plainest form: for each permission, the roles that have it.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY a name that cannot be one.
 */
export function fromMap<const M extends Readonly<Record<string, readonly string[]>>>(
  map: M,
): Policy<keyof M & string, M[keyof M][number]> {
  const grants = new Map<string, string[]>()
  for (const [permission, roles] of Object.entries(map)) {
    if (!Array.isArray(roles)) {
      throw new PARAPET_RBAC_INVALID_POLICY(`  ${permission}: must list its roles in an array`)
    }
    for (const role of roles as readonly string[]) {
      const list = grants.get(role)
      if (list === undefined) grants.set(role, [permission])
      else list.push(permission)
    }
  }
  const roles = Object.fromEntries([...grants].map(([role, list]) => [role, { grants: list }]))
  const policy = readPolicy({ permissions: Object.keys(map), roles })
  createModel(policy)
  return policy
}

/** Runs the functions that stand for conditions, each once; what has another shape is the reader's matter. */
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
  // What an attribute must be in each of them is the model's matter.
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

/** A name that is not declared is an error where it is written, not `undefined` in a comparison. */
function refsOf(root: string, schema: object): object {
  const refs = new Map(Object.keys(schema).map((name) => [name, { ref: `${root}.${name}` }]))
  return new Proxy(Object.create(null) as object, {
    get(_, name) {
      const ref = refs.get(String(name))
      if (ref === undefined) {
        throw new PARAPET_RBAC_INVALID_POLICY(
          `  a condition names the attribute "${root}.${String(name)}", which is not declared; declared are ${[...refs.keys()].join(', ') || 'none'}`,
        )
      }
      return ref
    },
  })
}
