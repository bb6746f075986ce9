/** Adds the rule of a route to the OpenAPI description that `@fastify/swagger` generates. */
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import { describeRule, type RouteRule } from '../decide/route-rule.ts'

/** The argument of the option `transform` of `@fastify/swagger`. */
export interface DescribedRoute {
  readonly schema: FastifySchema
  readonly url: string
  readonly route: RouteOptions
  /** Present for OpenAPI 3, which supports several media types per response. */
  readonly openapiObject?: { readonly components?: { securitySchemes?: object } }
}

/**
 * Allows any body, so that the serializer does not remove members that the application's error
 * handler sends. Fastify's own error handler passes these four members as inherited properties, which
 * are serialized only if the schema names them.
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

/** Responses of refused requests. Compared by identity to recognize responses of the route itself. */
const refusals = {
  unauthenticated: { description: 'The request is not authenticated', ...anyBody },
  denied: { description: 'The principal does not have the permission', ...anyBody },
  hidden: {
    description: 'The resource does not exist, or the principal has no access to it',
    ...anyBody,
  },
}
const OURS: ReadonlySet<unknown> = new Set(Object.values(refusals))

/**
 * Adds `security`, `x-permissions` and the responses 401 and 403 to the schema of a route. Members that
 * the route declares itself are kept. Without `@fastify/swagger` it does nothing.
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
 * Does the same for `transform`. It also covers routes that were declared before the plugin, and lists
 * both media types that an error handler may use.
 */
export function transformRoute(
  { schema, url, openapiObject }: DescribedRoute,
  rule: RouteRule | undefined,
  securityScheme: string,
): { schema: FastifySchema; url: string } {
  if (rule === undefined) return { schema, url }
  const described = describeAccess(schema, rule, securityScheme)
  if (openapiObject === undefined) return { schema: described, url }
  // @fastify/swagger throws if a security scheme is not declared.
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
  // Fastify's type has these members only if the types of @fastify/swagger are loaded.
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
