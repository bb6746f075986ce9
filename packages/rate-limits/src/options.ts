/** The options of the plugin, their defaults and how they are read. */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
  type RedisClientLike,
} from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { PARAPET_RATE_LIMITS_INVALID_OPTION } from './errors.ts'
import { accountNameOf } from './keys/account.ts'
import { isKeyName, KEY_NAMES, type KeyName } from './keys/identity.ts'
import { compileTiers, isCounting } from './tiers/compile-tiers.ts'
import type { RateLimitRule } from './tiers/rule.ts'
import type { LimitOptions, Tier, TierOptions } from './tiers/tier.ts'

/** An address that should be contained, because a key went far above its limit. */
export interface ContainmentRequest {
  readonly ip: string
  readonly tier: string
  readonly attempts: number
}

/** Accepts `trustProxy: true`. Every client can then choose the address by which it is limited. */
export const acceptForgedAddresses: unique symbol = Symbol('acceptForgedAddresses')

/** The options of `app.register`. */
export interface RateLimitsOptions {
  /** Tiers by name. A built-in name changes single members of that tier. @default the built-in tiers */
  readonly tiers?: Readonly<Record<string, TierOptions>>
  /** Rules of routes that other plugins declare: `'GET /docs'`, or `'* /docs/**'` for all below. @default {} */
  readonly routes?: Readonly<Record<string, RateLimitRule>>
  /** The rule of requests that match no route. It must be known before the login. @default 'standard' */
  readonly notFound?: RateLimitRule
  /** The ioredis client or cluster of `@fastify/redis`, as `app.redis`. @default limits in memory */
  readonly redis?: RedisClientLike
  /** Begins every key in Redis, and is part of their hash tag. @default 'parapet:' */
  readonly prefix?: string
  /** How long a call to Redis may take, 5 to 1000 ms; then this instance decides alone. @default 40 */
  readonly deadlineMs?: number
  /** The least number of instances among which limits are divided while Redis is down. @default 1 */
  readonly instances?: number
  /** How long a block is answered without asking Redis, 0 to 60 000 ms. @default 5000 */
  readonly recheckMs?: number
  /** Keys in memory, 1000 to 10 000 000; further keys share counters. @default 80 000 */
  readonly maxKeys?: number
  /** Returns the principal of a request, for a login that does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /**
   * Returns the account that a login asks for, or several that it may ask for: each of up to three is counted.
   * @default `login`, `username` and `email` of the body
   */
  readonly account?: (request: FastifyRequest) => string | readonly string[] | undefined
  /** The header with an API key. @default 'x-api-key' */
  readonly apiKeyHeader?: string
  /** Returns the plan of the caller, for tiers with `plans`. @default none */
  readonly plan?: (request: FastifyRequest) => string | undefined
  /** The body of a 429: JSON, RFC 9457, or that of the app's error handler. @default 'json' */
  readonly response?: 'json' | 'problem' | 'error-handler'
  /** Which headers responses carry: `X-RateLimit-*`, `RateLimit` and `RateLimit-Policy`. @default 'both' */
  readonly headers?: 'both' | 'x-ratelimit' | 'ratelimit' | 'none'
  readonly abuse?: {
    /** `rate_limits.abused` is emitted above this multiple of a limit, 1 to 100. @default 2 */
    readonly factor?: number
    /** `contain` is called above this number of attempts, 10 to 1 000 000. @default 1000 */
    readonly containAttempts?: number
  }
  /** Called once per window when an address should be contained. @default only the event */
  readonly contain?: (request: ContainmentRequest) => unknown
  /** Time and timers. With Redis, an injected clock replaces the server's. @default the system clock */
  readonly clock?: Clock
  readonly [acceptForgedAddresses]?: true
}

const MAX_MS = 2_592_000_000

const limitReader = optionGroup({
  limit: option.integer({ min: 1, max: 1_000_000 }),
  windowMs: option.milliseconds({ min: 1000, max: MAX_MS }),
}) satisfies OptionReader<LimitOptions>

const limitsReader = option.list(limitReader, { min: 1, max: 4 })

const keysReader = option.custom<KeyName | readonly KeyName[]>((value) => {
  const names = [value].flat()
  return names.length > 0 && names.length <= 4 && names.every(isKeyName)
    ? undefined
    : `must be one to four of ${KEY_NAMES.join(', ')}`
})

