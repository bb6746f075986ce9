/** API keys for machines, wherever they are kept. */
import { PGlite } from '@electric-sql/pglite'
import {
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import { usePostgres, useRedis } from '@parapet/testing'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { migrateApiKeys, createSqlApiKeys } from '../src/api-keys-postgres.ts'
import { createStoreApiKeys } from '../src/api-keys-store.ts'
import { createApiKeys, type ApiKeyRepository } from '../src/api-keys.ts'
import { build, told } from './build.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

await t.test(
  'an API key opens what its scopes say, expires, and leaves no secret behind',
  async (t) => {
    const { app, ask, clock, events } = await build(t)
    const { key: made, text } = await app.sessions.apiKeys.create({
      ownerId: 'robot-1',
      name: 'nightly export',
      roles: ['exporter'],
      scopes: ['reports:read'],
      lifetimeMs: DAY_MS,
    })
    t.match(text, /^pak_[0-9A-Za-z]{66}$/)
    t.notOk(JSON.stringify(made).includes(text.slice(21, 64)))
    const { status, body } = await ask(text)
    t.equal(status, 200)
    t.same((JSON.parse(body) as { principal: unknown }).principal, {
      id: 'robot-1',
      roles: ['exporter'],
      permissions: ['reports:read'],
      amr: ['api-key'],
    })
    t.equal((await app.sessions.apiKeys.list('robot-1'))[0]!.lastUsedAt, clock.now(), 'last used')
    const middle = text.length >> 1
    const forged = [
      text.slice(0, -1),
      `${text}0`,
      text.toLowerCase(),
      `${text.slice(0, middle)}${text[middle] === 'a' ? 'b' : 'a'}${text.slice(middle + 1)}`,
      'pak_',
      `pak_${'0'.repeat(66)}`,
      (
        await (
          await build(t)
        ).app.sessions.apiKeys.create({ ownerId: 'robot-1', name: 'n', scopes: [] })
      ).text,
    ]
    for (const other of forged) t.equal((await ask(other)).status, 401, other)
    t.equal(told(events, 'sessions.token_refused').length, forged.length)
    clock.advance(DAY_MS)
    t.equal((await ask(text)).status, 401, 'expired')
  },
)

await t.test('an API key rotates with an overlap, and dies when told to', async (t) => {
  const { app, ask, clock } = await build(t)
  const { apiKeys } = app.sessions
  const { key: made, text } = await apiKeys.create({ ownerId: 'robot-1', name: 'n', scopes: [] })
  const { text: next, key: rotated } = await apiKeys.rotate(made.id, HOUR_MS)
  t.equal(rotated.id, made.id)
  t.equal((await ask(text)).status, 200, 'the old secret, for a while')
  t.equal((await ask(next)).status, 200)
  clock.advance(HOUR_MS)
  t.equal((await ask(text)).status, 401)
  t.equal((await ask(next)).status, 200)
  t.equal(await apiKeys.revoke(made.id), true)
  t.equal(await apiKeys.revoke(made.id), false)
  t.equal((await ask(next)).status, 401)
  await t.rejects(apiKeys.rotate(made.id), { code: 'PARAPET_SESSIONS_NOT_FOUND', statusCode: 404 })
  const owned = await apiKeys.create({ ownerId: 'user-1', name: 'n', scopes: [] })
  await app.sessions.disableUser('user-1')
  t.equal((await ask(owned.text)).status, 401, 'with its owner')
  t.same(await apiKeys.list('user-1'), [])
  for (const broken of [{ ownerId: '' }, { name: '' }, { scopes: [''] }, { lifetimeMs: 0 }]) {
    await t.rejects(apiKeys.create({ ownerId: 'a', name: 'n', scopes: [], ...broken }), {
      code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
    })
  }
  await t.rejects(apiKeys.rotate('x', -1), { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT' })
})

/** A repository that counts what it is asked, and fails by name when it is told to. */
function watched(real: ApiKeyRepository) {
  const calls: string[] = []
  const failing = new Set<string>()
  const repository = new Proxy(real, {
    get(target, name) {
      const value = Reflect.get(target, name) as (...given: unknown[]) => Promise<unknown>
      return async (...given: unknown[]) => {
        calls.push(String(name))
        if (failing.has(String(name))) throw new Error('down')
        return value(...given)
      }
    },
  })
  return { repository, calls, failing }
}

await t.test('the last use is written once a minute, however busy the key is', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const { repository, calls, failing } = watched(createStoreApiKeys(createMemoryStore({ clock })))
  const keys = createApiKeys(repository, clock.now, 'pak')
  const { text, key } = await keys.create({ ownerId: 'robot-1', name: 'n', scopes: [] })
  const writes = () => calls.filter((name) => name === 'noteUse').length
  const used = async () => (await keys.list('robot-1'))[0]!.lastUsedAt
  t.equal(await used(), null)
  await Promise.all(Array.from({ length: 100 }, () => keys.verify(text)))
  t.equal(writes(), 1, 'of a hundred at once')
  const first = clock.now()
  clock.advance(59_999)
  await keys.verify(text)
  t.equal(writes(), 1)
  t.equal(await used(), first)
  clock.advance(1)
  await keys.verify(text)
  t.equal(writes(), 2)
  t.equal(await used(), clock.now())

  const other = createApiKeys(repository, clock.now, 'pak')
  await other.verify(text)
  t.equal(writes(), 2, 'another instance sees that it is written')
  clock.advance(60_000)
  failing.add('noteUse')
  t.equal((await keys.verify(text))?.id, key.id, 'a key is good though its use cannot be written')
})

/** One contract, wherever keys are kept. */
async function contract(t: Test, repository: ApiKeyRepository): Promise<void> {
  const clock = createManualClock(Date.UTC(2026, 0, 15, 1, 2, 3) + 4)
  const keys = createApiKeys(repository, clock.now, 'pak')
  const odd = ['a"b', "c'd", '{e,f}', 'NULL', 'null', ' ', '\\', 'ä 🔑', '$1', '--']
  const owner = `o'wner "1" {} 🔑`
  const { key, text } = await keys.create({
    ownerId: owner,
    name: '{"n"}',
    roles: [],
    scopes: odd,
    lifetimeMs: HOUR_MS,
  })
  t.same(await keys.list(owner), [key], 'what was made is what is there')
  t.same(key.scopes, odd)
  t.same([key.createdAt, key.expiresAt], [clock.now(), clock.now() + HOUR_MS])
  t.same(await keys.verify(text), key)
  t.equal((await keys.list(owner))[0]!.lastUsedAt, clock.now(), 'the use was noted')
  const { record } = (await repository.find(key.id))!
  await repository.noteUse(record, clock.now() + 5)
  t.equal((await repository.find(key.id))!.lastUsedAt, clock.now() + 5)

  const racers = await Promise.all(Array.from({ length: 5 }, () => keys.rotate(key.id, 1000)))
  const last = (await repository.find(key.id))!.record
  const working = await Promise.all(racers.map(async (each) => keys.verify(each.text)))
  t.equal(working.filter((found) => found !== null).length, 2, 'the newest and the one before it')
  t.equal(last.previous!.until, clock.now() + 1000)
  t.equal(await repository.replace(record, last), false, 'what changed meanwhile is not replaced')
  clock.advance(1000)
  const after = await Promise.all(racers.map(async (each) => keys.verify(each.text)))
  t.equal(after.filter((found) => found !== null).length, 1, 'only the newest')
  t.equal(await keys.verify(text), null)
  const hour = await keys.rotate(key.id, 0)
  t.equal((await keys.verify(hour.text))?.rotatedAt, clock.now())

  const [a, b] = [
    await keys.create({ ownerId: 'o', name: 'a', scopes: [] }),
    await keys.create({ ownerId: 'o', name: 'b', scopes: [] }),
  ]
  t.same((await keys.list('o')).map(({ name }) => name).toSorted(), ['a', 'b'])
  t.equal(await keys.revoke(a.key.id), true)
  t.equal(await keys.revoke(a.key.id), false)
  t.equal(await keys.verify(a.text), null)
  t.ok(await keys.verify(b.text))
  await keys.revokeAll('o')
  t.equal(await keys.verify(b.text), null)
  t.same(await keys.list('o'), [])
  await t.rejects(keys.rotate(b.key.id), { code: 'PARAPET_SESSIONS_NOT_FOUND' })
  t.ok(await keys.verify(hour.text), 'keys of others stay')

  clock.advance(HOUR_MS)
  t.equal(await keys.verify(hour.text), null, 'expired')
  t.same(await keys.list(owner), [])
  await t.rejects(keys.rotate(key.id), { code: 'PARAPET_SESSIONS_NOT_FOUND' })
  const id = '0'.repeat(17)
  const full = {
    ...record,
    id,
    ownerId: 'full',
    createdAt: clock.now(),
    expiresAt: clock.now() + HOUR_MS,
  }
  t.equal(await repository.add(full, 1), true)
  t.equal(await repository.add({ ...full, id: '1'.repeat(17) }, 1), false, 'no more than so many')
  t.equal(await repository.find('1'.repeat(17)), null)
  t.same((await repository.list('full')).length, 1)
}

let embedded: Promise<PGlite> | undefined

/** One database for all tests of this file: opening one takes seconds. */
async function pglite(): Promise<SqlClient> {
  embedded ??= PGlite.create()
  return createSqlClient(await embedded)
}
t.teardown(async () => (await embedded)?.close())

await t.test('kept in memory', (t) => contract(t, createStoreApiKeys(createMemoryStore())))
await t.test('kept in Redis', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const client = new Redis(redis.url)
  const store: Store = createRedisStore({ client, prefix: redis.prefix })
  t.teardown(async () => {
    await store.close()
    client.disconnect()
  })
  await contract(t, createStoreApiKeys(store))
})
await t.test('kept in PGlite', async (t) => {
  const sql = await pglite()
  await migrateApiKeys(sql)
  await contract(t, createSqlApiKeys(sql))
})
await t.test('kept in PostgreSQL', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  await Promise.all([migrateApiKeys(sql), migrateApiKeys(sql)])
  await contract(t, createSqlApiKeys(sql))
  const { rows } = await sql.query('SELECT id FROM sessions_api_keys')
  t.equal(rows.length, 1, 'what has expired is taken away by the next one')
})

