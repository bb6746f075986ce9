/** Tells the security events what the timeline says. */
import type { SecurityEvents } from '@parapet/kit'
import type { Entry, Incident } from '../incidents/incident.ts'

/** Emits the event of an entry, if it has one. */
export function reportEntry(events: SecurityEvents, entry: Entry, incident: Incident): void {
  const { kind, by, details } = entry
  const incidentId = incident.id
  const subject = { resourceType: 'incident', resourceId: incidentId }
  const who = by !== null && !by.includes(':') ? { ...subject, principalId: by } : subject
  const read = (name: string) => String(details[name] ?? '')
  switch (kind) {
    case 'opened': {
      const { type, severity, title } = incident
      const opened = { incidentId, type, incidentSeverity: severity, title }
      return events.emit('incident_response.opened', { ...who, severity, details: opened })
    }
    case 'transitioned':
    case 'reopened': {
      const moved = { incidentId, from: read('from') || 'closed', to: incident.phase, by: by ?? '' }
      return events.emit('incident_response.transitioned', {
        ...who,
        details: { ...moved, to: read('to') || incident.phase },
      })
    }
    case 'acknowledged':
      return events.emit('incident_response.acknowledged', {
        ...who,
        details: { incidentId, by: by ?? '' },
      })
    case 'escalated':
    case 'overdue':
      return reportLate(events, entry, incident, subject)
    case 'closed': {
      const { resolution } = incident
      const closed = { incidentId, resolution: resolution ?? '', by: by ?? '' }
      return events.emit('incident_response.closed', { ...who, details: closed })
    }
    case 'notification_failed':
      return reportMessage(events, entry, subject)
    case 'finding':
    case 'assigned':
    case 'commented':
    case 'linked':
    case 'severity_changed':
    case 'merged':
    case 'run_started':
    case 'run_ended':
    case 'action_started':
    case 'action_done':
    case 'action_failed':
    case 'action_undone':
    case 'needs_person':
    case 'step_ended':
    case 'notified':
      return reportAction(events, entry, subject, who)
  }
}

type Subject = { readonly resourceType: string; readonly resourceId: string }

function reportAction(events: SecurityEvents, entry: Entry, subject: Subject, who: Subject): void {
  const { kind, text, details, incidentId } = entry
  const read = (name: string) => String(details[name] ?? '')
  const step = { incidentId, runId: read('run'), step: read('step'), action: read('action') }
  const action = { action: step.action }
  if (kind === 'action_done' || kind === 'action_undone') {
    const isUndo = kind === 'action_undone'
    const executed = { ...step, key: read('key') + (isUndo ? ':undo' : ''), isUndo }
    events.emit('incident_response.action_executed', { ...who, ...action, details: executed })
  } else if (kind === 'action_failed') {
    const attempts = Number(details['attempts'])
    const failed = { ...step, attempts, reason: text, needsPerson: details['needsPerson'] === true }
    events.emit('incident_response.action_failed', { ...subject, ...action, details: failed })
  }
}

function reportMessage(
  events: SecurityEvents,
  { incidentId, details }: Entry,
  subject: Subject,
): void {
  const read = (name: string) => String(details[name] ?? '')
  const attempts = Number(details['attempts'])
  const failed = { incidentId, notifier: read('notifier'), attempts, reason: read('reason') }
  events.emit('incident_response.notification_failed', { ...subject, details: failed })
}

function reportLate(
  events: SecurityEvents,
  { text: reason }: Entry,
  { id: incidentId, severity, escalations: level }: Incident,
  subject: Subject,
): void {
  const details = { incidentId, level, reason }
  events.emit('incident_response.escalated', { ...subject, severity, details })
}
