/** The options of the plugin, their defaults and how they are read. */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type Principal,
  type Store,
} from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import type { SubjectLister } from './authzen/search.ts'
import type { AttributeLoader, ResourceLoader, SubjectResolver } from './authzen/evaluation.ts'
import type { FactFinder } from './decide/facts.ts'
import type { RbacRule as Rule } from './decide/rule-config.ts'
import { PARAPET_RBAC_INVALID_OPTION } from './errors.ts'
import type { PolicyStore } from './live/policy-store.ts'
import type { Policy } from './policy/policy-types.ts'
import type { Relations, RelationStore } from './tuples/relations.ts'
import type { ResourceLister } from './search/list-resources.ts'
import { lintRules, type PolicyWaiver } from './lint/lint.ts'
import { endOfDay } from './routes/report-mode.ts'

type RbacRule = Rule<FastifyRequest>

/** How other services can request decisions. @see AuthZEN Authorization API 1.0 */
export interface AuthzenOptions {
  /** Returns the principal of a subject; `null`: the subject is unknown and is denied. */
  readonly subject: SubjectResolver
  /** Who may request decisions: a route rule. Decisions reveal what other principals may do. */
  readonly rule: RbacRule
  /** The public origin of this service, as `https://pdp.example.com`, for the discovery document. */
  readonly baseUrl: string
  /**
   * Loads the attributes of a resource; `null`: there is none. @default its `id`, and what
   * `trustedResourceProperties` names
   */
  readonly resource?: ResourceLoader
  /**
   * The `properties` of a resource that the caller of the API may state: a caller that states `ownerId`
   * decides by itself who the owner is. Not together with `resource`. @default none: they are unknown
   */
  readonly trustedResourceProperties?: readonly string[]
  /**
   * Loads the attributes that the policy declares under `subject`, as the option `subject` does for
   * requests. Required if the policy declares any.
   */
  readonly attributes?: AttributeLoader
  /**
   * The `properties` of a subject that the caller of the API may state. They override what
   * `attributes` loads. @default none
   */
  readonly trustedProperties?: readonly string[]
  /** The path prefix of the routes. @default '/access/v1' */
  readonly prefix?: string
  /** The largest number of evaluations in one request, 1 to 10 000. @default 100 */
  readonly maxEvaluations?: number
  /**
   * Lists the subjects of a type, for the search of subjects. The search of resources uses the option
   * `resources`. @default no search of subjects
   */
  readonly subjects?: SubjectLister
}

/** Returns the principal of a request; `null` or `undefined`: there is none. */
export type RbacPrincipalMapping = (
  request: FastifyRequest,
) => Principal | null | undefined | Promise<Principal | null | undefined>

/** The hook in which the rules of routes are decided. */
export type DecisionHook = 'onRequest' | 'preParsing' | 'preHandler'

