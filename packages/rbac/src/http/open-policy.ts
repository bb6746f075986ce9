/** Opens the policy and the report mode when the plugin is registered. */
import { useStoreEvents, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { PARAPET_RBAC_INVALID_OPTION } from '../errors.ts'
import { LivePolicy } from '../live/live-policy.ts'
import { createMemoryPolicyStore } from '../live/policy-store-memory.ts'
import { missingFacts, requireCleanPolicy } from '../live/publish.ts'
import type { RbacSettings } from '../options.ts'
import { compilePolicy } from '../policy/compile-policy.ts'
import { readPolicy } from '../policy/read-policy.ts'
import { endOfDay, ReportMode } from '../routes/report-mode.ts'

/**
 * Loads the policy in force and follows it until the app closes.
 *
 * @throws PARAPET_RBAC_INVALID_OPTION if a fact of the policy has no finder.
 * @throws PARAPET_RBAC_POLICY_LINT
 */
export async function openPolicy(
  app: FastifyInstance,
  settings: RbacSettings,
): Promise<LivePolicy> {
  const { policyStore, store, clock, refreshMs, maxStalenessMs } = settings
  const seed = readPolicy(settings.policy)
  const live = await LivePolicy.open(
    {
      policyStore: policyStore ?? createMemoryPolicyStore(),
      store,
      clock,
      refreshMs,
      // A policy store in this process cannot be out of contact.
      maxStalenessMs: policyStore === undefined ? Infinity : maxStalenessMs,
      onError: (error) =>
        app.log.error(
          { err: error },
          'rbac could not refresh the policy. Check "policyStore" and "store".',
        ),
    },
    seed,
  )
  app.addHook('onClose', () => live.close())
  if (store !== undefined) useStoreEvents(app, store, { clock })
  const faults = missingFacts(live.engine.model.policy, settings.facts)
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults.join('\n'))
  // A stored policy was checked when it was published; only that of this version can stop the boot.
  requireCleanPolicy(compilePolicy(seed), settings.waivers)
  return live
}

/** Opens the report mode; it is off unless the option `mode` is `report`. */
export function openReportMode(app: FastifyInstance, settings: RbacSettings): ReportMode {
  const { report, clock } = settings
  if (report === undefined) return new ReportMode(null, clock)
  app.log.warn(
    `rbac refuses nothing until ${report.until} ("${report.reason}"). Set "mode" to "enforce".`,
  )
  return new ReportMode(Number(endOfDay(report.until, clock.now())), clock)
}

const MAX_LISTED = 100

/** Reports routes without a rule, which stop the boot in the mode `enforce`. */
export function reportUndeclared(
  app: FastifyInstance,
  routes: readonly string[],
  securityEvents: SecurityEvents,
): void {
  app.log.warn(
    { routes },
    'rbac does not guard these routes, because they have no rule. app.rbac.scaffold() prints a table.',
  )
  securityEvents.emit('rbac.routes_undeclared', {
    details: { routes: routes.slice(0, MAX_LISTED), count: routes.length },
  })
}
