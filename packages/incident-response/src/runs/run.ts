/** A run: what a playbook, a response or a person does about an incident, step by step. */
import type { PlaybookPhase, Scalar } from '../playbooks/playbook.ts'
import type { Leaf, Program } from '../playbooks/program.ts'

/** Where a step stands. */
export type StepState =
  /** It is carried out as soon as an instance is free. */
  | 'ready'
  | 'running'
  /** A pause, or the work of a person. */
  | 'waiting'
  /** What the action has done is unknown, or it has failed and the run must not go on. */
  | 'needs_person'
  | 'done'
  | 'failed'
  | 'skipped'
  | 'undone'

/** A step that was reached. */
export interface StepRecord {
  /** The place in the playbook, and the round of each loop: `containment.2.do.1@3`. */
  readonly id: string
  readonly kind: Leaf['kind']
  readonly phase: PlaybookPhase
  readonly title: string
  readonly action: string | null
  readonly state: StepState
  /** Calls that were begun. */
  readonly attempts: number
  /** Belongs to the instance that carries it out. */
  readonly claim: string | null
  readonly startedAt: number | null
  readonly endedAt: number | null
  /** When it is to be carried out, or must have been done. */
  readonly dueAt: number | null
  /** The person who has ended it. */
  readonly by: string | null
  readonly summary: string | null
  readonly error: string | null
  readonly undoWith: unknown
  /** `started`: its undo was called, and its result is not known yet. */
  readonly undo: 'started' | 'done' | null
}

/** A run. */
export interface Run {
  readonly id: string
  readonly incidentId: string
  /** The name of the playbook, the rule or the action. */
  readonly playbook: string
  readonly kind: 'playbook' | 'response' | 'manual'
  readonly state: 'running' | 'done' | 'cancelled'
  readonly startedAt: number
  readonly endedAt: number | null
  readonly by: string | null
  /** In the order in which they were reached. */
  readonly steps: readonly StepRecord[]
  /** What conditions have decided, by the id of their node. */
  readonly decisions: Readonly<Record<string, string>>
  readonly phases: readonly string[]
  readonly variables: Readonly<Record<string, Scalar>>
  readonly version: number
}

/** A run and what it carries out. */
export interface StoredRun {
  readonly run: Run
  readonly program: Program
}

/** A loop or a playbook of more is stopped. */
export const MAX_STEPS_OF_RUN = 2000

/** Makes a run that has not begun. */
export function newRun(
  program: Program,
  given: Pick<Run, 'id' | 'incidentId' | 'kind' | 'by' | 'startedAt'>,
): Run {
  return {
    ...given,
    playbook: program.playbook,
    state: 'running',
    endedAt: null,
    steps: [],
    decisions: {},
    phases: [],
    variables: program.variables,
    version: 0,
  }
}

/** Whether a step needs a person. */
export function needsPerson({ kind, state }: Pick<StepRecord, 'kind' | 'state'>): boolean {
  return state === 'needs_person' || (state === 'waiting' && kind === 'manual')
}

/** How many steps of a run need a person; none of one that has ended. */
export function countNeedsPerson({ state, steps }: Run): number {
  return state === 'running' ? steps.filter(needsPerson).length : 0
}

/** The idempotency key of a step. */
export function keyOf(runId: string, stepId: string): string {
  return `${runId}:${stepId}`
}

/** Who does what a run does, for the timeline. */
export function authorOf({ kind, playbook, by }: Pick<Run, 'kind' | 'playbook' | 'by'>): string {
  if (kind === 'playbook') return `playbook:${playbook}`
  return kind === 'response' ? `rule:${playbook}` : (by ?? 'service')
}

/** Replaces a step. */
export function withStep(run: Run, step: StepRecord): Run {
  return { ...run, steps: run.steps.map((each) => (each.id === step.id ? step : each)) }
}

/** The node of a step: its id without the rounds. */
export function nodeIdOf(stepId: string): string {
  return stepId.split('@', 1)[0]!
}
