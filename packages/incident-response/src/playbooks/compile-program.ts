/* oxlint-disable unicorn/no-thenable -- "then" is a member of playbooks and of JSON Schema */
/** Makes a program from a playbook that was checked. */
import {
  kindOf,
  millisecondsOf,
  playbookPhases,
  type ActionStep,
  type GroupStep,
  type HttpStep,
  type IfStep,
  type ManualStep,
  type ParallelStep,
  type Playbook,
  type PlaybookPhase,
  type PlaybookStep,
  type Step,
  type SwitchStep,
  type UndoStep,
  type WaitStep,
  type WhileStep,
} from './playbook.ts'
import type { ActionNode, Node, PhaseNode, Program, SequenceNode } from './program.ts'

/** What compiling needs to know of the service. */
export interface CompileContext {
  /** An action without a function becomes the work of a person. */
  readonly hasAction: (name: string) => boolean
  readonly findPlaybook: (name: string) => Playbook | undefined
}

/** The name of the action behind steps of kind `http`. */
export const HTTP_ACTION = 'http'
const DEFAULT_ROUNDS = 10

/** Compiles a playbook. Playbooks in it are compiled in their place; circles were refused at load. */
export function compileProgram(playbook: Playbook, context: CompileContext): Program {
  const variables: Record<string, string | number | boolean> = {}
  const nodes = phasesOf(playbook, '', { ...context, variables })
  return { playbook: playbook.name, root: { kind: 'sequence', id: 'root', nodes }, variables }
}

interface Compiling extends CompileContext {
  readonly variables: Record<string, string | number | boolean>
}

function phasesOf(playbook: Playbook, prefix: string, compiling: Compiling): PhaseNode[] {
  Object.assign(compiling.variables, playbook.variables)
  return playbookPhases.flatMap((phase) => {
    const plan = playbook.phases[phase]
    if (plan === undefined) return []
    const id = `${prefix}${phase}`
    const { duration, actions = [] } = plan
    const durationMs = duration === undefined ? null : millisecondsOf(duration)
    return [{ kind: 'phase', phase, id, durationMs, nodes: listOf(actions, id, phase, compiling) }]
  })
}

function listOf(
  steps: readonly Step[],
  prefix: string,
  phase: PlaybookPhase,
  compiling: Compiling,
): Node[] {
  return steps.map((step, index) => nodeOf(step, `${prefix}.${index + 1}`, phase, compiling))
}

function sequenceOf(
  steps: readonly Step[],
  id: string,
  phase: PlaybookPhase,
  compiling: Compiling,
): SequenceNode {
  return { kind: 'sequence', id, nodes: listOf(steps, id, phase, compiling) }
}

function nodeOf(step: Step, id: string, phase: PlaybookPhase, compiling: Compiling): Node {
  const of = (steps: readonly Step[], branch?: string) =>
    sequenceOf(steps, branch === undefined ? id : `${id}.${branch}`, phase, compiling)
  const kind = kindOf(step)
  switch (kind) {
    case 'name':
      return actionOf({ action: step as string }, id, phase, compiling)
    case 'action':
      return actionOf(step as ActionStep, id, phase, compiling)
    case 'http':
      return httpOf(step as HttpStep, id, phase)
    case 'manual': {
      const { manual: title, timeout } = step as ManualStep
      return { kind, id, phase, title, timeoutMs: msOf(timeout) }
    }
    case 'wait': {
      const { wait } = step as WaitStep
      return { kind, id, phase, title: `Wait ${wait}`, ms: millisecondsOf(wait) }
    }
    case 'undo': {
      const { undo: scope } = step as UndoStep
      return { kind, id, phase, title: `Undo ${scope}`, scope }
    }
    case 'playbook':
      return inlined(step as PlaybookStep, id, compiling)
    case 'parallel': {
      const { parallel } = step as ParallelStep
      return { kind, id, nodes: listOf(parallel, id, phase, compiling) }
    }
    case 'if':
    case 'while':
    case 'switch':
    case 'group':
    default:
      return branchOf(step, id, of)
  }
}

function branchOf(
  step: Step,
  id: string,
  of: (steps: readonly Step[], branch?: string) => SequenceNode,
): Node {
  const kind = kindOf(step)
  if (kind === 'if') {
    const { if: condition, then, else: other } = step as IfStep
    const otherwise = other === undefined ? null : of(other, 'else')
    return { kind, id, condition, then: of(then, 'then'), else: otherwise }
  }
  if (kind === 'while') {
    const { while: condition, do: body, max_rounds: maxRounds = DEFAULT_ROUNDS } = step as WhileStep
    return { kind, id, condition, body: of(body, 'do'), maxRounds }
  }
  if (kind === 'switch') {
    const { switch: subject, cases, default: other } = step as SwitchStep
    const nodes = Object.entries(cases).map(([name, steps]) => [name, of(steps, name)] as const)
    const otherwise = other === undefined ? null : of(other, 'default')
    return { kind, id, subject, cases: Object.fromEntries(nodes), default: otherwise }
  }
  const [steps = []] = Object.values(step as GroupStep)
  return of(steps)
}

/** Its phases are steps here: the incident moves with them. */
function inlined({ playbook: name }: PlaybookStep, id: string, compiling: Compiling): Node {
  const playbook = compiling.findPlaybook(name)
  const nodes = playbook === undefined ? [] : phasesOf(playbook, `${id}.`, compiling)
  return { kind: 'sequence', id, nodes }
}

function actionOf(step: ActionStep, id: string, phase: PlaybookPhase, compiling: Compiling): Node {
  const { action, title = titleOf(action), timeout } = step
  if (!compiling.hasAction(action)) {
    return { kind: 'manual', id, phase, title, timeoutMs: msOf(timeout) }
  }
  return { ...settingsOf(step), kind: 'action', id, phase, title, action, with: step.with ?? {} }
}

function httpOf(step: HttpStep, id: string, phase: PlaybookPhase): ActionNode {
  const { http, headers = {}, body, title = http } = step
  const [method, url] = http.split(' ') as [string, string]
  const parameters = { method, url, headers, ...(body !== undefined && { body }) }
  const call = { kind: 'action', id, phase, title, action: HTTP_ACTION, with: parameters } as const
  return { ...settingsOf(step), ...call }
}

function settingsOf({
  timeout,
  retries,
  on_failure: onFailure = 'continue',
}: ActionStep | HttpStep) {
  return { timeoutMs: msOf(timeout), retries: retries ?? null, onFailure }
}

function msOf(duration: string | undefined): number | null {
  return duration === undefined ? null : millisecondsOf(duration)
}

/** `terminate_sessions` → `Terminate sessions`; `BLOCK_IP` stays. */
function titleOf(action: string): string {
  if (action === action.toUpperCase()) return action
  const words = action.replaceAll(/[_-]+/g, ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
