/** Opens the policy when the plugin is registered and closes it with the server. */
import { useStoreEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { PARAPET_RBAC_INVALID_OPTION } from '../errors.ts'
import { LivePolicy } from '../live/live-policy.ts'
import { createMemoryPolicyStore } from '../live/policy-store-memory.ts'
import { missingFacts } from '../live/publish.ts'
import type { RbacSettings } from '../options.ts'
import { readPolicy } from '../policy/read-policy.ts'

/**
 * Loads the policy in force and follows it until the app closes.
 *
 * @throws PARAPET_RBAC_INVALID_OPTION if a fact of the policy has no finder.
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
  return live
}
