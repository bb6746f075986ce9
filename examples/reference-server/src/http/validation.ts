/** Validates requests against schemas: unknown members are refused and bodies are not converted. */
import { Ajv, type Options } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'

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
  (httpPart === 'body' ? bodyAjv : textAjv).compile(schema)

/**
 * The `schemaController` option of Fastify. `app.setValidatorCompiler` would not do: a context that
 * adds its own schema falls back to Fastify's default compiler.
 */
export const schemaController: NonNullable<FastifyServerOptions['schemaController']> = {
  // Fastify calls the returned function with the route; the type declares the schema only.
  compilersFactory: { buildValidator: () => compileValidator as never },
}

function withFormats(ajv: Ajv): Ajv {
  return addFormats.default(ajv, ['uuid', 'email', 'date-time'])
}
