/** What conditions can read of an incident. */
import type { Incident } from '../incidents/incident.ts'
import type { Scalar } from './playbook.ts'

/** The names of all facts. */
export const factNames: readonly string[] = Object.freeze([
  'type',
  'severity',
  'phase',
  'findings',
  'records',
  'principals',
  'addresses',
  'acknowledged',
  'minutes_open',
  'failed_actions',
])

const MINUTE_MS = 60_000

/** Reads the facts. @param failedActions of the run. */
export function factsOf(
  incident: Incident,
  now: number,
  failedActions: number,
): Readonly<Record<string, Scalar>> {
  const { type, severity, phase, findings, records, principals, addresses } = incident
  return {
    type,
    severity,
    phase,
    findings,
    records,
    principals: principals.length,
    addresses: addresses.length,
    acknowledged: incident.acknowledgedAt !== null,
    minutes_open: Math.floor((now - incident.openedAt) / MINUTE_MS),
    failed_actions: failedActions,
  }
}
