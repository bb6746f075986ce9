/** Compiles the rules of routes at boot and refuses requests for closed routes. */
import { compileRouteRule, missedRoute, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { PARAPET_ANOMALY_GUARD_CLOSED } from '../errors.ts'
import { events } from '../events.ts'
import type { AnomalyGuardSettings } from '../options.ts'
import { compileRule, decideRule, type CompiledRule } from '../rule.ts'

/**
 * Adds the guard to an app.
 *
 * @returns the closed routes, as `GET /reports`; the list grows while routes are declared.
 */
export function addGuard(
  app: FastifyInstance,
  plugin: string,
  settings: AnomalyGuardSettings,
): readonly string[] {
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const retryAfter = String(settings.retryAfterSeconds)
  const closedRoutes: string[] = []

  const rules = compileRouteRule<CompiledRule>(app, {
    plugin,
    key: 'anomalyGuard',
    compile({ raw, name }) {
      if (raw === undefined) return undefined
      const rule = compileRule(raw, name, settings.allowedRoles)
      if (rule.passingRoles !== null) closedRoutes.push(name)
      return rule
    },
  })

  // In onRequest, so that a refused request costs no parsing of its body.
  app.addHook('onRequest', async function anomalyGuardGuard(request, reply) {
    const rule = rules.of(request.routeOptions)
    if (rule === undefined) return
    const verdict =
      rule === missedRoute
        ? ({ passes: false, reason: 'missed' } as const)
        : decideRule(rule, principalOf(request))
    if (!verdict.passes) {
      securityEvents.emit('anomaly_guard.refused', { details: { reason: verdict.reason } }, request)
      reply.header('retry-after', retryAfter)
      throw new PARAPET_ANOMALY_GUARD_CLOSED()
    }
    if (verdict.role !== null) {
      securityEvents.emit('anomaly_guard.passed', { details: { role: verdict.role } }, request)
    }
  })
  return closedRoutes
}
