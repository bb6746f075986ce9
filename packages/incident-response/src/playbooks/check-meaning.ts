/** Checks what the schema cannot: names that must exist, conditions, circles of playbooks. */
import { compileCondition, ConditionError } from './condition.ts'
import { factNames } from './facts.ts'
import {
  kindOf,
  type ActionStep,
  type GroupStep,
  type HttpStep,
  type IfStep,
  type ParallelStep,
  type Playbook,
  type PlaybookStep,
  type Step,
  type SwitchStep,
  type WhileStep,
} from './playbook.ts'
import type { DocumentPath, PlaybookFaults } from './playbook-faults.ts'

/** What the service has. */
export interface KnownNames {
  readonly actions: ReadonlySet<string>
  readonly notifiers: ReadonlySet<string>
  readonly playbooks: ReadonlyMap<string, Playbook>
  /** @returns why a URL may not be called, or `undefined`. */
  readonly refuseUrl: (url: string) => string | undefined
}

/** More steps than any person would read. */
const MAX_STEPS = 500

/** Adds what a playbook names and the service does not have. */
export function checkMeaning(playbook: Playbook, known: KnownNames, faults: PlaybookFaults): void {
  const names = new Set([...factNames, ...Object.keys(playbook.variables ?? {})])
  for (const name of Object.keys(playbook.variables ?? {})) {
    if (factNames.includes(name)) {
      faults.add(
        ['variables', name],
        `"${name}" is a fact of every incident; choose another name`,
        true,
      )
    }
  }
  let steps = 0
  eachStep(playbook, (step, path) => {
    if (++steps === MAX_STEPS + 1) faults.add([], `has more than ${MAX_STEPS} steps`)
    checkStep(step, path, { known, names, faults })
  })
  for (const [when, list] of Object.entries(playbook.notifications ?? {})) {
    for (const [index, name] of (list as readonly string[]).entries()) {
      if (known.notifiers.has(name)) continue
      faults.add(['notifications', when, index], `the notifier "${name}" is not registered`)
    }
  }
  const circle = findCircle(playbook, known.playbooks)
  if (circle !== undefined) {
    const [, path] = playbookSteps(playbook).find(([name]) => name === circle[1]) ?? []
    faults.add(path ?? [], `playbooks run each other in a circle: ${circle.join(' → ')}`)
    return
  }
  const total = sizeOf(playbook, known.playbooks, new Map())
  if (total > MAX_TOTAL) {
    faults.add([], `has ${total} steps, with those of the playbooks in it; at most ${MAX_TOTAL}`)
  }
}

/** A few playbooks that run each other twice are millions of steps. */
const MAX_TOTAL = 2000

/** Counts the steps of a playbook and of those that it runs, each as often as it runs. */
function sizeOf(
  playbook: Playbook,
  playbooks: ReadonlyMap<string, Playbook>,
  known: Map<string, number>,
): number {
  const size = known.get(playbook.name)
  if (size !== undefined) return size
  // Of a circle, which is refused.
  known.set(playbook.name, 0)
  let total = 0
  eachStep(playbook, (step) => {
    const inner =
      kindOf(step) === 'playbook' ? playbooks.get((step as PlaybookStep).playbook) : null
    total += inner ? sizeOf(inner, playbooks, known) : 1
  })
  known.set(playbook.name, total)
  return total
}

/** A playbook and those that it runs, at any depth. */
export function withInner(
  playbook: Playbook,
  playbooks: ReadonlyMap<string, Playbook>,
): ReadonlySet<Playbook> {
  const found = new Set([playbook])
  for (const each of found) {
    for (const [name] of playbookSteps(each)) {
      const inner = playbooks.get(name)
      if (inner !== undefined) found.add(inner)
    }
  }
  return found
}

interface StepContext {
  readonly known: KnownNames
  readonly names: ReadonlySet<string>
  readonly faults: PlaybookFaults
}

