/** Compiles the rule of every route when the route is declared, and requires that each has one. */
import { compileRouteRule, missedRoute, type RouteRules as CompiledRules } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import type { Engine } from '../decide/engine.ts'
import { readRule, type DeclaredRoute, type RouteRule } from '../decide/route-rule.ts'
import { CompiledRule } from '../decide/rule-guard.ts'
import {
  PARAPET_RBAC_INVALID_OPTION,
  PARAPET_RBAC_INVALID_RULE,
  PARAPET_RBAC_UNDECLARED_ROUTES,
} from '../errors.ts'
import { createNamedRoutes, type NamedRoutes } from './named-routes.ts'
import { permissionOf } from './permission-hook.ts'

/** What {@link RouteRules} needs. */
export interface RouteRuleServices {
  readonly engine: () => Engine
  /** The option `routes`. */
  readonly routes: Readonly<Record<string, unknown>>
  /** Adds the rule to the description of the route. */
  readonly document: (route: RouteOptions, rule: RouteRule) => void
}

/** The rules of all routes. */
export class RouteRules {
  /** Routes that have a rule. The list grows as routes are declared. */
  readonly declared: DeclaredRoute[] = []
  readonly #services: RouteRuleServices
  readonly #compiled: CompiledRules<CompiledRule>
  readonly #names: NamedRoutes
  /** The rules of the option `routes`. They also apply to routes declared before the plugin. */
  readonly #named: ReadonlyMap<string, CompiledRule>
  readonly #undeclared: string[] = []

  constructor(app: FastifyInstance, services: RouteRuleServices) {
    const { routes } = services
    this.#services = services
    this.#names = createNamedRoutes(Object.keys(routes))
    this.#named = new Map(
      Object.entries(routes).map(([name, raw]) => [name, this.#compile(raw, name)]),
    )
    this.#compiled = compileRouteRule(app, {
      plugin: '@parapet/rbac',
      key: 'rbac',
      compile: ({ raw, route, name }) => this.#declare(raw ?? permissionOf(route), route, name),
    })
    app.addHook('onReady', async () => this.#requireAll(app))
  }

  /** Returns the rule of a request; `undefined`: its route has none and must be refused. */
  ofRequest({ routeOptions, method }: FastifyRequest): CompiledRule | undefined {
    const rule = this.#compiled.of(routeOptions)
    if (rule === missedRoute) return undefined
    return rule ?? this.#ruleByName([method], routeOptions.url ?? '')
  }

  /** Returns the rule of a route, even if it was declared before the plugin. */
  ofRoute(route: RouteOptions): RouteRule | undefined {
    const rule = this.#compiled.of(route)
    if (rule === missedRoute) return undefined
    return (rule ?? this.#ruleByName([route.method].flat(), route.url))?.rule
  }

  #ruleByName(methods: readonly string[], url: string): CompiledRule | undefined {
    const name = this.#names.find(methods, url)
    return name === undefined ? undefined : this.#named.get(name)
  }

  #declare(raw: unknown, route: RouteOptions, name: string): CompiledRule | undefined {
    const { url } = route
    const methods = [route.method].flat()
    const compiled = raw === undefined ? this.#ruleByName(methods, url) : this.#compile(raw, name)
    if (compiled === undefined) {
      this.#undeclared.push(...methods.map((method) => `${method} ${url}`))
      return undefined
    }
    const { rule } = compiled
    for (const method of methods) this.declared.push({ method, url, rule })
    this.#services.document(route, rule)
    return compiled
  }

  /** @throws PARAPET_RBAC_INVALID_RULE */
  #compile(raw: unknown, route: string): CompiledRule {
    const rule = readRule(raw)
    if (typeof rule === 'string') throw new PARAPET_RBAC_INVALID_RULE(route, rule)
    const { permissionIds } = this.#services.engine()
    const unknown = rule.permissions.find((each) => !permissionIds.has(each))
    if (unknown !== undefined) {
      const problem = `uses the permission "${unknown}", which the policy does not declare`
      throw new PARAPET_RBAC_INVALID_RULE(route, problem)
    }
    return new CompiledRule(rule)
  }

  #requireAll(app: FastifyInstance): void {
    // Fastify adds the HEAD route of a GET route, so only the GET route is listed.
    const missing = this.#undeclared.filter(
      (name) => !(name.startsWith('HEAD ') && this.#undeclared.includes(`GET ${name.slice(5)}`)),
    )
    if (missing.length > 0) {
      throw new PARAPET_RBAC_UNDECLARED_ROUTES(missing.map((name) => `  ${name}`).join('\n'))
    }
    const unknown = this.#names.unused().filter((name) => !this.#declareEarlier(app, name))
    if (unknown.length > 0) {
      const faults = unknown.map(
        (name) => `  "routes" has the entry "${name}", but no such route exists`,
      )
      throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults.join('\n'))
    }
  }

  /** Declares a named route that exists although `onRoute` did not see it: it is older than the plugin. */
  #declareEarlier(app: FastifyInstance, name: string): boolean {
    const [method, url] = name.split(' ') as [string, string]
    if (!app.hasRoute({ method, url })) return false
    this.declared.push({ method, url, rule: this.#named.get(name)!.rule })
    return true
  }
}
