/** Every error of this plugin. Each constant has the name of its code. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, mistyped or out of range.
 * Fix: correct every option that the message lists.
 */
export const PARAPET_RATE_LIMITS_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_RATE_LIMITS_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * Thrown at boot when `config.rateLimit` of a route, or its entry in the option `routes`, is invalid.
 * Fix: name existing tiers, or write one of the forms in the message.
 */
export const PARAPET_RATE_LIMITS_INVALID_RULE = createError<[route: string, problem: string]>(
  'PARAPET_RATE_LIMITS_INVALID_RULE',
  'The rule "rateLimit" of the route %s %s',
)

/**
 * Thrown by `app.ready()` when routes have no tier, usually because they were declared without one or
 * before the plugin.
 * Fix: register the plugin with `await` before the routes, and give each route a tier by
 * `config: { rateLimit: 'standard' }` or the option `routes`.
 */
export const PARAPET_RATE_LIMITS_UNLIMITED_ROUTES = createError<[routes: string]>(
  'PARAPET_RATE_LIMITS_UNLIMITED_ROUTES',
  "These routes have no rate limit:\n%s\nGive each a tier by config: { rateLimit: 'standard' } or by " +
    'the option "routes" of @parapet/rate-limits, and register the plugin with await before the routes',
)

/**
 * Thrown at boot when `trustProxy` believes every peer, so that a client can choose its address and with it
 * its limit.
 * Fix: write the addresses of your proxies, as `Fastify({ trustProxy: ['10.0.0.0/8'] })`.
 */
export const PARAPET_RATE_LIMITS_TRUSTS_EVERY_PROXY = createError<[]>(
  'PARAPET_RATE_LIMITS_TRUSTS_EVERY_PROXY',
  'Fastify trusts the forwarded address of every client (trustProxy: true), so each client can choose its ' +
    "own limit; write the addresses of your proxies, as Fastify({ trustProxy: ['10.0.0.0/8'] })",
)

/**
 * Thrown at boot when the plugin is registered in a context that has it already.
 * Fix: register it once, in the outermost context; each route chooses its tiers.
 */
export const PARAPET_RATE_LIMITS_REGISTERED_TWICE = createError<[]>(
  'PARAPET_RATE_LIMITS_REGISTERED_TWICE',
  '@parapet/rate-limits is registered already, in this context or one around it; register it once, add its ' +
    '"tiers" there, and choose them by config: { rateLimit: … } of each route',
)

/**
 * Thrown at boot when the app has registered `@fastify/rate-limit` itself: both would read
 * `config.rateLimit`.
 * Fix: remove that registration; this plugin contains it.
 */
export const PARAPET_RATE_LIMITS_TWO_LIMITERS = createError<[]>(
  'PARAPET_RATE_LIMITS_TWO_LIMITERS',
  'The app has registered @fastify/rate-limit, which reads config.rateLimit too; remove it, because ' +
    '@parapet/rate-limits contains it',
)

/**
 * A client has exceeded a limit; the handler did not run. With the option `response: 'error-handler'` it
 * reaches the error handler of the app.
 * Fix: repeat the request after the seconds in `Retry-After`.
 */
export const PARAPET_RATE_LIMITS_EXCEEDED = createError<[seconds: string]>(
  'PARAPET_RATE_LIMITS_EXCEEDED',
  'Rate limit exceeded, retry in %s seconds',
  429,
)

/**
 * Thrown by functions of `app.rateLimits` when an argument is invalid.
 * Fix: correct the argument that the message names.
 */
export const PARAPET_RATE_LIMITS_INVALID_ARGUMENT = createError<[problem: string]>(
  'PARAPET_RATE_LIMITS_INVALID_ARGUMENT',
  'Invalid call of @parapet/rate-limits: %s',
)

/**
 * Thrown by `tighten`, `reset` and `unblock` when Redis does not answer. The change is in force in this
 * instance only.
 * Fix: call the function again when Redis answers.
 */
export const PARAPET_RATE_LIMITS_STORE_UNAVAILABLE = createError<
  [reason: string, options: { cause: unknown }]
>(
  'PARAPET_RATE_LIMITS_STORE_UNAVAILABLE',
  'Redis did not take the change (%s), so it is in force in this instance only; call again later',
  503,
)
