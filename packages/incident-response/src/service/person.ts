/** What a person does with an incident. */
import { PARAPET_INCIDENT_RESPONSE_CONFLICT } from '../errors.ts'
import {
  rankOf,
  type Entry,
  type Incident,
  type IncidentSeverity,
  type Link,
  type Phase,
  type Resolution,
} from '../incidents/incident.ts'
import { readLink } from '../incidents/link.ts'
import * as machine from '../incidents/transitions.ts'
import type { Run } from '../runs/run.ts'
import type { Write } from '../store/incident-store.ts'
import type { NewTask } from '../tasks/task.ts'
import { change, nextVersion, requireIncident, type Decision } from './commit.ts'
import type { Service } from './context.ts'
import { planOpening, respondTask } from './intake.ts'
import { firstOf, planMessages } from './messages.ts'
import { cancelled, cancelRun, endStep, requireRun, type By } from './person-runs.ts'
import { nameOf, personOf, refuse, textOf } from './texts.ts'
import { undoSteps } from './undo.ts'

export type { By } from './person-runs.ts'

/** What `app.incidents` offers for people. */
export interface PersonOperations {
  /** @throws PARAPET_INCIDENT_RESPONSE_NOT_FOUND, PARAPET_INCIDENT_RESPONSE_CONFLICT, as all of these */
  acknowledge(id: string, by: By): Promise<Incident>
  assign(id: string, assignee: string | null, by: By): Promise<Incident>
  setSeverity(id: string, severity: IncidentSeverity, by: By): Promise<Incident>
  comment(id: string, text: string, by: By): Promise<Entry>
  link(id: string, link: Link, by: By): Promise<Incident>
  transition(id: string, to: Exclude<Phase, 'closed'>, by: By): Promise<Incident>
  /** Closes it, and cancels its runs. */
  close(id: string, resolution: Resolution, by: By): Promise<Incident>
  reopen(id: string, by: By): Promise<Incident>
  /** Closes it as a part of another one, which is returned. */
  merge(id: string, into: string, by: By): Promise<Incident>
  /** Ends a step that waits for a person. `retry` calls the action again. */
  endStep(runId: string, stepId: string, result: 'done' | 'skipped' | 'retry', by: By): Promise<Run>
  /** Undoes the actions of a run, the last one first. */
  undo(runId: string, by: By): Promise<Run>
  /** Ends a run; what was done stays. */
  cancelRun(runId: string, by: By): Promise<Run>
}

/** Makes the operations. */
export function createPersonOperations(service: Service): PersonOperations {
  const { clock, settings } = service
  const edit = (
    id: string,
    { by, note }: By,
    decide: (incident: Incident, change: machine.Change) => machine.Changed,
    more?: (next: Incident, before: Incident) => Promise<Write> | Write,
  ) =>
    editIncident(service, id, async (incident) => {
      const changed = decide(incident, {
        by: personOf(by),
        now: clock.now(),
        note: textOf(note),
      })
      if (changed === null) return null
      const { tasks = [], runs = [] } = (await more?.(changed.next, incident)) ?? {}
      return { ...changed, tasks, runs }
    })
  const respondBy = (severity: IncidentSeverity) => clock.now() + settings.respondMs[severity]
  return {
    acknowledge: (id, by) => edit(id, by, machine.acknowledge),
    assign: (id, assignee, by) =>
      edit(id, by, (incident, made) =>
        machine.assign(incident, assignee === null ? null : nameOf('assignee', assignee), made),
      ),
    setSeverity: (id, severity, by) =>
      edit(
        id,
        by,
        (incident, made) =>
          machine.setSeverity(incident, severity, { ...made, respondBy: respondBy(severity) }),
        (next, before) => ({ tasks: tasksOfSeverity(service, before, next) }),
      ),
    link: (id, given, by) =>
      edit(id, by, (incident, made) => machine.link(incident, readLink(given), made)),
    transition: (id, to, by) =>
      edit(id, by, (incident, made) => machine.transition(incident, to, made)),
    close: (id, resolution, by) => closeIncident(service, edit, id, resolution, by),
    reopen: (id, by) =>
      edit(
        id,
        by,
        (incident, made) =>
          machine.reopen(incident, { ...made, respondBy: respondBy(incident.severity) }),
        async (next) => {
          await requireFree(service, next)
          return { tasks: messagesOfReopening(service, next) }
        },
      ),
    comment: (id, text, by) => addComment(service, id, text, by),
    merge: (id, into, by) => mergeInto(service, id, into, by),
    endStep: (...given) => endStep(service, ...given),
    async undo(runId, { by }) {
      await requireRun(service, runId)
      await undoSteps(service, runId, 'all', { by: personOf(by), signal: service.closing })
      return requireRun(service, runId)
    },
    cancelRun: (runId, by) => cancelRun(service, runId, by),
  }
}

