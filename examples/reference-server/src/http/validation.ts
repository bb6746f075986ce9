/** How input is checked against a route's schema: nothing is dropped, and a body is never converted. */
import { Ajv, type Options } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'

// Fastify's own default drops unknown members and turns "5" into 5. One fault ends the check, so
// that a hostile body cannot make the list of its faults long.
const strict: Options = { removeAdditional: false, coerceTypes: false, allErrors: false }
const bodies = withFormats(new Ajv(strict))
/**
 * A query, a path and headers are text by nature; numbers in them must be read. `1e309` then is
 * Infinity, which Ajv's strict numbers would let pass by every bound.
 */
const texts = withFormats(
  new Ajv({ ...strict, coerceTypes: true, useDefaults: true, strictNumbers: false }),
)

const compileValidator: FastifySchemaCompiler<object> = ({ schema, httpPart }) =>
  (httpPart === 'body' ? bodies : texts).compile(schema)

/**
 * The option for Fastify's factory. Not `app.setValidatorCompiler`: a context that adds a schema of
 * its own would fall back to Fastify's default.
 */
export const schemaController: NonNullable<FastifyServerOptions['schemaController']> = {
  // Fastify calls what this returns with the route; its type says with the schema alone.
  compilersFactory: { buildValidator: () => compileValidator as never },
}

function withFormats(ajv: Ajv): Ajv {
  return addFormats.default(ajv, ['uuid', 'email', 'date-time'])
}
