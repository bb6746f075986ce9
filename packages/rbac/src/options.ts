/** The options, their defaults and their reader. */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type Principal,
  type PrincipalMapping,
  type Store,
} from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import type { FactFinder } from './access.ts'
import { PARAPET_RBAC_INVALID_OPTION } from './errors.ts'
import type { ResourceLoader, SubjectResolver } from './authzen.ts'
import type { Policy } from './policy-types.ts'
import type { PolicyStore } from './policy-store.ts'
import type { RbacRule as Rule } from './route-config.ts'

type RbacRule = Rule<FastifyRequest>

/** How an application offers its decisions to others. @see AuthZEN Authorization API 1.0 */
export interface AuthzenOptions {
  /** Who stands behind a subject of a request; `null`: nobody, so the decision is false. */
  readonly subject: SubjectResolver
  /** Who may ask: a rule, as routes have it. Answers tell what others may do. */
  readonly rule: RbacRule
  /** The public address of this service, as `https://pdp.example.com`, for the discovery document. */
  readonly baseUrl: string
  /** Attributes of a resource. @default its `properties` and its `id`, as the request has them */
  readonly resource?: ResourceLoader
  /** Where the routes stand. @default '/access/v1' */
  readonly prefix?: string
  /** How many evaluations one request may hold, from 1 to 10 000. @default 100 */
  readonly maxEvaluations?: number
}

/** What `app.register` takes. */
export interface RbacOptions {
  /** The policy, from `definePolicy` or `fromMap`; it seeds an empty policy store. */
  readonly policy: Policy
  /** Who is asking, in an app whose login does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /** Attributes of the subject that the policy declares. @default none */
  readonly subject?: (
    principal: Principal,
    request: FastifyRequest,
  ) => Readonly<Record<string, unknown>>
  /** Attributes of the environment that the policy declares beside time and ip. @default none */
  readonly environment?: (request: FastifyRequest) => Readonly<Record<string, unknown>>
  /** One finder for each fact that the policy declares. @default none */
  readonly facts?: Readonly<Record<string, FactFinder>>
  /** How long a fact may take. @default 1000 */
  readonly factTimeoutMs?: number
  /** Rules of routes that other plugins declare: `'GET /docs'`, or `'GET /docs/**'` for all below. */
  readonly routes?: Readonly<Record<string, RbacRule>>
  /** The `WWW-Authenticate` of a 401. @default 'Bearer' */
  readonly challenge?: string
  /** Where the policy of the fleet lives. @default this process */
  readonly policyStore?: PolicyStore
  /** Carries the news of a new policy to the other instances. @default none: they ask */
  readonly store?: Store
  /** How often the policy store is asked. @default 5000 */
  readonly refreshMs?: number
  /** Without contact with the policy store for longer, everything is denied. @default 60_000 */
  readonly maxStalenessMs?: number
  /** The share of allowed decisions that become events. @default 0 */
  readonly allowedSampleRatio?: number
  /** The name of the security scheme in OpenAPI. @default 'bearerAuth' */
  readonly securityScheme?: string
  /** Offers decisions to others. @default no routes */
  readonly authzen?: AuthzenOptions
  /** For tests. @default the machine's clock */
  readonly clock?: Clock
}

const ROUTE_NAME = /^(?:\*|[A-Z][A-Z-]*) [/*]\S*$/

const rule = option.custom<RbacRule>((value) =>
  typeof value === 'string' || (typeof value === 'object' && value !== null)
    ? undefined
    : 'must be a rule, as routes have it',
)

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  policy: option.custom<Policy>((value) =>
    typeof value === 'object' && value !== null && 'permissions' in value
      ? undefined
      : 'must be a policy, made by definePolicy or fromMap',
  ),
  principal: option.optional(option.callback<PrincipalMapping>()),
  subject: option.optional(option.callback<NonNullable<RbacOptions['subject']>>()),
  environment: option.optional(option.callback<NonNullable<RbacOptions['environment']>>()),
  facts: option.map(option.callback<FactFinder>(), { default: {} }),
  factTimeoutMs: option.milliseconds({ max: 60_000, default: 1000 }),
  routes: option.map(rule, { default: {} }),
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
      prefix: option.text({ pattern: /^\/[\w/.-]*\w$/, default: '/access/v1' }),
      maxEvaluations: option.integer({ min: 1, max: 10_000, default: 100 }),
    }),
  ),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof RbacOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type RbacSettings = OptionSettings<typeof optionTable>

/** Reads the options, once, at boot. @throws PARAPET_RBAC_INVALID_OPTION */
export function resolveOptions(options: unknown): RbacSettings {
  const settings = readOptions('@parapet/rbac', options, optionTable, PARAPET_RBAC_INVALID_OPTION)
  const faults: string[] = []
  if (settings.maxStalenessMs <= settings.refreshMs) {
    faults.push('  maxStalenessMs: must be longer than refreshMs')
  }
  for (const name of Object.keys(settings.routes)) {
    if (ROUTE_NAME.test(name)) continue
    faults.push(`  routes.${name}: must be a method, a blank and a pattern, as 'GET /docs/**'`)
  }
  if (settings.store !== undefined && settings.policyStore === undefined) {
    faults.push('  store: needs a policyStore that the instances share')
  }
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_OPTION('@parapet/rbac', faults.join('\n'))
  return settings
}
