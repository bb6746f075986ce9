/** `app.rbac`: the policy in force, questions about it, and the ways to change it. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifyRequest, FastifySchema, preHandlerAsyncHookHandler } from 'fastify'
import { diffPolicies, type PolicyDiff } from './diff.ts'
import { hasBit } from './bits.ts'
import { Engine, isSure } from './engine.ts'
import {
  PARAPET_RBAC_CONFLICT,
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_INVALID_POLICY,
  PARAPET_RBAC_UNKNOWN_PERMISSION,
} from './errors.ts'
import { explain, type Explanation } from './explain.ts'
import { kPermission, type RouteGuard } from './guard-hooks.ts'
import type { LivePolicy } from './live-policy.ts'
import { createMatrix, type DeclaredRoute, type Matrix } from './matrix.ts'
import { createModel } from './model.ts'
import type { RbacSettings } from './options.ts'
import { transformRoute, type DescribedRoute } from './openapi-hooks.ts'
import { missingFacts } from './policy-hooks.ts'
import { readPolicy } from './policy-reader.ts'
import type { Permission, Policy, PolicyDocument, Role } from './policy-types.ts'
import type { TimedGrant } from './policy-store.ts'

/** What an explanation takes for granted beside the principal. */
export interface ExplainContext {
  /** Attributes of the subject that the policy declares. */
  readonly subject?: Readonly<Record<string, unknown>>
  /** @default the time of now and no address */
  readonly environment?: { readonly time?: number; readonly ip?: string } & Readonly<
    Record<string, unknown>
  >
  /** @default none: they are unknown */
  readonly facts?: Readonly<Record<string, unknown>>
}

/** A role that has a permission. */
export interface Holder {
  readonly role: string
  /** `conditional`: conditions or deny rules decide. */
  readonly right: 'allow' | 'conditional'
  /** Principals who have the role for a time, as far as this instance knows. */
  readonly granted: readonly string[]
}

/** What is at `app.rbac`. */
export interface Rbac {
  /** The policy in force, as data. */
  readonly policy: PolicyDocument
  /** The SHA-256 of the policy in force. */
  readonly policyDigest: string
  /** Grows with every policy and every grant; equal in all instances that have converged. */
  readonly revision: number
  /**
   * Whether roles alone, without any condition, have a permission.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_INVALID_ARGUMENT the roles are no array: a text is not split.
   */
  hasPermission(roles: readonly string[], permission: Permission): boolean
  /**
   * A preHandler that lets pass who has the permission, on the resource that the route's rule loaded
   * if it did. A route that has one needs no other rule.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION at once, not at the first request.
   */
  requirePermission(permission: Permission): preHandlerAsyncHookHandler
  /** Why a decision falls as it does, or what would have allowed it. For operators, not for clients. */
  explain(
    principal: Principal | null,
    permission: Permission,
    resource?: unknown,
    context?: ExplainContext,
  ): Explanation
  /** The roles that have a permission. @throws PARAPET_RBAC_UNKNOWN_PERMISSION */
  whoCan(permission: Permission): readonly Holder[]
  /** Every route declared so far against every role. */
  matrix(): Matrix
  /**
   * For the option `transform` of `@fastify/swagger`: describes also routes that are older than this
   * plugin, and refusals as `application/problem+json` beside `application/json`.
   */
  openapi(route: DescribedRoute): { schema: FastifySchema; url: string }
  /** What a new policy would change. @throws PARAPET_RBAC_INVALID_POLICY */
  diff(next: Policy): PolicyDiff
  /**
   * Puts a new policy in force, here at once and in the fleet within moments: checked, compared,
   * compiled, stored, swapped, told.
   *
   * @param options `ifDigest`: the digest of the policy that `next` was made from, where that was
   *   read earlier; a policy that somebody else has published since is then not overwritten.
   * @returns what it changed.
   * @throws PARAPET_RBAC_INVALID_POLICY it is unsound, a route names a permission it lacks, or it
   *   declares a fact that has no finder here.
   * @throws PARAPET_RBAC_CONFLICT someone else was faster.
   */
  publish(next: Policy, options?: { readonly ifDigest?: string }): Promise<PolicyDiff>
  /**
   * Gives a principal a role until a moment in time, in the whole fleet.
   *
   * @param principal by its id alone, or whole, so that separation of duty sees its other roles.
   * @throws PARAPET_RBAC_SEPARATION_OF_DUTY
   * @throws PARAPET_RBAC_INVALID_ARGUMENT an unknown role, a moment that is past.
   */
  grant(
    role: Role,
    principal: Principal | string,
    options: { readonly until: number },
  ): Promise<void>
  /** Takes back what {@link Rbac.grant} gave. */
  revoke(role: Role, principal: Principal | string): Promise<void>
  /** The roles that principals have for a time. */
  grants(): readonly TimedGrant[]
  /** Asks the policy store now; resolves when this instance is up to date. */
  refresh(): Promise<void>
}

