/** Security events of other plugins as signals. */
import { clientKey, type SecurityEvents } from '@parapet/kit'
import { createEventReader } from '../rules/event-signals.ts'
import type { Guard } from '../service/guard.ts'

/** Listens to every event. @returns a function that stops it */
export function feedEvents(events: SecurityEvents, guard: Guard): () => void {
  const read = createEventReader(guard.settings.events)
  return events.on('*', (event) => {
    const mapped = read(event)
    if (mapped === undefined) return
    const { ip, principalId, sessionId, route } = event
    guard.observe({
      name: mapped.name,
      atMs: guard.tick(),
      address: ip === undefined ? 'unknown' : clientKey(ip),
      // The name in a failed login is who is aimed at, not who asks.
      principalId: mapped.name === 'login-failed' ? undefined : principalId,
      sessionId,
      account: mapped.account,
      route,
    })
  })
}