type Edit = (
  id: string,
  by: By,
  decide: (incident: Incident, change: machine.Change) => machine.Changed,
  more?: (next: Incident, before: Incident) => Promise<Write> | Write,
) => Promise<Incident>

/** A higher severity is for others to answer, and perhaps for other playbooks. */
function tasksOfSeverity(service: Service, before: Incident, next: Incident): readonly NewTask[] {
  if (rankOf(next.severity) > rankOf(before.severity)) {
    return planOpening(service, before, next, service.clock.now())
  }
  return next.acknowledgedAt === null ? [respondTask(next)] : []
}

function messagesOfReopening(service: Service, next: Incident): readonly NewTask[] {
  const at = service.clock.now()
  const message = { reason: 'reopened', note: `Reopened: ${next.title}`, at } as const
  const to = firstOf(service, next)
  return planMessages(service, next, { ...message, occasion: `reopened:${next.version}`, to })
}

/** Some receivers close their alert by it. */
function messagesOfClosing(service: Service, closed: Incident): readonly NewTask[] {
  const note = `Closed as ${String(closed.resolution).replace('_', ' ')}`
  const message = { reason: 'closed', note, occasion: `closed:${closed.closedAt}` } as const
  const to = firstOf(service, closed)
  return planMessages(service, closed, { ...message, to, at: service.clock.now() })
}

/** Changes one incident. `null` from `decide`: it is as wanted already. */
async function editIncident(
  service: Service,
  id: string,
  decide: (
    incident: Incident,
  ) => Promise<(NonNullable<machine.Changed> & Pick<Write, 'tasks' | 'runs'>) | null>,
): Promise<Incident> {
  let current: Incident | undefined
  const changed = await change(service, async (): Promise<Decision<Incident> | null> => {
    current = await requireIncident(service, id)
    const made = await decide(current)
    if (made === null) return null
    const { next, entries, tasks = [], runs = [] } = made
    const versioned = nextVersion(current, next)
    return { write: { incidents: [versioned], entries, tasks, runs }, result: versioned.next }
  })
  return changed ?? current!
}

async function closeIncident(
  service: Service,
  edit: Edit,
  id: string,
  resolution: Resolution,
  by: By,
): Promise<Incident> {
  return edit(
    id,
    by,
    (incident, made) => {
      const closed = machine.close(incident, resolution, made)
      return closed && { ...closed, next: { ...closed.next, needsPerson: 0 } }
    },
    async (next) => ({
      tasks: messagesOfClosing(service, next),
      runs: await cancelled(service, id),
    }),
  )
}

/** A newer incident may have the fingerprints of a closed one. @throws PARAPET_INCIDENT_RESPONSE_CONFLICT */
async function requireFree({ store }: Service, incident: Incident): Promise<void> {
  for (const fingerprint of incident.fingerprints) {
    const other = await store.findOpen(fingerprint)
    if (other === null || other.id === incident.id) continue
    throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(`its findings go to ${other.id} since`)
  }
}

async function addComment(service: Service, id: string, text: string, by: By): Promise<Entry> {
  const note = textOf(text)
  if (note === undefined || note.trim() === '') refuse('"text"', 'must be a non-empty text')
  const who = { by: personOf(by.by), now: service.clock.now() }
  let entry: Entry | undefined
  const stored = (entries: readonly Entry[]): void => {
    entry = entries[0]
  }
  await change(service, async () => {
    const incident = await requireIncident(service, id)
    const write = {
      incidents: [nextVersion(incident, incident)],
      entries: [machine.entryOf(incident, 'commented', who, note)],
    }
    return { write, result: incident, stored }
  })
  return entry!
}

async function mergeInto(
  service: Service,
  id: string,
  into: string,
  { by }: By,
): Promise<Incident> {
  const merged = await change<Incident>(service, async () => {
    const [source, target] = [
      await requireIncident(service, id),
      await requireIncident(service, into),
    ]
    const now = service.clock.now()
    const respondBy = now + service.settings.respondMs[source.severity]
    const made = machine.merge(source, target, { by: personOf(by), now, respondBy })
    const incidents = [
      nextVersion(source, { ...made.source, needsPerson: 0 }),
      nextVersion(target, made.target),
    ]
    const runs = await cancelled(service, id)
    const tasks = [
      ...messagesOfClosing(service, made.source),
      ...planOpening(service, target, made.target, now),
    ]
    return { write: { incidents, runs, entries: made.entries, tasks }, result: incidents[1]!.next }
  })
  return merged!
}