const MAX_CHANGES = 100

/** Makes `app.rbac`. */
export function createRbac(
  live: LivePolicy,
  guard: RouteGuard,
  securityEvents: SecurityEvents,
  { clock, facts, securityScheme }: RbacSettings,
): Rbac {
  const routes = guard.declared
  return {
    ...createChanges(live, routes, securityEvents, facts),
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
      if (!Array.isArray(roles)) {
        throw new PARAPET_RBAC_INVALID_ARGUMENT('roles', 'must be an array of role names')
      }
      const id = requirePermissionId(live.engine, permission)
      return !live.stale && live.engine.rolesAllow(roles, id)
    },
    requirePermission(permission) {
      requirePermissionId(live.engine, permission)
      const handler = async (request: FastifyRequest): Promise<void> => {
        await request.rbac.authorize(permission, request.rbac.resource)
      }
      return Object.assign(handler, { [kPermission]: permission })
    },
    explain: (principal, permission, resource, context) =>
      explainNow(live, clock.now(), principal, permission, resource, context),
    whoCan: (permission) => whoCan(live, requirePermissionId(live.engine, permission)),
    matrix: () => createMatrix(live.engine, routes),
    openapi: (described) =>
      transformRoute(described, guard.ruleOf(described.route), securityScheme),
    diff: (next) => diffPolicies(live.engine, compilePolicy(next), routes),
    grants: () => live.grants(),
    refresh: () => live.refresh(),
  }
}

function createChanges(
  live: LivePolicy,
  routes: readonly DeclaredRoute[],
  securityEvents: SecurityEvents,
  facts: RbacSettings['facts'],
): Pick<Rbac, 'publish' | 'grant' | 'revoke'> {
  return {
    async publish(next, { ifDigest = live.engine.digest } = {}) {
      const engine = compilePolicy(next)
      const diff = diffPolicies(live.engine, engine, routes)
      requireUsable(engine, diff, facts)
      if (ifDigest !== live.engine.digest) throw new PARAPET_RBAC_CONFLICT()
      const previous = await live.publish(engine)
      securityEvents.emit('rbac.policy_published', {
        details: {
          policyDigest: engine.digest,
          previousDigest: previous.digest,
          revision: live.revision,
          changes: diff.text.slice(0, MAX_CHANGES),
        },
      })
      return diff
    },
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

function compilePolicy(policy: Policy): Engine {
  return new Engine(createModel(readPolicy(policy)))
}

function requirePermissionId(engine: Engine, permission: string): number {
  const id = engine.permissionIds.get(permission)
  if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
  return id
}

/** What a route or a boot of this application would choke on is not put in force. */
function requireUsable(
  { model }: Engine,
  { brokenRoutes }: PolicyDiff,
  facts: RbacSettings['facts'],
): void {
  const faults = [
    ...brokenRoutes.map((route) => `  ${route}: names a permission that the policy lacks`),
    ...missingFacts(model.policy, facts),
  ]
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_POLICY(faults.join('\n'))
}

function explainNow(
  live: LivePolicy,
  now: number,
  principal: Principal | null,
  permission: string,
  resource: unknown,
  { subject, environment: { time = now, ip, ...attributes } = {}, facts = {} }: ExplainContext = {},
): Explanation {
  const { model } = live.engine
  if (principal === null) return explain(model, [], permission, null)
  const roles = [...principal.roles, ...(live.grantedTo(principal.id) ?? [])]
  const explanation = explain(model, roles, permission, {
    principal,
    subject,
    resource,
    environment: { time, ip, attributes },
    facts: new Map(Object.entries(facts)),
  })
  if (!live.stale) return explanation
  const text = `"${permission}" is denied (stale): no contact with the policy store`
  return { ...explanation, allowed: false, reason: 'stale', text }
}

function whoCan(live: LivePolicy, id: number): readonly Holder[] {
  const { engine } = live
  const grants = live.grants()
  return engine.model.roleNames.flatMap((role) => {
    const subject = engine.subjectOf({ id: '', roles: [role] })
    const right = isSure(subject, id) ? 'allow' : hasBit(subject.maybe, id) ? 'conditional' : null
    if (right === null) return []
    const granted = grants.filter((grant) => grant.role === role)
    return [{ role, right, granted: granted.map(({ principalId }) => principalId) }]
  })
}
