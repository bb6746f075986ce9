/** The route config `audit`, and its compiled form. */
import type { FastifyRequest } from 'fastify'
import { PARAPET_AUDIT_LOG_INVALID_RULE } from '../errors.ts'
import type { ActionRegistry, AuditAction, ResolvedAction } from '../record/actions.ts'
import type { Markable } from '../record/fields.ts'

/** The long form of the route config `audit`. */
export interface AuditRule {
  readonly action: AuditAction
  /** The id of the resource that the route acts on. @default the path parameter `id` */
  readonly resourceId?: (request: FastifyRequest) => Markable | undefined
  /** @default that of the action */
  readonly durability?: 'durable' | 'deferred'
  /** @default that of the action */
  readonly whenUnavailable?: 'closed' | 'open'
  /** @default that of the action */
  readonly phases?: 'outcome' | 'attempt+outcome'
}

/** A compiled rule. */
export interface CompiledRule {
  readonly action: ResolvedAction
  readonly resourceId: (request: FastifyRequest) => Markable | undefined
}

const MEMBERS = ['action', 'resourceId', 'durability', 'whenUnavailable', 'phases']

/**
 * Compiles a rule at boot.
 *
 * @param route method and pattern, for the error message.
 * @throws PARAPET_AUDIT_LOG_INVALID_RULE
 */
export function compileRule(raw: unknown, route: string, actions: ActionRegistry): CompiledRule {
  const rule = (typeof raw === 'string' ? { action: raw } : raw) as Partial<AuditRule> | null
  if (typeof rule !== 'object' || rule === null || typeof rule.action !== 'string') {
    throw new PARAPET_AUDIT_LOG_INVALID_RULE(
      route,
      '"audit" must be an action name or an object with "action"',
    )
  }
  const unknown = Object.keys(rule).find((key) => !MEMBERS.includes(key))
  if (unknown !== undefined) {
    throw new PARAPET_AUDIT_LOG_INVALID_RULE(
      route,
      `it has the unknown member "${unknown}"; known members are ${MEMBERS.join(', ')}`,
    )
  }
  const action = findAction(rule.action, route, actions)
  const { durability, whenUnavailable, phases, resourceId } = rule
  return {
    action: {
      ...action,
      // A record of a route has no data, so the declared data fields are not checked.
      data: undefined,
      durable: durability === undefined ? action.durable : durability === 'durable',
      closed: whenUnavailable === undefined ? action.closed : whenUnavailable === 'closed',
      attempt: phases === undefined ? action.attempt : phases === 'attempt+outcome',
    },
    resourceId: resourceId ?? idParameter,
  }
}

function findAction(name: string, route: string, actions: ActionRegistry): ResolvedAction {
  try {
    return actions.get(name)
  } catch (error) {
    throw new PARAPET_AUDIT_LOG_INVALID_RULE(route, (error as Error).message)
  }
}

function idParameter(request: FastifyRequest): string | undefined {
  const { id } = (request.params ?? {}) as { id?: unknown }
  return typeof id === 'string' ? id : undefined
}
