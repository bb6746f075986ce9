/** Decides what a run does next, from its program and what was recorded. Pure: a second call changes nothing. */
import { compileCondition } from '../playbooks/condition.ts'
import type { Scalar } from '../playbooks/playbook.ts'
import type {
  IfNode,
  Leaf,
  Node,
  PhaseNode,
  Program,
  SwitchNode,
  WhileNode,
} from '../playbooks/program.ts'
import { MAX_STEPS_OF_RUN, type Run, type StepRecord } from './run.ts'

/** What has become possible. */
export interface Continuation {
  readonly run: Run
  /** Steps that were reached now. */
  readonly reached: readonly StepRecord[]
  /** Phases that were reached now. */
  readonly entered: readonly PhaseNode[]
}

interface Walk {
  readonly facts: Record<string, Scalar>
  readonly variables: Readonly<Record<string, Scalar>>
  readonly steps: Map<string, StepRecord>
  readonly decisions: Record<string, string>
  readonly phases: Set<string>
  readonly reached: StepRecord[]
  readonly entered: PhaseNode[]
  readonly now: number
}

/** Continues a run as far as nothing has to be waited for. */
export function continueRun(
  program: Program,
  run: Run,
  facts: Readonly<Record<string, Scalar>>,
  now: number,
): Continuation {
  if (run.state !== 'running') return { run, reached: [], entered: [] }
  const walk: Walk = {
    facts: { ...facts },
    variables: run.variables,
    steps: new Map(run.steps.map((step) => [step.id, step])),
    decisions: { ...run.decisions },
    phases: new Set(run.phases),
    reached: [],
    entered: [],
    now,
  }
  const isDone = walkNode(program.root, '', walk)
  const steps = [...walk.steps.values()]
  const isTooLong = steps.length > MAX_STEPS_OF_RUN
  const state = isTooLong ? 'cancelled' : isDone ? 'done' : 'running'
  const next: Run = {
    ...run,
    state,
    endedAt: state === 'running' ? null : now,
    steps: isTooLong ? run.steps : steps,
    decisions: walk.decisions,
    phases: [...walk.phases],
  }
  return isTooLong
    ? { run: next, reached: [], entered: [] }
    : { run: next, reached: walk.reached, entered: walk.entered }
}

/** @returns whether what comes after the node may begin. */
function walkNode(node: Node, round: string, walk: Walk): boolean {
  switch (node.kind) {
    case 'sequence':
      return node.nodes.every((each) => walkNode(each, round, walk))
    case 'phase':
      enter(node, round, walk)
      return node.nodes.every((each) => walkNode(each, round, walk))
    case 'parallel':
      return node.nodes.map((each) => walkNode(each, round, walk)).every(Boolean)
    case 'if':
      return walkIf(node, round, walk)
    case 'while':
      return walkWhile(node, round, walk)
    case 'switch':
      return walkSwitch(node, round, walk)
    case 'action':
    case 'manual':
    case 'wait':
    case 'undo':
    default:
      return walkLeaf(node, round, walk)
  }
}

function enter(node: PhaseNode, round: string, walk: Walk): void {
  const key = node.id + round
  if (walk.phases.has(key)) return
  walk.phases.add(key)
  walk.entered.push(node)
  walk.facts['phase'] = node.phase
}

function walkIf({ id, condition, then, else: other }: IfNode, round: string, walk: Walk): boolean {
  const taken = decide(id + round, walk, () => String(holds(condition, walk)))
  if (taken === 'true') return walkNode(then, round, walk)
  return other === null || walkNode(other, round, walk)
}

function walkWhile(node: WhileNode, round: string, walk: Walk): boolean {
  for (let count = 1; count <= node.maxRounds; count++) {
    const own = `${round}@${count}`
    const goesOn = decide(node.id + own, walk, () => String(holds(node.condition, walk)))
    if (goesOn !== 'true') return true
    if (!walkNode(node.body, own, walk)) return false
    if (walk.steps.size > MAX_STEPS_OF_RUN) return false
  }
  return true
}

function walkSwitch(node: SwitchNode, round: string, walk: Walk): boolean {
  const chosen = decide(node.id + round, walk, () =>
    String({ ...walk.variables, ...walk.facts }[node.subject] ?? ''),
  )
  const branch = Object.hasOwn(node.cases, chosen) ? node.cases[chosen]! : node.default
  return branch === null || walkNode(branch, round, walk)
}

/** A decision is made once: facts change, and what was begun goes on. */
function decide(key: string, walk: Walk, make: () => string): string {
  walk.decisions[key] ??= make()
  return walk.decisions[key]
}

function holds(condition: string, { facts, variables }: Walk): boolean {
  return compileCondition(condition).holds({ ...variables, ...facts })
}

function walkLeaf(node: Leaf, round: string, walk: Walk): boolean {
  const id = node.id + round
  const known = walk.steps.get(id)
  if (known !== undefined) {
    return ['done', 'failed', 'skipped', 'undone'].includes(known.state)
  }
  const step = stepOf(node, id, walk.now)
  walk.steps.set(id, step)
  walk.reached.push(step)
  return false
}

function stepOf(node: Leaf, id: string, now: number): StepRecord {
  const { kind, phase, title } = node
  const isWaiting = kind === 'manual' || kind === 'wait'
  const delayMs = kind === 'wait' ? node.ms : kind === 'manual' ? node.timeoutMs : 0
  return {
    id,
    kind,
    phase,
    title,
    action: kind === 'action' ? node.action : null,
    state: isWaiting ? 'waiting' : 'ready',
    attempts: 0,
    claim: null,
    startedAt: null,
    endedAt: null,
    dueAt: delayMs === null ? null : now + delayMs,
    by: null,
    summary: null,
    error: null,
    undoWith: null,
    undo: null,
  }
}
