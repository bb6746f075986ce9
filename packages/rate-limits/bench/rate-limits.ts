/** The cost of a decision over a bare route, beside `@fastify/rate-limit` and `rate-limiter-flexible`. */
import { createRequire } from 'node:module'
import { goal, pairedBench } from '@parapet/testing'
import { rateLimits, type RateLimitsOptions } from '@parapet/rate-limits'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible'

// Its types declare another `config.rateLimit`.
const fastifyRateLimit = createRequire(import.meta.url)(
  '@fastify/rate-limit',
) as FastifyPluginAsync<Readonly<Record<string, unknown>>>

const MANY = 900_000
const HOUR_MS = 3_600_000
const here = async () => 'here'
const prefix = `parapet-bench-${process.pid}:`

async function ours(rule: string | string[], options: RateLimitsOptions = {}) {
  const app = Fastify()
  const limit = { limit: MANY, windowMs: HOUR_MS }
  const tiers = {
    wide: { limits: [limit] },
    second: { limits: [limit] },
    pair: { limits: [limit, { limit: MANY, windowMs: 60_000 }] },
    block: { limits: [{ limit: 1, windowMs: HOUR_MS }], blockMs: HOUR_MS },
  }
  await app.register(rateLimits, { ...options, prefix, deadlineMs: 1000, tiers })
  app.get('/', { config: { rateLimit: rule } }, here)
  return app
}

async function theirs(max: number, redis?: Redis) {
  const app = Fastify()
  const settings = { max, timeWindow: HOUR_MS, nameSpace: prefix }
  await app.register(fastifyRateLimit, redis === undefined ? settings : { ...settings, redis })
  app.get('/', here)
  return app
}

function flexible(limiter: { consume: (key: string) => Promise<unknown> }) {
  const app = Fastify()
  app.addHook('onRequest', async (request) => {
    await limiter.consume(request.ip)
  })
  app.get('/', here)
  return app
}

let sent = 0

/**
 * Sends a request. Without a turn of the event loop now and then, Node.js keeps the objects of all requests,
 * and the collector would be most of what is measured.
 */
async function send(app: FastifyInstance) {
  if (++sent % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  return app.inject('/')
}

/** @param atOnce requests of one operation. */
async function measure(cases: Readonly<Record<string, FastifyInstance>>, atOnce = 1) {
  await Promise.all(Object.values(cases).map((app) => app.ready()))
  const entries = Object.entries(cases).map(
    ([name, app]) =>
      [name, () => Promise.all(Array.from({ length: atOnce }, () => send(app)))] as const,
  )
  const result = await pairedBench({
    time: 'cpu',
    minMs: 100,
    rounds: 15,
    cases: Object.fromEntries(entries),
  })
  console.log(result.table)
  const compare = (name: string, other: string) => result.ratio(name, other).median
  return { ...result, compare }
}

/** Headers are the largest part of the cost, so both sides send the same ones. */
const sameHeaders = { headers: 'x-ratelimit' } as const

const bare = Fastify()
bare.get('/', here)
const inMemory = {
  'a bare route': bare,
  '@fastify/rate-limit': await theirs(MANY),
  'its 429': await theirs(1),
  'rate-limiter-flexible': flexible(new RateLimiterMemory({ points: MANY, duration: 3600 })),
  'one tier': await ours('wide', sameHeaders),
  'a union of two tiers': await ours(['wide', 'second'], sameHeaders),
  'a 429': await ours('block', sameHeaders),
  'one tier, all headers': await ours('wide'),
}
const memory = await measure(inMemory)
const peer = '@fastify/rate-limit'
// Whole requests are compared: what a limiter adds to one is less than the noise of a busy machine.
goal('rate-limits-memory-to-peer', memory.compare('one tier', peer), 1.05)
goal('rate-limits-union-to-peer', memory.compare('a union of two tiers', peer), 1.1)
goal('rate-limits-429-to-peer-200', memory.compare('a 429', peer), 1.05)
goal('rate-limits-429-to-peer-429', memory.compare('a 429', 'its 429'), 1)
goal('rate-limits-memory-to-flexible', memory.compare('one tier', 'rate-limiter-flexible'), 1.15)

const client = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379')
const shared = { points: MANY, duration: 3600, storeClient: client }
const union = new RateLimiterUnion(
  new RateLimiterRedis({ ...shared, keyPrefix: `${prefix}a` }),
  new RateLimiterRedis({ ...shared, keyPrefix: `${prefix}b` }),
)
const onRedis = {
  'a bare route': bare,
  '@fastify/rate-limit': await theirs(MANY, client),
  'rate-limiter-flexible, union': flexible(union),
  'one tier': await ours('wide', { redis: client, ...sameHeaders }),
  'two limits in one tier': await ours('pair', { redis: client, ...sameHeaders }),
  'a union of two tiers': await ours(['wide', 'second'], { redis: client, ...sameHeaders }),
}
// A turn of the event loop for each reply would be most of what is measured.
const redis = await measure(onRedis, 20)
goal('rate-limits-redis-one-to-peer', redis.compare('one tier', peer), 1.05)
goal('rate-limits-redis-union-to-peer-single', redis.compare('a union of two tiers', peer), 1.05)
goal(
  'rate-limits-redis-union-to-flexible',
  redis.compare('a union of two tiers', 'rate-limiter-flexible, union'),
  1.05,
)

for await (const keys of client.scanStream({ match: `*${prefix}*`, count: 500 })) {
  if ((keys as string[]).length > 0) await client.unlink(...(keys as string[]))
}
const apps = new Set([...Object.values(inMemory), ...Object.values(onRedis)])
await Promise.all([...apps].map((app) => app.close()))
client.disconnect()
