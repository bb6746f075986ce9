/** Inspects payloads in preValidation, when the body is parsed and before the handler sees it. */
import { missedRoute, type RouteRules } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_ANOMALY_GUARD_REFUSED } from '../errors.ts'
import type { Inspection, Inspector, InspectorSettings } from '../inspect/types.ts'
import type { Guard } from '../service/guard.ts'
import type { Client } from './client.ts'
import type { RefusalLog } from './refusals.ts'
import { markRefused, originOf } from './request-state.ts'
import type { CompiledRoute } from './route-rule.ts'

/** See {@link addInspectHook}. */
export interface InspectHookSettings {
  readonly guard: Guard
  readonly rules: RouteRules<CompiledRoute>
  readonly clientOf: (ip: string) => Client
  readonly createInspector: (settings: InspectorSettings) => Inspector
  readonly refusals: RefusalLog
  readonly keep: (request: FastifyRequest, inspection: Inspection) => void
}

/** Adds the hook. */
export function addInspectHook(app: FastifyInstance, settings: InspectHookSettings): void {
  const { guard, rules, createInspector, keep, refusals } = settings
  const { thresholdRatio: threshold, fields, without, ...limits } = guard.settings.inspect
  const { maxDepth, maxValues } = limits
  const base = { threshold, fields, without, maxDepth, maxValues }
  const inspector = createInspector(base)
  /** Inspectors of routes with settings of their own; made when the first request comes. */
  const special = new Map<CompiledRoute, Inspector>()

  const inspectorOf = (rule: CompiledRoute | undefined): Inspector | undefined => {
    if (rule?.inspect === false) return undefined
    if (rule?.inspect === undefined) return inspector
    let own = special.get(rule)
    if (own === undefined) {
      own = createInspector({
        ...base,
        fields: { ...fields, ...rule.inspect.fields },
        without: [...without, ...(rule.inspect.without ?? [])],
      })
      special.set(rule, own)
    }
    return own
  }
  app.addHook('preValidation', function anomalyGuardInspect(request, _reply, done) {
    const rule = rules.of(request.routeOptions)
    const chosen = rule === missedRoute ? inspector : inspectorOf(rule)
    if (chosen === undefined) {
      done()
      return
    }
    const { raw, headers, body } = request
    const inspection = chosen.inspect({
      headers,
      body,
      ...(raw.url === undefined ? undefined : { url: raw.url }),
    })
    if (inspection.score > 0) keep(request, inspection)
    if (
      !inspection.attack ||
      !reportAttack(settings, request, inspection) ||
      refusals.hasBreakGlass('inspection', undefined, request)
    ) {
      done()
      return
    }
    markRefused(request)
    refusals.note('inspection', undefined, request)
    done(new PARAPET_ANOMALY_GUARD_REFUSED())
  })
}

/** @returns whether the request is refused. */
function reportAttack(
  { guard, clientOf }: InspectHookSettings,
  request: FastifyRequest,
  inspection: Inspection,
): boolean {
  const { desk, modes, settings } = guard
  const client = clientOf(request.ip)
  const { key: address } = client
  const principalId = request.principal?.id
  const { url } = request.routeOptions
  const route = url === undefined ? undefined : `${request.method} ${url}`
  const { mode } = settings.inspect
  const { score, reasons } = inspection
  desk.report({
    rule: 'inspection',
    label: 'payload_attack',
    severity: 'medium',
    group: address,
    subject: { address, ...(principalId === undefined ? undefined : { principalId }) },
    evidence: { score },
    reasons: reasons.map(
      ({ class: kind, rule, location }) => `${location} looks like ${kind} (${rule}).`,
    ),
    // One payload is refused; the rule "payloads" contains a client that goes on.
    respond: [],
    ...(route === undefined ? undefined : { route }),
    ...(mode === undefined ? undefined : { mode }),
  })
  guard.observe({
    name: 'payload-attack',
    atMs: guard.tick(),
    address,
    principalId,
    route,
    resource: inspection.class,
    origin: originOf(request, client),
  })
  return modes.of('inspection', mode) === 'enforce' && !client.isAllowed
}
