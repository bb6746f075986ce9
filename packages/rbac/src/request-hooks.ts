/** `request.rbac`: who is asking, made out once for each request and under one policy. */
import { usePrincipal, type SecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Access } from './access.ts'
import type { Decision } from './engine.ts'
import type { LivePolicy } from './live-policy.ts'
import type { RbacSettings } from './options.ts'
import type { Probes } from './probe-routes.ts'
import { createSampler } from './sampler.ts'

const kAccess = Symbol('@parapet/rbac:access')

/** What {@link decorateRequests} needs. */
export interface RequestServices {
  readonly live: LivePolicy
  readonly settings: RbacSettings
  readonly probes: Probes
  readonly securityEvents: SecurityEvents
}

/** Puts `request.rbac` on the app. @returns how the guard reaches it. */
export function decorateRequests(
  app: FastifyInstance,
  { live, settings, probes, securityEvents }: RequestServices,
): (request: FastifyRequest) => Access {
  const principalOf = usePrincipal(app, settings.principal)
  const sampled = createSampler(settings.allowedSampleRatio)

  app.decorateRequest(kAccess, null)
  app.decorateRequest('rbac', {
    getter(this: FastifyRequest) {
      return accessOf(this)
    },
  })

  function accessOf(request: FastifyRequest): Access {
    const holder = request as { [kAccess]?: Access | null }
    const probe = probes.find(request)
    const principal = probe === undefined ? principalOf(request) : probe.principal
    const known = holder[kAccess]
    // A login that comes later, and a change of identity, are not answered for somebody else.
    if (known && known.principal === principal) return known
    return (holder[kAccess] = new Access(known?.engine ?? live.engine, settings, {
      principal,
      granted: principal === null ? undefined : live.grantedTo(principal.id),
      stale: live.stale,
      subject: () => (principal === null ? undefined : settings.subject?.(principal, request)),
      environment: () => ({
        time: settings.clock.now(),
        ip: request.ip,
        attributes: settings.environment?.(request),
      }),
      report: (permissions, decision) => report(request, permissions, decision),
    }))
  }

  function report(
    request: FastifyRequest,
    permissions: readonly string[],
    { allowed, reason }: Decision,
  ): void {
    if (allowed && !sampled()) return
    const { principal, engine } = accessOf(request)
    securityEvents.emit(
      allowed ? 'rbac.allowed' : 'rbac.denied',
      {
        details: {
          permissions,
          roles: principal?.roles ?? [],
          reason,
          policyDigest: engine.digest,
        },
      },
      request,
    )
  }

  return accessOf
}
