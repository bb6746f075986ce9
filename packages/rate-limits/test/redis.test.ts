import { EventEmitter, once } from 'node:events'
import { createManualClock } from '@parapet/kit'
import fastifyRedis from '@fastify/redis'
import { rateLimits } from '@parapet/rate-limits'
import { startRedis, startRedisCluster, useRedis } from '@parapet/testing'
import Fastify from 'fastify'
import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { clientOptions, startInstance, startSwitch, emitted, type Instance } from './fleet.ts'
import { MERGE } from '../src/store/redis-scripts.ts'
import { HOUR, MINUTE } from './helpers.ts'

const shared = { shared: { limits: [{ limit: 90, windowMs: HOUR }] } }

/** Sends `count` requests to each instance at once. @returns how many had each status. */
async function flood(instances: readonly Instance[], count: number, ip?: string) {
  const sent = instances.flatMap((each) => Array.from({ length: count }, () => each.send(ip)))
  const statuses = (await Promise.all(sent)).map(({ statusCode }) => statusCode)
  const countOf = (status: number) => statuses.filter((each) => each === status).length
  return {
    ok: countOf(200),
    refused: countOf(429),
    failed: statuses.filter((s) => s >= 500).length,
  }
}

await t.test('three instances share one limit exactly, by one call for each request', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const options = { tiers: shared, prefix: redis.prefix, instances: 3, deadlineMs: 1000 }
  const start = () =>
    startInstance(t, new Redis(redis.url, clientOptions), ['shared', 'scraping'], {
      ...options,
      tiers: { ...shared, scraping: { limits: [{ limit: 100, windowMs: HOUR }] } },
    })
  const instances = await Promise.all([start(), start(), start()])
  t.same(await flood(instances, 40), { ok: 90, refused: 30, failed: 0 })
  t.equal(
    instances.reduce((sum, each) => sum + each.calls(), 0),
    120,
    'one call for a union of two',
  )
  t.equal(instances[0].keys(), 3, 'two states, and the factor of the address once')
})

await t.test('a key that is known to be blocked is refused without a call', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const options = { prefix: redis.prefix, deadlineMs: 1000 }
  const start = () => startInstance(t, new Redis(redis.url, clientOptions), 'scraping', options)
  const [one, two] = [await start(), await start()]
  for (let count = 0; count < 11; count++) await one.send()
  t.equal(one.calls(), 11)
  t.match(await one.send(), { statusCode: 429, headers: { 'retry-after': '3600' } })
  t.equal(one.calls(), 0)
  t.equal((await two.send()).statusCode, 429, 'another instance learns of it from Redis')
  t.equal(two.calls(), 1)
  await one.app.rateLimits.unblock({ ip: '192.0.2.1' })
  await one.app.rateLimits.reset({ ip: '192.0.2.1' }, 'scraping')
  one.calls()
  t.equal((await one.send()).statusCode, 200)
  t.equal(one.calls(), 1)
})

await t.test('refusals that are answered from memory count for the report of abuse', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const clock = createManualClock()
  const one = await startInstance(t, new Redis(redis.url, clientOptions), 'scraping', {
    clock,
    prefix: redis.prefix,
    recheckMs: 10,
    abuse: { containAttempts: 50 },
  })
  for (let count = 0; count < 30; count++) await one.send()
  for (let recheck = 0; recheck < 12; recheck++) {
    clock.advance(11)
    await one.send()
  }
  for (let count = 0; count < 30; count++) await one.send()
  t.same(
    one.events.map(({ type, details }) => [type, (details as { attempts?: number }).attempts]),
    [
      ['rate_limits.exceeded', undefined],
      ['rate_limits.abused', 11],
      ['rate_limits.abused', 50],
    ],
    'each step once',
  )
})

await t.test('a Redis that drops keys before they end is reported at boot', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const warnings = async (policy: string) => {
    const client = new Redis(redis.url, clientOptions)
    const lines: string[] = []
    const stream = { write: (line: string) => void lines.push(line) }
    const app = Fastify({ logger: { level: 'warn', stream } })
    t.after(() => app.close())
    await app.register(fastifyRedis, { client, closeClient: true })
    await client.call('CONFIG', 'SET', 'maxmemory-policy', policy, 'maxmemory', '100mb')
    await app.register(rateLimits, { redis: app.redis, deadlineMs: 1000 })
    await app.ready()
    return lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
  }
  t.match(await warnings('allkeys-lru'), [
    /drop blocks .* \("maxmemory-policy" is allkeys-lru\)\. Set "maxmemory-policy noeviction"/,
  ])
  t.same(await warnings('noeviction'), [])
})

