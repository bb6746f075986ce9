/** What the Redis store does when the real server is killed, paused, restarted, flushed or busy. */
import { createRedisStore, useSecurityEvents, useStoreEvents, type Store } from '@parapet/kit'
import { startRedis, type RedisServer } from '@parapet/testing'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'

const unavailable = { code: 'PARAPET_KIT_STORE_UNAVAILABLE', statusCode: 503 }
const timeout = { code: 'PARAPET_KIT_STORE_TIMEOUT', statusCode: 503 }
const windows = [{ windowMs: 60_000 }]
/** A busy machine may be late, but a call that waits for Redis would never end. */
const SLACK_MS = 2000

interface Setup {
  readonly server: RedisServer
  readonly client: Redis
  readonly store: Store
}

async function setUp(t: Test): Promise<Setup | null> {
  const server = await startRedis(t)
  if (server === null) return null
  const client = new Redis(server.url, { retryStrategy: () => 20 })
  client.on('error', () => {})
  const store = createRedisStore({
    client,
    deadlineMs: 400,
    failureThreshold: 3,
    cooldownMs: 50,
    heartbeatMs: 50,
    onError: (error) => t.fail(String(error)),
  })
  t.after(async () => {
    await store.close()
    client.disconnect()
  })
  await store.set('k', 'v', 60_000)
  return { server, client, store }
}

/** Resolves when the store is in `state`. */
function reaching(store: Store, state: Store['state']): Promise<void> {
  return new Promise((resolve) => {
    if (store.state === state) return resolve()
    const stop = store.onStateChange((next) => {
      if (next !== state) return
      stop()
      resolve()
    })
  })
}

/** Calls until the store responds, as a service under load does. */
async function untilAnswered(store: Store): Promise<void> {
  for (;;) {
    try {
      await store.get('k')
      return
    } catch {
      await new Promise(setImmediate)
    }
  }
}

/** Resolves when the store has read the channel's number. */
function nextHeartbeat(client: Redis): Promise<void> {
  const call = client.call.bind(client) as (...args: unknown[]) => Promise<unknown>
  return new Promise((resolve) => {
    const watching = async (command: string, key: unknown, ...rest: unknown[]) => {
      const reply = await call(command, key, ...rest)
      if (command === 'GET' && String(key).endsWith('channel-number:news')) {
        Object.assign(client, { call })
        resolve()
      }
      return reply
    }
    Object.assign(client, { call: watching })
  })
}

/** A subscriber that records what it receives and can be awaited. */
async function listen(store: Store, channel: string) {
  const lines: string[] = []
  const waiters = new Map<string, () => void>()
  const hear = (line: string) => {
    lines.push(line)
    waiters.get(line)?.()
  }
  const stop = await store.subscribe(channel, {
    message: hear,
    interrupted: (reason) => hear(`interrupted: ${reason}`),
    restored: () => hear('restored'),
  })
  return {
    lines,
    stop,
    heard: (line: string) =>
      new Promise<void>((resolve) => {
        if (lines.includes(line)) resolve()
        else waiters.set(line, resolve)
      }),
  }
}

await t.test('after SCRIPT FLUSH the scripts are sent again', async (t) => {
  const setup = await setUp(t)
  if (setup === null) return
  const { client, store } = setup
  t.match(await store.count('c', windows), { windows: [{ count: 1 }] })
  await client.script('FLUSH')
  t.match(await store.count('c', windows), { windows: [{ count: 2 }] })
  t.equal(await store.compareAndSet('k', 'v', 'w', 1000), true)
})

await t.test(
  'while the server is killed calls fail at once, and they work again when it is back',
  async (t) => {
    const setup = await setUp(t)
    if (setup === null) return
    const { server, client, store } = setup
    const { heard, lines } = await listen(store, 'news')
    const closed = new Promise((resolve) => client.once('close', resolve))
    await server.kill()
    await closed
    for (let n = 0; n < 3; n++) {
      const start = performance.now()
      await t.rejects(store.get('k'), unavailable)
      t.ok(performance.now() - start < SLACK_MS, 'no call outlives its deadline')
    }
    await reaching(store, 'open')
    const start = performance.now()
    await t.rejects(store.get('k'), { ...unavailable, message: /circuit breaker is open/ })
    t.ok(performance.now() - start < SLACK_MS, 'an open breaker answers at once')
    await heard('interrupted: the connection was lost')

    await server.restart()
    await untilAnswered(store)
    t.equal(store.state, 'closed')
    t.equal(await store.get('k'), null, 'this server keeps nothing')
    await heard('restored')
    await store.publish('news', 'after the restart')
    await heard('after the restart')
    t.strictSame(lines, ['interrupted: the connection was lost', 'restored', 'after the restart'])
  },
)