const tierReader = optionGroup({
  limits: option.optional(limitsReader),
  algorithm: option.optional(option.oneOf(['exact', 'gcra'])),
  blockMs: option.optional(option.milliseconds({ min: 0, max: MAX_MS })),
  key: option.optional(keysReader),
  cost: option.optional(
    option.custom<NonNullable<TierOptions['cost']>>((value) =>
      typeof value === 'function' ||
      (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 1_000_000)
        ? undefined
        : 'must be an integer from 1 to 1000000, or a function',
    ),
  ),
  count: option.optional(
    option.custom<NonNullable<TierOptions['count']>>((value) =>
      isCounting(value) ? undefined : 'must be "all", "failures" or a function',
    ),
  ),
  maxInFlight: option.optional(option.integer({ max: 1_000_000 })),
  leaseMs: option.optional(option.milliseconds({ min: 1000, max: MAX_MS })),
  plans: option.optional(option.map(limitsReader)),
  dryRun: option.optional(option.boolean()),
  degradedRatio: option.optional(option.ratio({ min: 0.01 })),
  provenBy: option.optional(keysReader as OptionReader<readonly KeyName[]>),
  with: option.optional(option.list(option.text(), { max: 5 })),
})

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  tiers: option.map(tierReader as OptionReader<TierOptions>, { default: {} }),
  routes: option.map(
    option.custom<RateLimitRule>(() => undefined),
    { default: {} },
  ),
  notFound: option.custom<RateLimitRule>(() => undefined, { default: 'standard' }),
  redis: option.optional(option.custom<RedisClientLike>(findClientProblem)),
  prefix: option.text({
    max: 64,
    pattern: /^[^{}]+$/,
    form: 'text without braces',
    default: 'parapet:',
  }),
  deadlineMs: option.milliseconds({ min: 5, max: 1000, default: 40 }),
  instances: option.integer({ min: 1, max: 10_000, default: 1 }),
  recheckMs: option.milliseconds({ min: 0, max: 60_000, default: 5000 }),
  maxKeys: option.integer({ min: 1000, max: 10_000_000, default: 80_000 }),
  principal: option.optional(option.callback<PrincipalMapping>()),
  account: option.callback<NonNullable<RateLimitsOptions['account']>>({ default: readAccounts }),
  apiKeyHeader: option.text({
    max: 64,
    pattern: /^[a-z0-9-]+$/,
    form: 'a header name in lower case',
    default: 'x-api-key',
  }),
  plan: option.optional(option.callback<(request: FastifyRequest) => string | undefined>()),
  response: option.oneOf(['json', 'problem', 'error-handler'], { default: 'json' }),
  headers: option.oneOf(['both', 'x-ratelimit', 'ratelimit', 'none'], { default: 'both' }),
  abuse: optionGroup({
    factor: option.integer({ min: 1, max: 100, default: 2 }),
    containAttempts: option.integer({ min: 10, max: 1_000_000, default: 1000 }),
  }),
  contain: option.optional(option.callback<(request: ContainmentRequest) => unknown>()),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
  [acceptForgedAddresses]: option.danger(),
} satisfies Record<keyof RateLimitsOptions, OptionReader<unknown>>

/** The options with every default filled in, and the tiers compiled. */
export type RateLimitsSettings = OptionSettings<typeof optionTable> & {
  readonly compiledTiers: ReadonlyMap<string, Tier>
}

const NAME = '@parapet/rate-limits'

/** Names that users of other libraries write. */
const hints = {
  max: 'tiers: { standard: { limits: [{ limit: 100, windowMs: 3600000 }] } }',
  timeWindow: 'tiers: { standard: { limits: [{ limit: 100, windowMs: 3600000 }] } }',
  global: "routes: { '* /**': 'standard' }",
  skipOnError: 'instances',
  dryRun: 'tiers: { standard: { dryRun: true } }',
  errorResponseBuilder: 'response',
  keyGenerator: "tiers: { standard: { key: 'ip' } }",
  'tiers.points': 'limits',
}

/** Reads the options once, at boot. @throws PARAPET_RATE_LIMITS_INVALID_OPTION */
export function resolveOptions(options: unknown): RateLimitsSettings {
  const settings = readOptions(NAME, options, optionTable, PARAPET_RATE_LIMITS_INVALID_OPTION, {
    hints,
  })
  const faults: string[] = []
  const compiledTiers = compileTiers(settings.tiers, (path, problem) => {
    faults.push(`  "${path}" ${problem}`)
  })
  if (faults.length > 0) throw new PARAPET_RATE_LIMITS_INVALID_OPTION(NAME, faults.join('\n'))
  return Object.freeze({ ...settings, compiledTiers })
}

function findClientProblem(value: unknown): string | undefined {
  const client = (value ?? {}) as Readonly<Record<string, unknown>>
  if (!['call', 'on', 'off', 'disconnect'].every((name) => typeof client[name] === 'function')) {
    return 'must be a client or cluster of ioredis or iovalkey, as app.redis of @fastify/redis'
  }
  const { keyPrefix } = (client['options'] ?? {}) as { readonly keyPrefix?: string }
  return keyPrefix ? 'must have no keyPrefix; set the option "prefix" instead' : undefined
}

/** The names under which login forms send the account. */
const ACCOUNT_MEMBERS = ['login', 'username', 'email']

/** With several names the app may read any of them. */
function readAccounts({ body }: FastifyRequest): readonly string[] {
  if (typeof body !== 'object' || body === null) return []
  return ACCOUNT_MEMBERS.flatMap((member) => {
    const value = Object.hasOwn(body, member)
      ? (body as Record<string, unknown>)[member]
      : undefined
    return accountNameOf(value) ?? []
  })
}
