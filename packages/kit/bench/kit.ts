/** The cost of an emit, an id, and a store operation in memory and over Redis. */
import {
  createLocalCipher,
  createMemoryStore,
  createRedisStore,
  generateCipherKey,
  parseCipherKeys,
  uuidV7,
} from '@parapet/kit'
import { goal, pairedBench } from '@parapet/testing'
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { SecurityEventBus } from '../src/http/security-events.ts'

async function events() {
  const silent = createBus()
  const heard = createBus()
  let heardNow = 0
  heard.on('*', () => void heardNow++)
  const { cases, table } = await pairedBench({
    cases: {
      'emit, 0 listeners': () => silent.emit('kit.store_lost', { details: { reason: 'x' } }),
      'emit, 1 listener': () => heard.emit('kit.store_lost', { details: { reason: 'x' } }),
      uuidV7: () => uuidV7(),
      'crypto.randomUUID (v4)': () => randomUUID(),
    },
  })
  console.log(`${table}\n${heardNow} events were heard`)
  goal('emit-0-listeners-ns', cases['emit, 0 listeners']!.median, 50)
  goal('emit-1-listener-ns', cases['emit, 1 listener']!.median, 3000)
}

function createBus(): SecurityEventBus {
  const bus = new SecurityEventBus({ error: console.error })
  bus.declare({ 'kit.store_lost': { severity: 'high', outcome: 'failure', description: '' } })
  return bus
}

async function memory() {
  const store = createMemoryStore()
  const windows = [{ windowMs: 60_000 }]
  const bounds = { windowMs: 60_000, maxEntries: 100 }
  const map = new Map<string, string>([['k', 'v']])
  let n = 0
  await store.set('k', 'v', 600_000)
  const { cases, table } = await pairedBench({
    cases: {
      'Map.get, awaited': async () => map.get('k'),
      get: () => store.get('k'),
      set: () => store.set(`key ${n++ % 10_000}`, 'v', 60_000),
      setIfAbsent: () => store.setIfAbsent('k', 'v', 600_000),
      'count, 1 window': () => store.count('count', windows),
      append: () => store.append('list', 'v', bounds),
      addMember: () =>
        store.addMember('set', `m ${n++ % 1000}`, { ttlMs: 60_000, maxMembers: 10_000 }),
    },
  })
  console.log(table)
  goal('memory-store-get-ns', cases['get']!.median, 1000)
  goal('memory-store-count-ns', cases['count, 1 window']!.median, 3000)
}

function inFlight(call: () => Promise<unknown>): () => Promise<unknown> {
  return () => Promise.all(Array.from({ length: 50 }, call))
}

async function redis() {
  const client = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379')
  const prefix = `parapet-bench:${randomUUID()}:`
  const store = createRedisStore({ client, prefix })
  await store.set('k', 'v', 600_000)
  const bare = () => client.get(`${prefix}k`)
  const ours = () => store.get('k')
  const one = await pairedBench({
    rounds: 15,
    minMs: 150,
    cases: { 'ioredis get': bare, 'store get': ours },
  })
  console.log(one.table)
  const many = await pairedBench({
    rounds: 15,
    minMs: 150,
    cases: { '50 × ioredis get': inFlight(bare), '50 × store get': inFlight(ours) },
  })
  console.log(many.table)
  goal('redis-store-vs-ioredis', one.ratio('store get', 'ioredis get').median, 1.3)
  goal('redis-store-vs-ioredis-50', many.ratio('50 × store get', '50 × ioredis get').median, 1.3)
  await store.delete('k')
  await store.close()
  client.disconnect()
}

async function cipher() {
  const local = createLocalCipher(parseCipherKeys(generateCipherKey()))
  const context = ['mfa', 'tenant', 'user', 'secret']
  const sealed = await local.seal('JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', context)
  const { table } = await pairedBench({
    cases: {
      'seal, 32 bytes': () => local.seal('JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', context),
      'open, 32 bytes': () => local.open(sealed, context),
    },
  })
  console.log(table)
}

await events()
await memory()
await redis()
await cipher()
