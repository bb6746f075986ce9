/** Compares two policies: what publishing the second would change. */
import { printNode } from '../conditions/print-condition.ts'
import type { Engine } from '../decide/engine.ts'
import { rightOf, type CompiledCondition, type Right, type Rights } from '../decide/rights.ts'
import type { DeclaredRoute } from '../decide/route-rule.ts'
import { rightOfRole } from '../decide/rule-guard.ts'

/** A right that changes. */
export interface RightChange {
  readonly role: string
  readonly permission: string
  readonly from: Right
  readonly to: Right
}

/** A route whose callers change. */
export interface RouteChange {
  /** Method and pattern, as `GET /content/:id`. */
  readonly route: string
  readonly role: string
  readonly from: Right
  readonly to: Right
}

/** The difference of two policies. A role that exists in one only has no rights in the other. */
export interface PolicyDiff {
  readonly permissions: { readonly added: readonly string[]; readonly removed: readonly string[] }
  readonly roles: { readonly added: readonly string[]; readonly removed: readonly string[] }
  /** `from` and `to` are both `conditional` if only the condition changes. */
  readonly rights: readonly RightChange[]
  readonly routes: readonly RouteChange[]
  /** Routes that use a permission which the new policy does not declare: every caller is denied. */
  readonly brokenRoutes: readonly string[]
  /** One sentence for each change. */
  readonly text: readonly string[]
}

/** What is in force without a right of its own. */
const MEMBERS = ['assignment', 'delegation', 'sod', 'fields', 'relations'] as const

/** An empty member is the same as none. */
function memberText(member: object | undefined): string {
  const text = JSON.stringify(member ?? {})
  return text === '[]' ? '{}' : text
}

/** Compares two policies for the given routes. */
export function diffPolicies(
  before: Engine,
  after: Engine,
  routes: readonly DeclaredRoute[],
): PolicyDiff {
  const permissions = compareNames(before.model.policy.permissions, after.model.policy.permissions)
  const roles = compareNames(before.model.roleNames, after.model.roleNames)
  const allRoles = [...new Set([...before.model.roleNames, ...after.model.roleNames])]
  const allPermissions = [
    ...new Set([...before.permissionIds.keys(), ...after.permissionIds.keys()]),
  ]
  const diff = {
    permissions,
    roles,
    rights: allRoles.flatMap((role) => diffRole(before, after, role, allPermissions)),
    routes: routes.flatMap((route) => diffRoute(before, after, route, allRoles)),
    brokenRoutes: routes
      .filter(({ rule }) => rule.permissions.some((each) => !after.permissionIds.has(each)))
      .map(nameOf),
  }
  const [old, next] = [before.model.policy, after.model.policy]
  const members = MEMBERS.filter((name) => memberText(old[name]) !== memberText(next[name])).map(
    (name) => `changes the rules of "${name}"`,
  )
  return { ...diff, text: [...describeDiff(diff), ...members] }
}

function describeDiff(diff: Omit<PolicyDiff, 'text'>): string[] {
  const { permissions, roles, rights, routes, brokenRoutes } = diff
  return [
    ...permissions.added.map((name) => `adds the permission "${name}"`),
    ...permissions.removed.map((name) => `removes the permission "${name}"`),
    ...roles.added.map((name) => `adds the role "${name}"`),
    ...roles.removed.map((name) => `removes the role "${name}"`),
    ...rights.map(({ role, permission, from, to }) =>
      from === to
        ? `changes the condition of "${permission}" for "${role}"`
        : `changes "${permission}" for "${role}" from ${from} to ${to}`,
    ),
    ...routes.map(
      ({ route, role, from, to }) => `changes ${route} for "${role}" from ${from} to ${to}`,
    ),
    ...brokenRoutes.map((route) => `removes a permission that ${route} uses`),
  ]
}

function diffRoute(
  before: Engine,
  after: Engine,
  route: DeclaredRoute,
  roles: readonly string[],
): RouteChange[] {
  return roles.flatMap((role) => {
    const from = rightOfRole(before, role, route.rule)
    const to = rightOfRole(after, role, route.rule)
    return from === to ? [] : [{ route: nameOf(route), role, from, to }]
  })
}

function diffRole(
  before: Engine,
  after: Engine,
  role: string,
  permissions: readonly string[],
): RightChange[] {
  const [old, next] = [before, after].map((engine) => engine.rightsOf({ id: '', roles: [role] }))
  return permissions.flatMap((permission) => {
    const from = namedRight(before, old!, permission)
    const to = namedRight(after, next!, permission)
    const isSame =
      from === to &&
      (from !== 'conditional' ||
        conditionText(before, old!, permission) === conditionText(after, next!, permission))
    return isSame ? [] : [{ role, permission, from, to }]
  })
}

function namedRight(engine: Engine, rights: Rights, permission: string): Right {
  const id = engine.permissionIds.get(permission)
  return id === undefined ? 'deny' : rightOf(rights, id)
}

function conditionText(engine: Engine, rights: Rights, permission: string): string {
  const { isGranted, grants, denies } = engine.ruleOf(rights, engine.permissionIds.get(permission)!)
  return `${isGranted} ${conditionTexts(grants)} ${conditionTexts(denies)}`
}

function conditionTexts(conditions: readonly CompiledCondition[]): string {
  // The same name can be another relation.
  return conditions
    .map(({ node, related }) =>
      [printNode(node), ...related.map(({ plan }) => plan.digest)].join(' '),
    )
    .join(';')
}

function compareNames(before: readonly string[], after: readonly string[]) {
  const [old, next] = [new Set(before), new Set(after)]
  return {
    added: after.filter((name) => !old.has(name)),
    removed: before.filter((name) => !next.has(name)),
  }
}

function nameOf({ method, url }: DeclaredRoute): string {
  return `${method} ${url}`
}
