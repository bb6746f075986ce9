/** Grants and revocations of roles, and who is responsible for a change. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { requirePrincipal } from '../decide/require-principal.ts'
import {
  PARAPET_RBAC_GRANT_TOO_LONG,
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_NOT_DELEGATED,
} from '../errors.ts'
import { endOfDelegation } from '../live/grants.ts'
import type { LivePolicy } from '../live/live-policy.ts'
import type { Role } from '../policy/policy-types.ts'

/** Who makes a change, and why. The event of the change records it. */
export interface ChangeContext {
  /** The request that makes the change: its principal, address and id are recorded. */
  readonly request?: FastifyRequest
  /** The principal that makes the change; `null`: the application itself. @default that of `request` */
  readonly by?: Principal | null
  /** Why, in 1 to 500 characters. */
  readonly reason?: string
}

/** The changes of roles in `app.rbac`. */
export interface RoleChanges {
  /**
   * Grants a role to a principal for a limited time, in all instances.
   *
   * @param principal the id, or the principal itself, so that its other roles count for separation of
   *   duty and for the limits of the policy.
   * @param options `from` (default: at once) and `until`: when the grant starts and expires, in
   *   milliseconds since the Unix epoch. `request` or `by` is required if the policy has `delegation`.
   * @throws PARAPET_RBAC_SEPARATION_OF_DUTY
   * @throws PARAPET_RBAC_ASSIGNMENT_LIMIT
   * @throws PARAPET_RBAC_NOT_DELEGATED if the acting principal may not grant the role.
   * @throws PARAPET_RBAC_GRANT_TOO_LONG if its own right to grant the role ends before `until`.
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if the role is unknown or a time is out of range.
   */
  grant(
    role: Role,
    principal: Principal | string,
    options: { readonly from?: number; readonly until: number } & ChangeContext,
  ): Promise<void>
  /** Revokes a role that `grant` granted. @throws PARAPET_RBAC_NOT_DELEGATED */
  revoke(role: Role, principal: Principal | string, options?: ChangeContext): Promise<void>
}

const MAX_REASON_LENGTH = 500

/** Creates the changes of roles. */
export function createChanges(live: LivePolicy, securityEvents: SecurityEvents): RoleChanges {
  return {
    async grant(role, principal, { from, until, ...context }) {
      const { reason, fields, request } = eventOf(context)
      const grantee = idOf(principal)
      const held = typeof principal === 'string' ? [] : principal.roles
      const start = from === undefined ? {} : { from }
      await live.grant({ principalId: grantee, role, ...start, until }, held, () => {
        const limit = requireDelegate(live, context, role)
        if (until > limit) {
          throw new PARAPET_RBAC_GRANT_TOO_LONG(role, new Date(limit).toISOString())
        }
      })
      const details = { role, grantee, ...start, until, ...reason }
      securityEvents.emit('rbac.role_granted', { ...fields, details }, request)
    },
    async revoke(role, principal, context = {}) {
      const { reason, fields, request } = eventOf(context)
      const grantee = idOf(principal)
      await live.revoke(grantee, role, () => void requireDelegate(live, context, role))
      const details = { role, grantee, ...reason }
      securityEvents.emit('rbac.role_revoked', { ...fields, details }, request)
    },
  }
}

/** What an event records of a change. */
export interface ChangeEvent {
  readonly request: FastifyRequest | undefined
  readonly fields: { readonly principalId?: string; readonly sessionId?: string }
  readonly reason: { readonly reason?: string }
}

/** What an event says about who made a change. @throws PARAPET_RBAC_INVALID_ARGUMENT */
export function eventOf(context: ChangeContext): ChangeEvent {
  const { request, reason } = context
  const isReason =
    typeof reason === 'string' && reason.length > 0 && reason.length <= MAX_REASON_LENGTH
  if (reason !== undefined && !isReason) {
    const problem = `must be a string of 1 to ${MAX_REASON_LENGTH} characters`
    throw new PARAPET_RBAC_INVALID_ARGUMENT('"reason"', problem)
  }
  const by = actorOf(context)
  const session = by?.sessionId === undefined ? {} : { sessionId: by.sessionId }
  return {
    request,
    fields: by ? { principalId: by.id, ...session } : {},
    reason: reason === undefined ? {} : { reason },
  }
}

function actorOf({ by, request }: ChangeContext): Principal | null | undefined {
  // Without a request nobody is known; with one, it may be anonymous.
  if (by === undefined) return request?.principal
  return by === null ? null : requirePrincipal(by, '"by"')
}

/**
 * Returns until when the acting principal may grant the role.
 *
 * @throws PARAPET_RBAC_NOT_DELEGATED
 */
function requireDelegate(live: LivePolicy, context: ChangeContext, role: string): number {
  const { model } = live.engine
  if (model.policy.delegation === undefined || context.by === null) return Infinity
  const by = actorOf(context)
  if (by === undefined) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"request" or "by"',
      'is required, because the policy has "delegation"; pass by: null if the application itself acts',
    )
  }
  const limit =
    by === null ? -Infinity : endOfDelegation(model, by, live.activeGrantsOf(by.id), role)
  if (limit === -Infinity) throw new PARAPET_RBAC_NOT_DELEGATED(role)
  return limit
}

function idOf(principal: Principal | string): string {
  return typeof principal === 'string' ? principal : requirePrincipal(principal, '"principal"').id
}