/** The behaviour that is promised while Redis does not answer, however that comes about. */
async function whileDown(t: Test, instances: readonly Instance[], shares: number) {
  const slowest = { ms: 0 }
  const timed = async (each: Instance) => {
    const start = performance.now()
    const reply = await each.send('198.51.100.7')
    slowest.ms = Math.max(slowest.ms, performance.now() - start)
    return reply
  }
  const replies = []
  for (let round = 0; round < 60; round++)
    replies.push(...(await Promise.all(instances.map(timed))))
  t.ok(
    replies.every(({ statusCode }) => statusCode === 200 || statusCode === 429),
    'no 5xx',
  )
  const admitted = replies.filter(({ statusCode }) => statusCode === 200).length
  t.ok(admitted >= instances.length && admitted <= shares, `${admitted} of at most ${shares}`)
  t.match(replies.at(-1)!.headers['ratelimit'], /;degraded$/)
  t.match(replies.at(-1)!.headers['x-ratelimit-limit'], String(shares / instances.length))
  // The deadline is 40 ms; a busy machine adds to it.
  t.ok(slowest.ms < 1000, `the slowest request took ${slowest.ms.toFixed(0)} ms`)
  t.comment(`slowest request while Redis was down: ${slowest.ms.toFixed(0)} ms`)
  for (const { events } of instances) {
    t.equal(events.filter(({ type }) => type === 'rate_limits.degraded').length, 1)
  }
}

const recovery = (instances: readonly Instance[]) =>
  Promise.all(instances.map((each) => emitted(each, 'rate_limits.recovered')))

await t.test('Redis is killed under load: local shares, and recovery merges them', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const options = { tiers: shared, instances: 3 }
  const start = () => startInstance(t, new Redis(redis.url, clientOptions), 'shared', options)
  const instances = await Promise.all([start(), start(), start()])
  const during = flood(instances, 100, '203.0.113.9')
  await redis.kill()
  t.equal((await during).failed, 0, 'requests that were on their way are answered')
  await whileDown(t, instances, 90)
  await redis.restart()
  await recovery(instances)
  const reading = await instances[0].app.rateLimits.peek('shared', { ip: '198.51.100.7' })
  t.equal(reading.limits[0]!.remaining, 0, 'what was admitted locally counts')
  t.equal((await instances[1].send('198.51.100.7')).statusCode, 429)
})

await t.test('Redis is paused under load: local shares, stricter for the tier auth', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const tiers = {
    ...shared,
    auth: { key: 'ip', with: [], limits: [{ limit: 18, windowMs: MINUTE }] },
  }
  const start = (rule: string, count = 3) => {
    const options = { tiers, instances: count } as never
    return startInstance(t, new Redis(redis.url, clientOptions), rule, options)
  }
  const instances = await Promise.all([start('shared'), start('shared'), start('shared')])
  // A busy machine may miss the heartbeat by which the instance would count the four.
  const auth = await start('auth', 4)
  await auth.send('203.0.113.77')
  await redis.pause()
  await whileDown(t, instances, 90)
  // What Redis has received before the breaker opens may take effect when it resumes.
  for (let count = 0; count < 3; count++) await auth.send('203.0.113.77')
  const admitted = await flood([auth], 40, '203.0.113.5')
  t.same(admitted, { ok: 2, refused: 38, failed: 0 }, 'half of a fourth of 18')
  redis.resume()
  await recovery([...instances, auth])
  const reading = await auth.app.rateLimits.peek('auth', { ip: '203.0.113.5' })
  t.equal(reading.limits[0]!.remaining, 16)
})

await t.test('a process that was busy does not take late reading for an outage', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const options = { prefix: redis.prefix, deadlineMs: 20 }
  const instance = await startInstance(t, new Redis(redis.url, clientOptions), 'standard', options)
  for (let round = 0; round < 5; round++) {
    const sent = Array.from({ length: 5 }, () => instance.send())
    const end = performance.now() + 60
    while (performance.now() < end);
    for (const { headers } of await Promise.all(sent)) t.notMatch(headers['ratelimit'], /degraded/)
  }
  t.equal(instance.app.rateLimits.metrics().tiers['standard']!.degraded, 0)
})

