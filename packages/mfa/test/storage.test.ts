import { PGlite } from '@electric-sql/pglite'
import {
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  migrate,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import {
  createSqlAccounts,
  createStoreAccounts,
  migrations,
  type AccountRepository,
} from '@parapet/mfa'
import { usePostgres, useRedis } from '@parapet/testing'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { build, codeAt, createApp, enrol, KEYS } from './helpers.ts'
import { mfa } from '@parapet/mfa'
import { Authenticator } from './authenticator.ts'

const passkeys = { rpId: 'example.org', origins: ['https://example.org'] }

async function redisStore(t: Test): Promise<Store | null> {
  const redis = await useRedis(t)
  if (redis === null) return null
  const client = new Redis(redis.url)
  const store = createRedisStore({ client, prefix: redis.prefix })
  t.teardown(async () => {
    await store.close()
    client.disconnect()
  })
  return store
}

async function postgres(t: Test): Promise<SqlClient | null> {
  const server = await usePostgres(t)
  if (server === null) return null
  const sql = createSqlClient(server.pool)
  await migrate(sql, '@parapet/mfa', migrations)
  return sql
}

let embedded: Promise<PGlite> | undefined
t.teardown(async () => (await embedded)?.close())

/** One for all tests, since it takes seconds to open; empty each time. */
async function pglite(): Promise<SqlClient> {
  const sql = createSqlClient(await (embedded ??= PGlite.create()))
  await migrate(sql, '@parapet/mfa', migrations)
  await sql.query('DELETE FROM mfa_accounts')
  return sql
}

/** What every repository promises. */
async function contract(t: Test, repository: AccountRepository): Promise<void> {
  await t.test('what was saved is loaded, with the next version', async (t) => {
    t.equal(await repository.load('alice'), null)
    t.equal(await repository.save('alice', 0, 'sealed-1'), true)
    t.same(await repository.load('alice'), { version: 1, sealed: 'sealed-1' })
    t.equal(await repository.save('alice', 1, 'sealed-2'), true)
    t.same(await repository.load('alice'), { version: 2, sealed: 'sealed-2' })
  })
  await t.test('an old version writes nothing', async (t) => {
    for (const version of [0, 1, 3]) {
      t.equal(await repository.save('alice', version, 'never'), false, String(version))
    }
    t.equal((await repository.load('alice'))?.sealed, 'sealed-2')
    t.equal(await repository.save('nobody', 1, 'never'), false)
  })
  await t.test('of a hundred writers from one version one wins', async (t) => {
    const racers = Array.from({ length: 100 }, (_, i) => repository.save('raced', 0, `sealed-${i}`))
    const won = (await Promise.all(racers))
      .map((saved, i) => (saved ? i : -1))
      .filter((i) => i >= 0)
    t.equal(won.length, 1)
    t.same(await repository.load('raced'), { version: 1, sealed: `sealed-${won[0]}` })
  })
  await t.test('a passkey has one owner, until it is taken away', async (t) => {
    const long = 'c'.repeat(1364)
    t.equal(await repository.findByCredential(long), null)
    t.equal(await repository.save('alice', 2, 'sealed-3', { add: long }), true)
    t.equal(await repository.findByCredential(long), 'alice')
    t.equal(await repository.save('bob', 0, 'never', { add: long }), false, 'not of another user')
    t.equal(await repository.load('bob'), null, 'and nothing of it was written')
    t.equal(await repository.save('alice', 3, 'sealed-4', { remove: [long] }), true)
    t.equal(await repository.findByCredential(long), null)
  })
  await t.test('a removed user is gone, with the passkeys', async (t) => {
    await repository.save('alice', 4, 'sealed-5', { add: 'key' })
    await repository.remove('alice', ['key'])
    t.equal(await repository.load('alice'), null)
    t.equal(await repository.findByCredential('key'), null)
    await repository.remove('alice', [])
  })
}

await t.test('in memory', async (t) => contract(t, createStoreAccounts(createMemoryStore())))
await t.test('in PGlite', async (t) => contract(t, createSqlAccounts(await pglite())))
await t.test('in Redis', async (t) => {
  const store = await redisStore(t)
  if (store !== null) await contract(t, createStoreAccounts(store))
})
await t.test('in PostgreSQL', async (t) => {
  const sql = await postgres(t)
  if (sql !== null) await contract(t, createSqlAccounts(sql))
})

await t.test('the plugin makes its tables and finds its users after a restart', async (t) => {
  const sql = await pglite()
  const first = await build(t, { sql })
  const { secret } = await enrol(first, 'alice')
  await first.app.close()
  const second = await build(t, { sql })
  second.clock.advance(60_000)
  t.ok(await second.app.mfa.verify('alice', codeAt(secret, second.clock.now())))
})

await t.test('nothing at rest is readable: not the secret, not a code, not a ticket', async (t) => {
  const sql = await pglite()
  const kept: string[] = []
  const memory = createMemoryStore()
  const store: Store = new Proxy(memory, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (key === 'set' || key === 'compareAndSet') kept.push(JSON.stringify(args))
        return Reflect.apply(value, target, args) as unknown
      }
    },
  })
  const built = await build(t, { sql, store })
  const { ticket, secret, backupCodes } = await built.app.mfa.totp.begin({ id: 'alice', name: 'a' })
  await built.app.mfa.totp.confirm('alice', ticket, codeAt(secret, built.clock.now()))
  const { rows } = await sql.query('SELECT * FROM mfa_accounts')
  const dump = JSON.stringify(rows) + kept.join('\n')
  for (const text of [
    ticket,
    secret,
    ...backupCodes,
    ...backupCodes.map((each) => each.replaceAll('-', '')),
  ]) {
    t.notOk(dump.includes(text))
  }
  t.match((rows[0] as { sealed: string }).sealed, /^pe1\.[\w-]+$/)
})

