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
  /** Present for OpenAPI 2. */
  readonly swaggerObject?: { readonly securityDefinitions?: object | null }
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

/** Adds rules to the descriptions of routes as they are declared. */
export class RouteDocuments {
  readonly #securityScheme: string
  /** By function `app.swagger`: the routes that it describes. */
  readonly #described = new Map<unknown, RouteOptions[]>()

  constructor(securityScheme: string) {
    this.#securityScheme = securityScheme
  }

  /**
   * Adds `security`, `x-permissions` and the responses 401 and 403 to the schema of a route. Members
   * that the route declares itself are kept. Without `@fastify/swagger` it does nothing.
   */
  add(route: RouteOptions, rule: RouteRule, context: FastifyInstance): void {
    if (!context.hasDecorator('swagger')) return
    route.schema = describeAccess(route.schema, rule, undefined)
    if (rule.kind === 'public') return
    const { swagger } = context as { readonly swagger?: unknown }
    const others = this.#described.get(swagger)
    if (others !== undefined) {
      others.push(route)
      return
    }
    const routes = [route]
    this.#described.set(swagger, routes)
    // Only now: the hook must run after that of @fastify/swagger.
    context.addHook('onReady', async () => this.#addSecurity(context, routes))
  }

  /** Names the security scheme only if the document declares it: @fastify/swagger throws otherwise. */
  #addSecurity(context: FastifyInstance, routes: readonly RouteOptions[]): void {
    const schemes = declaredSchemes(context, routes)
    if (!Object.hasOwn(schemes, this.#securityScheme)) return
    for (const { schema } of routes) {
      if (!('security' in schema!)) Object.assign(schema!, securityOf(this.#securityScheme))
    }
  }
}

/**
 * Reads the security schemes of the document. `swaggerTransform` of one route receives the document,
 * and what it throws keeps @fastify/swagger from storing the document too early.
 */
function declaredSchemes(context: FastifyInstance, routes: readonly RouteOptions[]): object {
  let schemes: object = {}
  // @fastify/swagger leaves out the HEAD routes that Fastify adds.
  const route = routes.find(({ method }) => method !== 'HEAD')
  if (route === undefined) return schemes
  const { config } = route
  const swaggerTransform = (described: DescribedRoute): never => {
    schemes = schemesOf(described) ?? {}
    throw new Error('the document is not needed')
  }
  // Not a literal: only the types of @fastify/swagger declare the member.
  const probing = { ...config, swaggerTransform }
  route.config = probing
  try {
    ;(context as unknown as { swagger: () => unknown }).swagger()
  } catch {
    // Thrown above, or by the transform of another route: then no scheme is known.
  } finally {
    if (config === undefined) delete route.config
    else route.config = config
  }
  return schemes
}

function schemesOf({ openapiObject, swaggerObject }: DescribedRoute): object | undefined {
  return (
    openapiObject?.components?.securitySchemes ?? swaggerObject?.securityDefinitions ?? undefined
  )
}

function securityOf(scheme: string): object {
  return { security: [{ [scheme]: [] }] }
}

/**
 * Does the same for `transform`. It also covers routes that were declared before the plugin, and lists
 * both media types that an error handler may use.
 */
export function transformRoute(
  described: DescribedRoute,
  rule: RouteRule | undefined,
  securityScheme: string,
): { schema: FastifySchema; url: string } {
  const { schema, url, openapiObject } = described
  if (rule === undefined) return { schema, url }
  if (openapiObject !== undefined) {
    const { components = {} } = openapiObject
    components.securitySchemes = {
      [securityScheme]: { type: 'http', scheme: 'bearer' },
      ...components.securitySchemes,
    }
  }
  const isDeclared = Object.hasOwn(schemesOf(described) ?? {}, securityScheme)
  const result = describeAccess(schema, rule, isDeclared ? securityScheme : undefined)
  const { response } = result as { readonly response?: Readonly<Record<string, unknown>> }
  if (openapiObject === undefined || response === undefined) return { schema: result, url }
  const replies: Record<string, unknown> = {}
  for (const [status, body] of Object.entries(response)) {
    replies[status] = OURS.has(body) ? withProblem(body as typeof refusals.denied) : body
  }
  return { schema: { ...result, response: replies }, url }
}

function describeAccess(
  schema: FastifySchema = {},
  rule: RouteRule,
  securityScheme: string | undefined,
): FastifySchema {
  const { unauthenticated, denied, hidden } = refusals
  // Fastify's type has these members only if the types of @fastify/swagger are loaded.
  const open: object = { security: [], ...schema }
  if (rule.kind === 'public') return open
  const guarded: object = {
    ...(securityScheme === undefined ? undefined : securityOf(securityScheme)),
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
