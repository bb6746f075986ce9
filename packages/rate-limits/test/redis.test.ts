import { startRedis, startRedisCluster, useRedis } from '@parapet/testing'
import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { clientOptions, startInstance, startSwitch, emitted, type Instance } from './fleet.ts'
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
  const start = (rule: string) =>
    startInstance(t, new Redis(redis.url, clientOptions), rule, { tiers, instances: 3 } as never)
  const instances = await Promise.all([start('shared'), start('shared'), start('shared')])
  const auth = await start('auth')
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