/** The options of `app.register`. */
export interface RbacOptions {
  /** The policy, from `definePolicy` or `fromMap`. It seeds an empty policy store. */
  readonly policy: Policy
  /**
   * Returns the principal of a request, if the login does not set `request.principal`; `null` or
   * `undefined`: there is none. It may be asynchronous. It runs in the hook that decides, also for public
   * routes.
   */
  readonly principal?: RbacPrincipalMapping
  /** Returns the attributes that the policy declares under `subject`. @default none */
  readonly subject?: (
    principal: Principal,
    request: FastifyRequest,
  ) => Readonly<Record<string, unknown>>
  /** Returns the attributes that the policy declares under `environment`. @default none */
  readonly environment?: (request: FastifyRequest) => Readonly<Record<string, unknown>>
  /** A finder for each fact that the policy declares. @default none */
  readonly facts?: Readonly<Record<string, FactFinder>>
  /** Answers conditions with `related`. Required if the policy declares `relations`. */
  readonly relations?: Relations | RelationStore
  /** By resource type: lists resources, for `app.rbac.list` and the search of AuthZEN. @default none */
  readonly resources?: Readonly<Record<string, ResourceLister>>
  /**
   * The deadline for a fact and for relations, 1 to 60 000 ms; late ones are unknown. An asynchronous `principal`, the
   * `resource` of a rule and the lookups of `authzen` have the same deadline; a late one gets 503.
   * @default 1000
   */
  readonly factTimeoutMs?: number
  /** Rules of routes that other plugins declare: `'GET /docs'`, or `'GET /docs/**'` for all below it. */
  readonly routes?: Readonly<Record<string, RbacRule>>
  /**
   * Why routes outside of the context in which the plugin is registered are not guarded, in 3 to 200
   * characters: for an app whose contexts differ on purpose. Such routes have no guard at all, unless
   * their context has an rbac of its own. @default routes outside stop the boot
   */
  readonly outside?: string
  /**
   * The hook in which rules are decided. `preParsing` comes after the route's own `onRequest` hooks,
   * `preHandler` after its own `preHandler` hooks, when the body has been parsed and validated: every
   * caller can then make the service do that work. @default 'onRequest'
   */
  readonly hook?: DecisionHook
  /**
   * `report`: nothing is refused. Would-be denials and routes without a rule are counted in
   * `app.rbac.report()` and emit events. Requires `report`. @default 'enforce'
   */
  readonly mode?: 'enforce' | 'report'
  /**
   * Why nothing is refused, and the last day of it (in UTC), as `2027-03-01`: at most one year ahead.
   * From the day after, requests are refused, also those of routes without a rule.
   */
  readonly report?: { readonly reason: string; readonly until: string }
  /**
   * What to do at boot if the policy store has another policy than the option `policy`. The stored one is
   * in force: `warn` reports it, `fail` stops the boot, and `publish` puts the option in force in the whole
   * fleet, over everything that was published since. @default 'warn'
   */
  readonly onDifference?: 'warn' | 'fail' | 'publish'
  /**
   * Findings of the lint that do not stop the boot. After its last day, a waiver accepts nothing in
   * `publish` and `lint`; at boot its findings are reported. @default none
   */
  readonly waivers?: readonly PolicyWaiver[]
  /** The `WWW-Authenticate` header of a 401 response. @default 'Bearer' */
  readonly challenge?: string
  /** Stores the policy of a fleet. @default in memory */
  readonly policyStore?: PolicyStore
  /** Notifies other instances of a new policy. @default none: they load it every `refreshMs` */
  readonly store?: Store
  /** How often to load the policy from the policy store, 100 to 3 600 000 ms. @default 5000 */
  readonly refreshMs?: number
  /**
   * If the policy store is out of contact for longer, all but public routes respond 503; 1000 to
   * 86 400 000 ms, and more than `refreshMs`. @default 60_000
   */
  readonly maxStalenessMs?: number
  /** The share of allowed decisions that emit an event, 0 to 1. @default 0 */
  readonly allowedSampleRatio?: number
  /** The name of the security scheme in OpenAPI. @default 'bearerAuth' */
  readonly securityScheme?: string
  /** Lets other services request decisions. @default no routes */
  readonly authzen?: AuthzenOptions
  /** The clock, for tests. @default the system clock */
  readonly clock?: Clock
}

