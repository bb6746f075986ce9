/** The state machine of an incident: what a person or a playbook may change, and what is recorded of it. Pure. */
import {
  PARAPET_INCIDENT_RESPONSE_CONFLICT,
  PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT,
} from '../errors.ts'
import { addLinks, addSightings } from './fold-finding.ts'
import {
  isOpen,
  phases,
  rankOf,
  severities,
  type Incident,
  type IncidentSeverity,
  type Link,
  type NewEntry,
  type Phase,
  type Resolution,
} from './incident.ts'

/** Who changes an incident, when and why. */
export interface Change {
  readonly by: string
  readonly now: number
  readonly note?: string | undefined
}

/** An incident after a change, and the entries that say so. `null`: nothing was to change. */
export type Changed = { readonly next: Incident; readonly entries: readonly NewEntry[] } | null

const NEXT: Readonly<Record<Phase, readonly Phase[]>> = {
  detection: ['containment'],
  containment: ['eradication'],
  eradication: ['recovery', 'containment'],
  recovery: ['lessons_learned', 'containment'],
  lessons_learned: ['containment'],
  closed: [],
}

/** The phases to which an incident can go; `closed` is left by `reopen` only. */
export function transitionsOf({ phase }: Pick<Incident, 'phase'>): readonly Phase[] {
  return NEXT[phase]
}

/** Goes to another phase. @throws PARAPET_INCIDENT_RESPONSE_CONFLICT */
export function transition(incident: Incident, to: Phase, change: Change): Changed {
  if (incident.phase === to) return null
  requireOpen(incident)
  if (!NEXT[incident.phase].includes(to)) {
    const allowed = NEXT[incident.phase].join(' or ')
    const problem = `it is in "${incident.phase}", which is followed by ${allowed}, not by "${to}"`
    throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(problem)
  }
  return enter(incident, to, change)
}

/** Goes forward as far as a playbook has come; a person may have been faster. */
export function advance(incident: Incident, to: Phase, change: Change): Changed {
  const isForward = phases.indexOf(to) > phases.indexOf(incident.phase)
  return isForward && isOpen(incident) ? enter(incident, to, change) : null
}

function enter(incident: Incident, to: Phase, { by, now, note }: Change): Changed {
  const from = incident.phase
  const hasPassed = (phase: Phase) =>
    phases.indexOf(from) <= phases.indexOf(phase) && phases.indexOf(to) > phases.indexOf(phase)
  const next: Incident = {
    ...acknowledgedBy(incident, by, now),
    phase: to,
    containedAt: hasPassed('containment')
      ? now
      : to === 'containment'
        ? null
        : incident.containedAt,
    recoveredAt: hasPassed('recovery') ? now : to === 'containment' ? null : incident.recoveredAt,
  }
  const text = `${from} → ${to}${noteOf(note)}`
  const entry = entryOf(incident, 'transitioned', { by, now }, text, { from, to })
  return { next, entries: [entry] }
}

/** A person who acts has seen the incident; a playbook has not. */
function acknowledgedBy(incident: Incident, by: string, now: number): Incident {
  if (incident.acknowledgedAt !== null || by.includes(':')) return incident
  return { ...incident, acknowledgedAt: now, acknowledgedBy: by }
}

/** Says that a person takes care of it. */
export function acknowledge(incident: Incident, change: Change): Changed {
  requireOpen(incident)
  if (incident.acknowledgedAt !== null) return null
  const next = { ...incident, acknowledgedAt: change.now, acknowledgedBy: change.by }
  return { next, entries: [entryOf(incident, 'acknowledged', change, `Acknowledged`)] }
}

/** Gives it to a person, or to nobody. */
export function assign(incident: Incident, assignee: string | null, change: Change): Changed {
  requireOpen(incident)
  if (incident.assignee === assignee) return null
  const text = assignee === null ? 'Assigned to nobody' : `Assigned to ${assignee}`
  const next = { ...acknowledgedBy(incident, change.by, change.now), assignee }
  return { next, entries: [entryOf(incident, 'assigned', change, text, { assignee })] }
}

/** Changes the severity; the time to respond of a higher one counts from now. */
export function setSeverity(
  incident: Incident,
  severity: IncidentSeverity,
  change: Change & { readonly respondBy: number },
): Changed {
  requireOpen(incident)
  if (!severities.includes(severity))
    refuse('"severity"', `must be one of ${severities.join(', ')}`)
  if (incident.severity === severity) return null
  const isWorse = rankOf(severity) > rankOf(incident.severity)
  const respondBy = isWorse
    ? Math.min(incident.respondBy, change.respondBy)
    : Math.max(incident.respondBy, change.respondBy)
  const text = `Severity ${incident.severity} → ${severity}${noteOf(change.note)}`
  const details = { from: incident.severity, to: severity }
  const entry = entryOf(incident, 'severity_changed', change, text, details)
  return { next: { ...incident, severity, respondBy }, entries: [entry] }
}

