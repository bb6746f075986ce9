/** The options of `@parapet/rate-limits`: how many requests each client may send to which routes. */
import type { RateLimitsOptions } from '@parapet/rate-limits'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'
import { inApi } from '../http/api.ts'

type RouteLimits = NonNullable<RateLimitsOptions['routes']>[string]

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

/** Pages of one user need several requests, and an office shares an address. */
const tiers: NonNullable<RateLimitsOptions['tiers']> = {
  standard: { limits: [{ limit: 1200, windowMs: MINUTE_MS }], blockMs: MINUTE_MS },
  user: { limits: [{ limit: 10_000, windowMs: HOUR_MS }] },
  'auth-address': { limits: [{ limit: 30, windowMs: HOUR_MS }] },
  // Each registration costs a password hash and a row.
  registration: { limits: [{ limit: 60, windowMs: HOUR_MS }] },
  // Everything at once: a person needs it a few times a day.
  export: { limits: [{ limit: 20, windowMs: HOUR_MS }], key: 'principal', maxInFlight: 2 },
}

/**
 * Every route has a tier. All count by address, before the token is verified; the routes of users also count
 * by principal.
 */
const routes: NonNullable<RateLimitsOptions['routes']> = {
  'GET /health': { exempt: 'load balancers probe it' },
  'GET /ready': { exempt: 'load balancers probe it' },
  'GET /metrics': 'standard',
  'GET /version': 'standard',
  'GET /openapi.json': 'standard',
  'GET /docs': 'standard',
  '* /docs/**': 'standard',
  'POST /_reports': 'standard',
  '* /.well-known/**': 'standard',
  '* /challenge/**': 'standard',
  'GET /account/**': 'standard',
  'GET /': 'standard',
  'GET /console': 'standard',
  'GET /console/assets/**': 'standard',
  ...inApi<RouteLimits>({
    'POST /auth/login': { tiers: ['standard', 'auth'], proves: true },
    'POST /auth/login/second-factor': ['standard', 'auth-address'],
    'POST /users': ['standard', 'registration'],
    // Each sends a message to someone, if there is an account.
    'POST /auth/password/forgot': ['standard', 'registration'],
    'POST /auth/email/verification': ['standard', 'registration'],
    'POST /auth/password/reset': ['standard', 'auth-address'],
    'POST /auth/email/verify': ['standard', 'auth-address'],
    'POST /auth/email/undo': ['standard', 'auth-address'],
    'GET /export/:resource': ['standard', 'export'],
    // Each one is a job, and may be a message.
    'POST /privacy/requests/by-contact': ['standard', 'auth-address'],
    '* /**': ['standard', 'user'],
  }),
}

/** Creates the options. Instances share the limits through Redis, if there is one. */
export function createRateLimitsOptions(
  app: FastifyInstance,
  { redisUrl }: Config,
): RateLimitsOptions {
  const redis = redisUrl === undefined ? undefined : { redis: app.redis }
  return { tiers, routes, response: 'problem', ...redis }
}
