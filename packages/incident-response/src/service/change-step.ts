/** Changes one step of a run, and lets the run continue from there. */
import { PARAPET_INCIDENT_RESPONSE_NOT_FOUND } from '../errors.ts'
import type { EntryKind, Incident, NewEntry } from '../incidents/incident.ts'
import type { Scalar } from '../playbooks/playbook.ts'
import {
  authorOf,
  keyOf,
  withStep,
  type Run,
  type StepRecord,
  type StepState,
} from '../runs/run.ts'
import type { NewTask, Task } from '../tasks/task.ts'
import { change, requireIncident } from './commit.ts'
import type { Service } from './context.ts'
import { dispatch } from './dispatch.ts'
import { firstOf, planMessages } from './messages.ts'
import { progress } from './progress.ts'

/** What changes. */
export interface StepChange {
  readonly step: StepRecord
  readonly entry?: {
    readonly kind: EntryKind
    readonly text: string
    readonly needsPerson?: boolean
  }
  /** The task is needed again. */
  readonly keepsTask?: boolean
  readonly postponeMs?: number
  readonly error?: string
  readonly records?: number
  readonly variables?: Readonly<Record<string, Scalar>>
  readonly tellsPerson?: boolean
  readonly by?: string
  readonly tasks?: (incidentId: string) => readonly NewTask[]
}

/** The step to change; without a task it is changed by a person. */
export interface StepPlace {
  readonly stored: { readonly run: Pick<Run, 'id'> }
  readonly step: Pick<StepRecord, 'id' | 'claim'>
  readonly task?: Task
}

/**
 * Changes a step, if it is in one of the states and belongs to the caller.
 *
 * @returns the run; `null`: the step, or its task, is not as expected any more.
 */
export async function changeStep(
  service: Service,
  {
    stored: {
      run: { id: runId },
    },
    step: { id: stepId, claim },
    task,
  }: StepPlace,
  states: readonly StepState[],
  decide: (step: StepRecord, now: number) => StepChange,
): Promise<Run | null> {
  const { store, clock } = service
  const changed = await change(service, async () => {
    if (task !== undefined && (await store.findTask(task.id))?.state !== 'pending') return null
    const stored = await store.findRun(runId)
    if (stored === null) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('run')
    const step = stored.run.steps.find(({ id }) => id === stepId)
    if (step === undefined || !states.includes(step.state)) return null
    // What a claimed step has become is decided by the instance that claimed it.
    if (task !== undefined && step.claim !== claim) return null
    const incident = await requireIncident(service, stored.run.incidentId)
    const now = clock.now()
    const made = decide(step, now)
    const variables = known(stored.run.variables, made.variables ?? {})
    const run = { ...withStep(stored.run, made.step), variables }
    const { records = 0, tasks } = made
    const { write, run: result } = progress(service, {
      incident,
      stored,
      run,
      records,
      entries: entryOfChange(run, made, now),
      tasks: [...(tasks?.(incident.id) ?? []), ...messagesOf(service, incident, run, made)],
      ...endOf(task, made, now),
    })
    return { write, result: { run: result, postponed: write.postponed?.[0] } }
  })
  if (changed === null) return null
  if (task !== undefined && changed.postponed !== undefined) {
    const later = { ...task, attempts: task.attempts + 1, dueAt: changed.postponed.dueAt }
    await dispatch(service, later).catch(service.report.error)
  }
  return changed.run
}

/** Says that a person must look. */
function messagesOf(
  service: Service,
  incident: Incident,
  run: Run,
  { tellsPerson, step, entry }: StepChange,
): NewTask[] {
  if (tellsPerson !== true || entry === undefined) return []
  const occasion = `person:${run.id}:${step.id}:${step.attempts}`
  const at = service.clock.now()
  const plan = { reason: 'needs_person', note: entry.text, occasion, at } as const
  return planMessages(service, incident, { ...plan, to: firstOf(service, incident) })
}

function entryOfChange(run: Run, { entry, step, by }: StepChange, now: number): NewEntry[] {
  if (entry === undefined) return []
  const who = by ?? authorOf(run)
  const details = {
    run: run.id,
    step: step.id,
    attempts: step.attempts,
    key: keyOf(run.id, step.id),
    action: step.action,
    ...(entry.needsPerson !== undefined && { needsPerson: entry.needsPerson }),
  }
  const { kind, text } = entry
  return [{ incidentId: run.incidentId, at: now, kind, by: who, text, details }]
}

function endOf(task: Task | undefined, { keepsTask, postponeMs, error }: StepChange, now: number) {
  if (task === undefined || keepsTask === true) return {}
  if (postponeMs === undefined) return { ended: [{ id: task.id, state: 'done' as const }] }
  const dueAt = Math.round(now + postponeMs)
  return { postponed: [{ id: task.id, dueAt, ...(error !== undefined && { error }) }] }
}

/** Only variables that the playbook declares, and only values. */
function known(
  before: Readonly<Record<string, Scalar>>,
  given: Readonly<Record<string, Scalar>>,
): Readonly<Record<string, Scalar>> {
  const usable = Object.entries(given).filter(
    ([name, value]) =>
      Object.hasOwn(before, name) && ['string', 'number', 'boolean'].includes(typeof value),
  )
  return { ...before, ...Object.fromEntries(usable) }
}
