/** Writes one step of a playbook as a step of a CACAO workflow. */
import {
  kindOf,
  millisecondsOf,
  type ActionStep,
  type HttpStep,
  type IfStep,
  type ManualStep,
  type ParallelStep,
  type PlaybookStep,
  type Step,
  type SwitchStep,
  type UndoStep,
  type WaitStep,
  type WhileStep,
} from '../playbooks/playbook.ts'
import {
  EXTENSION,
  cacaoId,
  variableOf,
  type CacaoAgent,
  type CacaoCommand,
  type CacaoStep,
} from './cacao.ts'
import type { PlacedStep } from './placed-steps.ts'

/** Where steps and agents are collected. */
export interface StepWriter {
  readonly workflow: Record<string, CacaoStep>
  readonly agents: Record<string, CacaoAgent>
  readonly id: (type: string, path: string) => string
  /** Writes an end. @returns its id */
  readonly end: (path: string) => string
  /** Writes steps one after the other. @param after the id behind the last one. @returns the first id */
  readonly list: (steps: readonly PlacedStep[], path: string, after: string) => string
  /** Writes steps that end for themselves. @returns the first id */
  readonly branch: (steps: readonly Step[], path: string) => string
  readonly agent: (agent: CacaoAgent) => string
  readonly condition: (source: string) => string
}

const SERVICE: CacaoAgent = { type: 'organization', name: 'The service' }
const PEOPLE: CacaoAgent = { type: 'group', name: 'Responders' }

/** @param next the id behind it. @returns its id */
export function writeStep(
  writer: StepWriter,
  placed: PlacedStep,
  path: string,
  next: string,
): string {
  const { step, phase, groups } = placed
  const { type, own, extension, ...rest } = convert(writer, step, path)
  const id = writer.id(type, path)
  const stops = extension['on_failure'] === 'stop'
  const marks = {
    ...extension,
    ...(phase !== null && { phase }),
    ...(groups.length > 0 && { groups: groups.map(([index, title]) => [index, title]) }),
  }
  writer.workflow[id] = {
    type,
    ...rest,
    ...(stops
      ? { on_success: next, on_failure: writer.end(`${path}.failure`) }
      : { on_completion: next }),
    ...own,
    step_extensions: { [EXTENSION]: marks },
  }
  return id
}

interface Converted {
  readonly type: string
  readonly name?: string
  readonly timeout?: number
  readonly delay?: number
  readonly own: Partial<CacaoStep>
  /** What the step cannot say in CACAO. */
  readonly extension: Readonly<Record<string, unknown>>
}

function convert(writer: StepWriter, step: Step, path: string): Converted {
  const kind = kindOf(step)
  switch (kind) {
    case 'name':
    case 'action':
      return actionOf(
        writer,
        kind === 'name' ? { action: step as string } : (step as ActionStep),
        kind,
      )
    case 'http':
      return httpOf(writer, step as HttpStep)
    case 'manual': {
      const { manual, ...settings } = step as ManualStep
      const own = commandOf(writer, PEOPLE, { type: 'manual', command: manual })
      return { type: 'action', ...timeoutOf(settings), own, extension: { kind, ...settings } }
    }
    case 'wait': {
      const { wait } = step as WaitStep
      const own = commandOf(writer, SERVICE, { type: 'manual', command: `Wait ${wait}` })
      return { type: 'action', delay: millisecondsOf(wait), own, extension: { kind, wait } }
    }
    case 'undo': {
      const { undo } = step as UndoStep
      const own = commandOf(writer, SERVICE, {
        type: 'manual',
        command: `Undo the actions of: ${undo}`,
      })
      return { type: 'action', own, extension: { kind, undo } }
    }
    case 'playbook': {
      const { playbook } = step as PlaybookStep
      const own = { playbook_id: cacaoId('playbook', playbook) }
      return { type: 'playbook-action', name: playbook, own, extension: { kind, playbook } }
    }
    case 'parallel':
    case 'if':
    case 'while':
    case 'switch':
    case 'group':
    default:
      return branchesOf(writer, step, path)
  }
}

function branchesOf(writer: StepWriter, step: Step, path: string): Converted {
  const kind = kindOf(step)
  if (kind === 'parallel') {
    const { parallel } = step as ParallelStep
    const next_steps = parallel.map((each, index) => writer.branch([each], `${path}.p${index}`))
    return { type: 'parallel', own: { next_steps }, extension: { kind } }
  }
  if (kind === 'if') {
    const { if: source, then, else: other } = step as IfStep
    const own = {
      condition: writer.condition(source),
      on_true: writer.branch(then, `${path}.t`),
      ...(other !== undefined && { on_false: writer.branch(other, `${path}.f`) }),
    }
    return { type: 'if-condition', own, extension: { kind } }
  }
  if (kind === 'while') {
    const { while: source, do: body, max_rounds } = step as WhileStep
    const own = { condition: writer.condition(source), on_true: writer.branch(body, `${path}.d`) }
    const rounds = max_rounds === undefined ? {} : { max_rounds }
    return { type: 'while-condition', own, extension: { kind, ...rounds } }
  }
  const { switch: name, cases, default: other } = step as SwitchStep
  const branches = Object.entries(cases).map(([value, steps], index) => [
    value,
    writer.branch(steps, `${path}.c${index}`),
  ])
  const own = {
    switch: variableOf(name),
    cases: {
      ...(Object.fromEntries(branches) as Record<string, string>),
      ...(other !== undefined && { default: writer.branch(other, `${path}.e`) }),
    },
  }
  return { type: 'switch-condition', own, extension: { kind } }
}

/** A tool without the extension reads its name as a manual command. */
function actionOf(writer: StepWriter, step: ActionStep, kind: 'name' | 'action'): Converted {
  const { action, title, ...settings } = step
  const own = commandOf(writer, SERVICE, { type: 'manual', command: action })
  const titled = title === undefined ? {} : { title }
  const extension = { kind, action, ...titled, ...settings }
  return { type: 'action', name: title ?? action, ...timeoutOf(settings), own, extension }
}

function httpOf(writer: StepWriter, step: HttpStep): Converted {
  const { http, headers, body, title, ...settings } = step
  const [method, text] = http.split(' ') as [string, string]
  const { hostname, port, protocol, pathname, search } = new URL(text)
  const usual = protocol === 'https:' ? '443' : '80'
  const agent = {
    type: 'http-api',
    name: `${protocol}//${hostname}`,
    address: { dname: [hostname] },
    port: port || usual,
  }
  const lists = Object.entries(headers ?? {}).map(([name, value]) => [name, [value]])
  const own = commandOf(writer, agent, {
    type: 'http-api',
    command: `${method} ${pathname}${search} HTTP/1.1`,
    ...(headers !== undefined && {
      headers: Object.fromEntries(lists) as Record<string, string[]>,
    }),
    ...(body !== undefined && { content: body }),
  })
  const titled = title === undefined ? {} : { title }
  const extension = { kind: 'http', http, ...titled, ...settings }
  return {
    type: 'action',
    name: title ?? `${method} ${hostname}`,
    ...timeoutOf(settings),
    own,
    extension,
  }
}

function commandOf(
  writer: StepWriter,
  agent: CacaoAgent,
  command: CacaoCommand,
): Partial<CacaoStep> {
  return { commands: [command], agent: writer.agent(agent) }
}

function timeoutOf({ timeout }: { readonly timeout?: string }): { readonly timeout?: number } {
  return timeout === undefined ? {} : { timeout: millisecondsOf(timeout) }
}
