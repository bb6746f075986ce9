/** Reads the command of a CACAO action. Only work of people and HTTP requests are accepted; code is refused. */
import type { Step } from '../playbooks/playbook.ts'
import { refuseDocument } from '../playbooks/playbook-faults.ts'
import type { CacaoCommand, CacaoPlaybook, CacaoStep } from './cacao.ts'

/** Reads it. @param own what this package has written. */
export function readCommand(
  step: CacaoStep,
  own: Readonly<Record<string, unknown>>,
  place: string,
  document: CacaoPlaybook,
): Step {
  const { commands = [] } = step
  const [command, ...others] = commands
  if (command === undefined) refuseDocument(place, 'needs a command')
  for (const { type } of commands) {
    if (type === 'manual' || type === 'http-api') continue
    refuseDocument(place, `the command "${type}" is not supported; known are manual and http-api`)
  }
  const { kind, phase: _phase, groups: _groups, ...settings } = own
  // What another tool has changed in the command counts.
  if (command.type === 'manual' && (kind === 'name' || kind === 'action')) {
    const action = textOf(command, place)
    return kind === 'name' ? action : { ...settings, action }
  }
  if (kind === 'wait' || kind === 'undo') return settings as unknown as Step
  if (others.length > 0) {
    return { commands: commands.map((each) => oneCommand(each, step, {}, place, document)) }
  }
  return oneCommand(command, step, settings, place, document)
}

function oneCommand(
  command: CacaoCommand,
  step: CacaoStep,
  settings: Readonly<Record<string, unknown>>,
  place: string,
  document: CacaoPlaybook,
): Step {
  const timeout = settings['timeout'] ?? durationOf(step.timeout)
  const limits = timeout === undefined ? {} : { timeout }
  if (command.type === 'manual') {
    return { ...settings, ...limits, manual: textOf(command, place) } as Step
  }
  const { headers, content, content_b64: encoded } = command
  const body = content ?? (encoded === undefined ? undefined : decode(encoded))
  const single = Object.entries(headers ?? {}).map(([name, values]) => [name, values.join(', ')])
  const stops = step.on_failure !== undefined && step.on_failure !== step.on_success
  return {
    ...settings,
    ...limits,
    http: settings['http'] ?? requestOf(command, step, place, document),
    ...(headers !== undefined && { headers: Object.fromEntries(single) as Record<string, string> }),
    ...(body !== undefined && { body }),
    ...(stops && { on_failure: 'stop' }),
  } as Step
}

function textOf({ command, command_b64: encoded }: CacaoCommand, place: string): string {
  const text = command ?? (encoded === undefined ? undefined : decode(encoded))
  if (typeof text !== 'string' || text.trim() === '') refuseDocument(place, 'its command is empty')
  return text
}

function decode(text: string): string {
  return Buffer.from(text, 'base64').toString('utf8')
}

/** `GET /path HTTP/1.1` at the address of the agent. */
function requestOf(
  { command = '' }: CacaoCommand,
  { agent = '' }: CacaoStep,
  place: string,
  { agent_definitions: agents = {} }: CacaoPlaybook,
): string {
  const [, method, target] = /^([A-Z]+) (\S+)(?: HTTP\/\d(?:\.\d)?)?$/.exec(command.trim()) ?? []
  if (method === undefined || target === undefined) {
    refuseDocument(place, 'its command must be "<METHOD> <path> HTTP/1.1"')
  }
  const { address = {}, port } = agents[agent] ?? {}
  const [url] = address['url'] ?? []
  const [host] = address['dname'] ?? []
  if (url === undefined && host === undefined) {
    refuseDocument(place, `its agent "${agent}" has neither a URL nor a domain name`)
  }
  const suffix = port === undefined || port === '443' ? '' : `:${port}`
  const base = url ?? `${port === '80' ? 'http' : 'https'}://${host}${port === '80' ? '' : suffix}`
  if (!URL.canParse(target, base)) refuseDocument(place, 'its path and its agent make no URL')
  return `${method} ${new URL(target, base).href}`
}

/** Milliseconds as a whole number of the largest unit. */
function durationOf(ms: number | undefined): string | undefined {
  if (ms === undefined || ms < 1) return undefined
  const seconds = Math.ceil(ms / 1000)
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
  ] as const) {
    if (seconds % size === 0) return `${seconds / size}${unit}`
  }
  return `${seconds}s`
}