await t.test('the plugin makes its table, and a key outlives a restart', async (t) => {
  const sql = await pglite()
  const first = await build(t, { sql })
  const { text } = await first.app.sessions.apiKeys.create({
    ownerId: 'robot-1',
    name: 'n',
    scopes: ['a'],
  })
  t.equal((await first.ask(text)).status, 200)
  await first.app.close()
  const second = await build(t, { sql })
  const { status, body } = await second.ask(text)
  t.equal(status, 200)
  t.match(JSON.parse(body), { principal: { id: 'robot-1', permissions: ['a'] } })
  const { rows } = await sql.query('SELECT * FROM sessions_api_keys')
  t.notOk(JSON.stringify(rows).includes(text.slice(21, 64)), 'no secret at rest')
  await second.app.sessions.disableUser('robot-1')
  t.equal((await second.ask(text)).status, 401, 'with its owner')
})

await t.test('a database that is down lets no key in, and is no 500', async (t) => {
  const sql = await pglite()
  let isDown = false
  const failing: SqlClient = {
    query: (text, values) =>
      isDown ? Promise.reject(new Error('password of the database')) : sql.query(text, values),
    transaction: (work) => sql.transaction(work),
  }
  const { app, ask } = await build(t, { sql: failing })
  const { text } = await app.sessions.apiKeys.create({ ownerId: 'o', name: 'n', scopes: [] })
  isDown = true
  const { status, code, body } = await ask(text)
  t.same([status, code], [503, 'PARAPET_SESSIONS_UNAVAILABLE'])
  t.notMatch(body, /password of/)
  t.equal((await ask('pak_nonsense')).status, 401, 'what is no key needs no question')
})
