import { randomUUID } from 'node:crypto'
import { createManualClock, createMemoryStore, createRedisStore, systemClock } from '@parapet/kit'
import { startRedis, useRedis } from '@parapet/testing'
import fc from 'fast-check'
import { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { storeContract, type StoreUnderTest } from './store-contract.ts'

await t.test('the contract, in memory', async (t) => {
  await storeContract(t, async () => {
    const clock = createManualClock()
    const store = createMemoryStore({ clock })
    return { store, now: clock.now, advance: async (ms) => clock.advance(ms) }
  })
})

await t.test('the contract, on Redis', async (t) => {
  await storeContract(t, async (t) => {
    const redis = await useRedis(t)
    if (redis === null) return null
    return onRedis(t, new Redis(redis.url), redis.prefix)
  })
})

await t.test('the contract, on a Redis Cluster', async (t) => {
  const server = await startRedis(t, { cluster: true })
  if (server === null) return
  await storeContract(t, async (t) => {
    const cluster = new Cluster([{ host: '127.0.0.1', port: server.port }])
    return onRedis(t, cluster, `${randomUUID()}:`)
  })
})

await t.test('memory and Redis agree on any sequence of operations', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const client = new Redis(redis.url)
  const key = fc.constantFrom('a', 'b')
  const operation = fc.oneof(
    fc.record({ op: fc.constant('advance'), ms: fc.integer({ min: 1, max: 70_000 }) }),
    fc.record({ op: fc.constant('count'), key, amount: fc.integer({ min: 0, max: 5 }) }),
    fc.record({
      op: fc.constant('append'),
      key,
      value: fc.string({ unit: 'binary', maxLength: 5 }),
    }),
    fc.record({
      op: fc.constant('add'),
      key,
      value: fc.constantFrom('x', 'y', 'z', 'ü'),
      ttlMs: fc.integer({ min: 10_000, max: 150_000 }),
    }),
    fc.record({ op: fc.constant('remove'), key, value: fc.constantFrom('x', 'y') }),
  ) as fc.Arbitrary<{
    op: string
    ms: number
    key: string
    amount: number
    value: string
    ttlMs: number
  }>
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (operations) => {
      const clock = createManualClock()
      const time = { now: clock.now, schedule: systemClock.schedule }
      const prefix = `${redis.prefix}${run++}:`
      // Keys expire in real time, so every duration is far longer than the test.
      const stores = [
        createMemoryStore({ clock }),
        createRedisStore({ client, prefix, clock: time, deadlineMs: 5000 }),
      ]
      for (const { op, ms, key, amount, value, ttlMs } of operations) {
        if (op === 'advance') clock.advance(ms)
        const [memory, remote] = await Promise.all(
          stores.map(async (store) => {
            if (op === 'count') {
              const windows = [{ windowMs: 100_000, limit: 8 }, { windowMs: 300_000 }]
              return store.count(`count ${key}`, windows, amount)
            }
            const name = `${op === 'append' ? 'list' : 'set'} ${key}`
            if (op === 'append') {
              const size = await store.append(name, value, { windowMs: 100_000, maxEntries: 3 })
              return [size, await store.timeline(name, 60_000)]
            }
            if (op === 'add') {
              const result = await store.addMember(name, value, { ttlMs, maxMembers: 2 })
              return [result, (await store.members(name)).toSorted()]
            }
            if (op === 'remove') return store.removeMember(name, value)
            return store.hasMember('set a', 'x')
          }),
        )
        t.strictSame(remote, memory)
      }
      for (const store of stores) await store.close()
    }),
    { numRuns: 60 },
  )
  client.disconnect()
})

await t.test(
  'a full memory store refuses new entries and drops none before it expires',
  async (t) => {
    const clock = createManualClock()
    const store = createMemoryStore({ maxBytes: 4096, clock })
    const full = { code: 'PARAPET_KIT_STORE_FULL', statusCode: 503 }
    const names: string[] = []
    await t.rejects(async () => {
      for (let n = 0; ; n++) {
        await store.set(`key ${n}`, 'x'.repeat(50), n === 0 ? 1000 : 60_000)
        names.push(`key ${n}`)
      }
    }, full)
    t.ok(names.length > 5)
    for (const name of names) t.not(await store.get(name), null)
    await t.rejects(store.count('c', [{ windowMs: 1000 }]), full)
    await t.rejects(store.append('l', 'x'.repeat(300), { windowMs: 1000, maxEntries: 9 }), full)
    await t.rejects(store.addMember('s', 'x'.repeat(300), { ttlMs: 1000, maxMembers: 9 }), full)
    t.equal(await store.hasMember('s', 'x'.repeat(300)), false, 'a refused member was not added')
    await store.set(names[1]!, 'y'.repeat(50), 60_000)
    t.equal(await store.get(names[1]!), 'y'.repeat(50), 'what is there can be replaced')
    clock.advance(1000)
    await store.set('new', 'x'.repeat(50), 1000)
    t.equal(await store.get('new'), 'x'.repeat(50), 'what expired makes room')
  },
)

