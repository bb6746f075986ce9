/**
 * Rate limits by tier for a Fastify app, on `@fastify/rate-limit`: exact windows or GCRA, several limits as
 * one atomic decision, in memory or on Redis, and local shares while Redis does not answer.
 *
 * Addresses are limited in `onRequest`, before the login; principals in `preParsing`, after it; accounts in
 * `preValidation`, when the body is parsed. A route without a tier stops the boot.
 */
import { declarePhase, readFastifyInternal, trustsEveryProxy } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import {
  PARAPET_RATE_LIMITS_REGISTERED_TWICE,
  PARAPET_RATE_LIMITS_TRUSTS_EVERY_PROXY,
} from './errors.ts'
import type { RateLimits } from './http/decorator.ts'
import { registerLimits } from './http/register.ts'
import { acceptForgedAddresses, resolveOptions, type RateLimitsOptions } from './options.ts'
import type { RateLimitRule } from './tiers/rule.ts'

export * from './errors.ts'
// A type export keeps the typed events in the published declarations; a bare import would be dropped.
export type * from './events.ts'
export type {
  Explanation,
  LimitReading,
  RateLimitMetrics,
  RateLimits,
  TierReading,
} from './http/decorator.ts'
export type { KeyName, KeyValues } from './keys/identity.ts'
export type { Algorithm } from './limits/policy.ts'
export type { StoreStatus } from './limits/store.ts'
export {
  acceptForgedAddresses,
  type ContainmentRequest,
  type RateLimitsOptions,
} from './options.ts'
export { builtInTiers, type BuiltInTier } from './tiers/built-in.ts'
export type { ReplyLike, RequestLike } from './tiers/request-like.ts'
export type { RateLimitRule } from './tiers/rule.ts'
export type { Counting, LimitOptions, TierOptions } from './tiers/tier.ts'
export type { TierCounts, WouldBeRefusal } from './watch/tally.ts'

declare module 'fastify' {
  interface FastifyInstance {
    rateLimits: RateLimits
  }
  interface FastifyContextConfig {
    /** The tiers that requests of the route must pass. Required for each route. */
    rateLimit?: RateLimitRule
  }
}

const NAME = '@parapet/rate-limits'

async function rateLimitsPlugin(app: FastifyInstance, options: RateLimitsOptions): Promise<void> {
  if (app.hasDecorator('rateLimits')) throw new PARAPET_RATE_LIMITS_REGISTERED_TWICE()
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'peer-limits')
  const server = readFastifyInternal(app, 'fastify.options') as { readonly trustProxy?: unknown }
  if (trustsEveryProxy(server.trustProxy) && !settings[acceptForgedAddresses]) {
    throw new PARAPET_RATE_LIMITS_TRUSTS_EVERY_PROXY()
  }
  app.decorate('rateLimits', await registerLimits(app, NAME, settings))
}

/** The plugin. Register it with `await`, before the login and before the routes. */
export const rateLimits: FastifyPluginAsync<RateLimitsOptions> = fp(rateLimitsPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default rateLimits