function checkStep(step: Step, path: DocumentPath, { known, names, faults }: StepContext): void {
  const kind = kindOf(step)
  if (kind === 'name' || kind === 'action') {
    const action = kind === 'name' ? (step as string) : (step as ActionStep).action
    if (known.actions.has(action)) return
    faults.add(kind === 'name' ? path : [...path, kind], `the action "${action}" is not registered`)
  } else if (kind === 'http') {
    const problem = known.refuseUrl((step as HttpStep).http.split(' ')[1]!)
    if (problem !== undefined) faults.add([...path, kind], problem)
  } else if (kind === 'playbook') {
    const { playbook } = step as PlaybookStep
    if (known.playbooks.has(playbook)) return
    faults.add([...path, kind], `there is no playbook "${playbook}"`)
  } else if (kind === 'if' || kind === 'while') {
    const source = kind === 'if' ? (step as IfStep).if : (step as WhileStep).while
    checkCondition(source, [...path, kind], names, faults)
  } else if (kind === 'switch') {
    const { switch: name } = step as SwitchStep
    if (!names.has(name)) faults.add([...path, kind], unknownName(name, names))
  }
}

function checkCondition(
  source: string,
  path: DocumentPath,
  names: ReadonlySet<string>,
  faults: PlaybookFaults,
): void {
  try {
    const unknown = compileCondition(source).names.find((name) => !names.has(name))
    if (unknown !== undefined) faults.add(path, unknownName(unknown, names))
  } catch (error) {
    if (!(error instanceof ConditionError)) throw error
    faults.add(path, `the condition ${error.message}`)
  }
}

function unknownName(name: string, names: ReadonlySet<string>): string {
  return `"${name}" is neither a fact nor a variable; known are ${[...names].join(', ')}`
}

/** The steps in a step, with their paths. */
function childrenOf(step: Step, path: DocumentPath): (readonly [Step, DocumentPath])[] {
  const list = (steps: readonly Step[] | undefined, ...members: (string | number)[]) =>
    (steps ?? []).map((each, index) => [each, [...path, ...members, index]] as const)
  switch (kindOf(step)) {
    case 'parallel':
      return list((step as ParallelStep).parallel, 'parallel')
    case 'if': {
      const { then, else: other } = step as IfStep
      return [...list(then, 'then'), ...list(other, 'else')]
    }
    case 'while':
      return list((step as WhileStep).do, 'do')
    case 'switch': {
      const { cases, default: other } = step as SwitchStep
      const found = Object.entries(cases).flatMap(([name, each]) => list(each, 'cases', name))
      return [...found, ...list(other, 'default')]
    }
    case 'group': {
      const [[title, steps] = ['', []]] = Object.entries(step as GroupStep)
      return list(steps, title)
    }
    case 'name':
    case 'action':
    case 'manual':
    case 'http':
    case 'wait':
    case 'undo':
    case 'playbook':
    default:
      return []
  }
}

/** The playbooks that a playbook runs, and where. */
function playbookSteps(playbook: Playbook): [string, DocumentPath][] {
  const found: [string, DocumentPath][] = []
  eachStep(playbook, (step, path) => {
    if (kindOf(step) === 'playbook') {
      found.push([(step as PlaybookStep).playbook, [...path, 'playbook']])
    }
  })
  return found
}

/** Visits every step, also those in others. */
function eachStep(playbook: Playbook, see: (step: Step, path: DocumentPath) => void): void {
  const visit = (step: Step, path: DocumentPath): void => {
    see(step, path)
    for (const child of childrenOf(step, path)) visit(...child)
  }
  for (const [phase, plan] of Object.entries(playbook.phases)) {
    for (const [index, step] of (plan.actions ?? []).entries()) {
      visit(step, ['phases', phase, 'actions', index])
    }
  }
}

/** @returns the names on a way from the playbook back to itself. */
function findCircle(
  playbook: Playbook,
  playbooks: ReadonlyMap<string, Playbook>,
): string[] | undefined {
  const seen = new Set<string>()
  const walk = (name: string, way: readonly string[]): string[] | undefined => {
    if (name === playbook.name && way.length > 0) return [...way, name]
    if (seen.has(name)) return undefined
    seen.add(name)
    const next = name === playbook.name ? playbook : playbooks.get(name)
    if (next === undefined) return undefined
    for (const [child] of playbookSteps(next)) {
      const found = walk(child, [...way, name])
      if (found !== undefined) return found
    }
    return undefined
  }
  return walk(playbook.name, [])
}
