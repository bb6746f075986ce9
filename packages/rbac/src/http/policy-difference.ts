/** The stored policy and the option `policy` can differ: a release has changed it, or an administrator has. */
import type { SecurityEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { Engine } from '../decide/engine.ts'
import { PARAPET_RBAC_CONFLICT, PARAPET_RBAC_POLICY_DIFFERS } from '../errors.ts'
import { diffPolicies } from '../live/diff.ts'
import type { LivePolicy } from '../live/live-policy.ts'
import { MAX_CHANGES } from '../live/publish.ts'
import type { RbacSettings } from '../options.ts'

/** Other instances of the release publish the same policy at the same time. */
const MAX_ATTEMPTS = 10

/**
 * Does what the option `onDifference` says.
 *
 * @throws PARAPET_RBAC_POLICY_DIFFERS
 */
export async function settleDifference(
  app: FastifyInstance,
  live: LivePolicy,
  own: Engine,
  { onDifference }: RbacSettings,
  securityEvents: SecurityEvents,
): Promise<void> {
  if (own.digest === live.engine.digest) return
  const { text } = diffPolicies(live.engine, own, [])
  const changes = text.slice(0, MAX_CHANGES)
  if (onDifference === 'fail') {
    throw new PARAPET_RBAC_POLICY_DIFFERS(changes.map((each) => `  ${each}`).join('\n'))
  }
  const stored = live.engine.digest
  if (onDifference === 'warn') {
    app.log.warn(
      { changes },
      'rbac uses the policy of "policyStore", which differs from the option "policy". Publish that option, or set "onDifference".',
    )
    app.addHook('onReady', async () =>
      securityEvents.emit('rbac.policy_differs', {
        details: { policyDigest: stored, optionDigest: own.digest, changes },
      }),
    )
    return
  }
  const isPublished = await publishOwn(live, own)
  if (!isPublished) return
  const { revision } = live
  app.addHook('onReady', async () =>
    securityEvents.emit('rbac.policy_published', {
      details: {
        policyDigest: own.digest,
        previousDigest: stored,
        revision,
        changes,
        reason: 'onDifference: publish',
      },
    }),
  )
}

/** @returns whether this instance has published it, and not another one. */
async function publishOwn(live: LivePolicy, own: Engine): Promise<boolean> {
  for (let attempt = 1; live.engine.digest !== own.digest; attempt++) {
    try {
      await live.publish(own)
      return true
    } catch (error) {
      if (!(error instanceof PARAPET_RBAC_CONFLICT) || attempt === MAX_ATTEMPTS) throw error
    }
  }
  return false
}
