/** `app.rbac`: the policy in force, questions about it, and ways to change it. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifySchema, preHandlerAsyncHookHandler } from 'fastify'
import type { Engine } from '../decide/engine.ts'
import { PARAPET_RBAC_INVALID_ARGUMENT, PARAPET_RBAC_UNKNOWN_PERMISSION } from '../errors.ts'
import type { PolicyDiff } from '../live/diff.ts'
import type { LivePolicy } from '../live/live-policy.ts'
import type { TimedGrant } from '../live/policy-store.ts'
import { previewPolicy, publishPolicy, type PublishServices } from '../live/publish.ts'
import type { RbacSettings } from '../options.ts'
import { compilePolicy } from '../policy/compile-policy.ts'
import type { Permission, Policy, PolicyDocument } from '../policy/policy-types.ts'
import { readPolicy } from '../policy/read-policy.ts'
import { explainInForce, type ExplainContext, type Explanation } from '../review/explain.ts'
import { activeWaivers, lintPolicy, type PolicyFinding } from '../lint/lint.ts'
import { createMatrix, type Matrix } from '../review/matrix.ts'
import { whoCan, type Holder } from '../review/who-can.ts'
import type { AccessReport, ReportMode } from '../routes/report-mode.ts'
import { printScaffold } from '../routes/scaffold.ts'
import { createAnalysis, type Analysis } from './app-analysis.ts'
import { createLists, type Lists } from './app-lists.ts'
import { createRelationWrites, type RelationWrites } from './app-relations.ts'
import { createChanges, eventOf, type ChangeContext, type RoleChanges } from './changes.ts'
import { transformRoute, type DescribedRoute } from './openapi.ts'
import { createPermissionHook } from './permission-hook.ts'
import type { Candidate } from './request-rbac.ts'
import type { RouteRules } from './route-rules.ts'

/** The interface of `app.rbac`. */
export interface Rbac extends RoleChanges, Lists, Analysis, RelationWrites {
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
  /**
   * Returns every route against every role; before the app is ready, those declared so far.
   *
   * @param options `scopes`: what the credential of the callers may do at most. @default no ceiling
   */
  matrix(options?: { readonly scopes?: readonly string[] }): Matrix
  /**
   * Returns the mistakes of a policy that the option `waivers` does not accept.
   *
   * @param policy @default the policy in force
   */
  lint(policy?: Policy): readonly PolicyFinding[]
  /**
   * Returns the option `routes` for all routes without a rule, as text. It proposes permissions of the
   * policy whose names fit; every line has to be checked.
   */
  scaffold(): string
  /** Returns what the mode `report` has found. */
  report(): AccessReport
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
   *   has been published since, that policy is not overwritten. `request`, `by` and `reason` are
   *   recorded in the event.
   * @returns what it changed.
   * @throws PARAPET_RBAC_INVALID_POLICY if the policy is invalid, lacks a permission that a route
   *   uses, or declares a fact that has no finder here.
   * @throws PARAPET_RBAC_POLICY_LINT
   * @throws PARAPET_RBAC_CONFLICT if another change was stored first.
   */
  publish(
    next: Policy,
    options?: { readonly ifDigest?: string } & ChangeContext,
  ): Promise<PolicyDiff>
  /** Returns the roles that principals have, or will have, for a limited time. */
  grants(): readonly TimedGrant[]
  /** Loads the policy from the policy store now. Resolves when this instance is up to date. */
  refresh(): Promise<void>
}

/** See {@link createRbac}. */
export interface RbacServices {
  readonly live: LivePolicy
  readonly rules: RouteRules
  readonly securityEvents: SecurityEvents
  readonly reportMode: ReportMode
  readonly candidate: Candidate
  readonly settings: RbacSettings
}

/** Creates `app.rbac`. */
export function createRbac(services: RbacServices): Rbac {
  const { live, rules, securityEvents, settings } = services
  return Object.freeze<Rbac>({
    ...createChanges(live, securityEvents),
    ...createReview(services),
    ...createLists(live, settings),
    ...createAnalysis(services),
    ...createRelationWrites(live, settings, securityEvents),
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
    openapi: (described) =>
      transformRoute(described, rules.ofRoute(described.route), settings.securityScheme),
    diff: (next) => previewPolicy({ live, routes: rules.declared }, next),
    publish: (next, { ifDigest, ...context } = {}) =>
      publishPolicy(publication(services, context), next, ifDigest),
    grants: () => live.grants(),
    refresh: () => live.refresh(),
  })
}

function publication(
  { live, rules, securityEvents, settings }: RbacServices,
  context: ChangeContext,
): PublishServices {
  const { reason, fields, request } = eventOf(context)
  return {
    live,
    routes: rules.declared,
    ports: settings,
    waivers: activeWaivers(settings.waivers, settings.clock.now()),
    announce: (details) =>
      securityEvents.emit(
        'rbac.policy_published',
        { ...fields, details: { ...details, ...reason } },
        request,
      ),
  }
}

function createReview({
  live,
  rules,
  reportMode,
  settings,
}: RbacServices): Pick<Rbac, 'explain' | 'whoCan' | 'matrix' | 'lint' | 'scaffold' | 'report'> {
  const { clock, waivers } = settings
  return {
    explain: (principal, permission, resource, context) =>
      explainInForce(live, clock.now(), principal, permission, resource, context),
    whoCan: (permission) =>
      whoCan(live.engine, requirePermissionId(live.engine, permission), live.grants()),
    matrix: ({ scopes } = {}) => createMatrix(live.engine, rules.declared, scopes),
    lint: (policy) =>
      lintPolicy(
        policy === undefined ? live.engine.model : compilePolicy(readPolicy(policy)),
        activeWaivers(waivers, clock.now()),
      ),
    scaffold: () => printScaffold(rules.undeclared(), live.engine.model.policy.permissions),
    report: () => reportMode.report(rules.undeclared()),
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
