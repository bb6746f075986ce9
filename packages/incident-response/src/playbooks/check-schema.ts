/** Checks a document against the schema, and says in words what does not fit. */
import type { ErrorObject, ValidateFunction } from 'ajv'
import type { Playbook } from './playbook.ts'
import { stepKinds } from './playbook.ts'
import type { DocumentPath, PlaybookFaults } from './playbook-faults.ts'
import { playbookSchema } from './playbook-schema.ts'

let compiled: Promise<ValidateFunction> | undefined

/** Ajv is loaded with the first playbook. */
export async function compileSchema(schema: object): Promise<ValidateFunction> {
  const { Ajv } = await import('ajv')
  // Verbose, for the descriptions of the members.
  const ajv = new Ajv({ allErrors: true, verbose: true, strictTypes: false, strictRequired: false })
  return ajv.compile(schema)
}

/** Adds what does not fit. */
export async function checkSchema(
  document: unknown,
  faults: PlaybookFaults,
): Promise<Playbook | undefined> {
  compiled ??= compileSchema(playbookSchema)
  const validate = await compiled
  if (validate(document)) return document as Playbook
  for (const error of validate.errors ?? []) {
    // It repeats that the branch behind it has errors.
    if (error.keyword === 'if') continue
    const { path, isKey, problem } = describe(error)
    faults.add(path, problem, isKey)
  }
  return undefined
}

interface Described {
  readonly path: DocumentPath
  readonly isKey: boolean
  readonly problem: string
}

function describe(error: ErrorObject): Described {
  const path = pathOf(error.instancePath)
  const params = error.params as Readonly<Record<string, unknown>>
  const extra = params['additionalProperty'] ?? params['propertyName']
  if (typeof extra === 'string') {
    const isUnknown = error.keyword === 'additionalProperties'
    const problem = isUnknown ? `"${extra}" is unknown here` : `the name "${extra}" is malformed`
    return { path: [...path, extra], isKey: true, problem }
  }
  return { path, isKey: false, problem: sentenceOf(error, path) }
}

/** Members that are lists; another member that should be one is the title of a group. */
const LISTS = new Set([
  'actions',
  'then',
  'else',
  'do',
  'parallel',
  'default',
  'triggers',
  'immediate',
  'within_1_hour',
  'within_24_hours',
])

function sentenceOf(
  { keyword, params, message, schemaPath, parentSchema }: ErrorObject,
  path: DocumentPath,
): string {
  const name = typeof path.at(-1) === 'string' ? `"${path.at(-1)}" ` : ''
  const { allowedValues: values, type } = params as {
    readonly allowedValues?: readonly unknown[]
    readonly type?: unknown
  }
  if (keyword === 'enum' && values !== undefined)
    return `${name}must be one of ${values.join(', ')}`
  if (keyword === 'required') {
    return `needs "${String((params as { missingProperty: unknown }).missingProperty)}"`
  }
  // A group is the last guess, so its members are what cannot be told apart.
  if (keyword === 'type' && type === 'array' && !LISTS.has(String(path.at(-1)))) {
    return `${name}is no kind of step (${stepKinds.join(', ')}); a group needs a list of steps`
  }
  if (keyword === 'maxProperties' && schemaPath.endsWith('/group/maxProperties')) {
    return `is no step: it needs one of ${stepKinds.join(', ')}, or one title with a list of steps`
  }
  if (keyword === 'pattern') {
    const described = (parentSchema as { readonly description?: string } | undefined)?.description
    return `${name}has an invalid form${described === undefined ? '' : `: ${described}`}`
  }
  return `${name}${message ?? 'is invalid'}`
}

/** A JSON Pointer as a path. @see RFC 6901 */
export function pathOf(pointer: string): DocumentPath {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part))
}
