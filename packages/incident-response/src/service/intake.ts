/**
 * Takes findings: those of one incident that arrive while a write is under way are written together, so that a flood
 * of them is a handful of writes.
 */
import { uuidV7 } from '@parapet/kit'
import {
  PARAPET_INCIDENT_RESPONSE_CLOSED,
  PARAPET_INCIDENT_RESPONSE_OVERLOADED,
} from '../errors.ts'
import { dueResponses } from '../findings/response-rules.ts'
import { readFinding, type Finding, type KnownFinding } from '../incidents/finding.ts'
import { addFinding, entryOfFindings, openIncident } from '../incidents/fold-finding.ts'
import { rankOf, type Incident } from '../incidents/incident.ts'
import { derivedId } from '../ids.ts'
import type { Write } from '../store/incident-store.ts'
import type { NewTask } from '../tasks/task.ts'
import { change, nextVersion, type Decision } from './commit.ts'
import type { Service } from './context.ts'
import { firstOf, planMessages } from './messages.ts'

/** Takes findings. */
export interface Intake {
  /**
   * Adds a finding to its open incident, or opens one.
   *
   * @returns the incident, when it is stored.
   * @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT
   * @throws PARAPET_INCIDENT_RESPONSE_OVERLOADED
   */
  report(finding: Finding): Promise<Incident>
  /** Resolves when everything that was reported so far is stored, or has failed. */
  settle(): Promise<void>
}

interface Waiting {
  readonly finding: KnownFinding
  readonly done: (incident: Incident) => void
  readonly fail: (error: unknown) => void
}

/** A write must stay small. */
const MAX_BATCH = 10_000

/** Makes the intake. */
export function createIntake(service: Service): Intake {
  const queues = new Map<string, Waiting[]>()
  const working = new Map<string, Promise<void>>()
  let queued = 0

  const work = async (fingerprint: string): Promise<void> => {
    for (let queue = queues.get(fingerprint)!; queue.length > 0;) {
      const batch = queue.splice(0, MAX_BATCH)
      queued -= batch.length
      try {
        const incident = await take(
          service,
          fingerprint,
          batch.map(({ finding }) => finding),
        )
        for (const { done } of batch) done(incident)
      } catch (error) {
        for (const { fail } of batch) fail(error)
      }
    }
    queues.delete(fingerprint)
    working.delete(fingerprint)
  }

  return {
    async report(given) {
      const { settings, clock, closing } = service
      const finding = readFinding(given, clock.now())
      if (closing.aborted) throw new PARAPET_INCIDENT_RESPONSE_CLOSED()
      if (queued >= settings.maxQueuedFindings) {
        throw new PARAPET_INCIDENT_RESPONSE_OVERLOADED(settings.maxQueuedFindings)
      }
      queued++
      const { fingerprint } = finding
      return new Promise((done, fail) => {
        const queue = queues.get(fingerprint)
        if (queue !== undefined) {
          queue.push({ finding, done, fail })
          return
        }
        queues.set(fingerprint, [{ finding, done, fail }])
        working.set(fingerprint, work(fingerprint))
      })
    },
    async settle() {
      while (working.size > 0) await Promise.all(working.values())
    },
  }
}

async function take(
  service: Service,
  fingerprint: string,
  findings: readonly KnownFinding[],
): Promise<Incident> {
  const result = await change(service, async () => {
    const known = await service.store.findOpen(fingerprint)
    return decideFindings(service, known, findings)
  })
  return result!
}

/** What findings change. @param known the open incident of their fingerprint. */
export function decideFindings(
  service: Service,
  known: Incident | null,
  findings: readonly KnownFinding[],
): Decision<Incident> {
  const { clock, settings } = service
  const now = clock.now()
  const [first, ...others] = findings as [KnownFinding, ...KnownFinding[]]
  const tasks = new Map<string, NewTask>()
  const respondBy = now + settings.respondMs[first.severity]
  const opening = { id: known?.id ?? uuidV7(), now, respondBy }
  let incident = known === null ? openIncident(first, opening) : addFinding(known, first)
  addResponses(service, incident, first, tasks)
  for (const finding of others) {
    incident = addFinding(incident, finding)
    addResponses(service, incident, finding, tasks)
  }
  const allowed = Math.max(0, settings.maxResponses - incident.responded.length)
  const respond = [...tasks].slice(0, allowed)
  const responded = [...incident.responded, ...respond.map(([key]) => key)]
  const isWorse = known !== null && rankOf(incident.severity) > rankOf(known.severity)
  if (known === null || isWorse) {
    const due = now + settings.respondMs[incident.severity]
    incident = { ...incident, respondBy: known === null ? due : Math.min(known.respondBy, due) }
  }
  incident = { ...incident, responded }
  const entry = entryOfFindings(known, incident, findings.at(-1)!, now)
  const versioned =
    known === null ? { next: incident, expected: null } : nextVersion(known, incident)
  const write: Write = {
    incidents: [versioned],
    entries: entry === null ? [] : [entry],
    tasks: [...planOpening(service, known, incident, now), ...respond.map(([, task]) => task)],
  }
  return { write, result: versioned.next }
}

function addResponses(
  { settings, actions }: Service,
  incident: Incident,
  finding: KnownFinding,
  tasks: Map<string, NewTask>,
): void {
  for (const { rule, target, with: parameters } of dueResponses(
    settings.responses,
    incident,
    finding,
  )) {
    // The built-in table names actions that a service need not have.
    if (!actions.has(rule.do)) continue
    const key = derivedId(incident.id, rule.name, target)
    const mark = key.slice(-12)
    if (incident.responded.includes(mark)) continue
    const id = `response:${key}`
    const data = { rule: rule.name, action: rule.do, target, with: parameters }
    tasks.set(mark, {
      id,
      incidentId: incident.id,
      kind: 'response',
      dueAt: incident.openedAt,
      data,
    })
  }
}

/** Playbooks, messages and the deadline of an incident that is new or has become worse. */
export function planOpening(
  service: Service,
  known: Incident | null,
  incident: Incident,
  now: number,
): NewTask[] {
  const { id: incidentId, severity, title } = incident
  const before = known === null ? [] : service.library.triggeredBy(known)
  const starts = service.library
    .triggeredBy(incident)
    .filter((playbook) => !before.includes(playbook))
    .map(({ name }) => ({
      id: `start:${incidentId}:${name}`,
      incidentId,
      kind: 'start' as const,
      dueAt: now,
      data: { playbook: name },
    }))
  const isWorse = known !== null && rankOf(severity) > rankOf(known.severity)
  if (known !== null && !isWorse) return starts
  const to = firstOf(service, incident)
  const message =
    known === null
      ? ({ reason: 'opened', note: title, occasion: 'opened' } as const)
      : ({
          reason: 'severity',
          note: `It is ${severity} now`,
          occasion: `severity:${severity}`,
        } as const)
  return [
    ...starts,
    ...planMessages(service, incident, { ...message, to, at: now }),
    respondTask(incident),
  ]
}

/** The end of the time to respond. */
export function respondTask({ id: incidentId, respondBy: dueAt, escalations }: Incident): NewTask {
  const level = escalations + 1
  return {
    id: `respond:${incidentId}:${level}:${dueAt}`,
    incidentId,
    kind: 'respond',
    dueAt,
    data: { level },
  }
}
