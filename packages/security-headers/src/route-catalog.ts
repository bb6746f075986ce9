/** The policies of the routes of an app: read as routes are declared, computed when all are known. */
import { createNamedRoutes, type NamedRoutes, readOptions, type DeclaredRoute } from '@parapet/kit'
import {
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_UNSAFE_POLICY,
} from './errors.ts'
import type { CspDirectives } from './csp/directives.ts'
import type { Block, ExplainedHeader } from './headers/block.ts'
import type { RouteEntry } from './headers/route-entry.ts'
import { compileTenantBlock, withFrameOptions } from './headers/tenant-block.ts'
import type { IsolationScope } from './isolation/fetch-metadata.ts'
import { describeFinding, type Finding } from './lint/rules.ts'
import { applyLayer } from './policy/layers.ts'
import { directives } from './policy/options.ts'
import type { Policy, PolicyLayer, Waiver } from './policy/policy.ts'
import { presets } from './presets/presets.ts'
import { compileRule } from './route-rule.ts'

/** The headers of a route, and what set them. */
export interface Explanation {
  readonly preset: string
  readonly headers: readonly ExplainedHeader[]
  /** The reasons by the name of each header or directive that is left out. */
  readonly relaxed: Readonly<Record<string, string>>
  /** The reasons by the name of each header that errors and upstream responses may replace. */
  readonly passed: Readonly<Record<string, string>>
  readonly waived: readonly Waiver[]
  /** Which sites may send requests. */
  readonly isolation: IsolationScope
}

/** An entry that can still change. */
export interface CatalogEntry extends RouteEntry {
  readonly policy: Policy
  readonly isolation: IsolationScope
  readonly csrfExempt: boolean
  readonly shells: boolean
  readonly page: boolean
  readonly plainHttp: boolean
  /** Replaced by {@link Catalog.seal}. */
  block: Block
}

/** A route that was declared after the plugin, or an entry of the option `routes`. */
interface Declared {
  /** For messages: `route GET /users/:id`. */
  readonly where: string
  /** Filled in place, so that a rule which another hook adds later still counts. */
  readonly entry: CatalogEntry
  readonly route: DeclaredRoute['route'] | null
  /** The rule that the entry was compiled from. `undefined`: there is none. */
  rule: unknown
}

/** The policies of an app. */
export interface Catalog {
  /** The entry of routes without a rule, and of requests without a route. */
  readonly base: RouteEntry
  /** Adds a route that is being declared. @throws PARAPET_SECURITY_HEADERS_INVALID_RULE */
  readonly add: (declared: Pick<DeclaredRoute, 'raw' | 'route' | 'name'>) => RouteEntry
  /** The entry of a route that was declared before the plugin, by the option `routes`. */
  readonly find: (route: RouteName) => RouteEntry | undefined
  /**
   * Checks and computes the policies of all routes, when no hook can change a route any more.
   *
   * @param exists whether the app has a route of this method and pattern.
   * @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY
   * @throws PARAPET_SECURITY_HEADERS_INVALID_OPTION an entry of `routes` has no route.
   */
  readonly seal: (exists: (method: string, url: string) => boolean) => Promise<void>
  /**
   * The block of a route for a tenant. @throws Error the directives are invalid, or the policy is
   * unsafe.
   */
  readonly tenantBlock: (entry: RouteEntry, csp: CspDirectives) => Block
  /** The waivers of the options and of all rules. Complete once the app is ready. */
  readonly waivers: () => readonly Waiver[]
  /** @param route the method and the pattern: `GET /users/:id` */
  readonly explain: (route: string) => Explanation
}

/** A route by its methods and its pattern. */
interface RouteName {
  readonly method?: string | readonly string[] | undefined
  readonly url?: string | undefined
}

/** Finds the rules that a policy breaks and that are not waived. */
export type Lint = (policy: Policy, where: string) => Finding[]

/** What {@link RouteCatalog} needs to compile rules. */
export interface Compiler {
  readonly base: CatalogEntry
  readonly layer: PolicyLayer
  readonly lint: Lint
  readonly reportPath: string | null
  readonly compile: (entry: CatalogEntry, where: string) => Promise<Block>
}

/** See {@link Catalog}. */
export class RouteCatalog implements Catalog {
  readonly base: CatalogEntry
  readonly #compiler: Compiler
  /** A list: two routes of the same name may differ by a constraint. */
  readonly #declared: Declared[] = []
  readonly #byName = new Map<string, CatalogEntry>()
  readonly #names: NamedRoutes
  /** The entries of the option `routes`. */
  readonly #named: ReadonlyMap<string, Declared>
  /** Filled at most once for each route of the app. */
  readonly #found = new Map<string, CatalogEntry | undefined>()

