/** What the guard means for a client, written into the descriptions that `@fastify/swagger` makes. */
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import { describeRule } from './matrix.ts'
import type { RouteRule } from './rules.ts'

/** What `@fastify/swagger` hands to its option `transform`. */
export interface DescribedRoute {
  readonly schema: FastifySchema
  readonly url: string
  readonly route: RouteOptions
  /** There where the description is OpenAPI 3, which can name several media types. */
  readonly openapiObject?: { readonly components?: { securitySchemes?: object } }
}

/**
 * Any body: whatever the application's error handler sends is sent whole. The four members that
 * Fastify's own handler writes are named, since it hands them over as inherited ones.
 */
const anyBody = {
  type: 'object',
  additionalProperties: true,
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string' },
    error: { type: 'string' },
    message: { type: 'string' },
  },
}

/** The refusals; a response that a route describes itself is another object. */
const refusals = {
  unauthenticated: { description: 'Nobody is signed in', ...anyBody },
  denied: { description: 'The caller lacks the permission', ...anyBody },
  hidden: { description: 'Not found, or not for the caller', ...anyBody },
}
const OURS: ReadonlySet<unknown> = new Set(Object.values(refusals))

/**
 * Adds `security`, the responses 401 and 403 and `x-permissions` to the schema of a guarded route.
 * What the route says itself stays, and nothing happens where there is no `@fastify/swagger`.
 */
export function documentRoute(
  app: FastifyInstance,
  route: RouteOptions,
  rule: RouteRule,
  securityScheme: string,
): void {
  if (app.hasDecorator('swagger')) route.schema = describeAccess(route.schema, rule, securityScheme)
}

/**
 * The same for the finished description: reaches routes that are older than the plugin, and names
 * both media types that an error handler may answer with.
 */
export function transformRoute(
  { schema, url, openapiObject }: DescribedRoute,
  rule: RouteRule | undefined,
  securityScheme: string,
): { schema: FastifySchema; url: string } {
  if (rule === undefined) return { schema, url }
  const described = describeAccess(schema, rule, securityScheme)
  if (openapiObject === undefined) return { schema: described, url }
  // A scheme that nobody has declared would end the making of the description.
  const { components = {} } = openapiObject
  components.securitySchemes = {
    [securityScheme]: { type: 'http', scheme: 'bearer' },
    ...components.securitySchemes,
  }
  const { response } = described as { readonly response?: Readonly<Record<string, unknown>> }
  if (response === undefined) return { schema: described, url }
  const replies: Record<string, unknown> = {}
  for (const [status, body] of Object.entries(response)) {
    replies[status] = OURS.has(body) ? withProblem(body as typeof refusals.denied) : body
  }
  return { schema: { ...described, response: replies }, url }
}

function describeAccess(
  schema: FastifySchema = {},
  rule: RouteRule,
  securityScheme: string,
): FastifySchema {
  const { unauthenticated, denied, hidden } = refusals
  // Swagger's own members: Fastify's type has them only where swagger's types are loaded.
  const open: object = { security: [], ...schema }
  if (rule.kind === 'public') return open
  const guarded: object = {
    security: [{ [securityScheme]: [] }],
    'x-permissions': rule.kind === 'guarded' ? describeRule(rule) : [],
    ...schema,
    response: {
      401: unauthenticated,
      ...(rule.kind === 'authenticated' ? {} : rule.hides ? { 404: hidden } : { 403: denied }),
      ...(schema.response as object | undefined),
    },
  }
  return guarded
}

function withProblem({ description, ...schema }: typeof refusals.denied): object {
  const content = { 'application/problem+json': { schema }, 'application/json': { schema } }
  return { description, content }
}
