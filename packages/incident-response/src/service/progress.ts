/** What follows from a changed run: the next steps, the phase of the incident, tasks and entries. */
import { advance, entryOf } from '../incidents/transitions.ts'
import type { Incident, NewEntry } from '../incidents/incident.ts'
import { factsOf } from '../playbooks/facts.ts'
import type { PhaseNode } from '../playbooks/program.ts'
import { continueRun } from '../runs/continue-run.ts'
import {
  authorOf,
  countNeedsPerson,
  needsPerson,
  type Run,
  type StepRecord,
  type StoredRun,
} from '../runs/run.ts'
import type { Write } from '../store/incident-store.ts'
import type { NewTask } from '../tasks/task.ts'
import { nextVersion } from './commit.ts'
import type { Service } from './context.ts'
import { firstOf, planMessages } from './messages.ts'

/** A run that was changed, and what is written with it. */
export interface Changing {
  readonly incident: Incident
  readonly stored: StoredRun
  /** The run after the change, not continued yet. */
  readonly run: Run
  readonly records?: number
  readonly entries?: readonly NewEntry[]
  readonly tasks?: readonly NewTask[]
  readonly ended?: Write['ended']
  readonly postponed?: Write['postponed']
  /** The run is stored for the first time. */
  readonly isNew?: boolean
}

/** Makes the write, and returns the run as it will be stored. */
export function progress(
  service: Service,
  changing: Changing,
): { readonly write: Write; readonly run: Run } {
  const { incident: before, stored, entries = [], tasks = [] } = changing
  const now = service.clock.now()
  const failed = changing.run.steps.filter(
    ({ state }) => state === 'failed' || state === 'needs_person',
  )
  const facts = factsOf(before, now, failed.length)
  const { run, reached, entered } = continueRun(stored.program, changing.run, facts, now)
  const moved = enterPhases(before, run, entered, now)
  const isFirst = changing.isNew === true
  const waiting = countNeedsPerson(run) - (isFirst ? 0 : countNeedsPerson(stored.run))
  const after: Incident = {
    ...moved.incident,
    needsPerson: Math.max(0, before.needsPerson + waiting),
    records: moved.incident.records + (changing.records ?? 0),
  }
  const next: Run = { ...run, version: stored.run.version + 1 }
  const write: Write = {
    incidents: [nextVersion(before, after)],
    runs: [
      isFirst
        ? { next, expected: null, program: stored.program }
        : { next, expected: stored.run.version },
    ],
    entries: [...entries, ...moved.entries, ...entriesOf(before, run, changing.run, reached, now)],
    tasks: [
      ...tasks,
      ...reached.flatMap((step) => tasksOf(service, after, run, step)),
      ...phaseTasks(after, run, entered, now),
    ],
    ...(changing.ended && { ended: changing.ended }),
    ...(changing.postponed && { postponed: changing.postponed }),
  }
  return { write, run: next }
}

function enterPhases(incident: Incident, run: Run, entered: readonly PhaseNode[], now: number) {
  let current = incident
  const entries: NewEntry[] = []
  for (const { phase } of entered) {
    const changed = advance(current, phase, { by: authorOf(run), now })
    if (changed === null) continue
    current = changed.next
    entries.push(...changed.entries)
  }
  return { incident: current, entries }
}

/** Says what waits for a person, and that the run has ended. */
function entriesOf(
  incident: Incident,
  run: Run,
  before: Run,
  reached: readonly StepRecord[],
  now: number,
): NewEntry[] {
  const who = { by: authorOf(run), now }
  const waiting = reached
    .filter(needsPerson)
    .map(({ id, title }) =>
      entryOf(incident, 'needs_person', who, title, { run: run.id, step: id }),
    )
  if (run.state === before.state || run.state === 'running') return waiting
  const text =
    run.state === 'done' ? `${run.playbook} has ended` : `${run.playbook} has too many steps`
  return [...waiting, entryOf(incident, 'run_ended', who, text, { run: run.id, state: run.state })]
}

/** The task that carries out a step, and the one that says that it takes too long. */
function tasksOf(service: Service, incident: Incident, run: Run, step: StepRecord): NewTask[] {
  const { id: incidentId } = incident
  const data = { run: run.id, step: step.id }
  const at = step.dueAt ?? service.clock.now()
  if (step.kind !== 'manual') {
    return [{ id: `step:${run.id}:${step.id}`, incidentId, kind: 'step', dueAt: at, data }]
  }
  const message = {
    reason: 'needs_person',
    note: step.title,
    occasion: `step:${run.id}:${step.id}`,
    to: firstOf(service, incident),
    at: service.clock.now(),
  } as const
  const messages = planMessages(service, incident, message)
  if (step.dueAt === null) return messages
  const overdue = { id: `overdue:${run.id}:${step.id}`, incidentId, kind: 'overdue' as const }
  return [...messages, { ...overdue, dueAt: step.dueAt, data }]
}

function phaseTasks(
  { id: incidentId }: Incident,
  run: Run,
  entered: readonly PhaseNode[],
  now: number,
): NewTask[] {
  return entered.flatMap(({ id, phase, durationMs }) =>
    durationMs === null
      ? []
      : [
          {
            id: `overdue:${run.id}:${id}`,
            incidentId,
            kind: 'overdue' as const,
            dueAt: now + durationMs,
            data: { run: run.id, phase },
          },
        ],
  )
}
