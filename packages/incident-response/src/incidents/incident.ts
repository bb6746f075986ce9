/** An incident and what is stored of it. Times are milliseconds since the Unix epoch. */

/** From the least to the most urgent. */
export const severities = ['low', 'medium', 'high', 'critical'] as const
/** How urgent an incident is. */
export type IncidentSeverity = (typeof severities)[number]

/** The phases of an incident, in order. @see NIST SP 800-61 */
export const phases = [
  'detection',
  'containment',
  'eradication',
  'recovery',
  'lessons_learned',
  'closed',
] as const
/** Where an incident stands. */
export type Phase = (typeof phases)[number]

/** Why an incident was closed. */
export type Resolution = 'resolved' | 'false_positive' | 'duplicate'

/** A principal or an address, and how often it was seen. */
export interface Sighting {
  readonly id: string
  readonly count: number
}

/** A record elsewhere: an audit record, an anomaly, an event, a page. */
export interface Link {
  readonly kind: 'anomaly' | 'audit' | 'event' | 'url'
  readonly id: string
}

/** An incident. */
export interface Incident {
  /** UUIDv7. */
  readonly id: string
  /** What kind of attack: `brute_force`, `data_breach`. */
  readonly type: string
  readonly title: string
  readonly severity: IncidentSeverity
  readonly phase: Phase
  readonly resolution: Resolution | null
  readonly openedAt: number
  /** When the first finding happened. */
  readonly firstSeenAt: number
  readonly lastFindingAt: number
  readonly acknowledgedAt: number | null
  readonly acknowledgedBy: string | null
  /** When it last left `containment`. */
  readonly containedAt: number | null
  /** When it last left `recovery`. */
  readonly recoveredAt: number | null
  readonly closedAt: number | null
  /** When a person must have acknowledged it. */
  readonly respondBy: number
  readonly escalations: number
  readonly assignee: string | null
  /** Findings, also those that are not stored one by one. */
  readonly findings: number
  /** Records that findings and actions have named. */
  readonly records: number
  /** At most 100, the most frequent kept. */
  readonly principals: readonly Sighting[]
  readonly addresses: readonly Sighting[]
  /** At most 100, the first ones kept. */
  readonly links: readonly Link[]
  /** Findings with these are part of it while it is open. */
  readonly fingerprints: readonly string[]
  readonly mergedInto: string | null
  /** Steps that wait for a person. */
  readonly needsPerson: number
  /** Automated responses that were planned, each by a short id; bounded by the option `maxResponses`. */
  readonly responded: readonly string[]
  /** Counts the changes. */
  readonly version: number
}

/** What an entry of the timeline says. */
export type EntryKind =
  | 'opened'
  | 'finding'
  | 'transitioned'
  | 'acknowledged'
  | 'assigned'
  | 'commented'
  | 'linked'
  | 'severity_changed'
  | 'merged'
  | 'reopened'
  | 'escalated'
  | 'overdue'
  | 'run_started'
  | 'run_ended'
  | 'action_started'
  | 'action_done'
  | 'action_failed'
  | 'action_undone'
  | 'needs_person'
  | 'step_ended'
  | 'notified'
  | 'notification_failed'
  | 'closed'

/** Flat JSON: no secret and no body. */
export type EntryDetails = Readonly<Record<string, string | number | boolean | null>>

/** An entry before it is stored. */
export interface NewEntry {
  readonly incidentId: string
  readonly at: number
  readonly kind: EntryKind
  /** A person, `rule:…` or `playbook:…`; `null`: the service. */
  readonly by: string | null
  /** One sentence. */
  readonly text: string
  readonly details?: EntryDetails
}

/** An entry of the timeline. Entries are never changed. */
export interface Entry extends NewEntry {
  /** Grows in the order in which entries become visible, over all incidents. */
  readonly seq: number
  readonly details: EntryDetails
}

/** Whether an incident is open. */
export function isOpen({ phase }: Pick<Incident, 'phase'>): boolean {
  return phase !== 'closed'
}

/** The rank of a severity. */
export function rankOf(severity: IncidentSeverity): number {
  return severities.indexOf(severity)
}
