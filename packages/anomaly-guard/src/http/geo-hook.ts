/** Refuses requests from countries that are not allowed. */
import type { FastifyInstance } from 'fastify'
import { PARAPET_ANOMALY_GUARD_REFUSED } from '../errors.ts'
import type { GeoDecision } from '../inspect/geo-types.ts'
import type { Guard } from '../service/guard.ts'
import type { Client } from './client.ts'
import type { RefusalLog } from './refusals.ts'
import { markRefused } from './request-state.ts'

/** Adds the hook. @param decide the geo rules */
export function addGeoHook(
  app: FastifyInstance,
  guard: Guard,
  decide: (address: string) => GeoDecision,
  clientOf: (ip: string) => Client,
  refusals: RefusalLog,
): void {
  const { desk, modes, settings } = guard
  const mode = settings.geo?.mode
  app.addHook('onRequest', function anomalyGuardGeo(request, _reply, done) {
    const { allowed, country } = decide(request.ip)
    const { key: address, isAllowed } = clientOf(request.ip)
    if (allowed || isAllowed) {
      done()
      return
    }
    desk.report({
      rule: 'geo',
      label: 'forbidden_country',
      severity: 'low',
      group: country ?? 'unknown',
      subject: { address },
      evidence: {},
      reasons: [`The address is in ${country ?? 'an unknown country'}, which is not allowed.`],
      respond: [],
      ...(mode === undefined ? undefined : { mode }),
    })
    if (modes.of('geo', mode) !== 'enforce' || refusals.hasBreakGlass('geo', undefined, request)) {
      done()
      return
    }
    markRefused(request)
    refusals.note('geo', undefined, request)
    done(new PARAPET_ANOMALY_GUARD_REFUSED())
  })
}