await t.test('what was admitted locally is not given back to Redis', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const tiers = {
    failures: { limits: [{ limit: 10, windowMs: HOUR }], count: 'failures' },
  } as const
  const client = new Redis(redis.url, clientOptions)
  const { app, events, ...instance } = await startInstance(t, client, 'failures', { tiers })
  const left = async () =>
    (await app.rateLimits.peek('failures', { ip: '192.0.2.1' })).limits[0]!.remaining
  await instance.send()
  t.equal(await left(), 10, 'a success does not count')
  await redis.kill()
  for (let count = 0; count < 5; count++) t.equal((await instance.send()).statusCode, 200)
  t.equal(await left(), 10, 'nor does it locally')
  await t.rejects(app.rateLimits.reset({ ip: '192.0.2.1' }), {
    code: 'PARAPET_RATE_LIMITS_STORE_UNAVAILABLE',
  })
  await t.rejects(app.rateLimits.tighten({ ip: '192.0.2.1' }, 0.5, HOUR), {
    code: 'PARAPET_RATE_LIMITS_STORE_UNAVAILABLE',
  })
  t.equal(await left(), 5, 'the change is in force in this instance')
  await redis.restart()
  await emitted({ app, events }, 'rate_limits.recovered')
  t.equal(await left(), 10)
})

await t.test('a failover to a replica behind the same address needs no restart', async (t) => {
  const [primary, replica] = [await startRedis(t), await startRedis(t)]
  if (primary === null || replica === null) return
  const [admin, onPrimary] = [replica, primary].map(({ url }) => new Redis(url, clientOptions))
  for (const each of [admin!, onPrimary!]) {
    each.on('error', () => {})
    t.after(() => each.disconnect())
    await each.connect()
  }
  await onPrimary!.call('CONFIG', 'SET', 'repl-diskless-sync-delay', '0')
  await admin!.call('REPLICAOF', '127.0.0.1', String(primary.port))
  const address = await startSwitch(t, primary.port)
  const options = { tiers: shared, deadlineMs: 500 }
  const client = new Redis(address.port, '127.0.0.1', clientOptions)
  const instance = await startInstance(t, client, 'shared', options)
  await flood([instance], 60)
  // WAIT is for the writes of its own connection.
  await onPrimary!.set('last', '1')
  await onPrimary!.call('WAIT', '1', '5000')
  await primary.kill()
  address.switchTo(replica.port)
  const refusedByReplica = await flood([instance], 20)
  t.equal(refusedByReplica.failed, 0, 'a replica that refuses writes fails no request')
  await admin!.call('REPLICAOF', 'NO', 'ONE')
  await recovery([instance])
  const after = await flood([instance], 90)
  t.equal(after.failed, 0)
  t.ok(after.ok <= 30, `${after.ok} more are admitted: the counts of before are still there`)
})

await t.test('a cluster of three nodes decides unions, also of several identities', async (t) => {
  const nodes = await startRedisCluster(t)
  if (nodes === null) return
  const addresses = nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const connect = () =>
    new Cluster(addresses, { redisOptions: clientOptions, clusterRetryStrategy: () => 50 })
  const tiers = {
    shared: { limits: [{ limit: 60, windowMs: HOUR }] },
    agent: { limits: [{ limit: 1000, windowMs: HOUR }], key: ['header:user-agent'] },
  } as const
  const options = { tiers, instances: 3, deadlineMs: 1000 }
  const start = () => startInstance(t, connect(), ['shared', 'agent'], options)
  const instances = await Promise.all([start(), start(), start()])
  t.same(await flood(instances, 30), { ok: 60, refused: 30, failed: 0 })
  t.equal(
    instances.reduce((sum, each) => sum + each.calls(), 0),
    90,
    'one call for each',
  )
  for (const node of nodes) await node.kill()
  const alone = await flood(instances, 60, '198.51.100.7')
  t.equal(alone.failed, 0, 'no 5xx without a node')
  t.ok(alone.ok >= 3 && alone.ok <= 60, `${alone.ok} of at most 60 are admitted`)
  for (const node of nodes) await node.restart()
  await recovery(instances)
  const after = await flood(instances, 60, '198.51.100.7')
  t.same({ ...after, ok: alone.ok + after.ok }, { ok: 60, refused: 180 - after.ok, failed: 0 })
})

/** Makes Redis count as down: one slow reply is no outage. The calls may be executed when it resumes. */
const breakDown = async (instance: Instance) => {
  for (let count = 0; count < 3; count++) await instance.send('203.0.113.77')
}

