/** How routes are read as they are declared, and guarded as they are called. */
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
  RouteOptions,
} from 'fastify'
import type { Access } from './access.ts'
import type { Decision, Engine, Subject } from './engine.ts'
import {
  PARAPET_RBAC_INVALID_OPTION,
  PARAPET_RBAC_INVALID_RULE,
  PARAPET_RBAC_UNDECLARED_ROUTES,
} from './errors.ts'
import type { DeclaredRoute } from './matrix.ts'
import type { Reason } from './reasons.ts'
import { createRouteTable, type RouteTable } from './route-table.ts'
import { Guard, readRule, type Outlook, type RouteRule } from './rules.ts'

/** A rule in force: the guard belongs to the engine and is replaced with it. */
interface BoundRule {
  readonly rule: RouteRule
  guard: Guard
  engine: Engine
}

interface RouteConfig {
  readonly [kRule]?: BoundRule
  readonly rbac?: unknown
}

/** What the guard asks of the wiring. */
export interface GuardServices {
  readonly accessOf: (request: FastifyRequest) => Access
  readonly engine: () => Engine
  readonly routes: Readonly<Record<string, unknown>>
  /** Writes the rule into the route's documentation. */
  readonly document: (route: RouteOptions, rule: RouteRule) => void
  /** Ends a request of `testMatrix` where the handler would begin. */
  readonly probe: (request: FastifyRequest) => boolean
}

const kRule = Symbol('@parapet/rbac:rule')
/** On a preHandler made by `requirePermission`: a route that has one has declared itself. */
export const kPermission = Symbol('@parapet/rbac:permission')
const kHidden = Symbol('@parapet/rbac:hidden')
const GRANTED: Decision = Object.freeze({ allowed: true, reason: 'granted' })
/** The hooks in which a `requirePermission` may stand. */
const HOOKS = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

/** The guard of every route: from its installation on, each declares itself or the boot stops. */
export class RouteGuard {
  /** The routes that have a rule; it grows as routes are declared. */
  readonly declared: DeclaredRoute[] = []
  readonly #services: GuardServices
  readonly #table: RouteTable
  /** The rules of the option `routes`, by name: also those of routes that are older than the plugin. */
  readonly #named: ReadonlyMap<string, BoundRule>
  readonly #bound: BoundRule[] = []
  readonly #undeclared: string[] = []

  constructor(services: GuardServices) {
    this.#services = services
    const { routes } = services
    this.#table = createRouteTable(Object.keys(routes))
    this.#named = new Map(
      Object.entries(routes).map(([name, raw]) => [name, this.#bind(raw, name)]),
    )
  }

  install(app: FastifyInstance): void {
    app.decorateRequest(kHidden, false)
    app.addHook('onRoute', (route) => this.#readRoute(route))
    app.addHook('onReady', async () => this.#refuseUndeclared(app))
    app.addHook('onRequest', (request, reply, done) => this.#guard(request, reply, done))
    app.addHook('preHandler', (request, reply) => this.#guardResource(request, reply))
  }

  /** The rule of a route, also of one that is older than the plugin. */
  ruleOf({ method, url, config }: RouteOptions): RouteRule | undefined {
    const bound = (config as RouteConfig | undefined)?.[kRule]
    return (bound ?? this.#earlyBinding(config, [method].flat(), url))?.rule
  }

  /** Binds every rule to a new engine, before anybody sees it. */
  rebind(engine: Engine): void {
    for (const binding of this.#bound) {
      binding.engine = engine
      binding.guard = new Guard(binding.rule.node, engine)
    }
  }

  #readRoute(route: RouteOptions): void {
    const methods = [route.method].flat()
    const names = methods.map((method) => `${method} ${route.url}`)
    const raw = (route.config as RouteConfig | undefined)?.rbac ?? permissionOf(route)
    const name = raw === undefined ? this.#table.find(methods, route.url) : undefined
    if (raw === undefined && name === undefined) {
      this.#undeclared.push(...names)
      return
    }
    const binding = name === undefined ? this.#bind(raw, names.join(', ')) : this.#named.get(name)!
    const { rule } = binding
    for (const method of methods) this.declared.push({ method, url: route.url, rule })
    this.#services.document(route, rule)
    // A copy: the caller may share one config object among routes.
    route.config = { ...route.config, [kRule]: binding } as RouteOptions['config'] & object
  }

  /** @throws PARAPET_RBAC_INVALID_RULE */
  #bind(raw: unknown, route: string): BoundRule {
    const engine = this.#services.engine()
    const rule = requireRule(raw, route, engine)
    const binding = { rule, engine, guard: new Guard(rule.node, engine) }
    this.#bound.push(binding)
    return binding
  }

  /**
   * The rule of the route: its own, or what the option `routes` says of a route that was declared
   * before the plugin. A rule in the config of such a route was not compiled, so it does not count.
   */
  #bindingOf({ routeOptions, method }: FastifyRequest): BoundRule | undefined {
    const config: RouteConfig = routeOptions.config
    return config[kRule] ?? this.#earlyBinding(config, [method], routeOptions.url ?? '')
  }

  #earlyBinding(
    config: RouteConfig | undefined,
    methods: readonly string[],
    url: string,
  ): BoundRule | undefined {
    if (config?.rbac !== undefined) return undefined
    const name = this.#table.find(methods, url)
    return name === undefined ? undefined : this.#named.get(name)
  }

  #refuseUndeclared(app: FastifyInstance): void {
    // The HEAD that Fastify adds is the GET's matter.
    const missing = this.#undeclared.filter(
      (name) => !(name.startsWith('HEAD ') && this.#undeclared.includes(`GET ${name.slice(5)}`)),
    )
    if (missing.length > 0) {
      throw new PARAPET_RBAC_UNDECLARED_ROUTES(missing.map((name) => `  ${name}`).join('\n'))
    }
    const unused: string[] = []
    for (const name of this.#table.unused()) {
      const [method, url] = name.split(' ') as [string, string]
      // A route that is older than the plugin: it was not seen, and it is there.
      const early = app.hasRoute({ method, url })
      if (early) this.declared.push({ method, url, rule: this.#named.get(name)!.rule })
      else unused.push(name)
    }
    if (unused.length > 0) {
      const faults = unused.map((name) => `  routes.${name}: names no route`).join('\n')
      throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults)
    }
  }

  /** Everything that roles alone decide, before a byte of the body is read. */
  #guard(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (request.is404) return done()
    const binding = this.#bindingOf(request)
    if (binding?.rule.kind === 'public') return this.#pass(request, reply, done)
    const access = this.#services.accessOf(request)
    if (binding === undefined || access.subject === null) {
      const reason =
        access.principal === null ? 'anonymous' : binding === undefined ? 'missed' : 'stale'
      access.report(binding?.rule.permissions ?? [], { allowed: false, reason })
      return done(refuse(reply, access, reason))
    }
    const { rule } = binding
    const outlook = outlookOf(binding, access, access.subject)
    if (outlook === 'sure') {
      if (rule.resource === undefined) access.report(rule.permissions, GRANTED)
      return this.#pass(request, reply, done)
    }
    // What hangs on the resource waits for it, and for validation; what cannot end well does not.
    if (outlook === 'maybe' && (rule.resource !== undefined || this.#services.probe(request))) {
      return this.#pass(request, reply, done)
    }
    settle(decide(request, reply, access, rule), done)
  }

  async #guardResource(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const rule = this.#bindingOf(request)?.rule
    if (rule?.resource === undefined || request.is404 || isHidden(request)) return undefined
    const access = this.#services.accessOf(request)
    const load = rule.resource as (request: FastifyRequest) => unknown
    access.resource = await load(request)
    if (rule.hides && (access.resource === undefined || access.resource === null)) {
      hide(request, reply)
      return reply
    }
    return (await decide(request, reply, access, rule)) ? undefined : reply
  }

  #pass(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (this.#services.probe(request)) void reply.code(204).send()
    else done()
  }
}

