/** Writes playbooks as CACAO 2.0. */
import { renameNames } from '../playbooks/condition.ts'
import { factNames } from '../playbooks/facts.ts'
import { playbookPhases, type Playbook, type Scalar } from '../playbooks/playbook.ts'
import {
  EXTENSION,
  IDENTITY,
  cacaoId,
  type CacaoAgent,
  type CacaoPlaybook,
  type CacaoVariable,
} from './cacao.ts'
import { flatten, type PlacedStep } from './placed-steps.ts'
import { writeStep, type StepWriter } from './write-step.ts'

/** What {@link exportCacao} takes besides the playbook. */
export interface CacaoExportOptions {
  /** A STIX identity: `identity--…`. @default that of this package */
  readonly createdBy?: string
  /** Milliseconds since the Unix epoch. @default now */
  readonly created?: number
  /** @default as `created` */
  readonly modified?: number
}

const SEVERITY = { low: 25, medium: 50, high: 75, critical: 100 } as const

/** Writes a playbook; what CACAO has no place for is in an extension, so that an import gives the same playbook. */
export function exportCacao(playbook: Playbook, options: CacaoExportOptions = {}): CacaoPlaybook {
  const { createdBy = IDENTITY, created = Date.now(), modified = created } = options
  const writer = createWriter(playbook.name)
  const steps = playbookPhases.flatMap((phase) =>
    flatten(playbook.phases[phase]?.actions ?? [], phase),
  )
  const end = writer.end('end')
  const first = writer.list(steps, 'root', end)
  const start = cacaoId('start', playbook.name)
  writer.workflow[start] = { type: 'start', on_completion: first }
  const { name, title = name, description, severity } = playbook
  return {
    type: 'playbook',
    spec_version: 'cacao-2.0',
    id: cacaoId('playbook', name),
    name: title,
    ...(description !== undefined && { description }),
    created_by: createdBy,
    created: new Date(created).toISOString(),
    modified: new Date(modified).toISOString(),
    severity: SEVERITY[severity],
    labels: ['parapet', name],
    playbook_variables: variablesOf(playbook),
    workflow_start: start,
    workflow: writer.workflow,
    playbook_extensions: { [EXTENSION]: extensionOf(playbook) },
    ...(Object.keys(writer.agents).length > 0 && { agent_definitions: writer.agents }),
    extension_definitions: {
      [EXTENSION]: {
        type: 'extension-definition',
        name: 'Parapet incident response',
        description: 'Phases, triggers, notifications and settings of actions.',
        created_by: IDENTITY,
        schema: 'https://parapet.dev/schemas/playbook-1.json',
        version: '1.0.0',
      },
    },
  }
}

function createWriter(name: string): StepWriter {
  const workflow: StepWriter['workflow'] = {}
  const agents: Record<string, CacaoAgent> = {}
  const writer: StepWriter = {
    workflow,
    agents,
    id: (type, path) => cacaoId(type, name, path),
    end(path) {
      const id = cacaoId('end', name, path)
      workflow[id] = { type: 'end' }
      return id
    },
    list(steps, path, after) {
      // From the last to the first, because each names the one behind it.
      return steps.reduceRight(
        (next: string, placed: PlacedStep, index) =>
          writeStep(writer, placed, `${path}.${index}`, next),
        after,
      )
    },
    branch(steps, path) {
      return writer.list(flatten(steps, null), path, writer.end(path))
    },
    agent(agent) {
      const id = cacaoId(agent.type, name, agent.name)
      agents[id] = agent
      return id
    },
    condition: (source) => renameNames(source, (each) => `__${each}__:value`),
  }
  return writer
}

/** Facts come from outside, variables are of the playbook. */
function variablesOf({ variables = {} }: Playbook): Record<string, CacaoVariable> {
  const facts = factNames.map(
    (name) => [`__${name}__`, { type: 'string', external: true }] as const,
  )
  const own = Object.entries(variables).map(
    ([name, value]) => [`__${name}__`, { type: typeOf(value), value: String(value) }] as const,
  )
  return Object.fromEntries<CacaoVariable>([...facts, ...own])
}

function typeOf(value: Scalar): string {
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'string') return 'string'
  return Number.isInteger(value) ? 'integer' : 'float'
}

function extensionOf({
  name,
  title,
  severity,
  triggers,
  variables,
  phases,
  notifications,
}: Playbook) {
  const plans = Object.entries(phases).map(([phase, { duration, actions }]) => [
    phase,
    { ...(duration !== undefined && { duration }), actions: actions !== undefined },
  ])
  return {
    name,
    ...(title !== undefined && { title }),
    severity,
    ...(triggers !== undefined && { triggers }),
    ...(variables !== undefined && { variables: true }),
    phases: Object.fromEntries(plans) as Record<string, unknown>,
    ...(notifications !== undefined && { notifications }),
  }
}