await t.test('uses that were admitted alone outlive recoveries in this instance', async (t) => {
  const limits = [{ limit: 8, windowMs: HOUR }]
  for (const algorithm of ['exact', 'gcra'] as const) {
    const redis = await startRedis(t)
    if (redis === null) return
    const tiers = { [algorithm]: { limits, algorithm, degradedRatio: 0.5 } }
    const client = new Redis(redis.url, clientOptions)
    const instance = await startInstance(t, client, algorithm, { tiers })
    const { app, events } = instance
    const outage = async (count: number) => {
      await redis.pause()
      await breakDown(instance)
      const { ok } = await flood([instance], count)
      redis.resume()
      await emitted({ app, events }, 'rate_limits.recovered')
      events.length = 0
      const { limits } = await app.rateLimits.peek(algorithm, { ip: '192.0.2.1' })
      return [ok, limits[0]!.remaining]
    }
    t.same(await outage(3), [3, 5], `${algorithm}: three of a share of four`)
    t.same(
      await outage(9),
      [1, 4],
      'the next outage admits the fourth, and Redis learns of it once',
    )
    t.same(await outage(9), [0, 4])
    t.same(await flood([instance], 9), { ok: 4, refused: 5, failed: 0 })
    await app.rateLimits.reset({ ip: '192.0.2.1' })
    t.same(await flood([instance], 8), { ok: 8, refused: 0, failed: 0 })
    await instance.send()
    t.same(await outage(9), [0, 0], 'what Redis has shown as exhausted is refused')
  }
})

await t.test('a lease that ended while Redis was down is released', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const tiers = { slow: { limits: [{ limit: 1000, windowMs: HOUR }], maxInFlight: 3 } }
  const client = new Redis(redis.url, clientOptions)
  const gate = new EventEmitter()
  const options = { tiers, deadlineMs: 100 }
  const instance = await startInstance(t, client, 'slow', options, async ({ headers }) => {
    if (headers['x-wait'] !== undefined) await once(gate, 'open')
    return 'done'
  })
  const running = []
  const read = () => instance.app.rateLimits.peek('slow', { ip: '192.0.2.1' })
  for (let count = 0; count < 3; count++) {
    running.push(
      instance.app.inject({ url: '/', headers: { 'x-wait': '1' }, remoteAddress: '192.0.2.1' }),
    )
  }
  while ((await read()).allowed) await new Promise((resolve) => setImmediate(resolve))
  t.equal((await read()).reason, 'in-flight')
  await redis.pause()
  await breakDown(instance)
  gate.emit('open')
  t.same(
    (await Promise.all(running)).map(({ statusCode }) => statusCode),
    [200, 200, 200],
  )
  redis.resume()
  await recovery([instance])
  t.match(await read(), { allowed: true })
  t.equal(await client.exists('{parapet:rate-limits}:running slow:g ip=192.0.2.1'), 0)
  const late = await client.exists('{parapet:rate-limits}:running slow:g ip=203.0.113.77')
  t.equal(late, 0, 'nor do leases remain of calls that were executed late')
})

await t.test('degraded, no success is refused by a tier that counts failures', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const tiers = {
    failures: { limits: [{ limit: 60, windowMs: HOUR }], count: 'failures' },
  } as const
  const client = new Redis(redis.url, clientOptions)
  const instance = await startInstance(t, client, 'failures', { tiers, instances: 4 })
  await redis.kill()
  for (let count = 0; count < 100; count++) {
    const { statusCode, headers } = await instance.send()
    if (statusCode !== 200) t.fail(`request ${count} is refused`)
    if (count === 99) t.match(headers['ratelimit'], '"failures";r=14;t=240;degraded')
  }
})

const send = (client: Redis, [name, ...args]: readonly [string, ...string[]]) =>
  client.call(name, ...args)

/** Waits for the replies to the calls of before. */
async function settled(client: Redis): Promise<void> {
  for (let round = 0; round < 3; round++) {
    while (client.status !== 'ready') await new Promise((resolve) => setImmediate(resolve))
    await client.call('PING').catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
  }
}

