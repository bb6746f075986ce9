/** Route rules: what a route declares of itself, compiled once at boot and looked up per request. */
import type { FastifyInstance, RouteOptions } from 'fastify'

/** A route as {@link RouteRuleSettings.compile} sees it. */
export interface DeclaredRoute {
  /** `route.config[key]` as the application wrote it; its type promises nothing. */
  readonly raw: unknown
  /** The options that Fastify registers; hooks may still be added to them. */
  readonly route: RouteOptions
  /** Methods and pattern, for messages: `GET /users/:id`, `GET,HEAD /users`. */
  readonly name: string
  /** The context in which the route is declared, for instance to resolve its schemas. */
  readonly context: FastifyInstance
}

/** See {@link compileRouteRule}. */
export interface RouteRuleSettings<R> {
  /** The npm name of the plugin. */
  readonly plugin: string
  /** The member of `route.config` that holds the rule: `rbac`. */
  readonly key: string
  /**
   * Runs in `onRoute` for every route, with or without a rule; what it throws stops the boot.
   *
   * @returns the compiled rule (`null` is one), or `undefined` to keep none.
   */
  readonly compile: (declared: DeclaredRoute) => R | undefined
}

/** Reads compiled rules. */
export interface RouteRules<R> {
  /**
   * The rule of a route; `undefined` where it has none.
   *
   * @param route `request.routeOptions`, or the options of a route at boot.
   * @returns {@link missedRoute} where the config has a raw rule that was never compiled.
   */
  of(route: { readonly config?: unknown }): R | undefined | typeof missedRoute
}

/**
 * The route declares a rule, but was registered before the plugin (usually because `register` was
 * not awaited), so that the rule was never compiled. Refuse its requests.
 */
export const missedRoute: unique symbol = Symbol('missed route')

/**
 * Compiles the rule of every route as the route is declared. The compiled rule is kept under a
 * symbol on a copy of `route.config`, because an application may share one config object among
 * routes.
 */
export function compileRouteRule<R>(
  app: FastifyInstance,
  { plugin, key, compile }: RouteRuleSettings<R>,
): RouteRules<R> {
  const kRule = Symbol(`${plugin}:rule`)
  type Config = Readonly<Record<string | symbol, unknown>> | undefined

  app.addHook('onRoute', function compileRule(this: FastifyInstance, route) {
    const raw = (route.config as Config)?.[key]
    const name = `${String(route.method)} ${route.url}`
    const rule = compile({ raw, route, name, context: this })
    if (rule === undefined) return
    route.config = { ...route.config, [kRule]: rule } as NonNullable<RouteOptions['config']>
  })
  return {
    of({ config }) {
      const rules = config as Config
      const rule = rules?.[kRule] as R | undefined
      return rule === undefined && rules?.[key] !== undefined ? missedRoute : rule
    },
  }
}
