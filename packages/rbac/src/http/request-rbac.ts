/** Decorates requests with `request.rbac`. */
import { usePrincipal, type Principal, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Access } from '../decide/access.ts'
import type { Engine } from '../decide/engine.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import type { RbacSettings } from '../options.ts'
import { createDecisionReporter } from './decision-events.ts'

const kAccess = Symbol('@parapet/rbac:access')

/** Creates the decisions of a request for a principal under the policy in force. */
export type CreateAccess = (request: FastifyRequest, principal: Principal | null) => Access

/** See {@link decorateRequests}. */
export interface RequestAccess {
  /** Returns the decisions of a request for its own principal, at `request.rbac`. */
  readonly accessOf: (request: FastifyRequest) => Access
  readonly createAccess: CreateAccess
}

/** Adds `request.rbac` to the app. */
export function decorateRequests(
  app: FastifyInstance,
  policy: PolicyInForce,
  settings: RbacSettings,
  securityEvents: SecurityEvents,
): RequestAccess {
  const principalOf = usePrincipal(app, settings.principal)
  const create = accessFactory(policy, settings, securityEvents)

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
  }
}

function accessFactory(
  policy: PolicyInForce,
  settings: RbacSettings,
  securityEvents: SecurityEvents,
): (request: FastifyRequest, principal: Principal | null, engine: Engine) => Access {
  const report = createDecisionReporter(securityEvents, settings.allowedSampleRatio)
  return (request, principal, engine) =>
    new Access(engine, settings, {
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
