import { createRedisStore, type RedisStoreOptions } from '@parapet/kit'
import { anomalyGuard, rules, type AnomalyGuardOptions } from '@parapet/anomaly-guard'
import { startRedis, useRedis } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'

const secret = 's'.repeat(40)
/** Long deadlines, so that a busy machine causes no failure. */
const PATIENT = { deadlineMs: 60_000, heartbeatMs: 60_000 }
/** Short ones, to detect an outage soon. */
const HURRIED = { deadlineMs: 100, heartbeatMs: 100, cooldownMs: 50 }

/** One instance on a Redis of its own connection. */
async function startInstance(
  t: Test,
  url: string,
  prefix: string,
  options: AnomalyGuardOptions = {},
  pace: Partial<RedisStoreOptions> = PATIENT,
): Promise<FastifyInstance> {
  const client = new Redis(url, {
    retryStrategy: () => 20,
    autoResendUnfulfilledCommands: false,
  })
  client.on('error', () => {})
  const store = createRedisStore({ client, prefix, onError: () => {}, ...pace })
  const app = Fastify({ trustProxy: 'loopback' })
  t.after(async () => {
    await app.close()
    await store.close()
    client.disconnect()
  })
  await app.register(anomalyGuard, {
    mode: 'enforce',
    behaviour: { enabled: false },
    store,
    secret,
    ...options,
  })
  app.get('/', async () => 'here')
  app.post<{ Body: { account: string } }>('/login', async (request, reply) => {
    request.anomaly.fail('login', { account: request.body.account })
    return reply.code(401).send({})
  })
  await app.ready()
  return app
}

const get = (app: FastifyInstance, address: string) =>
  app.inject({ url: '/', headers: { 'x-forwarded-for': address } })
const fail = (app: FastifyInstance, address: string, account = 'alice') =>
  app.inject({
    method: 'POST',
    url: '/login',
    payload: { account },
    headers: { 'x-forwarded-for': address },
  })

/** Turns of the event loop until the condition holds; a real deadline only ends a broken test. */
async function until(t: Test, what: string, condition: () => Promise<boolean> | boolean) {
  const end = Date.now() + 10_000
  for (;;) {
    if (await condition()) {
      t.pass(what)
      return
    }
    if (Date.now() > end) {
      t.fail(`${what}: it did not happen`)
      return
    }
    await new Promise(setImmediate)
  }
}

