/** Finds mistakes that a valid policy can contain. */
import { wordsFor, hasBit, mergeBits, setBit } from '../policy/bit-set.ts'
import { closureOf, covers, violatedDuty, type PolicyModel } from '../policy/policy-model.ts'
import { contradictionIn } from './contradictions.ts'

/** What each rule finds, and how to fix it. */
export const lintRules = {
  'DEAD-CONDITION': 'the role has the same permission without a condition: remove one of them',
  CONTRADICTION: 'the condition can never be true: correct it',
  'UNUSED-PERMISSION': 'no role grants the permission: grant it, or remove it',
  'IDLE-DENY': 'no role grants what the rule denies: correct its permissions, or remove it',
  'UNREACHABLE-GRANT':
    'a deny rule without a condition refuses it to everybody who has the role: remove one of them',
  'UNREACHABLE-ROLE': 'the role has no effect, or no principal can get it: correct or remove it',
} as const

/** The id of a rule of the lint. */
export type PolicyLintRule = keyof typeof lintRules

/** A mistake in a policy. */
export interface PolicyFinding {
  readonly rule: PolicyLintRule
  /** The member of the policy, as `roles.author.when["doc:write"]`. */
  readonly where: string
  /** What is wrong, and what to do. */
  readonly text: string
}

/** A finding that is accepted until a day. */
export interface PolicyWaiver {
  /** The id of a rule, as `UNUSED-PERMISSION`. */
  readonly rule: string
  /** The finding. @default all findings of the rule */
  readonly where?: string | undefined
  readonly reason: string
  /** The last day of the waiver (in UTC), as `2027-03-01`: at most one year ahead. */
  readonly until: string
}

/** Returns the waivers whose last day has not passed. */
export function activeWaivers(
  waivers: readonly PolicyWaiver[],
  now: number,
): readonly PolicyWaiver[] {
  const today = new Date(now).toISOString().slice(0, 10)
  return waivers.filter(({ until }) => until >= today)
}

/** Returns the mistakes of a policy that are not waived. */
export function lintPolicy(
  model: PolicyModel,
  waivers: readonly PolicyWaiver[] = [],
): readonly PolicyFinding[] {
  const findings = [
    ...findDeadConditions(model),
    ...findContradictions(model),
    ...findUnused(model),
    ...findDeniedGrants(model),
    ...findUnreachable(model),
  ]
  return findings.filter(
    ({ rule, where }) =>
      !waivers.some((each) => each.rule === rule && (each.where ?? where) === where),
  )
}

function finding(rule: PolicyLintRule, where: string, detail = ''): PolicyFinding {
  return { rule, where, text: `${where}: ${detail}${lintRules[rule]} (${rule})` }
}

function findDeadConditions(model: PolicyModel): PolicyFinding[] {
  const always = closeGrants(model)
  return model.conditionals
    .filter(({ role, permissions }) => permissions.every((id) => hasBit(always[role]!, id)))
    .map(({ role, grant }) => finding('DEAD-CONDITION', whenPath(model, role, grant)))
}

function findContradictions({ roleNames, conditionals, denies, ...model }: PolicyModel) {
  const named = [
    ...conditionals.map(({ role, grant, node }) => ({
      where: whenPath({ roleNames, ...model }, role, grant),
      node,
    })),
    ...denies.map(({ id, node }) => ({ where: `deny.${id}`, node })),
  ]
  return named.flatMap(({ where, node }) => {
    const reason = node === null ? undefined : contradictionIn(node)
    return reason === undefined ? [] : [finding('CONTRADICTION', where, `${reason}; `)]
  })
}