await t.test('a Redis that is full or read-only is not taken for one that is back', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const client = new Redis(redis.url, clientOptions)
  let reconnects = 0
  const disconnect = client.disconnect.bind(client)
  client.disconnect = (again) => {
    reconnects++
    disconnect(again)
  }
  const clock = createManualClock()
  const instance = await startInstance(t, client, 'shared', {
    tiers: shared,
    clock,
    deadlineMs: 1000,
  })
  const admin = new Redis(redis.url)
  t.after(() => admin.disconnect())
  const { app, events } = instance
  for (const [reason, breakIt, mendIt] of [
    ['OOM', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
    [
      'NOPERM',
      ['ACL', 'SETUSER', 'default', '-evalsha'],
      ['ACL', 'SETUSER', 'default', '+evalsha'],
    ],
    ['READONLY', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ] as const) {
    await send(admin, breakIt)
    for (let second = 0; second < 8; second++) {
      for (let count = 0; count < 3; count++) await instance.send()
      clock.advance(1000)
      await settled(client)
    }
    t.match(events, [{ type: 'rate_limits.degraded', details: { reason } }])
    t.same(events.length, 1, `${reason}: one outage, not one each second`)
    await send(admin, mendIt)
    while (app.rateLimits.metrics().store.isDegraded) {
      clock.advance(1000)
      await settled(client)
    }
    await emitted({ app, events }, 'rate_limits.recovered')
    events.length = 0
  }
  t.equal(reconnects, 1, "the app's client is not reconnected again and again")
})

await t.test('a merge that fails is repeated', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const client = new Redis(redis.url, clientOptions)
  let fails = true
  let merges = 0
  const call: (...args: never[]) => Promise<unknown> = client.call.bind(client)
  client.call = (...args: unknown[]) =>
    args[1] === MERGE.sha && ++merges > 1 && fails
      ? Promise.reject(new Error('lost'))
      : call(...(args as never[]))
  const clock = createManualClock()
  const limits = [{ limit: 400, windowMs: HOUR }]
  const tiers = { shared: { limits, algorithm: 'exact' } } as const
  const instance = await startInstance(t, client, 'shared', { tiers, clock, deadlineMs: 1000 })
  await redis.kill()
  const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']
  for (let count = 0; count < 300; count++) {
    clock.advance(1)
    for (const ip of addresses) await instance.send(ip)
  }
  await redis.restart()
  await recovery([instance])
  const left = async () => {
    const read = addresses.map((ip) => instance.app.rateLimits.peek('shared', { ip }))
    return (await Promise.all(read)).map(({ limits }) => limits[0]!.remaining)
  }
  const kept = (await left()).filter((remaining) => remaining === 400)
  t.equal(kept.length, 2, 'the second of two calls failed')
  fails = false
  while ((await left()).includes(400)) {
    clock.advance(500)
    await settled(client)
  }
  t.same(await left(), [100, 100, 100, 100], 'each use counts once')
})

await t.test('a key that another instance has unblocked is not refused in an outage', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const start = () =>
    startInstance(t, new Redis(redis.url, clientOptions), 'scraping', { recheckMs: 0 })
  const [one, two] = [await start(), await start()]
  await flood([two], 12)
  t.equal((await two.send()).statusCode, 429)
  await one.app.rateLimits.reset({ ip: '192.0.2.1' })
  t.equal((await two.send()).statusCode, 200)
  await redis.kill()
  t.equal((await two.send()).statusCode, 200)
})

await t.test('keys that others have written harm no other key', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const tiers = { slow: { limits: [{ limit: 9, windowMs: HOUR }], maxInFlight: 3 } }
  const client = new Redis(redis.url, clientOptions)
  const { prefix } = redis
  const instance = await startInstance(t, client, 'slow', { tiers, prefix, deadlineMs: 1000 })
  const keyOf = (name: string) => `{${prefix}rate-limits}:${name}`
  const state = keyOf('slow:g ip=192.0.2.1')
  const pack = (value: string) =>
    client.eval(`redis.call('SET', KEYS[1], cmsgpack.pack(${value}))`, 1, state)
  for (const poison of [
    () => client.rpush(state, 'x'),
    () => client.set(state, 'x'),
    () => pack("{ 0, 0, 0, 0, 'x', 1, 1 }"),
    () => pack("{ 'x', 0, 0, 0 }"),
    () => pack('{ 0, 0, 0, 0, 1 }'),
    () => pack('{ 0, 0, 0, 0 / 0 }'),
    () => client.set(keyOf('running slow:g ip=192.0.2.1'), 'x'),
    () => client.set(keyOf('factor ip=192.0.2.1'), '-5'),
    () => client.set(keyOf('factor ip=192.0.2.1'), 'x'),
    () => client.set(keyOf('instances'), 'x'),
  ]) {
    await client.del(state)
    await poison()
    for (const ip of ['192.0.2.1', '192.0.2.1', '192.0.2.2']) {
      await instance.app.rateLimits.unblock({ ip }, 'slow')
      const { statusCode, headers } = await instance.send(ip)
      t.equal(statusCode, 200, String(poison))
      t.notMatch(headers['ratelimit'], /degraded/)
    }
    await instance.app.rateLimits.reset({ ip: '192.0.2.2' }, 'slow')
  }
})