await t.test('a jump of the machine clock neither keeps nor drops entries', async (t) => {
  const clock = createManualClock()
  let jumpMs = 0
  const jumping = { ...clock, now: () => clock.now() + jumpMs, monotonic: clock.now }
  const store = createMemoryStore({ clock: jumping })
  const day = 86_400_000
  await store.set('lock', '1', 500)
  const limit = [{ windowMs: 1000, limit: 1 }]
  await store.count('k', limit)
  jumpMs = -day
  const { windows } = await store.count('k', limit)
  t.ok(windows[0]!.retryAfterMs <= 2000, `${windows[0]!.retryAfterMs}`)
  clock.advance(501)
  t.equal(await store.get('lock'), null, 'back')
  await store.set('used', '1', 60_000)
  jumpMs = day
  t.equal(await store.get('used'), '1', 'forward')
})

await t.test('a misspelled limit of a window is refused', async (t) => {
  const store = createMemoryStore()
  await t.rejects(store.count('k', [{ windowMs: 1000, limt: 1 } as never]), {
    code: 'PARAPET_KIT_INVALID_ARGUMENT',
    message: /limt/,
  })
})

await t.test('expired entries leave the memory store without being read', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ maxBytes: 100_000, clock })
  for (let n = 0; n < 20_000; n++) {
    await store.set(`key ${n}`, 'x', 100)
    clock.advance(1)
  }
  t.equal(await store.get('key 19999'), 'x')
  t.equal(await store.get('key 19000'), null)
})

await t.test('an error of a subscriber is reported and does not affect the others', async (t) => {
  const errors: unknown[] = []
  const store = createMemoryStore({ onError: (error) => errors.push(error) })
  const listener = { interrupted: () => {}, restored: () => {} }
  const fault = new Error('listener')
  await store.subscribe('c', {
    ...listener,
    message: () => {
      throw fault
    },
  })
  const heard = new Promise((resolve) => {
    void store.subscribe('c', { ...listener, message: resolve })
  })
  await store.publish('c', 'hello')
  t.equal(await heard, 'hello')
  t.strictSame(errors, [fault])
})

await t.test('the members of a set stay in the order of their expiry', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), { maxLength: 20 }),
      async (ttls) => {
        await store.delete('s')
        for (const ttlMs of ttls) await store.addMember('s', `${ttlMs}`, { ttlMs, maxMembers: 100 })
        const sorted = ttls.toSorted((a, b) => a - b).map(String)
        t.strictSame(await store.members('s'), sorted)
      },
    ),
    { numRuns: 50 },
  )
})

await t.test(
  'options of a store that are unknown, out of range or misplaced are refused',
  async (t) => {
    t.throws(() => createMemoryStore({ maxByte: 1 } as never), {
      code: 'PARAPET_KIT_INVALID_OPTION',
      message: /did you mean "maxBytes"/,
    })
    const client = new Redis({ lazyConnect: true, keyPrefix: 'app:' })
    t.throws(() => createRedisStore({ client }), {
      code: 'PARAPET_KIT_INVALID_ARGUMENT',
      message: /must have no keyPrefix/,
    })
    t.throws(() => createRedisStore({ client: {} as never }), {
      code: 'PARAPET_KIT_INVALID_OPTION',
      message: /"client" must be a client or cluster of ioredis/,
    })
    client.disconnect()
  },
)

/** Redis expires keys by its own clock, so advancing the test's clock shortens each key's TTL. */
function onRedis(t: Test, client: Redis | Cluster, prefix: string): StoreUnderTest {
  const clock = createManualClock()
  // Deadlines use real time: a manual clock would never reach them.
  const time = { now: clock.now, schedule: systemClock.schedule }
  const store = createRedisStore({ client, prefix, clock: time, deadlineMs: 5000 })
  t.after(async () => {
    await store.close()
    client.disconnect()
  })
  return {
    store,
    now: clock.now,
    async advance(ms) {
      clock.advance(ms)
      const node = client instanceof Cluster ? client.nodes('master')[0]! : client
      for await (const keys of node.scanStream({ match: `${prefix}*`, count: 1000 })) {
        for (const key of keys as string[]) {
          const left = (await client.pttl(key)) - ms
          if (left > 0) await client.pexpire(key, left)
          else await client.del(key)
        }
      }
    },
  }
}
