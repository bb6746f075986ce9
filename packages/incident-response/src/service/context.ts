/** What the parts of the service share. */
import type { Clock, Jobs } from '@parapet/kit'
import type { KnownAction } from '../actions/action.ts'
import type { EventFinding } from '../findings/event-findings.ts'
import type { ResponseRule } from '../findings/response-rules.ts'
import type { Entry, Incident, IncidentSeverity } from '../incidents/incident.ts'
import type { Notifier } from '../notify/notifier.ts'
import type { QuietHoursBySeverity } from '../notify/quiet-hours.ts'
import type { PlaybookLibrary } from '../playbooks/library.ts'
import type { IncidentStore } from '../store/incident-store.ts'

/** The settings that the service reads. */
interface ServiceSettings {
  readonly respondMs: Readonly<Record<IncidentSeverity, number>>
  readonly escalation: Readonly<Record<IncidentSeverity, readonly (readonly string[])[]>>
  readonly quietHours: QuietHoursBySeverity
  readonly responses: readonly ResponseRule[]
  readonly findings: readonly EventFinding[]
  readonly maxResponses: number
  readonly maxQueuedFindings: number
  readonly deadlineMs: number
  readonly messagesPerMinute: number
  readonly retentionMs: number
  readonly incidentUrl: ((incident: Incident) => string) | undefined
}

/** What happened besides what the timeline says. */
export interface ServiceReport {
  /** An entry was stored by this instance. */
  readonly entry: (entry: Entry, incident: Incident) => void
  readonly error: (error: unknown) => void
}

/** The shared parts. */
export interface Service {
  readonly store: IncidentStore
  readonly jobs: Jobs
  readonly clock: Clock
  readonly settings: ServiceSettings
  readonly library: PlaybookLibrary
  readonly actions: ReadonlyMap<string, KnownAction>
  readonly notifiers: ReadonlyMap<string, Notifier>
  readonly report: ServiceReport
  /** Aborted when the server closes. */
  readonly closing: AbortSignal
}
