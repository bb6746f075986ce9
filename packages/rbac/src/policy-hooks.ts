/** The policy's life in the app: opened before the routes, closed with the server. */
import { useStoreEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { Engine } from './engine.ts'
import { PARAPET_RBAC_INVALID_OPTION } from './errors.ts'
import { LivePolicy } from './live-policy.ts'
import type { RbacSettings } from './options.ts'
import { createMemoryPolicyStore } from './policy-store.ts'
import { readPolicy } from './policy-reader.ts'
import type { PolicyDocument } from './policy-types.ts'

/** Opens the policy in force, and follows it until the app closes. */
export async function openPolicy(
  app: FastifyInstance,
  settings: RbacSettings,
  onSwap: (engine: Engine) => void,
): Promise<LivePolicy> {
  const { policyStore, store, clock, refreshMs, maxStalenessMs } = settings
  const seed = readPolicy(settings.policy)
  const live = await LivePolicy.open(
    {
      policyStore: policyStore ?? createMemoryPolicyStore(),
      store,
      clock,
      refreshMs,
      // What lives in this process is always in reach.
      maxStalenessMs: policyStore === undefined ? Infinity : maxStalenessMs,
      onError: (error) => app.log.error({ err: error }, 'the policy could not be refreshed'),
      onSwap,
    },
    seed,
  )
  app.addHook('onClose', () => live.close())
  if (store !== undefined) useStoreEvents(app, store, clock)
  requireFacts(live, settings)
  return live
}

function requireFacts(live: LivePolicy, { facts }: RbacSettings): void {
  const faults = missingFacts(live.engine.model.policy, facts)
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults.join('\n'))
}

/** The facts of a policy that nothing can find out, as faults. */
export function missingFacts(policy: PolicyDocument, finders: RbacSettings['facts']): string[] {
  return Object.keys(policy.facts)
    .filter((name) => !Object.hasOwn(finders, name))
    .map((name) => `  facts.${name}: is declared in the policy and has no finder`)
}
