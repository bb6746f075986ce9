/** Compiles the rule of each route, and refuses to start while a route has none. */
import {
  isInside,
  listRoutes,
  type RouterRoute,
  createNamedRoutes,
  namedRoutePattern,
  type NamedRoutes,
  compileRouteRule,
  missedRoute,
} from '@parapet/kit'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import {
  PARAPET_RATE_LIMITS_INVALID_OPTION,
  PARAPET_RATE_LIMITS_INVALID_RULE,
  PARAPET_RATE_LIMITS_UNLIMITED_ROUTES,
} from '../errors.ts'
import { compileRule, type CompiledRule } from '../tiers/rule.ts'
import type { Tier } from '../tiers/tier.ts'

/** What {@link RouteRules} needs. */
export interface RouteRuleSettings {
  readonly plugin: string
  readonly tiers: ReadonlyMap<string, Tier>
  /** The option `routes`. */
  readonly routes: Readonly<Record<string, unknown>>
  /** The option `notFound`. */
  readonly notFound: unknown
  /** Adds the hooks of a rule that is decided after `onRequest`. */
  readonly addHooks: (route: RouteOptions, rule: CompiledRule) => void
}

export class RouteRules {
  readonly #settings: RouteRuleSettings
  readonly #names: NamedRoutes
  readonly #notFound: CompiledRule
  readonly #ruleOf: (route: { readonly config?: unknown }) => CompiledRule | undefined
  /** Routes of `onRoute` without a rule. */
  readonly #unlimited = new Set<string>()
  readonly #named: ReadonlyMap<string, CompiledRule>
  /** Rules of the option `routes` for routes that are older than the plugin, by their config. */
  readonly #earlier = new WeakMap<object, CompiledRule>()

  constructor(app: FastifyInstance, settings: RouteRuleSettings) {
    this.#settings = settings
    this.#names = createNamedRoutes(Object.keys(settings.routes))
    this.#notFound = this.#compileNotFound()
    this.#named = this.#compileNamed()
    const rules = compileRouteRule<CompiledRule>(app, {
      plugin: settings.plugin,
      key: 'rateLimit',
      compile: ({ raw, route, name }) => {
        const rule =
          raw === undefined
            ? this.#ruleNamed([route.method].flat(), route.url)
            : this.#compile(raw, name)
        if (rule === undefined) this.#unlimited.add(name)
        else if (rule.moment !== 'peer') settings.addHooks(route, rule)
        return rule
      },
    })
    this.#ruleOf = (route) => {
      const rule = rules.of(route)
      return rule === missedRoute ? undefined : rule
    }
    app.addHook('onReady', async () => this.#requireAll(app))
  }

  /** The rule of a request. One without a route, or whose route has no rule, has that of `notFound`. */
  of({ routeOptions }: FastifyRequest): CompiledRule {
    return this.#ruleOf(routeOptions) ?? this.#earlier.get(routeOptions.config) ?? this.#notFound
  }

  /** @throws PARAPET_RATE_LIMITS_INVALID_RULE */
  #compile(raw: unknown, route: string): CompiledRule {
    const rule = compileRule(raw, this.#settings.tiers)
    if (typeof rule === 'string') throw new PARAPET_RATE_LIMITS_INVALID_RULE(route, rule)
    return rule
  }

  #compileNotFound(): CompiledRule {
    const rule = this.#compile(this.#settings.notFound, '"notFound"')
    if (rule.moment === 'peer') return rule
    throw new PARAPET_RATE_LIMITS_INVALID_RULE(
      '"notFound"',
      'must have tiers whose keys are known before the login, such as "standard"',
    )
  }

  #compileNamed(): ReadonlyMap<string, CompiledRule> {
    const entries = Object.entries(this.#settings.routes).map(([name, raw]) => {
      if (!namedRoutePattern.test(name)) {
        const problem = `  "routes" has the entry "${name}", which must be as "GET /docs" or "* /docs/**"`
        throw new PARAPET_RATE_LIMITS_INVALID_OPTION(this.#settings.plugin, problem)
      }
      return [name, this.#compile(raw, name)] as const
    })
    return new Map(entries)
  }

  #ruleNamed(methods: readonly string[], url: string): CompiledRule | undefined {
    return this.#named.get(this.#names.find(methods, url) ?? '')
  }

  /**
   * Gives a route that is older than the plugin the rule that the option `routes` names for it. Only the
   * hook of the app runs for such a route, so the rule must be known before the login.
   */
  #adopt({ method, url, config }: RouterRoute): boolean {
    const rule = 'rateLimit' in config ? undefined : this.#ruleNamed([method], url)
    if (rule === undefined) return false
    if (rule.moment !== 'peer') {
      throw new PARAPET_RATE_LIMITS_INVALID_RULE(
        `${method} ${url}`,
        'needs the principal or the body, so the route must be declared after @parapet/rate-limits',
      )
    }
    this.#earlier.set(config, rule)
    return true
  }

  #requireAll(app: FastifyInstance): void {
    const missing = new Set(this.#unlimited)
    // If a later Fastify does not list its routes, those that are missing have the rule `notFound`.
    for (const route of listRoutes(app) ?? []) {
      if (!isInside(route.owner, app)) continue
      if (this.#ruleOf(route) === undefined && !this.#adopt(route)) {
        missing.add(`${route.method} ${route.url}`)
      }
    }
    // Fastify adds the HEAD route of a GET route, so only the GET route is listed.
    const shown = [...missing].filter(
      (name) => !name.startsWith('HEAD ') || !missing.has(name.replace('HEAD', 'GET')),
    )
    if (shown.length > 0) {
      throw new PARAPET_RATE_LIMITS_UNLIMITED_ROUTES(shown.map((name) => `  ${name}`).join('\n'))
    }
    const unused = this.#names.unused()
    if (unused.length > 0) {
      const faults = unused.map(
        (name) => `  "routes" has the entry "${name}", but no such route exists`,
      )
      throw new PARAPET_RATE_LIMITS_INVALID_OPTION(this.#settings.plugin, faults.join('\n'))
    }
  }
}
