/** The parts of OASIS CACAO Security Playbooks 2.0 that are written and read. @see https://docs.oasis-open.org/cacao/security-playbooks/v2.0 */
import { createHash } from 'node:crypto'

/** A step of a workflow. */
export interface CacaoStep {
  readonly type: string
  readonly name?: string
  readonly description?: string
  /** Milliseconds. */
  readonly delay?: number
  /** Milliseconds. */
  readonly timeout?: number
  readonly on_completion?: string
  readonly on_success?: string
  readonly on_failure?: string
  readonly commands?: readonly CacaoCommand[]
  readonly agent?: string
  readonly condition?: string
  readonly on_true?: string
  readonly on_false?: string
  readonly switch?: string
  readonly cases?: Readonly<Record<string, string>>
  readonly next_steps?: readonly string[]
  readonly playbook_id?: string
  readonly step_extensions?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** A command of an action. */
export interface CacaoCommand {
  readonly type: string
  readonly command?: string
  readonly command_b64?: string
  readonly headers?: Readonly<Record<string, readonly string[]>>
  readonly content?: string
  readonly content_b64?: string
}

/** Who carries out a command. */
export interface CacaoAgent {
  readonly type: string
  readonly name: string
  readonly address?: Readonly<Record<string, readonly string[]>>
  readonly port?: string
}

/** A variable. */
export interface CacaoVariable {
  readonly type: string
  readonly value?: string | null
  readonly external?: boolean
}

/** A playbook. */
export interface CacaoPlaybook {
  readonly type: 'playbook'
  readonly spec_version: 'cacao-2.0'
  readonly id: string
  readonly name: string
  readonly description?: string
  readonly created_by: string
  readonly created: string
  readonly modified: string
  readonly severity?: number
  readonly labels?: readonly string[]
  readonly playbook_variables?: Readonly<Record<string, CacaoVariable>>
  readonly workflow_start: string
  readonly workflow: Readonly<Record<string, CacaoStep>>
  readonly playbook_extensions?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly agent_definitions?: Readonly<Record<string, CacaoAgent>>
  readonly extension_definitions?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** Our members: what CACAO has no place for. `docs/spec/cacao-extension.md` describes them. */
export const EXTENSION = 'extension-definition--c8a1f3d2-5b60-4e17-9f2a-3d7c0b9e6a41'
/** The identity of those who have not given one. */
export const IDENTITY = 'identity--6f1d2c84-0b37-4a5e-8c19-e2a47d5b9f03'

/** An id in the form of a UUID of version 4, which CACAO asks for, derived from what it names. */
export function cacaoId(type: string, ...names: readonly string[]): string {
  const bytes = createHash('sha256')
    .update([type, ...names].join('\0'))
    .digest()
    .subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return `${type}--${hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')}`
}

/** A name as a variable of CACAO. */
export function variableOf(name: string): string {
  return `__${name}__:value`
}
