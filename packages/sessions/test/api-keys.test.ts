/** API keys, and the contract of every repository. */
import type { PGlite } from '@electric-sql/pglite'
import {
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  type ManualClock,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import { openPglite, usePostgres, useRedis } from '@parapet/testing'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createSqlApiKeys } from '../src/api-keys/repository-postgres.ts'
import { createStoreApiKeys } from '../src/api-keys/repository-store.ts'
import { createApiKeys, type ApiKeys } from '../src/api-keys/api-keys.ts'
import type { ApiKeyRepository } from '../src/api-keys/repository.ts'
import { createRecordSeal } from '../src/secrets/record-seal.ts'
import { migrateSessions } from '../src/service/migrations.ts'
import { build, eventsOf, secret } from './build.ts'

const notFound = { code: 'PARAPET_SESSIONS_NOT_FOUND', statusCode: 404 }
const invalidArgument = { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT', statusCode: 500 }

const onRefused = () => {}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

await t.test(
  'an API key authenticates its owner within its scopes, until it expires',
  async (t) => {
    const { app, ask, refuses, clock, events } = await build(t)
    const { key: made, text } = await app.sessions.apiKeys.create({
      ownerId: 'robot-1',
      name: 'nightly export',
      roles: ['exporter'],
      scopes: ['reports:read'],
      lifetimeMs: DAY_MS,
    })
    t.match(text, /^pak_[0-9A-Za-z]{66}$/)
    t.notOk(JSON.stringify(made).includes(text.slice(21, 64)), 'the key is without its secret')
    const { status, body } = await ask(text)
    t.equal(status, 200)
    t.same((JSON.parse(body) as { principal: unknown }).principal, {
      id: 'robot-1',
      roles: ['exporter'],
      scopes: ['reports:read'],
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
    for (const other of forged) await refuses(other, other)
    t.equal(eventsOf(events, 'sessions.token_refused').length, forged.length)
    clock.advance(DAY_MS)
    await refuses(text, 'expired')
  },
)

await t.test('an API key is rotated with an overlap, and revoked', async (t) => {
  const { app, ask, refuses, clock } = await build(t)
  const { apiKeys } = app.sessions
  const { key: made, text } = await apiKeys.create({ ownerId: 'robot-1', name: 'n', scopes: [] })
  const { text: next, key: rotated } = await apiKeys.rotate(made.id, HOUR_MS)
  t.equal(rotated.id, made.id)
  t.equal((await ask(text)).status, 200, 'the old secret, during the overlap')
  t.equal((await ask(next)).status, 200)
  clock.advance(HOUR_MS)
  await refuses(text)
  t.equal((await ask(next)).status, 200)
  t.equal(await apiKeys.revoke(made.id), true)
  t.equal(await apiKeys.revoke(made.id), false)
  await refuses(next)
  await t.rejects(apiKeys.rotate(made.id), notFound)
  const owned = await apiKeys.create({ ownerId: 'user-1', name: 'n', scopes: [] })
  await app.sessions.disableUser('user-1')
  await refuses(owned.text, 'the key of a disabled owner')
  t.same(await apiKeys.list('user-1'), [])
  for (const broken of [{ ownerId: '' }, { name: '' }, { scopes: [''] }, { lifetimeMs: 0 }]) {
    await t.rejects(
      apiKeys.create({ ownerId: 'a', name: 'n', scopes: [], ...broken }),
      invalidArgument,
    )
  }
  await t.rejects(apiKeys.rotate('x', -1), invalidArgument)
})

/** A repository that records its calls, and whose methods fail by name. */
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

await t.test('every change of an API key is an event, and a refusal names the key', async (t) => {
  const { app, events, refuses } = await build(t)
  const { apiKeys } = app.sessions
  const { key, text } = await apiKeys.create({ ownerId: 'user-1', name: 'ci', scopes: ['a'] })
  await apiKeys.rotate(key.id, 0)
  await refuses(text, 'the rotated secret')
  t.equal(await apiKeys.revoke(key.id), true)
  t.equal(await apiKeys.revoke(key.id), false)
  await apiKeys.revokeAll('user-1')
  const owner = { principalId: 'user-1' }
  const resource = { resourceType: 'api-key', resourceId: key.id }
  const { expiresAt } = key
  const created = { name: 'ci', roles: [], scopes: ['a'], expiresAt }
  t.match(events, [
    { type: 'sessions.api_key_created', ...owner, ...resource, details: created },
    { type: 'sessions.api_key_rotated', ...owner, ...resource, details: { expiresAt } },
    { type: 'sessions.token_refused', ...resource, details: { reason: 'api_key' } },
    { type: 'sessions.revoked', ...resource, details: { scope: 'api-key' } },
    { type: 'sessions.revoked', ...owner, details: { scope: 'api-key' } },
  ])
  t.equal(events.length, 5)
  t.notMatch(JSON.stringify(events), text)
})

await t.test('the last use of a key is written once a minute', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const { repository, calls, failing } = watched(createStoreApiKeys(createMemoryStore({ clock })))
  const keys = apiKeysOf(repository, clock)
  const { text, key } = await keys.create({ ownerId: 'robot-1', name: 'n', scopes: [] })
  const writes = () => calls.filter((name) => name === 'noteUse').length
  const used = async () => (await keys.list('robot-1'))[0]!.lastUsedAt
  t.equal(await used(), null)
  await Promise.all(Array.from({ length: 100 }, () => keys.verify(text)))
  t.equal(writes(), 1, 'one write for 100 concurrent uses')
  const first = clock.now()
  clock.advance(59_999)
  await keys.verify(text)
  t.equal(writes(), 1)
  t.equal(await used(), first)
  clock.advance(1)
  await keys.verify(text)
  t.equal(writes(), 2)
  t.equal(await used(), clock.now())

  const other = apiKeysOf(repository, clock)
  await other.verify(text)
  t.equal(writes(), 2, 'another instance finds the recent write')
  clock.advance(60_000)
  failing.add('noteUse')
  t.equal((await keys.verify(text))?.id, key.id, 'a key is valid even if its use cannot be written')
})

function apiKeysOf(repository: ApiKeyRepository, { now }: ManualClock): ApiKeys {
  const seal = createRecordSeal({ secrets: [secret], acceptUnsealedUntil: 0, now, onRefused })
  const recent = { find: (id: string) => repository.find(id), changed: async () => {} }
  return createApiKeys({ repository, recent, seal, now, prefix: 'pak' })
}

/** The contract of every repository: each promise with an owner of its own. */
async function contract(t: Test, repository: ApiKeyRepository): Promise<void> {
  const clock = createManualClock(Date.UTC(2026, 0, 15, 1, 2, 3) + 4)
  const context = { repository, clock, keys: apiKeysOf(repository, clock) }
  await t.test('a key is stored, found and listed unchanged', (t) => storesKeys(t, context))
  await t.test('of concurrent rotations one succeeds, and the secret in use goes on', (t) =>
    rotatesKeys(t, context),
  )
  await t.test('a key is revoked by id or by owner', (t) => revokesKeys(t, context))
  await t.test('an expired key is gone', (t) => expiresKeys(t, context))
  await t.test('an owner can have a limited number of keys', (t) => limitsKeys(t, context))
}

interface Context {
  readonly repository: ApiKeyRepository
  readonly clock: ManualClock
  readonly keys: ApiKeys
}

async function storesKeys(t: Test, { repository, clock, keys }: Context): Promise<void> {
  const odd = ['a"b', "c'd", '{e,f}', 'NULL', 'null', ' ', '\\', 'ä 🔑', '$1', '--']
  const owner = `o'wner "1" {} 🔑`
  const { key, text } = await keys.create({
    ownerId: owner,
    name: '{"n"}',
    roles: [],
    scopes: odd,
    lifetimeMs: HOUR_MS,
  })
  t.same(await keys.list(owner), [key], 'the listed key is the created one')
  t.same(key.scopes, odd)
  t.same([key.createdAt, key.expiresAt], [clock.now(), clock.now() + HOUR_MS])
  t.same(await keys.verify(text), key)
  t.equal((await keys.list(owner))[0]!.lastUsedAt, clock.now(), 'the use was noted')
  const { record } = (await repository.find(key.id))!
  await repository.noteUse(record, clock.now() + 5)
  t.equal((await repository.find(key.id))!.lastUsedAt, clock.now() + 5)
}

async function rotatesKeys(t: Test, { repository, clock, keys }: Context): Promise<void> {
  const { key, text } = await keys.create({ ownerId: 'rotating', name: 'n', scopes: [] })
  const { record } = (await repository.find(key.id))!
  const rotations = Array.from({ length: 5 }, () => keys.rotate(key.id, 1000))
  const settled = await Promise.allSettled(rotations)
  const rotated = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  t.equal(rotated.length, 1, 'one rotation')
  for (const each of settled.filter(({ status }) => status === 'rejected')) {
    t.match(each, { reason: { code: 'PARAPET_SESSIONS_KEY_ROTATED', statusCode: 409 } })
  }
  const last = (await repository.find(key.id))!.record
  for (const each of [text, rotated[0]!.text]) t.ok(await keys.verify(each), 'both secrets work')
  t.equal(last.previous!.until, clock.now() + 1000)
  t.equal(
    await repository.replace(record, last, clock.now()),
    false,
    'a record that changed is not replaced',
  )
  clock.advance(1000)
  t.ok(await keys.verify(rotated[0]!.text))
  t.equal(await keys.verify(text), null, 'the first one has ended')
  await keys.rotate(key.id, 1000)
  await t.rejects(keys.rotate(key.id, 1000), { code: 'PARAPET_SESSIONS_KEY_ROTATED' })
  const newest = await keys.rotate(key.id, 0)
  t.equal((await keys.verify(newest.text))?.rotatedAt, clock.now())
}

async function revokesKeys(t: Test, { keys }: Context): Promise<void> {
  const [a, b, other] = [
    await keys.create({ ownerId: 'o', name: 'a', scopes: [] }),
    await keys.create({ ownerId: 'o', name: 'b', scopes: [] }),
    await keys.create({ ownerId: 'other', name: 'c', scopes: [] }),
  ]
  t.same((await keys.list('o')).map(({ name }) => name).toSorted(), ['a', 'b'])
  t.equal(await keys.revoke(a.key.id), true)
  t.equal(await keys.revoke(a.key.id), false)
  t.equal(await keys.verify(a.text), null)
  t.ok(await keys.verify(b.text))
  await keys.revokeAll('o')
  t.equal(await keys.verify(b.text), null)
  t.same(await keys.list('o'), [])
  await t.rejects(keys.rotate(b.key.id), notFound)
  t.ok(await keys.verify(other.text), 'keys of other owners stay valid')
}

async function expiresKeys(t: Test, { clock, keys }: Context): Promise<void> {
  const given = { ownerId: 'expiring', name: 'n', scopes: [], lifetimeMs: HOUR_MS }
  const { key, text } = await keys.create(given)
  t.ok(await keys.verify(text))
  clock.advance(HOUR_MS)
  t.equal(await keys.verify(text), null)
  t.same(await keys.list('expiring'), [])
  await t.rejects(keys.rotate(key.id), notFound)
}

async function limitsKeys(t: Test, { repository, clock, keys }: Context): Promise<void> {
  const { key } = await keys.create({ ownerId: 'template', name: 'n', scopes: [] })
  const { record } = (await repository.find(key.id))!
  const expiresAt = clock.now() + HOUR_MS
  const full = { ...record, id: '0'.repeat(17), ownerId: 'full', expiresAt }
  t.equal(await repository.add(full, 1), true)
  t.equal(await repository.add({ ...full, id: '1'.repeat(17) }, 1), false)
  t.equal(await repository.find('1'.repeat(17)), null, 'the refused key is not stored')
  t.same((await repository.list('full')).length, 1)
}

let embedded: Promise<PGlite> | undefined

/** One database for all tests of this file, because opening one takes seconds. */
async function pglite(): Promise<SqlClient> {
  embedded ??= openPglite()
  return createSqlClient(await embedded)
}

await t.test('the contract holds in memory', (t) =>
  contract(t, createStoreApiKeys(createMemoryStore())),
)
await t.test('the contract holds in Redis', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const client = new Redis(redis.url)
  const store: Store = createRedisStore({ client, prefix: redis.prefix })
  t.after(async () => {
    await store.close()
    client.disconnect()
  })
  await contract(t, createStoreApiKeys(store))
})
await t.test('the contract holds in PGlite', async (t) => {
  const sql = await pglite()
  await migrateSessions(sql)
  await contract(t, createSqlApiKeys(sql))
})
await t.test('the contract holds in PostgreSQL', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  await Promise.all([migrateSessions(sql), migrateSessions(sql)])
  await contract(t, createSqlApiKeys(sql))
  const { rows } = await sql.query<{ owner: string }>(
    'SELECT owner_id AS owner FROM sessions_api_keys ORDER BY owner_id',
  )
  t.same(
    rows.map(({ owner }) => owner),
    ['full', 'other', 'rotating', 'template'],
    'creating a key deletes expired keys',
  )
})

