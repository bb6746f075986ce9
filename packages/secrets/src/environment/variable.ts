/** Compiles the schema of one environment variable: how its text is read, and what is wrong with it. */
import { PARAPET_SECRETS_INVALID_SCHEMA } from '../errors.ts'
import { Secret } from '../value/secret.ts'

/** The part of JSON Schema that a variable can have; TypeBox makes it. */
export interface VariableSchema {
  readonly type?: string
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly VariableSchema[]
  readonly items?: VariableSchema
  readonly default?: unknown
  readonly description?: string
  readonly examples?: readonly unknown[]
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  /** Words for what `pattern` accepts, to continue `must be …`. */
  readonly form?: string
  readonly format?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxItems?: number
  /** Protocols of a URL, as `postgres:`. */
  readonly protocols?: readonly string[]
  /** Whether the value is a {@link Secret}. */
  readonly secret?: boolean
}

/** The result of reading a text. */
type Reading = { readonly value: unknown } | { readonly problem: string }

/** Reads the text of a variable. The problem continues `"NAME" …` and never contains the text. */
export type VariableReader = (text: string) => Reading

const MAX_CHARACTERS = 131_072
const TRUE = new Set(['true', '1', 'yes', 'on'])
const FALSE = new Set(['false', '0', 'no', 'off'])

/** The spellings of a boolean in any case. */
export const BOOLEAN_PATTERN = `^(?:${[...TRUE, ...FALSE].map(anyCase).join('|')})$`
export const INTEGER_PATTERN = String.raw`^-?\d{1,16}$`
export const NUMBER_PATTERN = String.raw`^-?\d{1,16}(?:\.\d{1,16})?$`

/** JSON Schema has no flag for patterns. */
function anyCase(word: string): string {
  return word.replaceAll(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`)
}

/** @throws PARAPET_SECRETS_INVALID_SCHEMA */
export function compileVariable(name: string, schema: VariableSchema): VariableReader {
  const read = compileValue(name, schema)
  if (schema.secret !== true) return read
  if (schema.default !== undefined) {
    throw new PARAPET_SECRETS_INVALID_SCHEMA(name, 'a secret must have no default')
  }
  return (text) => {
    const reading = read(text)
    return 'problem' in reading ? reading : { value: new Secret(reading.value as string) }
  }
}

function compileValue(name: string, schema: VariableSchema): VariableReader {
  const choices = choicesOf(schema)
  if (choices !== undefined) return compileChoice(choices)
  if (schema.type === 'string') return compileText(name, schema)
  if (schema.secret === true) {
    throw new PARAPET_SECRETS_INVALID_SCHEMA(name, 'a secret must be a string')
  }
  if (schema.type === 'integer' || schema.type === 'number') return compileNumber(schema)
  if (schema.type === 'boolean') return readBoolean
  if (schema.type === 'array' && schema.items !== undefined) return compileList(name, schema)
  const problem = `it must be a string, integer, number, boolean, choice or list, not ${schema.type ?? 'this'}`
  throw new PARAPET_SECRETS_INVALID_SCHEMA(name, problem)
}

/** The values of a union of literals, or of an enum. */
export function choicesOf({
  const: only,
  enum: many,
  anyOf,
}: VariableSchema): unknown[] | undefined {
  if (only !== undefined) return [only]
  if (many !== undefined) return [...many]
  if (anyOf === undefined || !anyOf.every((each) => each.const !== undefined)) return undefined
  return anyOf.map((each) => each.const)
}

function compileChoice(choices: readonly unknown[]): VariableReader {
  return (text) => {
    // Compared as texts, because a choice may be a number.
    const choice = choices.find((each) => String(each) === text)
    if (choice !== undefined) return { value: choice }
    return { problem: `must be one of ${choices.map((each) => `"${String(each)}"`).join(', ')}` }
  }
}

function compileText(name: string, schema: VariableSchema): VariableReader {
  const { minLength = 1, maxLength = MAX_CHARACTERS, pattern, form, format, protocols } = schema
  const matcher = pattern === undefined ? undefined : compilePattern(name, pattern)
  const check = formatCheck(name, format, protocols)
  return (text) => {
    if (text.length < minLength || text.length > maxLength) {
      const range =
        schema.maxLength === undefined ? `at least ${minLength}` : `${minLength} to ${maxLength}`
      return { problem: `must have ${range} characters, got ${text.length}` }
    }
    if (matcher?.test(text) === false) {
      return { problem: form === undefined ? 'has an invalid form' : `must be ${form}` }
    }
    const problem = check?.(text)
    return problem === undefined ? { value: text } : { problem }
  }
}

function compilePattern(name: string, pattern: string): RegExp {
  try {
    return new RegExp(pattern, 'u')
  } catch {
    throw new PARAPET_SECRETS_INVALID_SCHEMA(name, 'its pattern is no regular expression')
  }
}

type TextCheck = (text: string) => string | undefined

function formatCheck(
  name: string,
  format: string | undefined,
  protocols: readonly string[] = [],
): TextCheck | undefined {
  if (format === undefined) return undefined
  if (format === 'uri') {
    return (text) => {
      if (URL.canParse(text)) {
        if (protocols.length === 0 || protocols.includes(new URL(text).protocol)) return undefined
      }
      const wanted = protocols.map((protocol) => `${protocol}//`).join(' or ')
      return wanted === '' ? 'must be a URL' : `must be a URL that starts with ${wanted}`
    }
  }
  if (format === 'email') {
    return (text) => (/^[^\s@]+@[^\s@]+$/.test(text) ? undefined : 'must be an e-mail address')
  }
  throw new PARAPET_SECRETS_INVALID_SCHEMA(name, `the format "${format}" is not "uri" or "email"`)
}