/** Finds permissions that nobody has, and deny rules of nothing else. */
function findUnused({ policy, grants, conditionals, denies }: PolicyModel): PolicyFinding[] {
  const granted = new Set([...grants.flat(), ...conditionals.flatMap((each) => each.permissions)])
  const unused = policy.permissions
    .filter((_, id) => !granted.has(id))
    .map((name) => finding('UNUSED-PERMISSION', `permissions["${name}"]`))
  const idle = denies
    .filter(({ permissions }) => !permissions.some((id) => granted.has(id)))
    .map(({ id }) => finding('IDLE-DENY', `deny.${id}`))
  return [...unused, ...idle]
}

/** Finds grants whose permissions are always denied to the role, or to a role that it inherits. */
function findDeniedGrants(model: PolicyModel): PolicyFinding[] {
  const { policy, roleNames, permissionIds, conditionals } = model
  const always = model.denies.filter(({ node }) => node === null)
  const isDenied = (role: string, permissions: readonly number[]): boolean => {
    const held = closureOf(model, [role])
    const denied = always.filter(
      ({ roles }) => roles === null || roles.some((each) => hasBit(held, each)),
    )
    return permissions.every((id) => denied.some((rule) => rule.permissions.includes(id)))
  }
  if (always.length === 0) return []
  const grants = roleNames.flatMap((role) =>
    policy.roles[role]!.grants.flatMap((grant) => {
      const covered = [...permissionIds].flatMap(([name, id]) => (covers(grant, name) ? [id] : []))
      const where = `roles.${role}.grants["${grant}"]`
      return isDenied(role, covered) ? [finding('UNREACHABLE-GRANT', where)] : []
    }),
  )
  const conditional = conditionals
    .filter(({ role, permissions }) => isDenied(roleNames[role]!, permissions))
    .map(({ role, grant }) => finding('UNREACHABLE-GRANT', whenPath(model, role, grant)))
  return [...grants, ...conditional]
}

function findUnreachable(model: PolicyModel): PolicyFinding[] {
  const { policy, roleNames, parents, conditionals } = model
  const always = closeGrants(model)
  const named = namedRoles(model)
  const effective = new Set(conditionals.map(({ role }) => role))
  for (const role of model.order) {
    const isEffective = parents[role]!.some((parent) => effective.has(parent))
    if (isEffective || always[role]!.some((word) => word !== 0)) effective.add(role)
  }
  return roleNames.flatMap((name, role) => {
    if (!effective.has(role) && !named.has(name))
      return [finding('UNREACHABLE-ROLE', `roles.${name}`)]
    const requires = policy.assignment?.requires[name] ?? []
    const duty = violatedDuty(model, closureOf(model, [name, ...requires]))
    if (duty === undefined && !requires.includes(name)) return []
    const detail =
      duty === undefined ? 'it requires itself; ' : `sod.${duty.id} forbids what it requires; `
    return [finding('UNREACHABLE-ROLE', `roles.${name}`, detail)]
  })
}

/** Roles without permissions that other members of the policy need. */
function namedRoles({ policy }: PolicyModel): ReadonlySet<string> {
  const { assignment, delegation } = policy
  return new Set([
    ...policy.sod.flatMap(({ roles }) => roles),
    ...policy.deny.flatMap(({ roles }) => roles ?? []),
    ...Object.values(policy.roles).flatMap(({ inherits }) => inherits),
    ...Object.values(assignment?.requires ?? {}).flat(),
    ...Object.keys(delegation ?? {}),
  ])
}

/** By role: its unconditional grants, with inherited ones. */
function closeGrants({ order, parents, grants, permissionIds }: PolicyModel): Uint32Array[] {
  const words = wordsFor(permissionIds.size)
  const always = grants.map(() => new Uint32Array(words))
  for (const role of order) {
    for (const id of grants[role]!) setBit(always[role]!, id)
    for (const parent of parents[role]!) mergeBits(always[role]!, always[parent]!)
  }
  return always
}

function whenPath(
  { roleNames }: Pick<PolicyModel, 'roleNames'>,
  role: number,
  grant: string,
): string {
  return `roles.${roleNames[role]}.when["${grant}"]`
}
