/** Undoes actions of a run, the last one first. */
import { withDeadline } from '@parapet/kit'
import type { ActionCall, KnownAction } from '../actions/action.ts'
import { PARAPET_INCIDENT_RESPONSE_TIMEOUT } from '../errors.ts'
import { leavesOf, type ActionNode } from '../playbooks/program.ts'
import { keyOf, nodeIdOf, type StepRecord, type StoredRun } from '../runs/run.ts'
import { changeStep } from './change-step.ts'
import { requireIncident } from './commit.ts'
import type { Service } from './context.ts'
import { describe } from './describe.ts'

/** Who undoes, and until when. */
export interface UndoRequest {
  /** `null`: the playbook. */
  readonly by: string | null
  readonly signal: AbortSignal
}

/** Undoes what can be undone. @returns how many actions were undone; those that fail are recorded and left. */
export async function undoSteps(
  service: Service,
  runId: string,
  scope: string,
  request: UndoRequest,
): Promise<number> {
  const stored = await service.store.findRun(runId)
  if (stored === null) return 0
  let undone = 0
  for (const step of stored.run.steps.toReversed()) {
    const isMeant = scope === 'all' || step.phase === scope
    if (!isMeant || step.state !== 'done' || step.action === null) continue
    const action = service.actions.get(step.action)
    if (action?.undo === undefined) continue
    if (await undoStep(service, stored, step, action, request)) undone++
  }
  return undone
}

async function undoStep(
  service: Service,
  stored: StoredRun,
  step: StepRecord,
  action: KnownAction,
  { by, signal }: UndoRequest,
): Promise<boolean> {
  const at = { stored, step }
  const author = by === null ? {} : { by }
  // An undo that was begun is called again: it must do nothing the second time.
  const begun = await changeStep(service, at, ['done'], (current) => ({
    step: { ...current, undo: 'started' },
    ...author,
  }))
  if (begun === null) return false
  try {
    await callUndo(service, stored, step, action, signal)
  } catch (error) {
    const text = `${step.title} could not be undone: ${describe(error)}`
    await changeStep(service, at, ['done'], (current) => ({
      step: { ...current, error: text },
      entry: { kind: 'action_failed', text, needsPerson: true },
      tellsPerson: true,
      ...author,
    }))
    return false
  }
  const ended = await changeStep(service, at, ['done'], (current) => ({
    step: { ...current, state: 'undone', undo: 'done' },
    entry: { kind: 'action_undone', text: `${step.title} was undone` },
    ...author,
  }))
  return ended !== null
}

async function callUndo(
  service: Service,
  { run, program }: StoredRun,
  step: StepRecord,
  action: KnownAction,
  signal: AbortSignal,
): Promise<void> {
  const incident = await requireIncident(service, run.incidentId)
  const node = leavesOf(program.root).find(({ id }) => id === nodeIdOf(step.id)) as ActionNode
  const own = new AbortController()
  const call: ActionCall = {
    incident,
    key: `${keyOf(run.id, step.id)}:undo`,
    with: node.with,
    by: run.by,
    runId: run.id,
    signal: AbortSignal.any([own.signal, signal, service.closing]),
  }
  const late = () =>
    new PARAPET_INCIDENT_RESPONSE_TIMEOUT(`undo of "${step.action}"`, action.timeoutMs)
  try {
    const undoing = Promise.resolve().then(() => action.undo!(call, step.undoWith))
    await withDeadline(undoing, action.timeoutMs, late, service.clock)
  } catch (error) {
    own.abort(error)
    throw error
  }
}
