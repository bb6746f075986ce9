/** What a new policy would change, before it does. */
import { printNode } from './condition-nodes.ts'
import type { Engine, Subject } from './engine.ts'
import { cellOf, type DeclaredRoute, type MatrixCell } from './matrix.ts'
import { isSure } from './engine.ts'
import { hasBit } from './bits.ts'

/** One right that changes. */
export interface RightChange {
  readonly role: string
  readonly permission: string
  readonly from: MatrixCell
  readonly to: MatrixCell
}

/** One cell of the matrix that changes. */
export interface RouteChange {
  /** `GET /content/:id` */
  readonly route: string
  readonly role: string
  readonly from: MatrixCell
  readonly to: MatrixCell
}

/** The difference of two policies. A role that is in only one of them has no rights in the other. */
export interface PolicyDiff {
  readonly permissions: { readonly added: readonly string[]; readonly removed: readonly string[] }
  readonly roles: { readonly added: readonly string[]; readonly removed: readonly string[] }
  /** `from` and `to` are both `conditional` where only the condition changes. */
  readonly rights: readonly RightChange[]
  readonly routes: readonly RouteChange[]
  /** Routes that name a permission which the new policy does not have: nobody could call them. */
  readonly brokenRoutes: readonly string[]
  /** One sentence for each change. */
  readonly text: readonly string[]
}

/** Compares two policies, for these routes. */
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
  const rights = allRoles.flatMap((role) => diffRole(before, after, role, allPermissions))
  const routeChanges = routes.flatMap((route) =>
    allRoles.flatMap((role) => {
      const from = cellOf(before, role, route.rule)
      const to = cellOf(after, role, route.rule)
      return from === to ? [] : [{ route: nameOf(route), role, from, to }]
    }),
  )
  const brokenRoutes = routes
    .filter(({ rule }) => rule.permissions.some((each) => !after.permissionIds.has(each)))
    .map(nameOf)
  const text = [
    ...permissions.added.map((name) => `adds the permission "${name}"`),
    ...permissions.removed.map((name) => `removes the permission "${name}"`),
    ...roles.added.map((name) => `adds the role "${name}"`),
    ...roles.removed.map((name) => `removes the role "${name}"`),
    ...rights.map(({ role, permission, from, to }) =>
      from === to
        ? `"${role}" has "${permission}" under another condition`
        : `"${role}" goes from ${from} to ${to} on "${permission}"`,
    ),
    ...routeChanges.map(
      ({ route, role, from, to }) => `"${role}" goes from ${from} to ${to} on ${route}`,
    ),
    ...brokenRoutes.map((route) => `${route} names a permission that is gone`),
  ]
  return { permissions, roles, rights, routes: routeChanges, brokenRoutes, text }
}

function diffRole(
  before: Engine,
  after: Engine,
  role: string,
  permissions: readonly string[],
): RightChange[] {
  const [old, next] = [before, after].map((engine) => engine.subjectOf({ id: '', roles: [role] }))
  return permissions.flatMap((permission) => {
    const from = rightOf(before, old!, permission)
    const to = rightOf(after, next!, permission)
    const same =
      from === to &&
      (from !== 'conditional' ||
        conditionText(before, old!, permission) === conditionText(after, next!, permission))
    return same ? [] : [{ role, permission, from, to }]
  })
}

function rightOf(engine: Engine, subject: Subject, permission: string): MatrixCell {
  const id = engine.permissionIds.get(permission)
  if (id === undefined) return 'deny'
  return isSure(subject, id) ? 'allow' : hasBit(subject.maybe, id) ? 'conditional' : 'deny'
}

function conditionText(engine: Engine, subject: Subject, permission: string): string {
  const { always, grants, denies } = engine.ruleOf(subject, engine.permissionIds.get(permission)!)
  const list = (parts: typeof grants): string => parts.map(({ node }) => printNode(node)).join(';')
  return `${always} ${list(grants)} ${list(denies)}`
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