const INTEGER = new RegExp(INTEGER_PATTERN)
const NUMBER = new RegExp(NUMBER_PATTERN)

function compileNumber(schema: VariableSchema): VariableReader {
  const isInteger = schema.type === 'integer'
  const form = isInteger ? INTEGER : NUMBER
  const { minimum = -Infinity, maximum = Infinity } = schema
  return (text) => {
    const value = form.test(text) ? Number(text) : Number.NaN
    const fits = value >= minimum && value <= maximum && (!isInteger || Number.isSafeInteger(value))
    if (fits) return { value }
    return { problem: `must be ${isInteger ? 'an integer' : 'a number'}${rangeOf(schema)}` }
  }
}

function rangeOf({ minimum, maximum }: VariableSchema): string {
  if (minimum === undefined) return maximum === undefined ? '' : ` of at most ${maximum}`
  return maximum === undefined ? ` of at least ${minimum}` : ` from ${minimum} to ${maximum}`
}

function readBoolean(text: string): Reading {
  const word = text.toLowerCase()
  if (TRUE.has(word)) return { value: true }
  return FALSE.has(word) ? { value: false } : { problem: 'must be "true" or "false"' }
}

function compileList(name: string, schema: VariableSchema): VariableReader {
  const { minItems = 0, maxItems = 1000 } = schema
  if (schema.items!.secret === true && schema.default !== undefined) {
    throw new PARAPET_SECRETS_INVALID_SCHEMA(name, 'a secret must have no default')
  }
  const readItem = compileVariable(name, schema.items!)
  return (text) => {
    const values: unknown[] = []
    const items = text.split(',')
    if (items.length < minItems || items.length > maxItems) {
      return { problem: `must have ${minItems} to ${maxItems} items, got ${items.length}` }
    }
    for (const [index, item] of items.entries()) {
      const reading = readItem(item.trim())
      if ('problem' in reading) return { problem: `item ${index + 1} ${reading.problem}` }
      values.push(reading.value)
    }
    return { value: Object.freeze(values) }
  }
}
