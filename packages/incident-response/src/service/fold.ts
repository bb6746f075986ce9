/**
 * Folds messages: an attack on a thousand accounts is a thousand incidents, and must not be a thousand messages. What
 * is too much waits until the next minute; the next message takes along all that wait.
 */
import type { Incident } from '../incidents/incident.ts'
import { HELD_BACK, type Fold } from '../store/incident-store.ts'
import { type Task, textIn } from '../tasks/task.ts'
import type { Service } from './context.ts'
import { dispatch } from './dispatch.ts'

const WINDOW_MS = 60_000
/** What sending needs besides the delivery. The job of the message must not begin again before. */
const CLAIM_MARGIN_MS = 20_000
/** In one message: each is recorded in the timeline of its incident, one after the other. */
const MAX_FOLDED = 200
const MAX_LISTED = 20

/** Messages to send as one. */
export interface FoldedMessages {
  readonly lead: Task
  readonly others: readonly Task[]
}

function foldOf({ type, severity }: Incident, task: Task): Fold {
  return { notifier: textIn(task.data, 'notifier'), type, severity }
}

/**
 * Decides whether a message is sent now.
 *
 * @returns the messages to send as one; `undefined`: it waits, or another job sends it.
 */
export async function foldMessage(
  service: Service,
  incident: Incident,
  task: Task,
): Promise<FoldedMessages | undefined> {
  const { store, clock, settings } = service
  const claim = () => store.claim(task, clock.now() + settings.deadlineMs + CLAIM_MARGIN_MS)
  // A person has closed the incident, and some receivers close their alert by this message.
  if (task.data['reason'] === 'closed') {
    return (await claim()) ? { lead: task, others: [] } : undefined
  }
  const fold = foldOf(incident, task)
  const now = clock.now()
  const window = Math.floor(now / WINDOW_MS)
  const isHeldBack = task.error === HELD_BACK
  if (!(await store.takeSlot(fold, window, settings.messagesPerMinute))) {
    await holdBack(service, task, (window + 1) * WINDOW_MS)
    return undefined
  }
  // Two jobs may look at one task: the sweep gives it to the jobs again if the first one is stored late.
  if (!isHeldBack && !(await claim())) return undefined
  // Longer than the delivery takes: if this process ends, the sweep finds them.
  const until = now + settings.deadlineMs + WINDOW_MS
  const waiting = await store.takeHeldBack(fold, now, until, MAX_FOLDED)
  if (!isHeldBack) return { lead: task, others: waiting }
  const own = waiting.find(({ id }) => id === task.id)
  const [lead] = own === undefined ? waiting : [own]
  // More wait than one message takes along, or another message has taken this one.
  if (own === undefined) await holdBackAgain(service, task.id, (window + 1) * WINDOW_MS)
  return lead && { lead, others: waiting.filter(({ id }) => id !== lead.id) }
}

/** Lets messages wait that could not be sent. */
export async function releaseFolded(
  service: Service,
  tasks: readonly Task[],
  dueAt: number,
): Promise<void> {
  for (const task of tasks) await holdBack(service, task, dueAt)
}

async function holdBackAgain(service: Service, id: string, dueAt: number): Promise<void> {
  const current = await service.store.findTask(id)
  if (current?.error === HELD_BACK) await holdBack(service, current, dueAt)
}

async function holdBack(service: Service, task: Task, dueAt: number): Promise<void> {
  const { id } = task
  const write = { postponed: [{ id, dueAt, error: HELD_BACK, isHeldBack: true }] }
  if ((await service.store.commit(write)) === null) return
  await dispatch(service, { ...task, dueAt, dispatches: task.dispatches + 1 })
}

/** What a message says about those that it takes along. */
export function describeFolded(others: readonly Task[]): string {
  if (others.length === 0) return ''
  const ids = [...new Set(others.map(({ incidentId }) => incidentId))]
  const more = ids.length - MAX_LISTED
  const listed = ids.slice(0, MAX_LISTED).join(', ')
  const messages = others.length === 1 ? 'message' : 'messages'
  const rest = more > 0 ? ` and ${more} more` : ''
  return `With it come ${others.length} other ${messages} of this kind, about the incidents ${listed}${rest}.`
}