  constructor(compiler: Compiler, routes: Readonly<Record<string, unknown>>) {
    this.#compiler = compiler
    this.base = compiler.base
    this.#names = createNamedRoutes(Object.keys(routes))
    this.#named = new Map(
      Object.entries(routes).map(([name, rule]) => {
        const declared = { where: `"routes" ${name}`, entry: { ...this.base }, route: null, rule }
        this.#fill(declared, name)
        return [name, declared]
      }),
    )
  }

  readonly add: Catalog['add'] = ({ raw, route, name }) => {
    const declared: Declared = { where: `route ${name}`, entry: { ...this.base }, route, rule: raw }
    if (raw !== undefined) this.#fill(declared, name)
    this.#declared.push(declared)
    for (const method of [route.method].flat()) {
      this.#byName.set(`${method} ${route.url}`, declared.entry)
    }
    return declared.entry
  }

  readonly find = ({ method = [], url }: RouteName): CatalogEntry | undefined => {
    if (url === undefined || this.#named.size === 0) return undefined
    const key = `${[method].flat().join()} ${url}`
    if (!this.#found.has(key)) this.#found.set(key, this.#findNamed([method].flat(), url)?.entry)
    return this.#found.get(key)
  }

  readonly seal: Catalog['seal'] = async (exists) => {
    for (const declared of this.#declared) this.#update(declared)
    this.#requireRoutes(exists)
    const ruled = [...this.#named.values(), ...this.#declared].filter(
      ({ entry }) => entry.policy !== this.base.policy,
    )
    const { lint } = this.#compiler
    refuse(ruled.flatMap(({ where, entry }) => lint(entry.policy, where)))
    for (const { where, entry } of ruled) entry.block = await this.#compiler.compile(entry, where)
  }

  readonly waivers: Catalog['waivers'] = () =>
    [{ entry: this.base }, ...this.#named.values(), ...this.#declared].flatMap(
      ({ entry }) => entry.policy.waivers,
    )

  readonly explain: Catalog['explain'] = (route) => {
    const [method = '', url = ''] = route.split(' ', 2)
    return explainEntry(this.#byName.get(route) ?? this.find({ method, url }) ?? this.base)
  }

  readonly tenantBlock: Catalog['tenantBlock'] = (entry, csp) => {
    const { lint, reportPath } = this.#compiler
    const layer = readOptions('the tenant', { csp }, { csp: directives })
    const base = applyLayer((entry as CatalogEntry).policy, layer, 'tenant')
    const policy = withFrameOptions(base, layer.csp)
    refuse(lint(policy, 'the tenant'))
    return compileTenantBlock(entry.block, policy, reportPath)
  }

  /** Another plugin's `onRoute` hook may run after the one of this plugin. */
  #update(declared: Declared): void {
    const { config, method, url } = declared.route!
    const raw = (config as { securityHeaders?: unknown } | undefined)?.securityHeaders
    const named = raw === undefined ? this.#findNamed([method].flat(), url) : undefined
    if (named !== undefined) Object.assign(declared.entry, named.entry)
    else if (raw !== declared.rule) {
      declared.rule = raw
      this.#fill(declared, declared.where.replace('route ', ''))
    }
  }

  #fill({ entry, rule }: Declared, name: string): void {
    const { base, layer } = this.#compiler
    if (rule === undefined) return void Object.assign(entry, base)
    const compiled = compileRule(rule, { policy: base.policy, layer }, name)
    const isolation = compiled.isolation ?? base.isolation
    Object.assign(entry, createEntry(compiled.policy, isolation, compiled.csrfExempt, base.block))
  }

  #findNamed(methods: readonly string[], url: string): Declared | undefined {
    const name = this.#names.find(methods, url)
    return name === undefined ? undefined : this.#named.get(name)
  }

  #requireRoutes(exists: (method: string, url: string) => boolean): void {
    const faults = this.#names
      .unused()
      .filter((name) => !name.endsWith('/**'))
      .filter((name) => !exists(...(name.split(' ', 2) as [string, string])))
      .map((name) => `  "routes" has the entry "${name}", but no such route exists`)
    if (faults.length === 0) return
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      faults.join('\n'),
    )
  }
}

function explainEntry({ policy, block, isolation }: CatalogEntry): Explanation {
  return Object.freeze({
    preset: policy.preset,
    headers: block.explained,
    relaxed: Object.freeze({ ...policy.relax }),
    passed: Object.freeze({ ...policy.passHeaders }),
    waived: Object.freeze([...policy.waivers]),
    isolation,
  })
}

/** Creates the entry of a policy. */
export function createEntry(
  policy: Policy,
  isolation: IsolationScope,
  csrfExempt: boolean,
  block: Block,
): CatalogEntry {
  const { preset } = policy
  const page = presets[preset].pages
  const plainHttp = policy.plainHttp !== null
  return { policy, isolation, csrfExempt, shells: preset === 'spa', page, plainHttp, block }
}

/** @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY there are findings. */
export function refuse(findings: readonly Finding[]): void {
  if (findings.length === 0) return
  const lines = [...new Set(findings.map(describeFinding))]
  throw new PARAPET_SECURITY_HEADERS_UNSAFE_POLICY(lines.join('\n'))
}
