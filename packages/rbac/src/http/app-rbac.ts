/** `app.rbac`: the policy in force, questions about it, and ways to change it. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifySchema, preHandlerAsyncHookHandler } from 'fastify'
import type { Engine } from '../decide/engine.ts'
import { PARAPET_RBAC_INVALID_ARGUMENT, PARAPET_RBAC_UNKNOWN_PERMISSION } from '../errors.ts'
import type { PolicyDiff } from '../live/diff.ts'
import type { LivePolicy } from '../live/live-policy.ts'
import type { TimedGrant } from '../live/policy-store.ts'
import { previewPolicy, publishPolicy } from '../live/publish.ts'
import type { RbacSettings } from '../options.ts'
import type { Permission, Policy, PolicyDocument, Role } from '../policy/policy-types.ts'
import { explainInForce, type ExplainContext, type Explanation } from '../review/explain.ts'
import { createMatrix, type Matrix } from '../review/matrix.ts'
import { whoCan, type Holder } from '../review/who-can.ts'
import { transformRoute, type DescribedRoute } from './openapi.ts'
import { createPermissionHook } from './permission-hook.ts'
import type { RouteRules } from './route-rules.ts'

/** The interface of `app.rbac`. */
export interface Rbac {
  /** The policy in force, as data. */
  readonly policy: PolicyDocument
  /** The SHA-256 of the policy in force. */
  readonly policyDigest: string
  /** Increases with every policy and every grant. Equal in all instances that are up to date. */
  readonly revision: number
  /**
   * Whether roles have a permission without any condition.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if `roles` is not an array; a string is not split.
   */
  hasPermission(roles: readonly string[], permission: Permission): boolean
  /**
   * Returns a preHandler that requires a permission, on the resource that the rule of the route has
   * loaded, if any. A route that has one needs no other rule.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION immediately, not at the first request.
   */
  requirePermission(permission: Permission): preHandlerAsyncHookHandler
  /** Explains why a permission is allowed or denied. Show it to operators only. */
  explain(
    principal: Principal | null,
    permission: Permission,
    resource?: unknown,
    context?: ExplainContext,
  ): Explanation
  /** Returns the roles that have a permission. @throws PARAPET_RBAC_UNKNOWN_PERMISSION */
  whoCan(permission: Permission): readonly Holder[]
  /** Returns every route that has been declared so far against every role. */
  matrix(): Matrix
  /**
   * For the option `transform` of `@fastify/swagger`. It also describes routes that were declared
   * before this plugin, and refusals as `application/problem+json` besides `application/json`.
   */
  openapi(route: DescribedRoute): { schema: FastifySchema; url: string }
  /** Returns what publishing a policy would change. @throws PARAPET_RBAC_INVALID_POLICY */
  diff(next: Policy): PolicyDiff
  /**
   * Puts a policy in force: in this instance at once, in the others as soon as they are notified.
   *
   * @param options `ifDigest`: the digest of the policy from which `next` was made. If another policy
   *   has been published since, that policy is not overwritten.
   * @returns what it changed.
   * @throws PARAPET_RBAC_INVALID_POLICY if the policy is invalid, lacks a permission that a route
   *   uses, or declares a fact that has no finder here.
   * @throws PARAPET_RBAC_CONFLICT if another change was stored first.
   */
  publish(next: Policy, options?: { readonly ifDigest?: string }): Promise<PolicyDiff>
  /**
   * Grants a role to a principal for a limited time, in all instances.
   *
   * @param principal the id, or the principal itself, so that its other roles count for separation of
   *   duty.
   * @param options `until`: when the grant expires, in milliseconds since the Unix epoch.
   * @throws PARAPET_RBAC_SEPARATION_OF_DUTY
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if the role is unknown or `until` is in the past.
   */
  grant(
    role: Role,
    principal: Principal | string,
    options: { readonly until: number },
  ): Promise<void>
  /** Revokes a role that {@link Rbac.grant} granted. */
  revoke(role: Role, principal: Principal | string): Promise<void>
  /** Returns the roles that principals have for a limited time. */
  grants(): readonly TimedGrant[]
  /** Loads the policy from the policy store now. Resolves when this instance is up to date. */
  refresh(): Promise<void>
}

/** Creates `app.rbac`. */
export function createRbac(
  live: LivePolicy,
  rules: RouteRules,
  securityEvents: SecurityEvents,
  { clock, facts, securityScheme }: RbacSettings,
): Rbac {
  const services = { live, routes: rules.declared, facts, securityEvents }
  return Object.freeze<Rbac>({
    ...createGrants(live, securityEvents),
    get policy() {
      return live.engine.model.policy
    },
    get policyDigest() {
      return live.engine.digest
    },
    get revision() {
      return live.revision
    },
    hasPermission(roles, permission) {
      requireRoles(roles)
      const id = requirePermissionId(live.engine, permission)
      return !live.stale && live.engine.rolesAllow(roles, id)
    },
    requirePermission(permission) {
      requirePermissionId(live.engine, permission)
      return createPermissionHook(permission)
    },
    explain: (principal, permission, resource, context) =>
      explainInForce(live, clock.now(), principal, permission, resource, context),
    whoCan: (permission) =>
      whoCan(live.engine, requirePermissionId(live.engine, permission), live.grants()),
    matrix: () => createMatrix(live.engine, rules.declared),
    openapi: (described) =>
      transformRoute(described, rules.ofRoute(described.route), securityScheme),
    diff: (next) => previewPolicy(services, next),
    publish: (next, { ifDigest } = {}) => publishPolicy(services, next, ifDigest),
    grants: () => live.grants(),
    refresh: () => live.refresh(),
  })
}

function createGrants(
  live: LivePolicy,
  securityEvents: SecurityEvents,
): Pick<Rbac, 'grant' | 'revoke'> {
  return {
    async grant(role, principal, { until }) {
      const grantee = typeof principal === 'string' ? principal : principal.id
      const held = typeof principal === 'string' ? [] : principal.roles
      await live.grant({ principalId: grantee, role, until }, held)
      securityEvents.emit('rbac.role_granted', { details: { role, grantee, until } })
    },
    async revoke(role, principal) {
      const grantee = typeof principal === 'string' ? principal : principal.id
      await live.revoke(grantee, role)
      securityEvents.emit('rbac.role_revoked', { details: { role, grantee } })
    },
  }
}

function requireRoles(roles: unknown): void {
  if (Array.isArray(roles)) return
  const got = roles === null ? 'null' : `a value of type ${typeof roles}`
  throw new PARAPET_RBAC_INVALID_ARGUMENT('"roles"', `must be an array of role names, got ${got}`)
}

function requirePermissionId(engine: Engine, permission: string): number {
  const id = engine.permissionIds.get(permission)
  if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
  return id
}