await t.test('with sql, the plugin creates its table, and a key survives a restart', async (t) => {
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
  t.match(JSON.parse(body), { principal: { id: 'robot-1', scopes: ['a'] } })
  const { rows } = await sql.query('SELECT * FROM sessions_api_keys')
  t.notOk(JSON.stringify(rows).includes(text.slice(21, 64)), 'the table contains no secret')
  await second.app.sessions.disableUser('robot-1')
  await second.refuses(text, 'the key of a disabled owner')
})

await t.test('while the database is down, an API key gets 503', async (t) => {
  const sql = await pglite()
  let isDown = false
  const failing: SqlClient = {
    query: (text, values) =>
      isDown ? Promise.reject(new Error('password of the database')) : sql.query(text, values),
    transaction: (work) => sql.transaction(work),
  }
  const { app, ask, refuses } = await build(t, { sql: failing })
  const { text } = await app.sessions.apiKeys.create({ ownerId: 'o', name: 'n', scopes: [] })
  isDown = true
  const { status, code, body, handlerRan } = await ask(text)
  t.same([status, code, handlerRan], [503, 'PARAPET_SESSIONS_UNAVAILABLE', false])
  t.notMatch(body, /password of/)
  await refuses('pak_nonsense', 'a malformed key needs no query')
})

// Not in `t.after`, which runs when the process is idle: an open PGlite keeps it busy.
await (await embedded)?.close()
