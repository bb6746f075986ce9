/** Emits security events for decisions: every denied one and a sample of the allowed ones. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { randomInt } from 'node:crypto'
import type { Decision } from '../decide/reasons.ts'

/** Reports one decision. */
export type DecisionReporter = (
  request: FastifyRequest,
  principal: Principal | null,
  policyDigest: string,
  permissions: readonly string[],
  decision: Decision,
) => void

const STEPS = 2 ** 32

/** Creates the reporter. @param allowedSampleRatio the share of allowed decisions to emit, 0 to 1. */
export function createDecisionReporter(
  securityEvents: SecurityEvents,
  allowedSampleRatio: number,
): DecisionReporter {
  const isSampled = createSampler(allowedSampleRatio)
  return (request, principal, policyDigest, permissions, { allowed, reason }) => {
    if (allowed && !isSampled()) return
    securityEvents.emit(
      allowed ? 'rbac.allowed' : 'rbac.denied',
      { details: { permissions, roles: principal?.roles ?? [], reason, policyDigest } },
      request,
    )
  }
}

/** Samples at random: a caller must not be able to predict which requests are recorded. */
function createSampler(ratio: number): () => boolean {
  if (ratio === 0) return () => false
  if (ratio === 1) return () => true
  return () => randomInt(STEPS) < ratio * STEPS
}
