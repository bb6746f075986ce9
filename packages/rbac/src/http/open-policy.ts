/** Opens the policy and the report mode when the plugin is registered. */
import { useStoreEvents, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { Engine } from '../decide/engine.ts'
import { PARAPET_RBAC_INVALID_OPTION } from '../errors.ts'
import { LivePolicy } from '../live/live-policy.ts'
import { createMemoryPolicyStore } from '../live/policy-store-memory.ts'
import { missingPorts, requireCleanPolicy } from '../live/publish.ts'
import type { RbacSettings } from '../options.ts'
import { compilePolicy } from '../policy/compile-policy.ts'
import type { PolicyModel } from '../policy/policy-model.ts'
import type { PolicyDocument } from '../policy/policy-types.ts'
import { readPolicy } from '../policy/read-policy.ts'
import { activeWaivers, lintPolicy } from '../lint/lint.ts'
import { endOfDay, ReportMode } from '../routes/report-mode.ts'
import { settleDifference } from './policy-difference.ts'

/**
 * Loads the policy in force and follows it until the app closes.
 *
 * @throws PARAPET_RBAC_INVALID_OPTION if the options lack what the policy needs.
 * @throws PARAPET_RBAC_POLICY_LINT
 * @throws PARAPET_RBAC_POLICY_DIFFERS
 */
export async function openPolicy(
  app: FastifyInstance,
  settings: RbacSettings,
  securityEvents: SecurityEvents,
): Promise<LivePolicy> {
  const seed = readPolicy(settings.policy)
  const model = compilePolicy(seed)
  requirePorts(seed, settings)
  // A stored policy was checked when it was published; only that of this version can stop the boot.
  requireCleanPolicy(model, settings.waivers)
  reportEndedWaivers(app, model, settings, securityEvents)
  const { policyStore, store, clock, refreshMs, maxStalenessMs } = settings
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
  await settleDifference(app, live, new Engine(model), settings, securityEvents)
  requirePorts(live.engine.model.policy, settings)
  return live
}

function requirePorts(policy: PolicyDocument, settings: RbacSettings): void {
  const faults = missingPorts(policy, settings)
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults.join('\n'))
}

/** A waiver that has ended does not stop the boot: a restart must do what the running instance does. */
function reportEndedWaivers(
  app: FastifyInstance,
  model: PolicyModel,
  { waivers, clock }: RbacSettings,
  securityEvents: SecurityEvents,
): void {
  const findings = lintPolicy(model, activeWaivers(waivers, clock.now())).map(({ text }) => text)
  if (findings.length === 0) return
  app.log.error(
    { findings },
    'rbac has findings whose waivers have ended. Correct the policy, or extend "waivers".',
  )
  app.addHook('onReady', async () =>
    securityEvents.emit('rbac.waiver_ended', {
      details: { findings: findings.slice(0, MAX_LISTED) },
    }),
  )
}

/** Opens the report mode; it is off unless the option `mode` is `report`. */
export function openReportMode(
  app: FastifyInstance,
  { report, clock }: RbacSettings,
  securityEvents: SecurityEvents,
): ReportMode {
  if (report === undefined) return new ReportMode(null, clock)
  const { until, reason } = report
  const mode = new ReportMode(Number(endOfDay(until, clock.now())), clock)
  if (mode.isActive) {
    const advice = 'Set "mode" to "enforce" before.'
    app.log.warn(`rbac refuses nothing until the end of ${until} (UTC) ("${reason}"). ${advice}`)
    return mode
  }
  app.log.error(`rbac refuses requests: "report.until" was ${until}. Set "mode" to "enforce".`)
  app.addHook('onReady', async () =>
    securityEvents.emit('rbac.report_ended', { details: { until, reason } }),
  )
  return mode
}

const MAX_LISTED = 100

/** Reports routes without a rule, which stop the boot in the mode `enforce`. */
export function reportUndeclared(
  app: FastifyInstance,
  routes: readonly string[],
  securityEvents: SecurityEvents,
  isReporting: boolean,
): void {
  app.log.warn(
    { routes },
    `rbac ${isReporting ? 'does not guard' : 'refuses'} these routes, because they have no rule. app.rbac.scaffold() prints a table.`,
  )
  securityEvents.emit('rbac.routes_undeclared', {
    details: { routes: routes.slice(0, MAX_LISTED), count: routes.length },
  })
}
