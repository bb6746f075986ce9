/** Decorates requests with `request.rbac`, and emits events for decisions. */
import {
  usePrincipal,
  withDeadline,
  type Principal,
  type PrincipalMapping,
  type SecurityEvents,
} from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Shadow } from '../analysis/shadow.ts'
import { Access } from '../decide/access.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import { PARAPET_RBAC_LOOKUP_TIMEOUT } from '../errors.ts'
import type { RbacPrincipalMapping, RbacSettings } from '../options.ts'
import type { ReportMode } from '../routes/report-mode.ts'
import { createDecisionReporter, type DecisionReporter } from './decision-events.ts'
import type { GuardSettings } from './route-guard.ts'

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
  readonly loadResource: GuardSettings['loadResource']
}

/** The candidate policy that decides beside the policy in force, if there is one. */
export interface Candidate {
  shadow: Shadow | undefined
}

/** Adds `request.rbac` to the app. */
export function decorateRequests(
  app: FastifyInstance,
  policy: PolicyInForce,
  settings: RbacSettings,
  securityEvents: SecurityEvents,
  reportMode: ReportMode,
  candidate: Candidate,
): RequestAccess {
  const { principal: mapping } = settings
  const principalOf = usePrincipal(app, mapping && limitMapping(mapping, settings))
  const report = createDecisionReporter(app, securityEvents, settings, reportMode)
  const create = accessFactory(policy, settings, report, reportMode, candidate)

  const accessOf = (request: FastifyRequest): Access => {
    const holder = request as { [kAccess]?: Access | null }
    const principal = principalOf(request)
    const known = holder[kAccess]
    // The login may run later or change the principal, so decisions for another one are not reused.
    if (known && known.principal === principal) return known
    return (holder[kAccess] = create(request, principal))
  }

  app.decorateRequest(kAccess, null)
  app.decorateRequest('rbac', {
    getter(this: FastifyRequest) {
      return accessOf(this)
    },
  })
  return {
    accessOf,
    createAccess: create,
    load: mapping && ((request) => principalOf.load(request)),
    loadResource(load, request) {
      const found = load(request as never)
      return isThenable(found) ? limitLookup('resource', Promise.resolve(found), settings) : found
    },
  }
}

/** Limits how long an asynchronous mapping takes, and repeats its error if the principal is read later. */
function limitMapping(mapping: RbacPrincipalMapping, settings: RbacSettings): PrincipalMapping {
  const failures = new WeakMap<FastifyRequest, Error>()
  return (request) => {
    const failure = failures.get(request)
    if (failure !== undefined) throw failure
    const found: unknown = mapping(request)
    if (!(found instanceof Promise)) return (found ?? null) as Principal | null
    return limitLookup('principal', found as Promise<Principal | null | undefined>, settings).then(
      // Logins leave `undefined` where there is nobody.
      (each) => each ?? null,
      (error: Error) => {
        failures.set(request, error)
        throw error
      },
    )
  }
}

/** Query builders are thenable without being promises. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof Reflect.get(value, 'then') === 'function'
  )
}

/** Limits how long a lookup takes. @throws PARAPET_RBAC_LOOKUP_TIMEOUT */
function limitLookup<T>(
  name: string,
  answer: Promise<T>,
  { factTimeoutMs, clock }: Pick<RbacSettings, 'factTimeoutMs' | 'clock'>,
): Promise<T> {
  const late = (): Error => new PARAPET_RBAC_LOOKUP_TIMEOUT(name, factTimeoutMs)
  return withDeadline(answer, factTimeoutMs, late, clock)
}

function accessFactory(
  policy: PolicyInForce,
  settings: RbacSettings,
  report: DecisionReporter,
  reportMode: ReportMode,
  candidate: Candidate,
): CreateAccess {
  const services = {
    ...settings,
    isReporting: () => reportMode.isActive,
    shadow: () => candidate.shadow,
  }
  return (request, principal) =>
    new Access(policy, services, {
      principal,
      subject: () => (principal === null ? undefined : settings.subject?.(principal, request)),
      environment: () => ({
        time: settings.clock.now(),
        ip: request.ip,
        attributes: settings.environment?.(request),
      }),
      report: (permissions, decision) =>
        report(request, principal, policy.engine.digest, permissions, decision),
    })
}
