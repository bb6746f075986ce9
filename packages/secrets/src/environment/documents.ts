/** Documents of an environment: `.env.example`, a JSON Schema and a table for a README. */
import type { TObject } from '@sinclair/typebox'
import type { Environment } from './environment.ts'
import {
  BOOLEAN_PATTERN,
  choicesOf,
  INTEGER_PATTERN,
  NUMBER_PATTERN,
  type VariableSchema,
} from './variable.ts'

interface Described {
  readonly name: string
  readonly schema: VariableSchema
  readonly isRequired: boolean
}

function describe({ schema }: Environment<TObject>): Described[] {
  const required = new Set(schema.required ?? [])
  return Object.entries(schema.properties as Record<string, VariableSchema>).map(
    ([name, variable]) => ({
      name,
      schema: variable,
      isRequired: required.has(name) && variable.default === undefined,
    }),
  )
}

/** Makes the text of `.env.example`: every variable with its description; optional ones are commented out. */
export function renderEnvExample(environment: Environment<TObject>): string {
  const blocks = describe(environment).map(({ name, schema, isRequired }) => {
    const value = schema.default ?? schema.examples?.[0] ?? ''
    const line = `${name}=${isSecret(schema) ? '' : quote(textOf(value))}`
    return [
      ...wrap(schema.description ?? '', 96).map(comment),
      comment(`${kindOf(schema)}${isRequired ? ', required' : ''}`),
      isRequired ? line : comment(line),
    ].join('\n')
  })
  const rules = environment.rules.map(({ description }) => comment(`- ${description}.`))
  const head = rules.length === 0 ? [] : [['# Rules:', ...rules].join('\n')]
  return `${[...head, ...blocks].join('\n\n')}\n`
}

/** Each line of it: a line of its own would be read as a variable. */
function comment(text: string): string {
  return text.replaceAll(/^/gm, '# ')
}

/** Makes a JSON Schema (2020-12) of the variables as texts, for editors and deployment checks. */
export function renderJsonSchema(environment: Environment<TObject>): object {
  const described = describe(environment)
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: Object.fromEntries(
      described.map(({ name, schema }) => [name, schemaOfText(schema)]),
    ),
    required: described.filter(({ isRequired }) => isRequired).map(({ name }) => name),
  }
}

/** Makes a table for a README: name, default, description. */
export function renderEnvTable(environment: Environment<TObject>): string {
  const rows = describe(environment).map(({ name, schema, isRequired }) => {
    const fallback =
      schema.default === undefined
        ? isRequired
          ? 'required'
          : '–'
        : `\`${textOf(schema.default)}\``
    return `| \`${name}\` | ${cell(fallback)} | ${cell(schema.description ?? '')} |`
  })
  return ['| variable | default | what it is |', '|---|---|---|', ...rows].join('\n')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ')
}

function schemaOfText(schema: VariableSchema): object {
  const { description, minLength, maxLength, pattern, format } = schema
  const choices = choicesOf(schema)
  const isText = schema.type === 'string' && choices === undefined
  const limits = isText ? { minLength, maxLength, pattern, format } : {}
  const members = {
    description,
    ...limits,
    ...formOf(schema),
    enum: choices?.map(String),
    default: schema.default === undefined ? undefined : textOf(schema.default),
    writeOnly: isSecret(schema) ? true : undefined,
  }
  const present = Object.entries(members).filter(([, value]) => value !== undefined)
  return { type: 'string', ...Object.fromEntries(present) }
}

/** How a text looks that is read as another type. A range of numbers has no form as a text. */
function formOf({ type, minimum, maximum }: VariableSchema): object {
  if (type === 'boolean') return { pattern: BOOLEAN_PATTERN }
  if (type !== 'integer' && type !== 'number') return {}
  const range = {
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
  }
  return {
    pattern: type === 'integer' ? INTEGER_PATTERN : NUMBER_PATTERN,
    'x-read-as': { type, ...range },
  }
}

function kindOf(schema: VariableSchema): string {
  const choices = choicesOf(schema)
  if (choices !== undefined) return `One of ${choices.map(String).join(', ')}`
  if (schema.secret === true) return 'Secret'
  if (schema.type === 'array') {
    return isSecret(schema) ? 'Secrets, separated by commas' : 'List, separated by commas'
  }
  if (schema.type === 'string') return schema.format === 'uri' ? 'URL' : 'Text'
  const { minimum, maximum } = schema
  const range = [minimum, maximum].some((bound) => bound !== undefined)
    ? ` from ${minimum ?? 'any'} to ${maximum ?? 'any'}`
    : ''
  return { integer: 'Integer', number: 'Number', boolean: 'true or false' }[schema.type!] + range
}

function isSecret(schema: VariableSchema): boolean {
  return schema.secret === true || schema.items?.secret === true
}

function textOf(value: unknown): string {
  return Array.isArray(value) ? value.map(String).join(',') : String(value)
}

/** What Node's parser reads as the same text; nothing if there is no such spelling. */
function quote(text: string): string {
  if (/^[\w./:@,+-]*$/.test(text)) return text
  // In double quotes, the parser turns `\\n` into a line end.
  const mark = ["'", '`', ...(text.includes('\\n') ? [] : ['"'])].find(
    (each) => !text.includes(each),
  )
  return mark === undefined ? '' : mark + text + mark
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(/\s/).filter((each) => each !== '')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < width)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
