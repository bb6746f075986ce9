/** The options of `@parapet/rate-limits`: how many requests each client may send to which routes. */
import type { RateLimitsOptions } from '@parapet/rate-limits'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

/** Pages of one user need several requests, and an office shares an address. */
const tiers: NonNullable<RateLimitsOptions['tiers']> = {
  standard: { limits: [{ limit: 1200, windowMs: MINUTE_MS }], blockMs: MINUTE_MS },
  user: { limits: [{ limit: 10_000, windowMs: HOUR_MS }] },
  'auth-address': { limits: [{ limit: 30, windowMs: HOUR_MS }] },
  // Each registration costs a password hash and a row.
  registration: { limits: [{ limit: 60, windowMs: HOUR_MS }] },
}

/**
 * Every route has a tier. All count by address, before the token is verified; the routes of users also count
 * by principal.
 */
const routes: NonNullable<RateLimitsOptions['routes']> = {
  'GET /health': { exempt: 'load balancers probe it' },
  'GET /ready': { exempt: 'load balancers probe it' },
  'GET /openapi.json': 'standard',
  'POST /_reports': 'standard',
  'GET /.well-known/jwks.json': 'standard',
  'POST /auth/login': { tiers: ['standard', 'auth'], proves: true },
  'POST /auth/login/second-factor': ['standard', 'auth-address'],
  'POST /users': ['standard', 'registration'],
  '* /auth/**': ['standard', 'user'],
  '* /mfa/**': ['standard', 'user'],
  '* /audit/**': ['standard', 'user'],
  '* /challenge/**': 'standard',
  '* /security/**': ['standard', 'user'],
  '* /users/**': ['standard', 'user'],
  '* /content/**': ['standard', 'user'],
  '* /artists/**': ['standard', 'user'],
}

/** Creates the options. Instances share the limits through Redis, if there is one. */
export function createRateLimitsOptions(
  app: FastifyInstance,
  { redisUrl }: Config,
): RateLimitsOptions {
  const redis = redisUrl === undefined ? undefined : { redis: app.redis }
  return { tiers, routes, response: 'problem', ...redis }
}
