/**
 * Validates requests against schemas: unknown members are refused and bodies are not converted. Ids
 * are normalised here, and nowhere else.
 */
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

// Fastify's default drops unknown members and converts "5" to 5. Validation stops at the first
// fault, so that a hostile body cannot cause a long list of faults.
const strict: Options = { removeAdditional: false, coerceTypes: false, allErrors: false }
const bodyAjv = withFormats(new Ajv(strict))
/**
 * For query strings, paths and headers: their values are text, so numbers must be converted. Without
 * `strictNumbers: false`, `1e309` would become Infinity and pass every bound.
 */
const textAjv = withFormats(
  new Ajv({ ...strict, coerceTypes: true, useDefaults: true, strictNumbers: false }),
)

const compileValidator: FastifySchemaCompiler<object> = ({ schema, httpPart }) =>
  withRules(
    (httpPart === 'body' ? bodyAjv : textAjv).compile(schema),
    idMembers(schema, httpPart === 'params' || httpPart === 'querystring'),
  )

type Validator = ((data: unknown) => boolean) & { errors?: ErrorObject[] | null }

/** Adds the rules that JSON Schema cannot express, for the routes of plugins, too. */
function withRules(validate: ValidateFunction, ids: readonly string[]): Validator {
  const validator: Validator = (data) => {
    validator.errors = null
    if (!validate(data)) validator.errors = validate.errors ?? null
    else if (containsNul(data)) validator.errors = [NUL_REFUSED]
    else lowerCase(data as Record<string, unknown>, ids)
    return validator.errors === null
  }
  return validator
}

/** @param all also the members without the format: plugins do not know that ids are UUIDs. */
function idMembers(schema: object, all: boolean): string[] {
  const { properties = {} } = schema as {
    properties?: Readonly<Record<string, { readonly format?: unknown }>>
  }
  return Object.keys(properties).filter((name) => all || properties[name]?.format === 'uuid')
}

/**
 * Writes ids as the database writes them. Otherwise a value could be encrypted or compared under
 * another spelling than the stored one. @see RFC 9562, section 4
 */
function lowerCase(data: Record<string, unknown>, ids: readonly string[]): void {
  for (const name of ids) {
    const id = data[name]
    if (typeof id === 'string' && UUID.test(id)) data[name] = id.toLowerCase()
  }
}

const NUL_REFUSED: ErrorObject = {
  instancePath: '',
  schemaPath: '#/pattern',
  keyword: 'pattern',
  params: {},
  message: 'must not contain the character U+0000, which databases cannot store',
}

/** Without recursion, because an open schema may allow any depth. */
function containsNul(data: unknown): boolean {
  const rest: unknown[] = [data]
  while (rest.length > 0) {
    const value = rest.pop()
    if (typeof value === 'string' && value.includes('\0')) return true
    if (typeof value !== 'object' || value === null) continue
    for (const [name, member] of Object.entries(value)) rest.push(name, member)
  }
  return false
}

/**
 * The `schemaController` option of Fastify. `app.setValidatorCompiler` would not do: a context that
 * adds its own schema falls back to Fastify's default compiler.
 */
export const schemaController: NonNullable<FastifyServerOptions['schemaController']> = {
  // Fastify calls the returned function with the route; the type declares the schema only.
  compilersFactory: { buildValidator: () => compileValidator as never },
}

function withFormats(ajv: Ajv): Ajv {
  addFormats.default(ajv, ['email', 'date-time'])
  // The format of ajv-formats accepts `urn:uuid:`, which PostgreSQL does not.
  return ajv.addFormat('uuid', UUID)
}