await t.test('with a paused server calls fail by the deadline, then at once', async (t) => {
  const setup = await setUp(t)
  if (setup === null) return
  const { server, store } = setup
  const { heard } = await listen(store, 'news')
  await server.pause()
  const start = performance.now()
  const calls = await Promise.allSettled([
    store.get('k'),
    store.count('c', windows),
    store.publish('news', 'lost or late'),
  ])
  t.ok(performance.now() - start < SLACK_MS, 'all of them ended by their deadline')
  for (const call of calls) t.match(call, { status: 'rejected', reason: timeout })
  await reaching(store, 'open')
  await heard('interrupted: the server cannot be reached')

  const { stop } = await listen(store, 'news')
  await stop()
  t.pass('a subscription ends although nobody confirms it')

  server.resume()
  await untilAnswered(store)
  t.equal(await store.get('k'), 'v', 'a pause loses nothing')
  await heard('restored')
})

await t.test('subscribers of a flushed server are notified of a gap', async (t) => {
  const setup = await setUp(t)
  if (setup === null) return
  const { client, store } = setup
  await store.publish('news', 'before anybody listened')
  const { heard, lines } = await listen(store, 'news')
  await store.publish('news', 'one')
  await heard('one')
  await nextHeartbeat(client)
  await client.flushall()
  await heard('restored')
  t.strictSame(lines, ['one', 'interrupted: the server lost its data', 'restored'])
})

await t.test(
  'subscribers are notified of a message that was published but never received',
  async (t) => {
    const setup = await setUp(t)
    if (setup === null) return
    const { client, store } = setup
    const { heard, lines } = await listen(store, 'news')
    // A number without its message, as after a dropped connection of the subscriber.
    await client.incr('parapet:channel-number:news')
    await store.publish('news', 'the one after')
    await heard('the one after')
    t.strictSame(lines, ['interrupted: messages were lost', 'restored', 'the one after'])
    await client.incr('parapet:channel-number:news')
    lines.length = 0
    await heard('interrupted: messages were lost')
    await heard('restored')
  },
)

await t.test(
  'a new subscriber of an interrupted channel is notified, and hides no loss',
  async (t) => {
    const setup = await setUp(t)
    if (setup === null) return
    const { server, store } = setup
    const first = await listen(store, 'news')
    await server.pause()
    await first.heard('interrupted: the server cannot be reached')
    const second = await listen(store, 'news')
    t.strictSame(second.lines, ['interrupted: the channel is interrupted'])
    server.resume()
    await Promise.all([first.heard('restored'), second.heard('restored')])
  },
)

await t.test('a subscriber that the server disconnects is subscribed again', async (t) => {
  const setup = await setUp(t)
  if (setup === null) return
  const { client, store } = setup
  const { heard } = await listen(store, 'news')
  await client.call('CLIENT', 'KILL', 'TYPE', 'PUBSUB')
  await heard('interrupted: the connection was lost')
  await heard('restored')
  await store.publish('news', 'again')
  await heard('again')
})

await t.test('a server that cannot serve counts as down; a wrong call does not', async (t) => {
  const setup = await setUp(t)
  if (setup === null) return
  const { client, store } = setup
  for (let n = 0; n < 5; n++) {
    await t.rejects(store.count('k', windows), { code: 'PARAPET_KIT_STORE_FAILED' })
  }
  t.equal(store.state, 'closed')
  await client.config('SET', 'busy-reply-threshold', '1')
  const other = client.duplicate()
  t.after(() => other.disconnect())
  const busy = other.call('EVAL', 'while true do end', 0).catch(() => {})
  while (store.state !== 'open') await store.get('k').catch(() => {})
  await client.call('SCRIPT', 'KILL')
  await busy
  await untilAnswered(store)
  t.equal(store.state, 'closed')
})

await t.test('a full server refuses writes and still answers reads', async (t) => {
  const setup = await setUp(t)
  if (setup === null) return
  const { client, store } = setup
  await store.set('session', 'alive', 60_000)
  await client.config('SET', 'maxmemory', '1')
  for (let n = 0; n < 10; n++) {
    await t.rejects(store.set('new', 'x', 1000), {
      code: 'PARAPET_KIT_STORE_FULL',
      statusCode: 503,
    })
    t.equal(await store.get('session'), 'alive')
  }
  t.equal(store.state, 'closed')
})

