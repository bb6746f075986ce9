/** What happens when a deadline has passed. */
import { isOpen, type Incident } from '../incidents/incident.ts'
import { entryOf } from '../incidents/transitions.ts'
import { needsPerson } from '../runs/run.ts'
import type { Write } from '../store/incident-store.ts'
import { type Task, textIn } from '../tasks/task.ts'
import { change, nextVersion, type Decision } from './commit.ts'
import type { Service } from './context.ts'
import { respondTask } from './intake.ts'
import { escalationOf, planMessages, type PlannedMessage } from './messages.ts'

/** After so many, no more messages are sent. */
const MAX_ESCALATIONS = 5

/** The time to respond is over: tells the next ones, unless a person has acknowledged. */
export async function escalate(service: Service, task: Task): Promise<void> {
  await change(service, async () => {
    const incident = await pendingIncident(service, task)
    if (incident === null) return null
    const level = Number(task.data['level'])
    const isAnswered = incident.acknowledgedAt !== null || !isOpen(incident)
    if (isAnswered || incident.escalations >= level) return { write: ending(task), result: null }
    // The severity was lowered since, or the clock of the database is ahead.
    if (level === 1 && service.clock.now() < incident.respondBy) {
      return { write: { ...ending(task), tasks: [respondTask(incident)] }, result: null }
    }
    return escalated(service, incident, task, level)
  })
}

function escalated(
  service: Service,
  incident: Incident,
  task: Task,
  level: number,
): Decision<null> {
  const now = service.clock.now()
  const text = `Not acknowledged in time, escalated to level ${level}`
  const respondMs = service.settings.respondMs[incident.severity]
  const next = { ...incident, escalations: level }
  const message: PlannedMessage = {
    reason: 'escalated',
    note: text,
    occasion: `escalated:${level}`,
    at: now,
    to: escalationOf(service, incident, level),
  }
  const again =
    level < MAX_ESCALATIONS ? [respondTask({ ...next, respondBy: now + respondMs })] : []
  const write: Write = {
    ...ending(task),
    incidents: [nextVersion(incident, next)],
    entries: [entryOf(incident, 'escalated', { by: null, now }, text, { level })],
    tasks: [...planMessages(service, next, message), ...again],
  }
  return { write, result: null }
}

/** A phase or the work of a person takes too long: tells those of the next level. */
export async function reportOverdue(service: Service, task: Task): Promise<void> {
  await change(service, async () => {
    const incident = await pendingIncident(service, task)
    if (incident === null) return null
    const what = await findOverdue(service, incident, task)
    if (what === null) return { write: ending(task), result: null }
    const now = service.clock.now()
    const message: PlannedMessage = {
      reason: 'overdue',
      note: what,
      occasion: task.id,
      at: now,
      to: escalationOf(service, incident, Math.max(1, incident.escalations)),
    }
    const write: Write = {
      ...ending(task),
      incidents: [nextVersion(incident, incident)],
      entries: [entryOf(incident, 'overdue', { by: null, now }, what)],
      tasks: planMessages(service, incident, message),
    }
    return { write, result: null }
  })
}

/** @returns what is overdue; `null`: it was done meanwhile. */
async function findOverdue(
  { store }: Service,
  incident: Incident,
  { data }: Task,
): Promise<string | null> {
  const stored = await store.findRun(textIn(data, 'run'))
  if (stored === null || !isOpen(incident) || stored.run.state === 'cancelled') return null
  if (data['step'] !== undefined) {
    const step = stored.run.steps.find(({ id }) => id === data['step'])
    const isWaiting = step !== undefined && stored.run.state === 'running' && needsPerson(step)
    return isWaiting ? `Overdue: ${step.title}` : null
  }
  return incident.phase === data['phase'] ? `Overdue: the phase ${textIn(data, 'phase')}` : null
}

/** @returns `null`: another instance has carried out the task. */
export async function pendingIncident({ store }: Service, task: Task): Promise<Incident | null> {
  const current = await store.findTask(task.id)
  return current?.state === 'pending' ? store.find(task.incidentId) : null
}

function ending({ id }: Task): Pick<Write, 'ended'> {
  return { ended: [{ id, state: 'done' }] }
}
