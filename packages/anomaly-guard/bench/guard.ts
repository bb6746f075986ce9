/** The cost of the hooks, of block checks, of tracked keys, of a block on its way, and a simulated week. */
import { createRedisStore } from '@parapet/kit'
import { goal, pairedBench, startRedis, type TestContext } from '@parapet/testing'
import { anomalyGuard, rules, type AnomalyGuardOptions } from '@parapet/anomaly-guard'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { createActive } from '../src/contain/active.ts'
import { readAddress, type AddressBits } from '../src/contain/address.ts'
import { createKeyHash } from '../src/windows/key-hash.ts'
import { CountWindows } from '../src/windows/windows.ts'
import { playDay, scoreDays, type DayResult } from '../test/simulator/run.ts'

const MILLION = 1_000_000

function createApp(): FastifyInstance {
  const app = Fastify()
  app.get('/items/:id', async () => 'here')
  return app
}

async function createGuarded(options: AnomalyGuardOptions): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(anomalyGuard, options)
  app.get('/items/:id', async () => 'here')
  return app
}

/** Hooks: what the plugin adds to a request, inject and all the rest cancelling out. */
async function benchHooks(): Promise<void> {
  const [inspect, behaviour] = [{ enabled: false }, { enabled: false }]
  const apps = {
    bare: createApp(),
    rules: await createGuarded({ inspect, behaviour }),
    behaviour: await createGuarded({ inspect }),
    everything: await createGuarded({}),
  }
  await Promise.all(Object.values(apps).map((app) => app.ready()))
  const result = await pairedBench({
    time: 'cpu',
    minMs: 150,
    cases: {
      'a bare route': async () => apps.bare.inject('/items/5'),
      'with rules and containment': async () => apps.rules.inject('/items/5'),
      'and behaviour': async () => apps.behaviour.inject('/items/5'),
      'and inspection': async () => apps.everything.inject('/items/5'),
    },
  })
  console.log(result.table)
  const added = (name: string) =>
    (result.cases[name]!.median - result.cases['a bare route']!.median) / 1000
  goal('anomaly-guard-hooks-us', added('with rules and containment'), 10)
  goal('anomaly-guard-hooks-and-inspection-us', added('and inspection'), 30)
  await Promise.all(Object.values(apps).map((app) => app.close()))
}

const addressOf = (index: number, first = 20): string =>
  `${first + (index >>> 16)}.${(index >>> 8) & 255}.${index & 255}.${(index * 7) & 255}`

/** Addresses as a socket gives them: one flat text each. */
const flat = (first: number) =>
  Array.from({ length: 50_000 }, (_, index) =>
    Buffer.from(addressOf(index * 19, first)).toString('latin1'),
  )

/** A million blocked addresses in memory, and the question whether one is among them. */
async function benchBlockCheck(): Promise<void> {
  const active = createActive()
  const target = { type: 'address' } as const
  const rest = { createdAt: 0, until: 1e12, reason: 'bench', by: null, level: 0 } as const
  for (let index = 0; index < MILLION; index++) {
    const value = addressOf(index)
    active.put({ id: `${index}`, kind: 'block', target: { ...target, value }, ...rest })
  }
  const bits: AddressBits = { isV4: true, high: 0, low: 0 }
  const [blocked, others] = [flat(20), flat(120)]
  let next = 0
  const take = (list: readonly string[]): string => list[(next = (next + 7919) % list.length)]!
  const check = (list: readonly string[]): boolean =>
    readAddress(take(list), bits) && active.ofAddress(bits, 1) !== undefined
  const result = await pairedBench({
    time: 'cpu',
    cases: {
      'reading a text': () => sumOf(take(blocked)),
      'a blocked address': () => check(blocked),
      'another address': () => check(others),
    },
  })
  console.log(result.table)
  const base = result.cases['reading a text']!.median
  const worst = Math.max(
    result.cases['a blocked address']!.median,
    result.cases['another address']!.median,
  )
  goal('anomaly-guard-block-check-us', (worst - base) / 1000, 0.5)
}

/** Fetches a text into the cache of the processor, as the request has done before the check. */
function sumOf(text: string): number {
  let sum = 0
  for (let index = 0; index < text.length; index++) sum += text.charCodeAt(index)
  return sum
}

const used = () => process.memoryUsage().arrayBuffers

/** The memory of a million tracked keys: the windows hold nothing but typed arrays. */
function benchMemory(): void {
  const hash = createKeyHash()
  const before = used()
  const windows = new CountWindows({ windowMs: 300_000, capacity: 5, maxKeys: MILLION })
  for (let key = 0; key < MILLION; key++) windows.add(hash(`client ${key}`), key)
  if (windows.size !== MILLION) throw new Error('keys were dropped')
  goal('anomaly-guard-million-keys-mb', (used() - before) / 1e6, 100)
}

