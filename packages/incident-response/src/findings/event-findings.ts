/** Which security events are findings. */
import type { SecurityEvent } from '@parapet/kit'
import type { Finding } from '../incidents/finding.ts'
import type { IncidentSeverity } from '../incidents/incident.ts'

/** A security event as a rule sees it: the details of events of other packages are not typed here. */
export type ObservedEvent = Pick<
  SecurityEvent,
  'id' | 'time' | 'severity' | 'outcome' | 'principalId' | 'ip' | 'sessionId' | 'route'
> & {
  readonly type: string
  readonly details: Readonly<Record<string, unknown>>
}

/** One line of the table of findings. */
export interface EventFinding {
  /** The type of the event: `mfa.locked`. */
  readonly on: string
  /** The type of the incident. */
  readonly type: string
  /** @default that of the event; `info` counts as low */
  readonly severity?: IncidentSeverity
  /** @default every event of the type */
  readonly when?: (event: ObservedEvent) => boolean
  /**
   * What makes events one incident: those of one type, of one type and address, or of one type and principal.
   *
   * @default 'type'
   */
  readonly groupBy?: 'type' | 'address' | 'principal'
}

const LABELS: Readonly<Record<string, readonly string[]>> = {
  brute_force: [
    'brute_force',
    'credential_stuffing',
    'password_spraying',
    'distributed_brute_force',
    'token_guessing',
  ],
  account_takeover: ['token_theft', 'session_hopping', 'account_takeover'],
  data_exfiltration: [
    'enumeration',
    'scraping',
    'mass_export',
    'slow_exfiltration',
    'large_transfer',
  ],
  denial_of_service: ['flood'],
  injection: ['payload_attack'],
}

/** Anomalies of rules in shadow are reports, not findings. */
const labelled = (labels: readonly string[]) => (event: ObservedEvent) =>
  event.details['mode'] !== 'shadow' && labels.includes(String(event.details['label']))

const anomalies: readonly EventFinding[] = Object.entries(LABELS).map(([type, labels]) => ({
  on: 'anomaly_guard.detected',
  type,
  when: labelled(labels),
  ...(type === 'account_takeover' && { groupBy: 'principal' as const }),
}))

/** The table that is used unless the option `findings` replaces it. */
export const builtInFindings: readonly EventFinding[] = Object.freeze([
  ...anomalies,
  {
    on: 'sessions.reuse_detected',
    type: 'account_takeover',
    severity: 'high',
    groupBy: 'principal',
  },
  { on: 'mfa.locked', type: 'account_takeover', severity: 'medium', groupBy: 'principal' },
  { on: 'secrets.leak_stopped', type: 'leaked_secret', severity: 'critical' },
  { on: 'audit_log.tampering_found', type: 'tampered_audit_log', severity: 'critical' },
  { on: 'audit_log.inbox_refused', type: 'tampered_audit_log', severity: 'high' },
  { on: 'audit_log.witness_refused', type: 'tampered_audit_log', severity: 'high' },
  { on: 'rate_limits.abused', type: 'denial_of_service', severity: 'medium' },
] satisfies readonly EventFinding[])

/** Turns an event into a finding; `undefined`: it is none. */
export type ReadEvent = (event: ObservedEvent) => Finding | undefined

/** Compiles the table, so that an event of another type costs one look-up. */
export function compileFindings(table: readonly EventFinding[]): ReadEvent {
  const byType = new Map<string, EventFinding[]>()
  for (const each of table) byType.set(each.on, [...(byType.get(each.on) ?? []), each])
  return (event) => {
    const candidates = byType.get(event.type)
    if (candidates === undefined) return undefined
    const found = candidates.find(({ when }) => when === undefined || when(event))
    return found === undefined ? undefined : findingOf(found, event)
  }
}

function findingOf(
  { type, severity, groupBy = 'type' }: EventFinding,
  event: ObservedEvent,
): Finding {
  const { id, time: at } = event
  const [principalId, ip] = [readable(event.principalId), readable(event.ip)]
  const own = event.severity === 'info' ? 'low' : event.severity
  const subject = groupBy === 'address' ? ip : groupBy === 'principal' ? principalId : undefined
  const anomalyId = event.details['anomalyId']
  const attempts = attemptsOf(event.details['evidence'])
  return {
    type,
    severity: severity ?? own,
    at,
    fingerprint: subject === undefined ? type : `${type}:${subject}`.slice(0, 200).toWellFormed(),
    ...(principalId !== undefined && principalId !== '' && { principalId }),
    ...(ip !== undefined && ip !== '' && { address: ip }),
    ...(attempts !== undefined && { attempts }),
    links: [
      {
        kind: 'event',
        id,
      },
      ...(typeof anomalyId === 'string' && anomalyId !== ''
        ? [
            {
              kind: 'anomaly' as const,
              id: anomalyId,
            },
          ]
        : []),
    ],
  }
}

/** A name that an attacker has chosen must not make the finding about it fail. */
function readable(text: string | undefined): string | undefined {
  return text?.replaceAll('\0', '\u{FFFD}').toWellFormed()
}

/** anomaly-guard counts itself, and says so: `count 12`. */
function attemptsOf(evidence: unknown): number | undefined {
  if (!Array.isArray(evidence)) return undefined
  for (const each of evidence) {
    const count = /^count (\d{1,9})$/.exec(String(each))?.[1]
    if (count !== undefined) return Number(count)
  }
  return undefined
}