await t.test('a fleet on Redis acts as one', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const fleet = await Promise.all([1, 2, 3].map(() => startInstance(t, redis.url, redis.prefix)))
  const [first, second, third] = fleet as [FastifyInstance, FastifyInstance, FastifyInstance]
  const contained: string[] = []
  const detected: string[] = []
  for (const app of fleet) {
    app.securityEvents.on('anomaly_guard.contained', ({ details }) =>
      contained.push(details.target),
    )
    app.securityEvents.on('anomaly_guard.detected', ({ details }) => detected.push(details.rule))
  }

  await t.test(
    'a block on one instance holds on the others when its promise resolves',
    async (t) => {
      await first.anomaly.contain.blockAddress('192.0.2.1', { reason: 'test', by: 'op' })
      await until(
        t,
        'the second refuses',
        async () => (await get(second, '192.0.2.1')).statusCode === 403,
      )
      await until(
        t,
        'the third refuses',
        async () => (await get(third, '192.0.2.1')).statusCode === 403,
      )
      const [block] = second.anomaly.contain.list()
      await second.anomaly.contain.lift(block!.id, { by: 'op' })
      await until(
        t,
        'it is lifted on the first',
        async () => (await get(first, '192.0.2.1')).statusCode === 200,
      )
    },
  )

  await t.test('100 detections at once on three instances cause one containment', async (t) => {
    contained.length = 0
    detected.length = 0
    await Promise.all(Array.from({ length: 102 }, (_, i) => fail(fleet[i % 3]!, '192.0.2.2')))
    await Promise.all(fleet.map((app) => app.anomaly.settle()))
    t.same(contained, ['address:192.0.2.2'])
    t.same(
      detected.filter((rule) => rule === 'brute-force'),
      ['brute-force'],
    )
    await until(t, 'all have the same one', () => {
      const ids = fleet.map((app) =>
        app.anomaly.contain
          .list()
          .filter(({ target }) => target.value === '192.0.2.2')
          .map(({ id }) => id),
      )
      return new Set(ids.flat()).size === 1 && ids.every(({ length }) => length === 1)
    })
  })

  await t.test('failures that are spread over the instances reach one limit', async (t) => {
    let round = 0
    await until(t, 'one failure here after four elsewhere blocks', async () => {
      const address = `198.51.100.${round++ % 250}`
      for (const app of [second, third, second, third]) await fail(app, address)
      // The signals of the others come when they come; an address is tried once only.
      for (let turn = 0; turn < 20 * round; turn++) await new Promise(setImmediate)
      await fail(first, address)
      return (await get(first, address)).statusCode === 403
    })
  })

  await t.test('a promotion and the timeline are of the whole fleet', async (t) => {
    await first.anomaly.promote('scraping', { by: 'op', mode: 'alert' })
    await until(
      t,
      'the mode arrives',
      () => third.anomaly.rules.find(({ name }) => name === 'scraping')?.mode === 'alert',
    )
    const rulesSeen = new Set((await third.anomaly.timeline(0)).map(({ rule }) => rule))
    t.ok(rulesSeen.has('brute-force'))
    const late = await startInstance(t, redis.url, redis.prefix)
    t.equal((await get(late, '192.0.2.2')).statusCode, 403, 'a new instance knows the blocks')
    t.equal(late.anomaly.rules.find(({ name }) => name === 'scraping')?.mode, 'alert')
    t.equal(late.anomaly.isShared, true)
  })
})

await t.test('while Redis is killed or paused, nothing fails and protection stays', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const slow = rules.flood({ limit: 10_000 })
  const all = rules.all().map((rule) => (rule.name === 'flood' ? slow : rule))
  const [first, second] = (await Promise.all(
    [1, 2].map(() => startInstance(t, redis.url, 'test:', { rules: all }, HURRIED)),
  )) as [FastifyInstance, FastifyInstance]
  await first.anomaly.contain.blockAddress('192.0.2.1', { reason: 'test', by: 'op' })
  await until(
    t,
    'the block is shared',
    async () => (await get(second, '192.0.2.1')).statusCode === 403,
  )

  const load = async (address: string): Promise<void> => {
    const replies = await Promise.all(
      Array.from({ length: 200 }, (_, i) => get(i % 2 === 0 ? first : second, '192.0.2.50')),
    )
    t.ok(
      replies.every(({ statusCode }) => statusCode === 200),
      'every request was answered',
    )
    t.equal((await get(first, '192.0.2.1')).statusCode, 403, 'an old block holds')
    t.equal((await get(second, '192.0.2.1')).statusCode, 403, 'on the other one, too')
    for (let attempt = 0; attempt < 5; attempt++) {
      t.equal((await fail(first, address)).statusCode, 401)
    }
    t.equal((await get(first, address)).statusCode, 403, 'a new attack is blocked at once')
  }
  await redis.pause()
  await load('192.0.2.61')
  redis.resume()
  await first.anomaly.settle()
  await until(t, 'the block made meanwhile is shared', async () => {
    return (await get(second, '192.0.2.61')).statusCode === 403
  })
  await redis.kill()
  await load('192.0.2.62')
  await redis.restart()
  await until(t, 'after a restart of an empty Redis, it is shared again', async () => {
    return (await get(second, '192.0.2.62')).statusCode === 403
  })
  const late = await startInstance(t, redis.url, 'test:', { rules: all }, HURRIED)
  await until(t, 'what Redis had lost is known to a new instance', async () => {
    return (await get(late, '192.0.2.1')).statusCode === 403
  })
})
