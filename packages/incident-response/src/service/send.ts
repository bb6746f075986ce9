/** Sends a message, and again later if that fails. */
import { withDeadline } from '@parapet/kit'
import { PARAPET_INCIDENT_RESPONSE_TIMEOUT } from '../errors.ts'
import { isOpen, type Incident } from '../incidents/incident.ts'
import { entryOf } from '../incidents/transitions.ts'
import { createMessage } from '../notify/message.ts'
import type { Message, MessageReason, Notifier } from '../notify/notifier.ts'
import { CLAIMED, type Write } from '../store/incident-store.ts'
import { type Task, textIn } from '../tasks/task.ts'
import { change, nextVersion } from './commit.ts'
import type { Service } from './context.ts'
import { pendingIncident } from './deadlines.ts'
import { describe } from './describe.ts'
import { dispatch } from './dispatch.ts'
import { describeFolded, foldMessage, releaseFolded } from './fold.ts'

/** Eight attempts in about four hours. */
const MAX_ATTEMPTS = 8
const FIRST_BACKOFF_MS = 5000
const BACKOFF_FACTOR = 4
const MAX_BACKOFF_MS = 3_600_000

/** Carries out a task that sends a message. */
export async function sendMessage(
  service: Service,
  task: Task,
  signal: AbortSignal,
): Promise<void> {
  // Another job sends it. If that job has ended without a result, the sweep finds the task.
  if (task.error === CLAIMED && task.dueAt > service.clock.now()) return
  const incident = await pendingIncident(service, task)
  if (incident === null) return
  const name = textIn(task.data, 'notifier')
  const notifier = service.notifiers.get(name)
  const subject = await subjectOf(service, incident, task)
  if (notifier === undefined || !isWanted(subject, task)) {
    await service.store.commit({ ended: [{ id: task.id, state: 'done' }] })
    return
  }
  const folded = await foldMessage(service, incident, task)
  if (folded === undefined) return
  const { lead, others } = folded
  const about =
    lead.incidentId === task.incidentId ? incident : await pendingIncident(service, lead)
  if (about === null) return
  const shown = await subjectOf(service, about, lead)
  const message = messageOf(service, shown, lead, describeFolded(others))
  try {
    await deliver(service, name, notifier, message, signal)
  } catch (error) {
    await releaseFolded(service, others, service.clock.now() + FIRST_BACKOFF_MS)
    return recordFailure(service, lead, name, describe(error))
  }
  for (const sent of [lead, ...others]) await recordSent(service, sent, name, message)
}

async function recordSent(
  service: Service,
  task: Task,
  notifier: string,
  { title, reason }: Message,
): Promise<void> {
  await record(service, task, (current, now) => ({
    ended: [{ id: task.id, state: 'done' }],
    entries: [
      entryOf(current, 'notified', { by: null, now }, `${notifier} was told: ${title}`, {
        notifier,
        reason,
      }),
    ],
  }))
}

const MAX_MERGES = 20

/** Messages that a playbook promised about an incident are about the one that it was merged into. */
async function subjectOf(
  { store }: Service,
  incident: Incident,
  { data }: Task,
): Promise<Incident> {
  let subject = incident
  for (let merges = 0; merges < MAX_MERGES && data['reason'] === 'playbook'; merges++) {
    const next = subject.mergedInto === null ? null : await store.find(subject.mergedInto)
    if (next === null) break
    subject = next
  }
  return subject
}

/** What was planned for later is not sent any more when it was no incident. */
function isWanted(incident: Incident, { data }: Task): boolean {
  return data['reason'] !== 'playbook' || isOpen(incident) || incident.resolution === 'resolved'
}

function messageOf(
  { settings, clock, report }: Service,
  incident: Incident,
  task: Task,
  folded: string,
): Message {
  const { reason } = task.data
  return createMessage(incident, {
    key: task.id,
    reason: reason as MessageReason,
    note: textIn(task.data, 'note'),
    more: folded,
    url: linkOf(settings.incidentUrl, incident, report.error),
    sentAt: clock.now(),
  })
}

/** A message without a link is better than none. */
function linkOf(
  incidentUrl: ((incident: Incident) => string) | undefined,
  incident: Incident,
  onError: (error: unknown) => void,
): string | null {
  try {
    return incidentUrl === undefined ? null : incidentUrl(incident)
  } catch (error) {
    onError(error)
    return null
  }
}

async function deliver(
  { settings, clock, closing }: Service,
  name: string,
  notifier: Notifier,
  message: Message,
  signal: AbortSignal,
): Promise<void> {
  const own = new AbortController()
  const late = () =>
    new PARAPET_INCIDENT_RESPONSE_TIMEOUT(`notifier "${name}"`, settings.deadlineMs)
  const all = AbortSignal.any([own.signal, signal, closing])
  try {
    const sending = Promise.resolve().then(() => notifier.send(message, all))
    await withDeadline(sending, settings.deadlineMs, late, clock)
  } catch (error) {
    own.abort(error)
    throw error
  }
}

async function recordFailure(
  service: Service,
  task: Task,
  notifier: string,
  reason: string,
): Promise<void> {
  const attempts = task.attempts + 1
  if (attempts < MAX_ATTEMPTS) {
    const delayMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * BACKOFF_FACTOR ** task.attempts)
    const dueAt = Math.round(service.clock.now() + delayMs)
    const stored = await service.store.commit({
      postponed: [{ id: task.id, dueAt, error: reason }],
    })
    if (stored !== null) await dispatch(service, { ...task, attempts, dueAt })
    return
  }
  const text = `${notifier} could not be told: ${reason}`
  await record(service, task, (current, now) => ({
    ended: [{ id: task.id, state: 'dead', error: reason }],
    entries: [
      entryOf(current, 'notification_failed', { by: null, now }, text, {
        notifier,
        attempts,
        reason,
      }),
    ],
  }))
}

/** Ends the task and adds to the timeline. */
async function record(
  service: Service,
  task: Task,
  write: (incident: Incident, now: number) => Write,
): Promise<void> {
  await change(service, async () => {
    const current = await pendingIncident(service, task)
    if (current === null) return null
    const made = write(current, service.clock.now())
    return { write: { ...made, incidents: [nextVersion(current, current)] }, result: null }
  })
}
