/**
 * Carries out a step. What it is about to do is stored before it is done: an instance that finds a call that was begun
 * and not ended knows that its result is unknown.
 */
import { randomUUID } from 'node:crypto'
import { withDeadline } from '@parapet/kit'
import type { ActionCall, ActionResult, KnownAction } from '../actions/action.ts'
import { PARAPET_INCIDENT_RESPONSE_CLOSED, PARAPET_INCIDENT_RESPONSE_TIMEOUT } from '../errors.ts'
import type { Incident } from '../incidents/incident.ts'
import { leavesOf, type ActionNode, type Leaf } from '../playbooks/program.ts'
import { keyOf, nodeIdOf, type Run, type StepRecord, type StoredRun } from '../runs/run.ts'
import { type Task, textIn } from '../tasks/task.ts'
import { changeStep } from './change-step.ts'
import { requireIncident } from './commit.ts'
import type { Service } from './context.ts'
import { cleanText, describe, MAX_SUMMARY } from './describe.ts'
import { undoSteps } from './undo.ts'

/** A call that killed its process this often is not repeated. */
const MAX_INTERRUPTIONS = 5

/** What is known of a step when its task comes. */
interface StepAtHand {
  readonly stored: StoredRun
  readonly step: StepRecord
  readonly node: Leaf
  readonly task: Task
}

/** Carries out the step of a task. @param signal of the job. */
export async function carryOut(service: Service, task: Task, signal: AbortSignal): Promise<void> {
  const found = await findStep(service, task)
  if (found === undefined) {
    await service.store.commit({ ended: [{ id: task.id, state: 'done' }] })
    return
  }
  const { step, node } = found
  if (step.kind === 'wait') return finishWait(service, found)
  if (node.kind === 'undo') return carryOutUndo(service, found, signal)
  if (node.kind !== 'action') return
  await carryOutAction(service, found, node, signal)
}

async function findStep({ store }: Service, task: Task): Promise<StepAtHand | undefined> {
  const stored = await store.findRun(textIn(task.data, 'run'))
  const step = stored?.run.steps.find(({ id }) => id === task.data['step'])
  if (stored === null || step === undefined || stored.run.state !== 'running') return undefined
  if (step.state !== 'ready' && step.state !== 'running' && step.state !== 'waiting')
    return undefined
  const node = leavesOf(stored.program.root).find(({ id }) => id === nodeIdOf(step.id))
  return node && { stored, step, node, task }
}

async function finishWait(service: Service, at: StepAtHand): Promise<void> {
  await changeStep(service, at, ['waiting'], (step, now) => ({
    step: { ...step, state: 'done', endedAt: now },
    entry: { kind: 'step_ended', text: `${step.title}: over` },
  }))
}

async function carryOutUndo(service: Service, at: StepAtHand, signal: AbortSignal): Promise<void> {
  const { node, stored } = at
  const scope = node.kind === 'undo' ? node.scope : 'all'
  const undone = await undoSteps(service, stored.run.id, scope, { by: null, signal })
  await changeStep(service, at, ['ready', 'running'], (step, now) => ({
    step: { ...step, state: 'done', endedAt: now, summary: `${undone} actions were undone` },
    entry: { kind: 'step_ended', text: `${step.title}: ${undone} actions were undone` },
  }))
}

async function carryOutAction(
  service: Service,
  at: StepAtHand,
  node: ActionNode,
  signal: AbortSignal,
): Promise<void> {
  const { step, stored } = at
  const action = service.actions.get(node.action)
  if (action === undefined) {
    return endWithPerson(service, at, `the action "${node.action}" is not registered any more`)
  }
  if (step.state === 'running') {
    const isHopeless = at.task.dispatches + step.attempts > MAX_INTERRUPTIONS
    if (!action.isRepeatable || isHopeless) {
      return endWithPerson(service, at, 'the process ended during the call: its result is unknown')
    }
  }
  const claim = randomUUID()
  const claimed = await changeStep(service, at, ['ready', 'running'], (current, now) => ({
    step: {
      ...current,
      state: 'running',
      claim,
      attempts: current.attempts + 1,
      startedAt: current.startedAt ?? now,
    },
    entry: { kind: 'action_started', text: current.title },
    keepsTask: true,
  }))
  if (claimed === null) return
  const incident = await requireIncident(service, stored.run.incidentId)
  const outcome = await callAction(service, action, node, {
    incident,
    run: stored.run,
    step,
    signal,
  })
  const current = { ...at, step: { ...step, claim, attempts: step.attempts + 1 } }
  await recordOutcome(service, current, action, node, outcome)
}

