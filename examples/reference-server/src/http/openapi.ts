/** `/openapi.json`: describes every route, from the schemas that validate it. @see OpenAPI 3.1.1 */
import fastifySwagger from '@fastify/swagger'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import { Problem, problem, problems } from './schemas.ts'

interface DescribedResponse {
  readonly description?: string
  readonly additionalProperties?: unknown
  readonly content?: Readonly<Record<string, { readonly schema?: DescribedResponse }>>
}

/** Plugins leave the body of an error open, because it is the app that writes it. This one writes problems. */
function withProblems({ schema, url }: { readonly schema: FastifySchema; readonly url: string }) {
  const response: Record<string, unknown> = {}
  for (const [status, described] of Object.entries(schema.response ?? {})) {
    const body = described as DescribedResponse
    const [media = { schema: body }] = Object.values(body.content ?? {})
    const isOpen = /^[45]/.test(status) && media.schema?.additionalProperties === true
    response[status] = isOpen ? problem(body.description ?? 'The request was refused') : described
  }
  return { schema: { ...schema, response }, url }
}

async function openapiPlugin(app: FastifyInstance): Promise<void> {
  app.addSchema(Problem)
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.1',
      info: {
        title: 'Parapet reference server',
        version: '0.0.0',
        description: 'The content of a marketing platform and the artists of a booking platform.',
      },
      components: {
        securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      },
    },
    // Called when the description is built: rbac is registered after this plugin.
    transform: (route) => withProblems(app.rbac.openapi(route)),
    refResolver: {
      buildLocalReference: (schema, _base, _fragment, index) =>
        typeof schema['$id'] === 'string' ? schema['$id'] : `schema-${index}`,
    },
  })

  let bytes: Buffer | undefined
  app.get(
    '/openapi.json',
    {
      schema: {
        operationId: 'getOpenapi',
        summary: 'Get this description of all routes',
        tags: ['health'],
        response: {
          200: Type.Object({}, { additionalProperties: true, description: 'OpenAPI 3.1' }),
          ...problems,
        },
      },
    },
    // Written to JSON once: all responses share the bytes. The description is complete after the boot.
    (_request, reply) => {
      bytes ??= Buffer.from(JSON.stringify(app.swagger()))
      return reply.type('application/json; charset=utf-8').send(bytes)
    },
  )
}

/** Describes the routes that are registered after it. */
export const openapi = fp(openapiPlugin, { name: 'openapi', fastify: '5.x' })
