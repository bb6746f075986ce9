/** Listens to security events, and reports those that are findings. */
import type { SecurityEventListener } from '@parapet/kit'
import { compileFindings, type EventFinding } from '../findings/event-findings.ts'
import type { Incidents } from '../service/incidents-api.ts'

/** Makes the listener. An event that is no finding costs one look-up. */
export function createEventIntake(
  findings: readonly EventFinding[],
  incidents: Pick<Incidents, 'report'>,
  onError: (error: unknown) => void,
): SecurityEventListener {
  const read = compileFindings(findings)
  return (event) => {
    const finding = read(event)
    // The request does not wait for the storage.
    if (finding !== undefined) void incidents.report(finding).catch(onError)
  }
}