await t.test(
  'a lazy client connects with the first call; without a server the call fails',
  async (t) => {
    const setup = await setUp(t)
    if (setup === null) return
    const { server } = setup
    const lazy = new Redis(server.url, { lazyConnect: true, enableOfflineQueue: false })
    const store = createRedisStore({ client: lazy })
    const twenty = await Promise.all(Array.from({ length: 20 }, () => store.get('parapet')))
    t.equal(twenty.length, 20)
    await store.close()
    lazy.disconnect()

    await server.stop()
    const nowhere = new Redis(server.url, { lazyConnect: true })
    nowhere.on('error', () => {})
    const down = createRedisStore({ client: nowhere, deadlineMs: 200 })
    await t.rejects(down.get('k'), unavailable)
    await t.rejects(
      down.subscribe('c', { message: () => {}, interrupted: () => {}, restored: () => {} }),
    )
    await down.close()
    nowhere.disconnect()
  },
)

await t.test(
  'behind an address that leads to a replica the store is down, and comes back',
  async (t) => {
    const setup = await setUp(t)
    if (setup === null) return
    const { server, client, store } = setup
    const states: string[] = []
    store.onStateChange((state) => states.push(state))
    // As after a failover: the address now leads to a replica.
    await client.call('REPLICAOF', '127.0.0.1', '1')
    const readOnly = { ...unavailable, message: /READONLY/ }
    await t.rejects(store.set('k', 'w', 60_000), readOnly)
    t.equal(store.state, 'open')
    await reaching(store, 'half-open')
    await t.rejects(store.get('k'), unavailable, 'a replica is not asked for old data')
    const admin = new Redis(server.url)
    await admin.call('REPLICAOF', 'NO', 'ONE')
    admin.disconnect()
    await untilAnswered(store)
    await store.set('k', 'w', 60_000)
    t.equal(await store.get('k'), 'w')
    t.equal(states.at(-1), 'closed')
  },
)

await t.test('an unsafe server is named at boot, and stops a strict one', async (t) => {
  const setup = await setUp(t)
  if (setup === null) return
  const { client, server, store } = setup
  t.strictSame(await store.inspect(), [])
  await client.call('CONFIG', 'SET', 'maxmemory', '100mb', 'maxmemory-policy', 'allkeys-lru')
  t.match(await store.inspect(), [{ kind: 'evicts', message: /allkeys-lru.*noeviction/ }])
  const app = Fastify()
  t.after(() => app.close())
  const events: unknown[] = []
  useSecurityEvents(app).on('kit.store_unsafe', ({ details }) => events.push(details.risk))
  useStoreEvents(app, store)
  useStoreEvents(app, store)
  await app.ready()
  t.strictSame(events, ['evicts'], 'once for each store')
  const strict = Fastify()
  t.after(() => strict.close())
  useStoreEvents(strict, store, { strict: true })
  await t.rejects(async () => strict.ready(), { code: 'PARAPET_KIT_STORE_UNSAFE', statusCode: 500 })
  await client.call('CONFIG', 'SET', 'maxmemory', '0')
  await client.call(
    'ACL',
    'SETUSER',
    'poor',
    'on',
    '>pw',
    '~*',
    '+@all',
    '-@scripting',
    '-publish',
    '-info',
  )
  const poor = new Redis(server.port, { username: 'poor', password: 'pw' })
  const poorStore = createRedisStore({ client: poor })
  t.after(async () => {
    await poorStore.close()
    poor.disconnect()
  })
  const kinds = (await poorStore.inspect()).map(({ kind }) => kind)
  t.strictSame(kinds, ['unknown_eviction', 'no_scripting', 'no_publish'])
})

await t.test('clients of other libraries are refused by name', async (t) => {
  const foreign: [object, RegExp][] = [
    [{ sendCommand() {} }, /"client" must be .* got a node-redis client/],
    [{ customCommand() {} }, /got a valkey-glide client/],
    [{}, /got something else/],
  ]
  for (const [client, message] of foreign) {
    const code = 'PARAPET_KIT_INVALID_OPTION'
    t.throws(() => createRedisStore({ client: client as never }), { code, message })
  }
})
