/** Emits events for decisions: every kind of denial once a minute, and a sample of what is allowed. */
import { clientKey, requestSource, type Principal, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { randomInt } from 'node:crypto'
import { EventFold } from '../decide/event-fold.ts'
import type { Decision, Reason } from '../decide/reasons.ts'
import type { RbacSettings } from '../options.ts'
import type { ReportMode } from '../routes/report-mode.ts'

/** Reports one decision. */
export type DecisionReporter = (
  request: FastifyRequest,
  principal: Principal | null,
  policyDigest: string,
  permissions: readonly string[],
  decision: Decision,
) => void

/** What an event says about a denial. */
interface Denial {
  readonly type: 'rbac.denied' | 'rbac.denial_reported'
  readonly details: {
    readonly permissions: readonly string[]
    readonly roles: readonly string[]
    readonly reason: Reason
    readonly policyDigest: string
  }
  /** Who was denied, and where; absent in the number of all that were not counted one by one. */
  readonly subject?: Readonly<Partial<ReturnType<typeof requestSource>>>
}

/** Creates the reporter. @param reportMode counts the denials while nothing is refused. */
export function createDecisionReporter(
  app: FastifyInstance,
  securityEvents: SecurityEvents,
  { allowedSampleRatio, clock }: RbacSettings,
  reportMode: ReportMode,
): DecisionReporter {
  const isSampled = createSampler(allowedSampleRatio)
  const fold = new EventFold<Denial>({
    clock,
    report: ({ type, details, subject }, suppressed) =>
      securityEvents.emit(type, { ...subject, details: { ...details, suppressed } }),
  })
  app.addHook('onClose', async () => fold.close())
  return (request, principal, policyDigest, permissions, { allowed, reason }) => {
    if (allowed && !isSampled()) return
    const details = { permissions, roles: principal?.roles ?? [], reason, policyDigest }
    if (allowed) {
      securityEvents.emit('rbac.allowed', { details }, request)
      return
    }
    const isTolerated = reportMode.isActive
    const type = isTolerated ? 'rbac.denial_reported' : 'rbac.denied'
    if (isTolerated) reportMode.count(routeOf(request), reason, permissions)
    if (!isFirst(fold, request, { type, details }, principal)) return
    securityEvents.emit(type, { details: { ...details, suppressed: 0 } }, request)
  }
}

function isFirst(
  fold: EventFold<Denial>,
  request: FastifyRequest,
  denial: Denial,
  principal: Principal | null,
): boolean {
  const { type, details } = denial
  const { reason, permissions, policyDigest } = details
  const who = principal === null ? ['client', clientKey(request.ip)] : ['principal', principal.id]
  const { requestId: _id, userAgent: _agent, ...subject } = requestSource(request, principal)
  return fold.add(
    {
      key: JSON.stringify([type, reason, routeOf(request), ...who, ...permissions]),
      value: { ...denial, subject },
    },
    {
      key: JSON.stringify([type, reason]),
      value: { type, details: { permissions: [], roles: [], reason, policyDigest } },
    },
  )
}

function routeOf({ method, routeOptions }: FastifyRequest): string {
  return `${method} ${routeOptions.url ?? ''}`
}

const STEPS = 2 ** 32

/** Samples at random: a caller must not be able to predict which requests are recorded. */
function createSampler(ratio: number): () => boolean {
  if (ratio === 0) return () => false
  if (ratio === 1) return () => true
  return () => randomInt(STEPS) < ratio * STEPS
}
