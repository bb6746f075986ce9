/** What the plugin does with each route as it is declared: validators, the audit, lists, responses. */
import {
  compileRouteRule,
  missedRoute,
  readFastifyInternal,
  type DeclaredRoute,
  type RouteRules,
} from '@parapet/kit'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifySchemaCompiler,
  RouteOptions,
  preSerializationHookHandler,
} from 'fastify'
import { PARAPET_INPUT_GUARD_INVALID_RULE } from '../errors.ts'
import { applyResponsePlan } from '../output/apply-plan.ts'
import { compileResponsePlan, type ResponsePlan } from '../output/response-plan.ts'
import { findGaps } from '../validation/audit.ts'
import { listParameters } from '../validation/list-parameters.ts'
import {
  createResolver,
  isNode,
  type ResolveRef,
  type SchemaNode,
} from '../validation/schema-tools.ts'
import type { Recorder } from './recorder.ts'

const NAME = '@parapet/input-guard'
const EMPTY: ReadonlySet<string> = new Set()

/** What is known of a route. */
interface GuardedRoute {
  readonly name: string
  readonly method: string
  readonly schema: RouteSchema | undefined
  readonly context: FastifyInstance
  /** The route gives a reason why its input is not bounded. */
  readonly isUnguarded: boolean
  lists: ReadonlySet<string> | undefined
}

interface RouteSchema {
  readonly body?: unknown
  readonly querystring?: unknown
  readonly response?: Readonly<Record<string, unknown>>
}

/** The routes that the plugin guards. */
export class GuardedRoutes {
  readonly #routes: GuardedRoute[] = []
  readonly #rules: RouteRules<GuardedRoute>
  readonly #resolvers = new WeakMap<FastifyInstance, ResolveRef>()

  /**
   * @param recorder reports members of responses that are not declared; hidden ones are left out without it, too
   * @param createCompiler makes the `validatorCompiler` of a context
   */
  constructor(
    app: FastifyInstance,
    recorder: Recorder | undefined,
    createCompiler: (context: FastifyInstance) => FastifySchemaCompiler<unknown>,
  ) {
    const compilers = new WeakMap<FastifyInstance, FastifySchemaCompiler<unknown>>()
    this.#rules = compileRouteRule<GuardedRoute>(app, {
      plugin: NAME,
      key: 'inputGuard',
      compile: ({ raw, route, name, context }: DeclaredRoute) => {
        const schema = route.schema as RouteSchema | undefined
        if (schema !== undefined && usesDefaultCompiler(route, context)) {
          const compiler = compilers.get(context) ?? createCompiler(context)
          compilers.set(context, compiler)
          route.validatorCompiler = compiler
        }
        const guarded: GuardedRoute = {
          name,
          method: String(route.method),
          schema,
          context,
          isUnguarded: readRule(raw, name),
          lists: undefined,
        }
        this.#watchResponses(route, guarded, recorder)
        this.#routes.push(guarded)
        return guarded
      },
    })
  }

  /** The parameters of the query string that a route declares as arrays. */
  listsOf({ routeOptions }: FastifyRequest): ReadonlySet<string> {
    const route = this.#rules.of(routeOptions)
    if (route === undefined || route === missedRoute) return EMPTY
    return (route.lists ??= listParameters(
      route.schema?.querystring,
      this.#resolverOf(route.context),
    ))
  }

  has(route: string): boolean {
    return this.#routes.some(({ name }) => name === route)
  }

  /** Lists what is not bounded, by route. @param accepted routes that are left out */
  audit(accepted: Readonly<Record<string, string>>): string[] {
    const names = new Set(this.#routes.map(({ name }) => name))
    return this.#routes.flatMap(({ name, method, schema, context, isUnguarded }) => {
      // Fastify adds HEAD to each GET, with the same schemas.
      if (names.has(name.replace(/^HEAD /, 'GET ')) && method === 'HEAD') return []
      if (isUnguarded || Object.hasOwn(accepted, name)) return []
      const gaps = findGaps({ method, schema }, this.#resolverOf(context))
      return gaps.map((gap) => `  ${name} ${gap}`)
    })
  }

  #resolverOf(context: FastifyInstance): ResolveRef {
    const known = this.#resolvers.get(context) ?? createResolver(context.getSchemas())
    this.#resolvers.set(context, known)
    return known
  }

  /** Adds a hook to the route itself, so that it runs after those of its contexts. */
  #watchResponses(
    route: RouteOptions,
    { schema, context }: GuardedRoute,
    recorder: Recorder | undefined,
  ): void {
    const responses = schema?.response
    if (responses === undefined) return
    const plans = new Map<unknown, ResponsePlan>()
    const hook: preSerializationHookHandler = (request, reply, payload, done) => {
      const node = responseSchemaOf(responses, reply)
      if (node === undefined) return done(null, payload)
      let plan = plans.get(node)
      if (plan === undefined) {
        plan = compileResponsePlan(node, this.#resolverOf(context))
        plans.set(node, plan)
      }
      if (recorder === undefined && !plan.hidesSomething) return done(null, payload)
      done(
        null,
        applyResponsePlan(payload, plan, (field) => recorder?.fieldRemoved(request, field)),
      )
    }
    route.preSerialization = [
      route.preSerialization ?? [],
      hook,
    ].flat() as preSerializationHookHandler[]
  }
}

/** Reads `config.inputGuard`. @throws PARAPET_INPUT_GUARD_INVALID_RULE */
function readRule(raw: unknown, route: string): boolean {
  if (raw === undefined) return false
  const { unguarded, ...rest } = (isNode(raw) ? raw : {}) as { readonly unguarded?: unknown }
  if (typeof unguarded !== 'string' || unguarded === '' || Object.keys(rest).length > 0) {
    throw new PARAPET_INPUT_GUARD_INVALID_RULE(route)
  }
  return true
}

/** The schema by which Fastify serializes the reply. */
function responseSchemaOf(
  responses: Readonly<Record<string, unknown>>,
  reply: FastifyReply,
): SchemaNode | undefined {
  const status = String(reply.statusCode)
  const found =
    responses[status] ??
    responses[`${status[0]}xx`] ??
    responses[`${status[0]}XX`] ??
    responses['default']
  if (!isNode(found)) return undefined
  const { content } = found
  if (!isNode(content)) return found
  const type = String(reply.getHeader('content-type') ?? 'application/json')
    .split(';', 1)[0]!
    .trim()
  const entry = content[type] ?? content['*/*']
  return isNode(entry) && isNode(entry['schema']) ? entry['schema'] : undefined
}

/** Whether nobody has chosen another compiler for a route. */
function usesDefaultCompiler(route: RouteOptions, context: FastifyInstance): boolean {
  if (route.validatorCompiler !== undefined || context.validatorCompiler !== undefined) return false
  const controller = readFastifyInternal(context, 'fastify.schemaController') as
    | { readonly isCustomValidatorCompiler?: boolean }
    | undefined
  return controller?.isCustomValidatorCompiler !== true
}
