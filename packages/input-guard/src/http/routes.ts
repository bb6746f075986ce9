/** What the plugin does with each route as it is declared: validators, the audit, lists, responses. */
import {
  listRoutes,
  compileRouteRule,
  missedRoute,
  readFastifyInternal,
  type DeclaredRoute,
  type RouteRules,
} from '@parapet/kit'
import type { FastifyInstance, FastifyRequest, FastifySchemaCompiler, RouteOptions } from 'fastify'
import { PARAPET_INPUT_GUARD_INVALID_RULE } from '../errors.ts'
import { mediaTypeOf } from '../request/media-type.ts'
import { findGaps } from '../validation/audit.ts'
import { listParameters } from '../validation/list-parameters.ts'
import { createResolver, isNode, type ResolveRef } from '../validation/schema-tools.ts'
import { unscannedTypes } from './json-guard.ts'
import type { ResponseSettings } from './response-schema.ts'
import { filterResponses, guardResponses } from './responses.ts'
import { hasGuardedSchemas } from './schemas.ts'

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
  /** The route was declared before the plugin. */
  readonly isMissed: boolean
}

interface RouteSchema {
  readonly body?: unknown
  readonly querystring?: unknown
  readonly response?: Readonly<Record<string, unknown>>
}

/** The routes that the plugin guards. */
export class GuardedRoutes {
  readonly #routes: GuardedRoute[] = []
  /** Whether a route declares its body by media type. */
  #declaresTypes = false
  readonly #app: FastifyInstance
  readonly #rules: RouteRules<GuardedRoute>
  readonly #lists = new WeakMap<object, ReadonlySet<string>>()
  readonly #resolvers = new WeakMap<FastifyInstance, ResolveRef>()

  /**
   * @param responses what is reported of responses, and what may be parsed
   * @param createCompiler makes the `validatorCompiler` of a context
   */
  constructor(
    app: FastifyInstance,
    responses: ResponseSettings,
    createCompiler: (context: FastifyInstance) => FastifySchemaCompiler<unknown>,
  ) {
    this.#app = app
    filterResponses(app)
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
          isMissed: false,
        }
        guardResponses(route, context, responses, () => this.#resolverOf(context))
        this.#declaresTypes ||= isNode(schema?.body) && isNode(schema.body['content'])
        this.#routes.push(guarded)
        return guarded
      },
    })
  }

  /** The parameters of a part that a route declares as arrays, also if it was declared before the plugin. */
  listsOf(
    { routeOptions, server }: FastifyRequest,
    part: 'querystring' | 'body',
  ): ReadonlySet<string> {
    const schema = (routeOptions.schema as RouteSchema | undefined)?.[part]
    if (!isNode(schema)) return EMPTY
    const known = this.#lists.get(schema)
    if (known !== undefined) return known
    const found = listParameters(schema, this.#resolverOf(server))
    this.#lists.set(schema, found)
    return found
  }

  /** Whether a request has a media type that its route declares, or its route declares none. */
  hasDeclaredType(request: FastifyRequest): boolean {
    if (!this.#declaresTypes) return true
    const { routeOptions, headers } = request
    const body = (routeOptions.schema as RouteSchema | undefined)?.body
    const content = isNode(body) ? body['content'] : undefined
    return !isNode(content) || Object.hasOwn(content, mediaTypeOf(headers['content-type'] ?? ''))
  }

  has(route: string): boolean {
    return this.#routes.some(({ name }) => name === route)
  }

  /** Lists what is not bounded, by route. @param accepted routes that are left out */
  audit(accepted: Readonly<Record<string, string>>): string[] {
    const routes = [...this.#routes, ...this.#earlierRoutes()]
    const names = new Set(routes.map(({ name }) => name))
    return routes.flatMap((route) => {
      const { name, method, schema, context, isUnguarded, isMissed } = route
      // Fastify adds HEAD to each GET, with the same schemas.
      if (names.has(name.replace(/^HEAD /, 'GET ')) && method === 'HEAD') return []
      if (isUnguarded || Object.hasOwn(accepted, name)) return []
      if (isMissed && !hasGuardedSchemas(context))
        return takesInput(route) ? [`  ${name} ${MISSED}`] : []
      const gaps = findGaps({ method, schema }, this.#resolverOf(context))
      if (takesBody(method))
        gaps.push(...unscannedTypes(context).map((type) => `body: ${type} ${UNSCANNED}`))
      return gaps.map((gap) => `  ${name} ${gap}`)
    })
  }

  /** Routes of the same context that were declared before the plugin, usually because it was not awaited. */
  #earlierRoutes(): GuardedRoute[] {
    const context = this.#app
    return (listRoutes(context) ?? []).flatMap(({ method, url, config, schema, owner }) => {
      if (owner !== context) return []
      const rule = this.#rules.of({ config })
      if (rule !== undefined && rule !== missedRoute) return []
      const name = `${method} ${url}`
      const raw = (config as { readonly inputGuard?: unknown }).inputGuard
      const isUnguarded = readRule(raw, name)
      return [
        {
          name,
          method,
          schema: schema as RouteSchema,
          context,
          isUnguarded,
          isMissed: true,
          responses: undefined,
        },
      ]
    })
  }

  #resolverOf(context: FastifyInstance): ResolveRef {
    const known = this.#resolvers.get(context) ?? createResolver(context.getSchemas())
    this.#resolvers.set(context, known)
    return known
  }
}

const MISSED =
  'is declared before input-guard, which does not check it; register input-guard with "await" first, or use guardedSchemas()'

const UNSCANNED = 'has a parser that does not scan; use app.inputGuard.parseJson'

function takesInput({ method, schema }: GuardedRoute): boolean {
  return takesBody(method) || schema?.querystring !== undefined
}

function takesBody(method: string): boolean {
  return method.split(',').some((each) => !['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(each))
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

/** Whether nobody has chosen another compiler for a route. */
function usesDefaultCompiler(route: RouteOptions, context: FastifyInstance): boolean {
  if (route.validatorCompiler !== undefined || context.validatorCompiler !== undefined) return false
  const controller = readFastifyInternal(context, 'fastify.schemaController') as
    | { readonly isCustomValidatorCompiler?: boolean }
    | undefined
  return controller?.isCustomValidatorCompiler !== true
}