await t.test('under strict isolation, writers that race still end in one order', async (t) => {
  for (const level of ['SERIALIZABLE', 'REPEATABLE READ']) {
    const server = await usePostgres(t)
    if (server === null) return
    server.pool.on('connect', (client) => {
      void client.query(`SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL ${level}`)
    })
    const built = await build(t, { sql: createSqlClient(server.pool), passkeys })
    const { secret } = await enrol(built, 'alice')
    const code = codeAt(secret, built.clock.now())
    const attempts = Array.from({ length: 30 }, () => built.app.mfa.verify('alice', code))
    const settled = await Promise.allSettled(attempts)
    t.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1, level)
    for (const attempt of settled) {
      if (attempt.status === 'rejected') t.match(attempt.reason, { code: 'PARAPET_MFA_CODE_USED' })
    }
    const enrolled = await Promise.allSettled(
      Array.from({ length: 10 }, async () => {
        const { passkeys } = built.app.mfa
        const { challenge } = await passkeys.registrationOptions({ id: 'bob', name: 'bob' })
        await passkeys.register('bob', new Authenticator().create({ challenge }), 'Key')
      }),
    )
    const added = enrolled.filter(({ status }) => status === 'fulfilled').length
    t.ok(added >= 1)
    t.equal((await built.app.mfa.passkeys.list('bob')).length, added)
  }
})

await t.test('a database that does not answer in time is a 503 that tells nothing', async (t) => {
  const server = await usePostgres(t)
  if (server === null) return
  const holder = await server.pool.connect()
  t.teardown(() => holder.release())
  server.pool.on('connect', (client) => void client.query('SET statement_timeout = 200'))
  const built = await build(t, { sql: createSqlClient(server.pool) })
  const { secret } = await enrol(built, 'alice')
  await holder.query('BEGIN')
  await holder.query('SELECT 1 FROM mfa_accounts FOR UPDATE')
  const payload = { code: codeAt(secret, built.clock.now()) }
  const reply = await built.as('alice', { method: 'POST', url: '/mfa/verify', payload })
  await holder.query('ROLLBACK')
  t.equal(reply.statusCode, 503)
  t.match(reply.json(), { code: 'PARAPET_MFA_BUSY' })
  t.notMatch(reply.body, /statement|57014|mfa_accounts/)
  t.ok(await built.app.mfa.verify('alice', payload.code), 'and nothing was spent')
})

await t.test('while the store is down nothing is let through', async (t) => {
  const store = createMemoryStore()
  const built = await build(t, { store, sql: await pglite() })
  built.app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  const { secret } = await enrol(built, 'alice')
  await store.close()
  const reply = await built.as('alice', { url: '/reports' })
  t.equal(reply.statusCode, 503)
  const payload = { code: codeAt(secret, built.clock.now()) }
  const verify = await built.as('alice', { method: 'POST', url: '/mfa/verify', payload })
  t.equal(verify.statusCode, 503)
})

await t.test('a store of its own is closed with the app', async (t) => {
  const app = createApp(t)
  await app.register(mfa, { issuer: 'Acme', keys: KEYS })
  await app.ready()
  const { mfa: decorated } = app
  await app.close()
  await t.rejects(decorated.verify('alice', '000000'), {
    code: 'PARAPET_KIT_STORE_UNAVAILABLE',
  })
})