/** From the call on one instance to the refusal on another, over a real Redis. */
async function benchSpread(): Promise<void> {
  const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379'
  const prefix = `parapet-bench:${process.pid}:`
  const clients = [new Redis(url), new Redis(url)]
  const stores = clients.map((client) => createRedisStore({ client, prefix }))
  const [first, second] = (await Promise.all(
    stores.map((store) => createGuarded({ store, secret: 's'.repeat(32) })),
  )) as [FastifyInstance, FastifyInstance]
  const times: number[] = []
  for (let round = 0; round < 300; round++) {
    const address = `198.51.${round >> 8}.${round & 255}`
    const start = performance.now()
    const made = first.anomaly.contain.blockAddress(address, { reason: 'bench', by: 'bench' })
    const isHere = () =>
      second.anomaly.contain.list().some(({ target }) => target.value === address)
    while (!isHere()) await new Promise(setImmediate)
    times.push(performance.now() - start)
    await made
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(times.length * share)]!
  console.log(
    `a block on another instance: p50 ${at(0.5).toFixed(2)} ms, p99 ${at(0.99).toFixed(2)} ms`,
  )
  goal('anomaly-guard-block-spread-p99-ms', at(0.99), 100)
  await Promise.all([first.close(), second.close()])
  const keys = await clients[0]!.keys(`${prefix}*`)
  if (keys.length > 0) await clients[0]!.del(...keys)
  await Promise.all(stores.map((store) => store.close()))
  for (const client of clients) client.disconnect()
}

/** The latency of requests and of failed logins while Redis works, is paused, and is killed. */
async function benchOutage(): Promise<void> {
  const cleanUps: (() => unknown)[] = []
  const t = { after: (cleanUp: () => unknown) => void cleanUps.push(cleanUp) }
  const redis = await startRedis(t as unknown as TestContext)
  if (redis === null) return
  const client = new Redis(redis.url, {
    retryStrategy: () => 50,
    autoResendUnfulfilledCommands: false,
  })
  client.on('error', () => {})
  const store = createRedisStore({ client, onError: () => {} })
  const app = Fastify({ logger: false })
  const flood = rules.flood({ limit: 10_000 })
  await app.register(anomalyGuard, { mode: 'enforce', store, rules: [rules.bruteForce(), flood] })
  app.get('/', async (request) => {
    request.anomaly.fail('login', { account: request.id })
    return 'here'
  })
  const measure = async (): Promise<number> => {
    const times: number[] = []
    for (let round = 0; round < 2000; round++) {
      const start = performance.now()
      const remoteAddress = `10.${round >> 8}.${round & 255}.${Math.floor(start) & 255}`
      const { statusCode } = await app.inject({ url: '/', remoteAddress })
      if (statusCode >= 500) throw new Error(`a request failed with ${statusCode}`)
      times.push(performance.now() - start)
      // Lets timers and sockets take part.
      if (round % 20 === 0) await new Promise(setImmediate)
    }
    return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]!
  }
  await measure()
  const working = await measure()
  await redis.pause()
  const paused = await measure()
  redis.resume()
  await redis.kill()
  const killed = await measure()
  console.log(
    `p99 of a request: Redis works ${working.toFixed(2)} ms, paused ${paused.toFixed(2)} ms, killed ${killed.toFixed(2)} ms`,
  )
  goal('anomaly-guard-outage-added-ms', Math.max(paused, killed) - working, 50)
  await app.close()
  await store.close()
  client.disconnect()
  for (const cleanUp of cleanUps.toReversed()) await cleanUp()
}

/** Some of the fifty days that the long test plays. */
async function benchSimulation(): Promise<void> {
  const days: DayResult[] = []
  for (let seed = 1; seed <= 10; seed++) days.push(await playDay(seed))
  const { table, recall, labelled, slowestFastMs, ordinaryRequests, falseAlarms } = scoreDays(days)
  console.log(`\n10 simulated days, ${ordinaryRequests} ordinary requests\n${table}\n`)
  goal('anomaly-guard-recall', recall, 0.97, 'at-least')
  goal('anomaly-guard-labels', labelled, 0.93, 'at-least')
  goal('anomaly-guard-first-alarm-s', slowestFastMs / 1000, 10)
  goal('anomaly-guard-false-per-500000', (falseAlarms.length / ordinaryRequests) * 500_000, 1)
}

// First, while nothing else is freed.
benchMemory()
await benchHooks()
await benchBlockCheck()
await benchSpread()
await benchOutage()
await benchSimulation()
