/** What a person does with runs: ends steps, undoes, cancels. */
import {
  PARAPET_INCIDENT_RESPONSE_CONFLICT,
  PARAPET_INCIDENT_RESPONSE_NOT_FOUND,
} from '../errors.ts'
import { isOpen } from '../incidents/incident.ts'
import * as machine from '../incidents/transitions.ts'
import { countNeedsPerson, needsPerson, type Run, type StepRecord } from '../runs/run.ts'
import type { Versioned } from '../store/incident-store.ts'
import { changeStep, type StepChange } from './change-step.ts'
import { change, nextVersion, requireIncident } from './commit.ts'
import type { Service } from './context.ts'
import { personOf, refuse, textOf } from './texts.ts'

/** Who does it. */
export interface By {
  /** The id of the principal, at most 200 characters; a `:` is stored as `_`. */
  readonly by: string
  /** For the timeline, at most 2 000 characters. */
  readonly note?: string | undefined
}

/** Ends a step that waits for a person. */
export async function endStep(
  service: Service,
  runId: string,
  stepId: string,
  result: 'done' | 'skipped' | 'retry',
  { by, note }: By,
): Promise<Run> {
  const { store } = service
  if (!['done', 'skipped', 'retry'].includes(result)) {
    refuse('"result"', 'must be one of done, skipped, retry')
  }
  const who = personOf(by)
  const run = await requireRun(service, runId)
  const step = run.steps.find(({ id }) => id === stepId)
  if (step === undefined) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('step')
  const isRunning =
    run.state === 'running' && isOpen(await requireIncident(service, run.incidentId))
  if (!isRunning || !needsPerson(step)) {
    throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(
      `the step is "${step.state}", and its run "${run.state}"`,
    )
  }
  if (result === 'retry' && step.kind !== 'action') {
    throw new PARAPET_INCIDENT_RESPONSE_CONFLICT('only an action can be tried again')
  }
  const why = textOf(note)
  const text = `${step.title}: ${result}${why === undefined ? '' : `: ${why}`}`
  const ending = { result, who, text, note: why, run }
  const changed = await changeStep(
    service,
    { stored: { run }, step },
    [step.state],
    (current, now) => endingOf(current, ending, now),
  )
  if (changed !== null) return changed
  const current = (await store.findRun(runId))?.run
  throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(`the run is "${current?.state}", others were faster`)
}

interface Ending {
  readonly result: 'done' | 'skipped' | 'retry'
  readonly who: string
  readonly text: string
  readonly note: string | undefined
  readonly run: Run
}

function endingOf(
  step: StepRecord,
  { result, who, text, note, run }: Ending,
  now: number,
): StepChange {
  const entry = { kind: 'step_ended', text } as const
  if (result !== 'retry') {
    const summary = note?.slice(0, 500) ?? null
    return { step: { ...step, state: result, endedAt: now, by: who, summary }, entry, by: who }
  }
  const id = `step:${run.id}:${step.id}:${run.version}`
  const data = { run: run.id, step: step.id }
  return {
    step: { ...step, state: 'ready', claim: null, attempts: 0, by: who },
    entry,
    by: who,
    tasks: (incidentId) => [{ id, incidentId, kind: 'step', dueAt: now, data }],
  }
}

/** Ends a run. */
export async function cancelRun(service: Service, runId: string, by: By): Promise<Run> {
  const run = await change<Run>(service, async () => {
    const current = await requireRun(service, runId)
    if (current.state !== 'running') {
      throw new PARAPET_INCIDENT_RESPONSE_CONFLICT(`the run is "${current.state}"`)
    }
    const incident = await requireIncident(service, current.incidentId)
    const now = service.clock.now()
    const versioned = stopped(current, now)
    const needed = Math.max(0, incident.needsPerson - countNeedsPerson(current))
    const text = `${current.playbook} was cancelled`
    const entry = machine.entryOf(incident, 'run_ended', { by: personOf(by.by), now }, text, {
      run: runId,
      state: 'cancelled',
    })
    const incidents = [nextVersion(incident, { ...incident, needsPerson: needed })]
    return { write: { incidents, runs: [versioned], entries: [entry] }, result: versioned.next }
  })
  return run!
}

/** The running runs of an incident, cancelled. */
export async function cancelled(
  { store, clock }: Service,
  incidentId: string,
): Promise<Versioned<Run>[]> {
  const runs = await store.runsOf(incidentId)
  return runs.filter(({ state }) => state === 'running').map((run) => stopped(run, clock.now()))
}

function stopped(run: Run, now: number): Versioned<Run> {
  const next: Run = { ...run, state: 'cancelled', endedAt: now, version: run.version + 1 }
  return { next, expected: run.version }
}

/** @throws PARAPET_INCIDENT_RESPONSE_NOT_FOUND */
export async function requireRun({ store }: Service, id: string): Promise<Run> {
  const stored = await store.findRun(id)
  if (stored === null) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('run')
  return stored.run
}
