/** Reads playbooks of CACAO 2.0, also those of other tools. What cannot be carried out is refused, never left out. */
import { checkSchema } from '../playbooks/check-schema.ts'
import {
  playbookPhases,
  type PhasePlan,
  type Playbook,
  type PlaybookPhase,
  type Scalar,
} from '../playbooks/playbook.ts'
import { PlaybookFaults, refuseDocument, showPath } from '../playbooks/playbook-faults.ts'
import { checkCacao } from './cacao-schema.ts'
import { EXTENSION, type CacaoPlaybook, type CacaoVariable } from './cacao.ts'
import { regroup } from './placed-steps.ts'
import { readWorkflow, type ReadStep } from './read-workflow.ts'

/** What {@link importCacao} takes besides the document. */
export interface CacaoImportOptions {
  /** For messages. @default 'cacao' */
  readonly file?: string
  /** Names of playbooks by their CACAO ids, for steps that run them. */
  readonly playbooks?: Readonly<Record<string, string>>
  /** The phase of steps that name none. @default 'containment' */
  readonly phase?: PlaybookPhase
}

/** A larger document is no playbook. */
const MAX_BYTES = 1_048_576

/**
 * Reads a playbook.
 *
 * @param source JSON, or what it parses to.
 * @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK it is no CACAO 2.0, its steps form a circle, or it has commands
 *   other than `manual` and `http-api`.
 */
export async function importCacao(
  source: string | object,
  options: CacaoImportOptions = {},
): Promise<Playbook> {
  const { file = 'cacao', phase = 'containment', playbooks = {} } = options
  const document = parse(source, file)
  await checkCacao(document, file)
  const steps = readWorkflow(document, { file, playbooks })
  const playbook = assemble(document, steps, phase)
  const faults = new PlaybookFaults((path) =>
    path.length === 0 ? file : `${file} (${showPath(path)})`,
  )
  const checked = await checkSchema(playbook, faults)
  faults.throwIfAny()
  return checked!
}

function parse(source: string | object, file: string): CacaoPlaybook {
  const text = typeof source === 'string' ? source : jsonOf(source, file)
  if (Buffer.byteLength(text) > MAX_BYTES) refuseDocument(file, `is larger than ${MAX_BYTES} bytes`)
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    refuseDocument(file, `is no JSON: ${(error as Error).message.slice(0, 200)}`)
  }
  const {
    type,
    spec_version: version,
    workflow,
    workflow_start: start,
    name,
  } = (document ?? {}) as Partial<CacaoPlaybook>
  if (type !== 'playbook' || version !== 'cacao-2.0') {
    refuseDocument(file, 'must have the type "playbook" and the spec_version "cacao-2.0"')
  }
  const isComplete = typeof workflow === 'object' && workflow !== null && typeof start === 'string'
  if (!isComplete || typeof name !== 'string') {
    refuseDocument(file, 'needs "name", "workflow" and "workflow_start"')
  }
  return document as CacaoPlaybook
}

function jsonOf(source: object, file: string): string {
  try {
    return JSON.stringify(source)
  } catch (error) {
    return refuseDocument(file, `is no JSON: ${(error as Error).message.split('\n', 1)[0]}`)
  }
}

interface OwnMembers {
  readonly name?: string
  readonly title?: string
  readonly severity?: Playbook['severity']
  readonly triggers?: Playbook['triggers']
  readonly variables?: boolean
  readonly phases?: Readonly<
    Record<string, { readonly duration?: string; readonly actions?: boolean }>
  >
  readonly notifications?: Playbook['notifications']
}

function assemble(
  document: CacaoPlaybook,
  steps: readonly ReadStep[],
  byDefault: PlaybookPhase,
): Playbook {
  const own = document.playbook_extensions?.[EXTENSION] as OwnMembers | undefined
  const { description, playbook_variables: given = {} } = document
  const title = own === undefined ? document.name : own.title
  const variables = own === undefined || own.variables === true ? readVariables(given) : undefined
  const hasVariables =
    variables !== undefined && (own !== undefined || Object.keys(variables).length > 0)
  const { triggers, notifications } = own ?? {}
  return {
    name: own?.name ?? slugOf(document.name),
    ...(title !== undefined && { title }),
    ...(description !== undefined && { description }),
    severity: own?.severity ?? severityOf(document.severity),
    ...(triggers !== undefined && { triggers }),
    ...(hasVariables && { variables }),
    phases: phasesOf(steps, own, byDefault),
    ...(notifications !== undefined && { notifications }),
  }
}

function phasesOf(
  steps: readonly ReadStep[],
  own: OwnMembers | undefined,
  byDefault: PlaybookPhase,
): Playbook['phases'] {
  const phases: Partial<Record<PlaybookPhase, PhasePlan>> = {}
  for (const phase of playbookPhases) {
    const plan = own?.phases?.[phase]
    const actions = regroup(steps.filter((each) => (each.phase ?? byDefault) === phase))
    const isListed = actions.length > 0 || plan?.actions === true
    if (plan === undefined && actions.length === 0) continue
    phases[phase] = {
      ...(plan?.duration !== undefined && { duration: plan.duration }),
      ...(isListed && { actions }),
    }
  }
  return phases
}

function readVariables(given: Readonly<Record<string, CacaoVariable>>): Record<string, Scalar> {
  const own = Object.entries(given).filter(([, { external }]) => external !== true)
  return Object.fromEntries(
    own.map(([name, { type, value }]) => [
      name.replace(/^__(.+)__$/, '$1').toLowerCase(),
      valueOf(type, value ?? ''),
    ]),
  )
}

function valueOf(type: string, text: string): Scalar {
  if (type === 'bool') return text === 'true'
  if (type !== 'integer' && type !== 'float' && type !== 'long') return text
  return text !== '' && Number.isFinite(Number(text)) ? Number(text) : text
}

function severityOf(severity = 50): Playbook['severity'] {
  if (severity > 75) return 'critical'
  if (severity > 50) return 'high'
  return severity > 25 || severity === 0 ? 'medium' : 'low'
}

/** A name of another tool: `Block IP (v2)` → `block_ip_v2`. */
function slugOf(name: string): string {
  const words = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')
  const slug = words.replaceAll(/^[^a-z]+|_+$/g, '').slice(0, 64)
  return slug === '' ? 'playbook' : slug
}
