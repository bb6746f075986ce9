/** Reads the configuration of a service from environment variables, by a TypeBox schema. */
import type { Static, TObject, TUnsafe } from '@sinclair/typebox'
import { PARAPET_SECRETS_INVALID_ENVIRONMENT, PARAPET_SECRETS_INVALID_SCHEMA } from '../errors.ts'
import type { Secret } from '../value/secret.ts'
import { compileVariable, type VariableReader, type VariableSchema } from './variable.ts'

/** Text that is read as a {@link Secret}. */
export interface SecretTextOptions {
  readonly description?: string
  /** @default 1 */
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  /** Words for what `pattern` accepts, to continue `must be …`. */
  readonly form?: string
  /** `uri` for a URL that contains a password. */
  readonly format?: 'uri'
  readonly protocols?: readonly string[]
}

/** The schema of a variable that holds a secret. It has no default: a secret in code is none. */
export function secretText(options: SecretTextOptions = {}): TUnsafe<Secret> {
  // What `Type.Unsafe` makes; TypeBox itself is not loaded.
  const schema = { ...options, type: 'string', secret: true, [KIND]: 'Unsafe' }
  return schema as unknown as TUnsafe<Secret>
}

const KIND = Symbol.for('TypeBox.Kind')

/** Values by name, before they are known to be complete. */
export type PartialEnvironment = Readonly<Record<string, unknown>>

/** A requirement that depends on several variables. */
export interface EnvironmentRule {
  /** A sentence for the documents, without a full stop. */
  readonly description: string
  /** Problems by the name of the variable; each continues `"NAME" …` and contains no value. */
  readonly check: (values: PartialEnvironment) => Readonly<Record<string, string>>
}

/** Variables that must be set together or not at all. */
export function requireTogether(...names: readonly string[]): EnvironmentRule {
  return {
    description: `${names.join(', ')} are set together or not at all`,
    check(values) {
      const missing = names.filter((name) => values[name] === undefined)
      if (missing.length === 0 || missing.length === names.length) return {}
      const present = names.filter((name) => values[name] !== undefined).join(', ')
      return Object.fromEntries(
        missing.map((name) => [name, `must be set together with ${present}`]),
      )
    },
  }
}

/** Variables that must be set if a condition holds. @param reason continues `must be set, because …`. */
export function requireWhen(
  condition: (values: PartialEnvironment) => boolean,
  reason: string,
  ...names: readonly string[]
): EnvironmentRule {
  return {
    description: `${names.join(', ')} must be set when ${reason}`,
    check(values) {
      const missing = names.filter((name) => values[name] === undefined)
      if (missing.length === 0 || !condition(values)) return {}
      return Object.fromEntries(missing.map((name) => [name, `must be set when ${reason}`]))
    },
  }
}

/** What {@link compileEnvironment} takes besides the schema. */
export interface EnvironmentOptions {
  readonly rules?: readonly EnvironmentRule[]
  /** Variables with this prefix that the schema does not list are refused, as typing errors. @default none */
  readonly prefix?: string
}

/** A compiled schema. */
export interface Environment<Schema extends TObject> {
  readonly schema: Schema
  readonly rules: readonly EnvironmentRule[]
  /**
   * Reads the variables; an empty one counts as unset.
   *
   * @param variables for instance `process.env`, or what `loadEnvFiles` returns.
   * @returns frozen values with the defaults filled in.
   * @throws PARAPET_SECRETS_INVALID_ENVIRONMENT with every fault, and no value.
   */
  read(variables: Readonly<Record<string, string | undefined>>): Static<Schema>
}

/**
 * Compiles the schema once.
 *
 * @throws PARAPET_SECRETS_INVALID_SCHEMA a variable has a schema that no text can have, a default that it would
 *   refuse as a text, or a secret has a default.
 */
export function compileEnvironment<Schema extends TObject>(
  schema: Schema,
  { rules = [], prefix }: EnvironmentOptions = {},
): Environment<Schema> {
  const required = new Set(schema.required ?? [])
  const variables: CompiledVariable[] = []
  for (const name in schema.properties) {
    const variable = schema.properties[name] as VariableSchema
    const { default: fallback } = variable
    const isRequired = fallback === undefined && required.has(name)
    const read = compileVariable(name, variable)
    requireValidDefault(name, read, fallback)
    variables.push({ name, read, fallback, isRequired })
  }
  return {
    schema,
    rules,
    read(given) {
      const { values, faults } = readAll(variables, given)
      if (prefix !== undefined) addUnknown(faults, given, prefix, Object.keys(schema.properties))
      // What is invalid is missing in the values; it is reported once.
      const invalid = new Set(faults.keys())
      for (const { check } of rules) {
        for (const [name, problem] of Object.entries(check(values))) {
          if (!invalid.has(name)) faults.set(name, problem)
        }
      }
      if (faults.size > 0) {
        const lines = [...faults].map(([name, problem]) => `  "${name}" ${problem}`)
        throw new PARAPET_SECRETS_INVALID_ENVIRONMENT(lines.join('\n'))
      }
      return Object.freeze(values) as Static<Schema>
    },
  }
}

/** What is empty stands for "none". */
function requireValidDefault(name: string, read: VariableReader, fallback: unknown): void {
  const text = [fallback ?? []].flat().map(String).join(',')
  const reading = text === '' ? undefined : read(text)
  if (reading === undefined || !('problem' in reading)) return
  throw new PARAPET_SECRETS_INVALID_SCHEMA(name, `its default ${reading.problem}`)
}

interface CompiledVariable {
  readonly name: string
  readonly read: VariableReader
  readonly fallback: unknown
  readonly isRequired: boolean
}

function readAll(
  variables: readonly CompiledVariable[],
  given: Readonly<Record<string, string | undefined>>,
): { values: Record<string, unknown>; faults: Map<string, string> } {
  const values: Record<string, unknown> = {}
  const faults = new Map<string, string>()
  for (const { name, read, fallback, isRequired } of variables) {
    const text = given[name]
    if (text === undefined || text === '') {
      if (isRequired) faults.set(name, 'is required')
      else if (fallback !== undefined) values[name] = fallback
      continue
    }
    const reading = read(text)
    if ('problem' in reading) faults.set(name, reading.problem)
    else values[name] = reading.value
  }
  return { values, faults }
}

function addUnknown(
  faults: Map<string, string>,
  given: Readonly<Record<string, string | undefined>>,
  prefix: string,
  known: readonly string[],
): void {
  for (const name of Object.keys(given)) {
    if (!name.startsWith(prefix) || known.includes(name)) continue
    const alike = known.filter((each) => each.startsWith(prefix)).join(', ')
    faults.set(name, `is unknown, known are ${alike}`)
  }
}