type ActionOutcome =
  | { readonly result: ActionResult }
  | { readonly error: unknown; readonly isUnknown: boolean }

interface Calling {
  readonly incident: Incident
  readonly run: Run
  readonly step: StepRecord
  readonly signal: AbortSignal
}

/** Calls an action within its time. */
async function callAction(
  { clock, closing }: Service,
  action: KnownAction,
  node: ActionNode,
  { incident, run, step, signal }: Calling,
): Promise<ActionOutcome> {
  const limitMs = node.timeoutMs ?? action.timeoutMs
  const own = new AbortController()
  const late = () => new PARAPET_INCIDENT_RESPONSE_TIMEOUT(`action "${node.action}"`, limitMs)
  const call: ActionCall = {
    incident,
    key: keyOf(run.id, step.id),
    with: node.with,
    by: run.by,
    runId: run.id,
    signal: AbortSignal.any([own.signal, signal, closing]),
  }
  try {
    const running = Promise.resolve().then(() => action.run(call))
    const result = await withDeadline(running, limitMs, late, clock)
    return { result: result ?? {} }
  } catch (error) {
    const isLate = error instanceof PARAPET_INCIDENT_RESPONSE_TIMEOUT
    own.abort(error)
    // The job or the server has ended during the call: another attempt finds it interrupted.
    if (signal.aborted || closing.aborted) throw new PARAPET_INCIDENT_RESPONSE_CLOSED()
    return { error, isUnknown: isLate }
  }
}

async function recordOutcome(
  service: Service,
  at: StepAtHand,
  action: KnownAction,
  node: ActionNode,
  outcome: ActionOutcome,
): Promise<void> {
  if ('result' in outcome) return recordSuccess(service, at, outcome.result)
  const reason = describe(outcome.error)
  const retries = node.retries ?? action.retries
  if (outcome.isUnknown && !action.isRepeatable) {
    return endWithPerson(service, at, `${reason}: its result is unknown`)
  }
  if (at.step.attempts <= retries) return postpone(service, at, reason)
  if (node.onFailure === 'stop') return endWithPerson(service, at, reason)
  await changeStep(service, at, ['running'], (step, now) => ({
    step: { ...step, state: 'failed', endedAt: now, error: reason },
    entry: { kind: 'action_failed', text: `${step.title}: ${reason}`, needsPerson: false },
  }))
}

const MAX_UNDO_CHARACTERS = 4096

async function recordSuccess(
  service: Service,
  at: StepAtHand,
  result: ActionResult,
): Promise<void> {
  const { summary, records = 0, variables = {}, undoWith = null } = result
  const text = cleanText(typeof summary === 'string' ? summary : '', MAX_SUMMARY)
  const kept = JSON.stringify(undoWith) ?? 'null'
  const isKept = kept.length <= MAX_UNDO_CHARACTERS
  if (!isKept) service.report.error(new Error(`"undoWith" of "${at.step.title}" is too large`))
  await changeStep(service, at, ['running'], (step, now) => ({
    step: {
      ...step,
      state: 'done',
      endedAt: now,
      summary: text === '' ? null : text,
      error: null,
      undoWith: isKept ? (JSON.parse(kept) as unknown) : null,
    },
    entry: { kind: 'action_done', text: text === '' ? step.title : `${step.title}: ${text}` },
    records: Number.isSafeInteger(records) && records > 0 ? records : 0,
    variables,
  }))
}

const FIRST_BACKOFF_MS = 2000
const MAX_BACKOFF_MS = 300_000

/** Tries again later. */
async function postpone(service: Service, at: StepAtHand, reason: string): Promise<void> {
  const delayMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (at.step.attempts - 1))
  await changeStep(service, at, ['running'], (step, now) => ({
    step: { ...step, state: 'ready', claim: null, error: reason, dueAt: now + delayMs },
    postponeMs: delayMs,
    error: reason,
  }))
}

/** Stops at the step until a person has looked. */
async function endWithPerson(service: Service, at: StepAtHand, reason: string): Promise<void> {
  await changeStep(service, at, ['ready', 'running'], (step) => ({
    step: { ...step, state: 'needs_person', error: reason },
    entry: { kind: 'action_failed', text: `${step.title}: ${reason}`, needsPerson: true },
    tellsPerson: true,
  }))
}