/** @throws PARAPET_RBAC_INVALID_RULE */
function requireRule(raw: unknown, route: string, engine: Engine): RouteRule {
  const rule = readRule(raw)
  if (typeof rule === 'string') throw new PARAPET_RBAC_INVALID_RULE(route, rule)
  const unknown = rule.permissions.find((each) => !engine.permissionIds.has(each))
  if (unknown !== undefined) {
    const problem = `names the permission "${unknown}", which the policy does not declare`
    throw new PARAPET_RBAC_INVALID_RULE(route, problem)
  }
  return rule
}

/** The error, and its headers for applications whose error handler passes none on. */
function refuse(reply: FastifyReply, access: Access, reason: Reason): Error {
  const error = access.refusal(reason)
  if (error.headers !== undefined) reply.headers(error.headers)
  return error
}

/** @returns false when the reply is under way. */
async function decide(
  request: FastifyRequest,
  reply: FastifyReply,
  access: Access,
  rule: RouteRule,
): Promise<boolean> {
  const decision = await access.decide(rule.node, rule.permissions, access.resource)
  access.report(rule.permissions, decision)
  if (decision.allowed) return true
  if (!rule.hides || decision.reason === 'anonymous') {
    throw refuse(reply, access, decision.reason)
  }
  hide(request, reply)
  return false
}

/** Goes on when the decision passes; a reply that is under way goes on by itself. */
function settle(decision: Promise<boolean>, done: HookHandlerDoneFunction): void {
  void (async () => {
    try {
      if (!(await decision)) return
    } catch (error) {
      done(error as Error)
      return
    }
    done()
  })()
}

/** A request that began under another policy is decided by that one to its end. */
function outlookOf({ rule, guard, engine }: BoundRule, access: Access, subject: Subject): Outlook {
  return (access.engine === engine ? guard : new Guard(rule.node, access.engine)).outlook(subject)
}

/** The very reply of a path that no route has. */
function hide(request: FastifyRequest, reply: FastifyReply): void {
  ;(request as { [kHidden]?: boolean })[kHidden] = true
  reply.callNotFound()
}

function isHidden(request: FastifyRequest): boolean {
  return (request as { [kHidden]?: boolean })[kHidden] === true
}

function permissionOf(route: RouteOptions): string | undefined {
  const hooks = HOOKS.flatMap((name) => route[name] ?? []) as { [kPermission]?: string }[]
  return hooks.find((hook) => kPermission in hook)?.[kPermission]
}
