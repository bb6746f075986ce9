/** The rule of a route, and the decision on a principal. Pure: no Fastify, no clock, no I/O. */
import type { Principal } from '@parapet/kit'
import { PARAPET_ANOMALY_GUARD_INVALID_RULE } from './errors.ts'

/** What a route declares under `config.anomalyGuard`. */
export type AnomalyGuardRule = 'open' | 'closed'

/** A rule as the request path uses it. `passingRoles` is `null` where every request passes. */
export type CompiledRule = { readonly passingRoles: ReadonlySet<string> | null }

/** The result of {@link decideRule}; `role` is the allowed role that the principal has. */
export type AnomalyGuardVerdict =
  | { readonly passes: true; readonly role: string | null }
  | { readonly passes: false; readonly reason: 'closed' }

const OPEN: AnomalyGuardVerdict = Object.freeze({ passes: true, role: null })
const CLOSED: AnomalyGuardVerdict = Object.freeze({ passes: false, reason: 'closed' })

/**
 * Compiles a rule at boot.
 *
 * @param route method and pattern, for the message.
 * @throws PARAPET_ANOMALY_GUARD_INVALID_RULE the rule is neither `'open'` nor `'closed'`.
 */
export function compileRule(
  raw: unknown,
  route: string,
  allowedRoles: readonly string[],
): CompiledRule {
  if (raw === 'open') return { passingRoles: null }
  if (raw === 'closed') return { passingRoles: new Set(allowedRoles) }
  throw new PARAPET_ANOMALY_GUARD_INVALID_RULE(
    route,
    typeof raw === 'string' ? JSON.stringify(raw) : typeof raw,
  )
}

/** Decides whether a principal passes a rule. @param principal `null`: the request is anonymous. */
export function decideRule(
  { passingRoles }: CompiledRule,
  principal: Principal | null,
): AnomalyGuardVerdict {
  if (passingRoles === null) return OPEN
  const role = principal?.roles.find((name) => passingRoles.has(name))
  return role === undefined ? CLOSED : { passes: true, role }
}
