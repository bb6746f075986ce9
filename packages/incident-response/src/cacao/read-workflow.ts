/* oxlint-disable unicorn/no-thenable -- "then" is a member of playbooks and of JSON Schema */
/** Follows the steps of a CACAO workflow, and makes lists of steps of them. */
import { renameNames } from '../playbooks/condition.ts'
import type { PlaybookPhase, Step } from '../playbooks/playbook.ts'
import { refuseDocument } from '../playbooks/playbook-faults.ts'
import { EXTENSION, type CacaoPlaybook, type CacaoStep } from './cacao.ts'
import { regroup, type GroupMark } from './placed-steps.ts'
import { readCommand } from './read-command.ts'

/** A step, its phase and its groups. */
export interface ReadStep {
  readonly step: Step
  readonly phase: PlaybookPhase | undefined
  readonly groups: readonly GroupMark[]
}

/** What reading needs besides the document. */
export interface WorkflowContext {
  readonly file: string
  readonly playbooks: Readonly<Record<string, string>>
}

interface Reading extends WorkflowContext {
  readonly document: CacaoPlaybook
  /** Steps that were read: those that several ways share are read again for each. */
  count: number
}

const MAX_READ = 1000

/** Reads the steps from the start on. @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK */
export function readWorkflow(document: CacaoPlaybook, context: WorkflowContext): ReadStep[] {
  return readChain(document.workflow_start, new Set(), { ...context, document, count: 0 })
}

/** @param way the steps that lead here: one of them again is a circle. */
function readChain(first: string, way: ReadonlySet<string>, reading: Reading): ReadStep[] {
  const { document, file } = reading
  const steps: ReadStep[] = []
  const seen = new Set(way)
  for (let id: string | undefined = first; id !== undefined;) {
    const step: CacaoStep | undefined = Object.hasOwn(document.workflow, id)
      ? document.workflow[id]
      : undefined
    if (step === undefined) refuseDocument(`${file} (workflow)`, `there is no step "${id}"`)
    const place = `${file} (workflow.${id})`
    if (seen.has(id)) refuseDocument(place, 'the steps form a circle; use a while-condition')
    if (++reading.count > MAX_READ) refuseDocument(file, `has more than ${MAX_READ} steps`)
    seen.add(id)
    if (step.type === 'end') break
    if (step.type !== 'start') steps.push(readStep(step, id, seen, reading))
    requireEnd(step, place, reading)
    id = step.on_completion ?? step.on_success
  }
  return steps
}

/** What a failure leads to can only be "go on" or "stop". */
function requireEnd(
  { on_failure: failure, on_success: success }: CacaoStep,
  place: string,
  { document }: Reading,
) {
  if (failure === undefined || failure === success) return
  if (document.workflow[failure]?.type === 'end') return
  refuseDocument(place, '"on_failure" must lead to an end or to the same step as "on_success"')
}

interface OwnStep extends Readonly<Record<string, unknown>> {
  readonly kind?: string
  readonly phase?: PlaybookPhase
  readonly groups?: readonly GroupMark[]
}

function readStep(
  step: CacaoStep,
  id: string,
  way: ReadonlySet<string>,
  reading: Reading,
): ReadStep {
  const own = (step.step_extensions?.[EXTENSION] ?? {}) as OwnStep
  const { phase, groups = [] } = own
  return { step: convert(step, id, own, way, reading), phase, groups }
}

function convert(
  step: CacaoStep,
  id: string,
  own: OwnStep,
  way: ReadonlySet<string>,
  reading: Reading,
): Step {
  const place = `${reading.file} (workflow.${id})`
  const branch = (first: string | undefined, member: string) => {
    if (typeof first !== 'string') refuseDocument(place, `needs "${member}"`)
    return regroup(readChain(first, way, reading))
  }
  switch (step.type) {
    case 'action':
      return readCommand(step, own, place, reading.document)
    case 'playbook-action': {
      const name = own['playbook'] ?? reading.playbooks[step.playbook_id ?? '']
      if (typeof name !== 'string') {
        refuseDocument(
          place,
          `the playbook "${step.playbook_id}" is not known: name it in "playbooks"`,
        )
      }
      return { playbook: name }
    }
    case 'parallel': {
      const { next_steps: next = [] } = step
      return { parallel: next.map((first) => oneOf(branch(first, 'next_steps'), place)) }
    }
    case 'if-condition':
      return {
        if: conditionOf(step, place),
        then: branch(step.on_true, 'on_true'),
        ...(step.on_false !== undefined && { else: branch(step.on_false, 'on_false') }),
      }
    case 'while-condition':
      return {
        while: conditionOf(step, place),
        do: loopOf(step, id, way, reading, place),
        ...roundsOf(own),
      }
    case 'switch-condition': {
      const { default: other, ...cases } = step.cases ?? {}
      const branches = Object.entries(cases).map(([value, first]) => [value, branch(first, value)])
      return {
        switch: plainName(step.switch ?? ''),
        cases: Object.fromEntries(branches) as Record<string, Step[]>,
        ...(other !== undefined && { default: branch(other, 'default') }),
      }
    }
    default:
      return refuseDocument(place, `the type "${step.type}" is not supported`)
  }
}

/** The last step of a loop may lead back to it. */
function loopOf(
  { on_true: first }: CacaoStep,
  id: string,
  way: ReadonlySet<string>,
  reading: Reading,
  place: string,
): Step[] {
  if (typeof first !== 'string') refuseDocument(place, 'needs "on_true"')
  const { document } = reading
  const ended = { ...document, workflow: { ...document.workflow, [id]: { type: 'end' } } }
  const inner = new Set(way)
  inner.delete(id)
  const own: Reading = { ...reading, document: ended }
  const steps = regroup(readChain(first, inner, own))
  reading.count = own.count
  return steps
}

function roundsOf({ max_rounds: rounds }: OwnStep): { readonly max_rounds?: number } {
  return rounds === undefined ? {} : { max_rounds: rounds as number }
}

/** Several steps of a branch are a group. */
function oneOf(steps: readonly Step[], place: string): Step {
  if (steps.length === 0) refuseDocument(place, 'a branch has no step')
  return steps.length === 1 ? steps[0]! : { branch: steps }
}

function conditionOf({ condition }: CacaoStep, place: string): string {
  if (typeof condition !== 'string') refuseDocument(place, 'needs "condition"')
  return renameNames(condition, plainName)
}

/** `__severity__:value` → `severity` */
function plainName(name: string): string {
  return name.replace(/^__(.+?)__(?::value)?$/, '$1')
}
