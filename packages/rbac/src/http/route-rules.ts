/** Compiles the rule of every route and requires that each has one. */
import {
  isInside,
  listRoutes,
  type RouterRoute,
  createNamedRoutes,
  type NamedRoutes,
  compileRouteRule,
  missedRoute,
  type RouteRules as CompiledRules,
} from '@parapet/kit'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import type { Engine } from '../decide/engine.ts'
import { readRule, type DeclaredRoute, type RouteRule } from '../decide/route-rule.ts'
import { CompiledRule } from '../decide/rule-guard.ts'
import {
  PARAPET_RBAC_INVALID_OPTION,
  PARAPET_RBAC_INVALID_RULE,
  PARAPET_RBAC_UNDECLARED_ROUTES,
} from '../errors.ts'
import { permissionOf } from './permission-hook.ts'

/** What {@link RouteRules} needs. */
export interface RouteRuleServices {
  readonly engine: () => Engine
  /** The option `routes`. */
  readonly routes: Readonly<Record<string, unknown>>
  /** Adds the rule to the description of the route. */
  readonly document: (route: RouteOptions, rule: RouteRule, context: FastifyInstance) => void
  /** Receives the routes without a rule instead of stopping the boot; `undefined`: they stop it. */
  readonly tolerate: ((routes: readonly string[]) => void) | undefined
}

/** The rules of all routes. */
export class RouteRules {
  /** Routes that have a rule. The list grows as routes are declared and is complete at ready. */
  readonly declared: DeclaredRoute[] = []
  readonly #services: RouteRuleServices
  readonly #compiled: CompiledRules<CompiledRule>
  readonly #names: NamedRoutes
  /** The rules of the option `routes`. They also apply to routes declared before the plugin. */
  readonly #named: ReadonlyMap<string, CompiledRule>
  readonly #undeclared = new Set<string>()
  /** Rules of routes that were declared before the plugin, by the config of the route. */
  readonly #earlier = new WeakMap<object, CompiledRule>()

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
      compile: ({ raw, route, name, context }) => this.#declare(raw, route, name, context),
    })
    app.addHook('onReady', async () => {
      this.#addEarlier(app)
      this.#requireAll(app)
    })
  }

  /** Returns the rule of a request; `undefined`: its route has none and must be refused. */
  ofRequest({ routeOptions, method }: FastifyRequest): CompiledRule | undefined {
    const rule = this.#compiled.of(routeOptions)
    if (rule !== undefined && rule !== missedRoute) return rule
    const earlier = this.#earlier.get(routeOptions.config)
    if (earlier !== undefined || rule === missedRoute) return earlier
    return this.#ruleByName([method], routeOptions.url ?? '')
  }

  /** Returns the rule of a route, even if it was declared before the plugin. */
  ofRoute(route: RouteOptions): RouteRule | undefined {
    const rule = this.#compiled.of(route)
    if (rule !== undefined && rule !== missedRoute) return rule.rule
    const methods = [route.method].flat()
    const raw = (route.config as { readonly rbac?: unknown } | undefined)?.rbac
    if (raw !== undefined) return this.#compile(raw, `${methods.join(',')} ${route.url}`).rule
    return this.#ruleByName(methods, route.url)?.rule
  }

  /** Returns the names of routes that have no rule. */
  undeclared(): readonly string[] {
    // Fastify adds the HEAD route of a GET route, so only the GET route is listed.
    return [...this.#undeclared].filter((name) => {
      const [method, url] = name.split(' ') as [string, string]
      if (method !== 'HEAD') return true
      return !this.#undeclared.has(`GET ${url}`) && !this.#undeclared.has(`GET ${bare(url)}`)
    })
  }

  #ruleByName(methods: readonly string[], url: string): CompiledRule | undefined {
    const name = this.#names.find(methods, url)
    return name === undefined ? undefined : this.#named.get(name)
  }

  #declare(
    raw: unknown,
    route: RouteOptions,
    name: string,
    context: FastifyInstance,
  ): CompiledRule | undefined {
    const { url } = route
    const methods = [route.method].flat()
    const own = raw ?? permissionOf(route)
    const compiled = own === undefined ? this.#ruleByName(methods, url) : this.#compile(own, name)
    if (compiled === undefined) {
      for (const method of methods) this.#undeclared.add(`${method} ${url}`)
      return undefined
    }
    const { rule } = compiled
    for (const method of methods) this.declared.push({ method, url, rule })
    this.#services.document(route, rule, context)
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

  /** Compiles the rules of routes that `onRoute` did not see: they are older than the plugin. */
  #addEarlier(app: FastifyInstance): void {
    const known = new Map<string, Set<RouteRule>>()
    for (const { method, url, rule } of this.declared) {
      const name = `${method} ${url}`
      known.set(name, (known.get(name) ?? new Set()).add(rule))
    }
    for (const route of listRoutes(app) ?? []) {
      if (!isInside(route.owner, app)) continue
      const { method, url } = route
      const name = `${method} ${url}`
      const compiled = this.#ofRouterRoute(route, name)
      if (compiled === undefined) this.#undeclared.add(name)
      else if (known.get(name)?.has(compiled.rule) !== true) {
        this.declared.push({ method, url, rule: compiled.rule })
      }
    }
  }

  #ofRouterRoute({ method, url, config }: RouterRoute, name: string): CompiledRule | undefined {
    const found = this.#compiled.of({ config })
    if (found !== undefined && found !== missedRoute) return found
    const { rbac: raw } = config as { readonly rbac?: unknown }
    const known = this.#earlier.get(config)
    if (known !== undefined) return known
    const compiled = raw === undefined ? this.#ruleByName([method], url) : this.#compile(raw, name)
    if (compiled !== undefined) this.#earlier.set(config, compiled)
    return compiled
  }

  #requireAll(app: FastifyInstance): void {
    const missing = this.undeclared()
    if (missing.length > 0) {
      if (this.#services.tolerate === undefined) {
        throw new PARAPET_RBAC_UNDECLARED_ROUTES(missing.map((name) => `  ${name}`).join('\n'))
      }
      this.#services.tolerate(missing)
    }
    const unknown = this.#names
      .unused()
      .filter((name) => !name.endsWith('/**') && !exists(app, name))
    if (unknown.length > 0) {
      const faults = unknown.map(
        (name) => `  "routes" has the entry "${name}", but no such route exists`,
      )
      throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults.join('\n'))
    }
  }
}

/** `/docs/` → `/docs` */
function bare(url: string): string {
  return url.endsWith('/') ? url.slice(0, -1) : url
}

function exists(app: FastifyInstance, name: string): boolean {
  const [method, url] = name.split(' ') as [string, string]
  return app.hasRoute({ method, url })
}
