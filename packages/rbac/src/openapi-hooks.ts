/** What the guard means for a client, written into the route's schema for `@fastify/swagger`. */
import type { FastifyInstance, RouteOptions } from 'fastify'
import { describeRule } from './matrix.ts'
import type { RouteRule } from './rules.ts'

interface DocumentedSchema {
  readonly response?: Readonly<Record<string, unknown>>
  readonly security?: unknown
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
} as const

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
  if (!app.hasDecorator('swagger')) return
  const schema = (route.schema ?? {}) as DocumentedSchema
  if (rule.kind === 'public') {
    route.schema = { security: [], ...schema } as RouteOptions['schema'] & object
    return
  }
  const responses = {
    401: { description: 'Nobody is signed in', ...anyBody },
    ...(rule.kind === 'authenticated'
      ? undefined
      : rule.hides
        ? { 404: { description: 'Not found, or not for the caller', ...anyBody } }
        : { 403: { description: 'The caller lacks the permission', ...anyBody } }),
  }
  route.schema = {
    security: [{ [securityScheme]: [] }],
    'x-permissions': rule.kind === 'guarded' ? describeRule(rule) : [],
    ...schema,
    response: { ...responses, ...schema.response },
  } as RouteOptions['schema'] & object
}
