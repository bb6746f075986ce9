/** Emits the events of refused requests. Any client can cause them, so repetitions are folded. */
import {
  clientKey,
  createEventFold,
  type Clock,
  type SecurityEvents,
  type SecurityEventTypes,
} from '@parapet/kit'
import type { FastifyRequest } from 'fastify'

const LIMITS = { windowMs: 60_000, maxKeys: 1000, whenFull: 'suppress' } as const

type Details<T extends keyof SecurityEventTypes> = Omit<SecurityEventTypes[T], 'suppressed'>

/** The events, once a minute for each reason, route and client. */
export interface Refusals {
  readonly isolated: (
    request: FastifyRequest,
    details: Details<'security_headers.request_isolated'>,
  ) => void
  readonly tokenRefused: (
    request: FastifyRequest,
    details: Details<'security_headers.token_refused'>,
  ) => void
}

/** Creates the emitters. */
export function createRefusals(securityEvents: SecurityEvents, clock: Clock): Refusals {
  const foldIsolated = createEventFold(LIMITS, clock)
  const foldToken = createEventFold(LIMITS, clock)
  return {
    isolated(request, details) {
      const suppressed = foldIsolated(keyOf(request, details.reason))
      if (suppressed === null) return
      const type = 'security_headers.request_isolated'
      securityEvents.emit(type, { details: { ...details, suppressed } }, request)
    },
    tokenRefused(request, details) {
      const suppressed = foldToken(keyOf(request, details.reason))
      if (suppressed === null) return
      const type = 'security_headers.token_refused'
      securityEvents.emit(type, { details: { ...details, suppressed } }, request)
    },
  }
}

/** Users behind one address are counted separately. */
function keyOf({ method, routeOptions, ip, principal }: FastifyRequest, reason: string): string {
  const user = (principal as { id?: unknown } | null | undefined)?.id ?? null
  return JSON.stringify([reason, method, routeOptions.url ?? null, clientKey(ip), user])
}