const ROUTE_NAME = /^(?:\*|[A-Z][A-Z-]*) [/*]\S*$/

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  return typeof value === 'object' ? 'an object of another shape' : `a ${typeof value}`
}

const rule = option.custom<RbacRule>((value) =>
  typeof value === 'string' || (typeof value === 'object' && value !== null)
    ? undefined
    : `must be a route rule such as 'content:read' or { public: 'reason' }, got ${kindOf(value)}`,
)

/** One reader for each option. A test compares the table with the README. */
export const optionTable = {
  policy: option.custom<Policy>((value) =>
    typeof value === 'object' && value !== null && 'permissions' in value
      ? undefined
      : `must be a policy made by definePolicy or fromMap, got ${kindOf(value)}`,
  ),
  principal: option.optional(option.callback<RbacPrincipalMapping>()),
  subject: option.optional(option.callback<NonNullable<RbacOptions['subject']>>()),
  environment: option.optional(option.callback<NonNullable<RbacOptions['environment']>>()),
  facts: option.map(option.callback<FactFinder>(), { default: {} }),
  relations: option.optional(option.port<Relations | RelationStore>(['check', 'list'])),
  resources: option.map(option.callback<ResourceLister>(), { default: {} }),
  factTimeoutMs: option.milliseconds({ max: 60_000, default: 1000 }),
  routes: option.map(rule, { default: {} }),
  outside: option.optional(option.text({ min: 3, max: 200 })),
  hook: option.oneOf(['onRequest', 'preParsing', 'preHandler'], { default: 'onRequest' }),
  mode: option.oneOf(['enforce', 'report'], { default: 'enforce' }),
  report: option.optional(
    optionGroup({ reason: option.text({ min: 3, max: 200 }), until: option.text({ max: 10 }) }),
  ),
  onDifference: option.oneOf(['warn', 'fail', 'publish'], { default: 'warn' }),
  waivers: option.list(
    optionGroup({
      rule: option.text({ max: 64 }),
      where: option.optional(option.text({ max: 512 })),
      reason: option.text({ min: 3, max: 200 }),
      until: option.text({ max: 10 }),
    }),
    { default: [] },
  ),
  challenge: option.text({ max: 256, pattern: /^[\x21-\x7e][\x20-\x7e]*$/, default: 'Bearer' }),
  policyStore: option.optional(option.port<PolicyStore>(['load', 'change'])),
  store: option.optional(option.port<Store>(['publish', 'subscribe'])),
  refreshMs: option.milliseconds({ min: 100, max: 3_600_000, default: 5000 }),
  maxStalenessMs: option.milliseconds({ min: 1000, max: 86_400_000, default: 60_000 }),
  allowedSampleRatio: option.ratio({ default: 0 }),
  securityScheme: option.text({ max: 64, default: 'bearerAuth' }),
  authzen: option.optional(
    optionGroup({
      subject: option.callback<SubjectResolver>(),
      rule,
      baseUrl: option.text({ pattern: /^https?:\/\/[^/?#]+$/ }),
      resource: option.optional(option.callback<ResourceLoader>()),
      attributes: option.optional(option.callback<AttributeLoader>()),
      trustedProperties: option.list(option.text({ max: 128 }), { default: [] }),
      trustedResourceProperties: option.list(option.text({ max: 128 }), { default: [] }),
      prefix: option.text({ pattern: /^\/[\w/.-]*\w$/, default: '/access/v1' }),
      maxEvaluations: option.integer({ min: 1, max: 10_000, default: 100 }),
      subjects: option.optional(option.callback<SubjectLister>()),
    }),
  ),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof RbacOptions, OptionReader<unknown>>

/** The options with defaults filled in. */
export type RbacSettings = OptionSettings<typeof optionTable>

/** Reads the options at boot. @throws PARAPET_RBAC_INVALID_OPTION with every fault. */
export function resolveOptions(options: unknown): RbacSettings {
  const settings = readOptions('@parapet/rbac', options, optionTable, PARAPET_RBAC_INVALID_OPTION)
  const faults: string[] = []
  if (settings.maxStalenessMs <= settings.refreshMs) {
    const { maxStalenessMs, refreshMs } = settings
    faults.push(
      `  "maxStalenessMs" must be greater than "refreshMs" (${refreshMs}), got ${maxStalenessMs}`,
    )
  }
  for (const name of Object.keys(settings.routes)) {
    if (ROUTE_NAME.test(name)) continue
    faults.push(`  "routes" must have keys such as 'GET /docs/**', got "${name}"`)
  }
  faults.push(...openRootFaults(settings))
  faults.push(...dateFaults(settings), ...authzenFaults(settings))
  if (settings.store !== undefined && settings.policyStore === undefined) {
    faults.push('  "store" requires "policyStore", a policy store that all instances share')
  }
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults.join('\n'))
  return settings
}

/** Every route that somebody forgets would be public. */
function openRootFaults({ routes }: RbacSettings): string[] {
  return Object.entries(routes)
    .filter(([name, raw]) => name.endsWith(' /**') && typeof raw === 'object' && 'public' in raw)
    .map(([name]) => {
      const single = name.slice(0, -1)
      return `  "routes" has the entry "${name}" with a public rule, which makes every forgotten route public; name single routes, such as "${single}" for the files of a site, or give them a prefix`
    })
}

function dateFaults({ mode, report, waivers, clock }: RbacSettings): string[] {
  const faults = waivers.flatMap(({ rule: id, until }, index) => {
    const end = endOfDay(until, clock.now())
    const date = typeof end === 'string' ? [`  "waivers[${index}].until" ${end}`] : []
    if (Object.hasOwn(lintRules, id)) return date
    const known = Object.keys(lintRules).join(', ')
    return [...date, `  "waivers[${index}].rule" must be one of ${known}, got "${id}"`]
  })
  if ((mode === 'report') !== (report !== undefined)) {
    faults.push('  "mode" must be "report" if "report" is set, and needs it: { reason, until }')
  }
  const end = report === undefined ? 0 : endOfDay(report.until, clock.now())
  return typeof end === 'string' ? [...faults, `  "report.until" ${end}`] : faults
}

/** The option `subject` cannot serve AuthZEN if it reads the request, which is that of another service. */
function authzenFaults({ authzen, subject }: RbacSettings): string[] {
  if (authzen?.resource !== undefined && authzen.trustedResourceProperties.length > 0) {
    return ['  "authzen.trustedResourceProperties" must be empty if "authzen.resource" is set']
  }
  if (authzen === undefined || authzen.attributes !== undefined || (subject?.length ?? 0) < 2) {
    return []
  }
  return [
    '  "authzen.attributes" is required, because "subject" reads the request: it must load the same attributes from the principal',
  ]
}