/** Adds a link. */
export function link(incident: Incident, { kind, id }: Link, change: Change): Changed {
  const links = addLinks(incident.links, [{ kind, id }])
  if (links.length === incident.links.length) return null
  const entry = entryOf(incident, 'linked', change, `Linked ${kind} ${id}`, { kind, id })
  return { next: { ...incident, links }, entries: [entry] }
}

/**
 * Closes an incident: `resolved` after lessons learned, otherwise at any time.
 *
 * @throws PARAPET_INCIDENT_RESPONSE_CONFLICT
 */
export function close(incident: Incident, resolution: Resolution, change: Change): Changed {
  requireOpen(incident)
  if (!['resolved', 'false_positive', 'duplicate'].includes(resolution)) {
    refuse('"resolution"', 'must be one of resolved, false_positive, duplicate')
  }
  if (resolution === 'resolved' && incident.phase !== 'lessons_learned') {
    const problem = `it is in "${incident.phase}"; "resolved" needs "lessons_learned"`
    throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(problem)
  }
  const seen = acknowledgedBy(incident, change.by, change.now)
  const next: Incident = { ...seen, phase: 'closed', closedAt: change.now, resolution }
  const text = `Closed as ${resolution.replace('_', ' ')}${noteOf(change.note)}`
  const details = { from: incident.phase, resolution }
  return { next, entries: [entryOf(incident, 'closed', change, text, details)] }
}

/** Opens a closed incident again, in containment. @throws PARAPET_INCIDENT_RESPONSE_CONFLICT */
export function reopen(
  incident: Incident,
  change: Change & { readonly respondBy: number },
): Changed {
  if (isOpen(incident)) throw new PARAPET_INCIDENT_RESPONSE_CONFLICT('it is open')
  if (incident.mergedInto !== null) {
    throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(`it was merged into ${incident.mergedInto}`)
  }
  const next: Incident = {
    ...incident,
    phase: 'containment',
    closedAt: null,
    resolution: null,
    containedAt: null,
    recoveredAt: null,
    respondBy: change.respondBy,
  }
  const entry = entryOf(incident, 'reopened', change, `Reopened${noteOf(change.note)}`)
  return { next, entries: [entry] }
}

/** Merges one open incident into another. @throws PARAPET_INCIDENT_RESPONSE_CONFLICT */
export function merge(
  source: Incident,
  target: Incident,
  change: Change & { readonly respondBy: number },
): { readonly source: Incident; readonly target: Incident; readonly entries: readonly NewEntry[] } {
  requireOpen(source)
  requireOpen(target)
  if (source.id === target.id) throw new PARAPET_INCIDENT_RESPONSE_CONFLICT('it is the same one')
  const isWorse = rankOf(source.severity) > rankOf(target.severity)
  const merged: Incident = {
    ...target,
    severity: isWorse ? source.severity : target.severity,
    respondBy: isWorse ? Math.min(target.respondBy, change.respondBy) : target.respondBy,
    firstSeenAt: Math.min(source.firstSeenAt, target.firstSeenAt),
    lastFindingAt: Math.max(source.lastFindingAt, target.lastFindingAt),
    findings: target.findings + source.findings,
    records: target.records + source.records,
    principals: addSightings(target.principals, source.principals),
    addresses: addSightings(target.addresses, source.addresses),
    links: addLinks(target.links, source.links),
    fingerprints: [...new Set([...target.fingerprints, ...source.fingerprints])],
  }
  const closed: Incident = {
    ...source,
    phase: 'closed',
    closedAt: change.now,
    resolution: 'duplicate',
    mergedInto: target.id,
  }
  const entries = [
    entryOf(source, 'merged', change, `Merged into ${target.id}`, { into: target.id }),
    entryOf(target, 'merged', change, `Merged ${source.id} into this one`, { from: source.id }),
  ]
  return { source: closed, target: merged, entries }
}

/** Makes an entry. */
export function entryOf(
  { id }: Pick<Incident, 'id'>,
  kind: NewEntry['kind'],
  { by, now }: { readonly by: string | null; readonly now: number },
  text: string,
  details?: NewEntry['details'],
): NewEntry {
  return { incidentId: id, at: now, kind, by, text, ...(details && { details }) }
}

/** @throws PARAPET_INCIDENT_RESPONSE_CONFLICT */
export function requireOpen(incident: Incident): void {
  if (!isOpen(incident)) throw new PARAPET_INCIDENT_RESPONSE_CONFLICT('it is closed')
}

function noteOf(note: string | undefined): string {
  return note === undefined || note === '' ? '' : `: ${note}`
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT(what, problem)
}
