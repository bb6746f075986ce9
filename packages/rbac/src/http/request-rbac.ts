/** Decorates requests with `request.rbac`, and emits events for decisions. */
import {
  usePrincipal,
  withDeadline,
  type Principal,
  type PrincipalMapping,
  type SecurityEvents,
} from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { randomInt } from 'node:crypto'
import { Access } from '../decide/access.ts'
import type { Engine } from '../decide/engine.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import type { Decision } from '../decide/reasons.ts'
import { PARAPET_RBAC_LOOKUP_TIMEOUT } from '../errors.ts'
import type { RbacSettings } from '../options.ts'
import type { ReportMode } from '../routes/report-mode.ts'

const kAccess = Symbol('@parapet/rbac:access')

/** Creates the decisions of a request for a principal under the policy in force. */
export type CreateAccess = (request: FastifyRequest, principal: Principal | null) => Access

/** See {@link decorateRequests}. */
export interface RequestAccess {
  /** Returns the decisions of a request for its own principal, at `request.rbac`. */
  readonly accessOf: (request: FastifyRequest) => Access
  readonly createAccess: CreateAccess
  /** Runs the option `principal`; absent if there is none. */
  readonly load: ((request: FastifyRequest) => Promise<void> | undefined) | undefined
}

/** Adds `request.rbac` to the app. */
export function decorateRequests(
  app: FastifyInstance,
  policy: PolicyInForce,
  settings: RbacSettings,
  securityEvents: SecurityEvents,
  reportMode: ReportMode,
): RequestAccess {
  const { principal: mapping } = settings
  const principalOf = usePrincipal(app, mapping && limitMapping(mapping, settings))
  const create = accessFactory(policy, settings, securityEvents, reportMode)

  const accessOf = (request: FastifyRequest): Access => {
    const holder = request as { [kAccess]?: Access | null }
    const principal = principalOf(request)
    const known = holder[kAccess]
    // The login may run later or change the principal, so decisions for another one are not reused.
    if (known && known.principal === principal) return known
    return (holder[kAccess] = create(request, principal, known?.engine ?? policy.engine))
  }

  app.decorateRequest(kAccess, null)
  app.decorateRequest('rbac', {
    getter(this: FastifyRequest) {
      return accessOf(this)
    },
  })
  return {
    accessOf,
    createAccess: (request, principal) => create(request, principal, policy.engine),
    load: mapping && ((request) => principalOf.load(request)),
  }
}

/** Limits how long an asynchronous mapping takes, and repeats its error if the principal is read later. */
function limitMapping(
  mapping: PrincipalMapping,
  { factTimeoutMs, clock }: RbacSettings,
): PrincipalMapping {
  const failures = new WeakMap<FastifyRequest, Error>()
  return (request) => {
    const failure = failures.get(request)
    if (failure !== undefined) throw failure
    const found = mapping(request)
    if (!(found instanceof Promise)) return found
    const late = (): Error => new PARAPET_RBAC_LOOKUP_TIMEOUT('principal', factTimeoutMs)
    return withDeadline(found, factTimeoutMs, late, clock).catch((error: Error) => {
      failures.set(request, error)
      throw error
    })
  }
}

function accessFactory(
  policy: PolicyInForce,
  settings: RbacSettings,
  securityEvents: SecurityEvents,
  reportMode: ReportMode,
): (request: FastifyRequest, principal: Principal | null, engine: Engine) => Access {
  const report = createDecisionReporter(securityEvents, settings.allowedSampleRatio, reportMode)
  const services = { ...settings, isReporting: () => reportMode.isActive }
  return (request, principal, engine) =>
    new Access(engine, services, {
      principal,
      granted: principal === null ? undefined : policy.grantedTo(principal.id),
      stale: policy.stale,
      subject: () => (principal === null ? undefined : settings.subject?.(principal, request)),
      environment: () => ({
        time: settings.clock.now(),
        ip: request.ip,
        attributes: settings.environment?.(request),
      }),
      report: (permissions, decision) =>
        report(request, principal, engine.digest, permissions, decision),
    })
}

/** Reports one decision. */
type DecisionReporter = (
  request: FastifyRequest,
  principal: Principal | null,
  policyDigest: string,
  permissions: readonly string[],
  decision: Decision,
) => void

const STEPS = 2 ** 32

/**
 * Creates the reporter.
 *
 * @param allowedSampleRatio the share of allowed decisions to emit, 0 to 1.
 * @param reportMode counts the denials while nothing is refused.
 */
function createDecisionReporter(
  securityEvents: SecurityEvents,
  allowedSampleRatio: number,
  reportMode: ReportMode,
): DecisionReporter {
  const isSampled = createSampler(allowedSampleRatio)
  return (request, principal, policyDigest, permissions, { allowed, reason }) => {
    if (allowed && !isSampled()) return
    const isTolerated = !allowed && reportMode.isActive
    if (isTolerated) {
      const { method, url } = request.routeOptions
      reportMode.count(`${String(method)} ${url ?? ''}`, reason, permissions)
    }
    securityEvents.emit(
      allowed ? 'rbac.allowed' : isTolerated ? 'rbac.denial_reported' : 'rbac.denied',
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
