/** The memory of API keys that were just used. */
import { createManualClock, createMemoryStore, type Store } from '@parapet/kit'
import t from 'tap'
import { createRecentKeys } from '../src/api-keys/recent-keys.ts'
import type { StoredApiKey } from '../src/api-keys/repository.ts'
import { build } from './build.ts'

function storedKey(id: string): StoredApiKey {
  return { record: { id } as StoredApiKey['record'], lastUsedAt: null }
}

/** A memory over a repository that counts its lookups. */
async function createCounted(store: Store = createMemoryStore()) {
  const clock = createManualClock()
  const counted = { lookups: 0, during: async () => {} }
  const recent = createRecentKeys({
    repository: {
      async find(id) {
        counted.lookups++
        await counted.during()
        return id === 'unknown' ? null : storedKey(id)
      },
    },
    store,
    clock,
  })
  await recent.start()
  return { recent, clock, counted }
}

await t.test('a busy key is looked up once a second', async (t) => {
  const { recent, clock, counted } = await createCounted()
  for (let use = 0; use < 5; use++) t.match(await recent.find('a'), { record: { id: 'a' } })
  clock.advance(999)
  await recent.find('a')
  t.equal(counted.lookups, 1)
  clock.advance(1)
  await recent.find('a')
  t.equal(counted.lookups, 2)
})

await t.test('an unknown key is looked up each time', async (t) => {
  const { recent, counted } = await createCounted()
  t.equal(await recent.find('unknown'), null)
  t.equal(await recent.find('unknown'), null)
  t.equal(counted.lookups, 2)
})

await t.test('a key that changes during its lookup is not remembered', async (t) => {
  const { recent, counted } = await createCounted()
  counted.during = () => recent.changed('a')
  await recent.find('a')
  counted.during = async () => {}
  await recent.find('a')
  t.equal(counted.lookups, 2)
})

await t.test('a lost announcement matters for a second', async (t) => {
  const real = createMemoryStore()
  const store = new Proxy(real, {
    get: (target, name) =>
      name === 'publish'
        ? () => Promise.reject(new Error('lost'))
        : (Reflect.get(target, name) as (...args: unknown[]) => unknown).bind(target),
  })
  const [one, other] = [await createCounted(store), await createCounted(store)]
  await one.recent.find('a')
  await other.recent.find('a')
  await one.recent.changed('a')
  await one.recent.find('a')
  await other.recent.find('a')
  t.equal(one.counted.lookups, 2)
  t.equal(other.counted.lookups, 1)
  other.clock.advance(1000)
  await other.recent.find('a')
  t.equal(other.counted.lookups, 2)
})

await t.test('the memory is bounded', async (t) => {
  const { recent, counted } = await createCounted()
  for (let n = 0; n < 10_001; n++) await recent.find(`key ${n}`)
  await recent.find('key 10000')
  t.equal(counted.lookups, 10_001)
  await recent.find('key 0')
  t.equal(counted.lookups, 10_002)
})

await t.test('a change is seen by every instance on the next request', async (t) => {
  const store = createMemoryStore()
  const [one, other] = [await build(t, { store }), await build(t, { store })]
  const { apiKeys } = one.app.sessions
  const make = async () => apiKeys.create({ ownerId: 'robot-1', name: 'n', scopes: [] })
  const changes = {
    revoke: (id: string) => apiKeys.revoke(id),
    'revoke all': () => apiKeys.revokeAll('robot-1'),
    'rotate without an overlap': (id: string) => apiKeys.rotate(id, 0),
  }
  for (const [name, change] of Object.entries(changes)) {
    const { key, text } = await make()
    for (const each of [one, other]) t.equal((await each.ask(text)).status, 200)
    await change(key.id)
    await one.refuses(text, name)
    await other.refuses(text, `${name}, on the other instance`)
  }
})
