/** Security events of other plugins as signals. */
import type { SecurityEvents } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { createEventReader } from '../rules/event-signals.ts'
import type { Guard } from '../service/guard.ts'
import type { Client } from './client.ts'
import type { RequestGuard } from './request-anomaly.ts'
import { originOf, type InFlight } from './request-state.ts'

/** See {@link feedEvents}. */
export interface FeedSettings {
  readonly guard: Guard
  readonly clientOf: (ip: string) => Client
  readonly inFlight: InFlight
  readonly stateOf: (request: FastifyRequest) => RequestGuard
}

/** Listens to every event. @returns a function that stops it */
export function feedEvents(
  events: SecurityEvents,
  { guard, clientOf, inFlight, stateOf }: FeedSettings,
): () => void {
  const read = createEventReader(guard.settings.events)
  return events.on('*', (event) => {
    const mapped = read(event)
    if (mapped === undefined) return
    const { ip, principalId, sessionId, route, type, requestId } = event
    const client = ip === undefined ? undefined : clientOf(ip)
    const request = inFlight.find(requestId)
    const state = request === undefined ? undefined : stateOf(request)
    if (state?.isNews(mapped.name, type) === false) return
    // Limits that a measure of the guard has lowered must not lead to the next measure.
    if (mapped.name === 'rate-limited' && isContained(guard, client, principalId)) return
    guard.observe({
      name: mapped.name,
      atMs: guard.tick(),
      address: client?.key ?? 'unknown',
      // The name in a failed login is who is aimed at, not who asks.
      principalId: mapped.name === 'login-failed' ? undefined : principalId,
      sessionId,
      account: state?.account ?? mapped.account,
      // No event carries it: events are stored, and a password that was tried is often almost the right one.
      secret: mapped.name === 'login-failed' ? state?.secret : undefined,
      route,
      origin: request && client && originOf(request, client),
    })
  })
}

function isContained({ active, clock }: Guard, client: Client | undefined, id: string | undefined) {
  const now = clock.now()
  const bits = client?.bits
  if (bits !== undefined && active.ofAddress(bits, now) !== undefined) return true
  return id !== undefined && active.ofPrincipal(id, now) !== undefined
}
