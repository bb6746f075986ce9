/** What a route says of itself, and what it means. */
import type { FastifyRequest } from 'fastify'
import { PARAPET_AUDIT_LOG_INVALID_RULE } from './errors.ts'
import type { ActionRegistry, AuditAction, ResolvedAction } from './record/actions.ts'
import type { Markable } from './record/recorder.ts'

/** The long form of the route config `audit`. */
export interface AuditRule {
  readonly action: AuditAction
  /** What the route does it to. @default the parameter `id` */
  readonly resourceId?: (request: FastifyRequest) => Markable | undefined
  /** @default that of the action */
  readonly durability?: 'durable' | 'deferred'
  /** @default that of the action */
  readonly whenUnavailable?: 'closed' | 'open'
  /** @default that of the action */
  readonly phases?: 'outcome' | 'attempt+outcome'
}

/** A rule made ready for the request path. */
export interface CompiledRule {
  readonly action: ResolvedAction
  readonly resourceId: (request: FastifyRequest) => Markable | undefined
}

const KEYS = new Set(['action', 'resourceId', 'durability', 'whenUnavailable', 'phases'])

/**
 * Makes a rule ready, once, at boot.
 *
 * @param route method and pattern, for the message.
 * @throws PARAPET_AUDIT_LOG_INVALID_RULE
 */
export function compileRule(raw: unknown, route: string, actions: ActionRegistry): CompiledRule {
  const rule = (typeof raw === 'string' ? { action: raw } : raw) as Partial<AuditRule> | null
  if (typeof rule !== 'object' || rule === null || typeof rule.action !== 'string') {
    throw new PARAPET_AUDIT_LOG_INVALID_RULE(route, 'must be an action or { action, … }')
  }
  const unknown = Object.keys(rule).find((key) => !KEYS.has(key))
  if (unknown !== undefined) {
    throw new PARAPET_AUDIT_LOG_INVALID_RULE(route, `has the unknown member "${unknown}"`)
  }
  const action = findAction(rule.action, route, actions)
  const { durability, whenUnavailable, phases, resourceId } = rule
  return {
    action: {
      ...action,
      // A rule has no data of its own to check.
      data: undefined,
      durable: durability === undefined ? action.durable : durability === 'durable',
      closed: whenUnavailable === undefined ? action.closed : whenUnavailable === 'closed',
      attempt: phases === undefined ? action.attempt : phases === 'attempt+outcome',
    },
    resourceId: resourceId ?? idOf,
  }
}

function findAction(name: string, route: string, actions: ActionRegistry): ResolvedAction {
  try {
    return actions.get(name)
  } catch (error) {
    throw new PARAPET_AUDIT_LOG_INVALID_RULE(route, (error as Error).message)
  }
}

function idOf(request: FastifyRequest): string | undefined {
  const { id } = (request.params ?? {}) as { id?: unknown }
  return typeof id === 'string' ? id : undefined
}
