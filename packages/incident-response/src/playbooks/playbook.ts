/** A playbook as it is written: the members of its YAML, checked by the published schema. */
import type { IncidentSeverity, Phase } from '../incidents/incident.ts'

/** A phase that has actions. */
export type PlaybookPhase = Exclude<Phase, 'closed'>
/** What conditions and parameters consist of. */
export type Scalar = string | number | boolean
/** `30s`, `15m`, `4h`, `7d`. */
export type DurationText = string

/** What happens when an action has failed for the last time. */
export type OnFailure = 'continue' | 'stop'

/** A registered action with settings; an action without is written as its name. */
export interface ActionStep {
  readonly action: string
  /** Parameters of the action. */
  readonly with?: Readonly<Record<string, unknown>>
  readonly title?: string
  readonly timeout?: DurationText
  readonly retries?: number
  /** `stop`: the run waits for a person. @default 'continue' */
  readonly on_failure?: OnFailure
}

/** Work of a person: the run waits until it is done. */
export interface ManualStep {
  readonly manual: string
  /** After this time the step is escalated. */
  readonly timeout?: DurationText
}

/** A request to another service; it runs only if the option `http` allows its host. */
export interface HttpStep {
  /** Method and URL: `POST https://edr.example.com/isolate`. */
  readonly http: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly title?: string
  readonly timeout?: DurationText
  readonly retries?: number
  readonly on_failure?: OnFailure
}

/** A pause. */
export interface WaitStep {
  readonly wait: DurationText
}

/** Undoes what this run has done, in one phase or in all, the last action first. */
export interface UndoStep {
  readonly undo: PlaybookPhase | 'all'
}

/** The phases of another playbook, in its order. */
export interface PlaybookStep {
  readonly playbook: string
}

/** Steps that run at the same time; a group is a branch of several steps. */
export interface ParallelStep {
  readonly parallel: readonly Step[]
}

/** Steps that depend on a condition. */
export interface IfStep {
  readonly if: string
  readonly then: readonly Step[]
  readonly else?: readonly Step[]
}

/** Steps that are repeated while a condition holds. */
export interface WhileStep {
  readonly while: string
  readonly do: readonly Step[]
  /** 1 to 100. @default 10 */
  readonly max_rounds?: number
}

/** Steps that depend on the value of a name. */
export interface SwitchStep {
  readonly switch: string
  readonly cases: Readonly<Record<string, readonly Step[]>>
  readonly default?: readonly Step[]
}

/** A group: its title, and the steps in it. */
export type GroupStep = Readonly<Record<string, readonly Step[]>>

/** A step. */
export type Step =
  | string
  | ActionStep
  | ManualStep
  | HttpStep
  | WaitStep
  | UndoStep
  | PlaybookStep
  | ParallelStep
  | IfStep
  | WhileStep
  | SwitchStep
  | GroupStep

/** When a playbook is run: the incident's type, and what else must hold. */
interface Trigger {
  readonly type: string
  readonly min_severity?: IncidentSeverity
  readonly min_findings?: number
}

/** The actions of a phase, and how long it may take. */
export interface PhasePlan {
  readonly duration?: DurationText
  readonly actions?: readonly Step[]
}

/** Names of notifiers, by when they must have been told. */
export interface Notifications {
  readonly immediate?: readonly string[]
  readonly within_1_hour?: readonly string[]
  readonly within_24_hours?: readonly string[]
}

/** A playbook. */
export interface Playbook {
  /** Lower case, digits, `_` and `-`; at most 64 characters. */
  readonly name: string
  readonly title?: string
  readonly description?: string
  readonly severity: IncidentSeverity
  /** Incident types, or types with conditions. @default none: it is run by a person or another playbook */
  readonly triggers?: readonly (string | Trigger)[]
  /** Values that conditions read and that actions may set. */
  readonly variables?: Readonly<Record<string, Scalar>>
  readonly phases: Readonly<Partial<Record<PlaybookPhase, PhasePlan>>>
  readonly notifications?: Notifications
}

/** The phases, in order. */
export const playbookPhases = [
  'detection',
  'containment',
  'eradication',
  'recovery',
  'lessons_learned',
] as const satisfies readonly PlaybookPhase[]

/** The kinds of steps that are objects, by the member that tells them. */
export const stepKinds = [
  'action',
  'manual',
  'http',
  'wait',
  'undo',
  'playbook',
  'parallel',
  'if',
  'while',
  'switch',
] as const
/** The kind of a step; `name` is an action without settings. */
export type StepKind = (typeof stepKinds)[number] | 'name' | 'group'

/** Tells the kind of a step. */
export function kindOf(step: unknown): StepKind {
  if (typeof step !== 'object' || step === null) return 'name'
  return stepKinds.find((kind) => Object.hasOwn(step, kind)) ?? 'group'
}

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** The milliseconds of a duration that the schema has accepted. */
export function millisecondsOf(duration: DurationText): number {
  return Number.parseInt(duration, 10) * UNITS[duration.at(-1) as keyof typeof UNITS]
}
