import { readFileSync } from 'node:fs'
import type { PGlite } from '@electric-sql/pglite'
import {
  createLocalCipher,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  generateCipherKey,
  migrate,
  parseCipherKeys,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import {
  createSqlAccounts,
  createStoreAccounts,
  mfa,
  migrations,
  type AccountRepository,
} from '@parapet/mfa'
import { openPglite, usePostgres, useRedis } from '@parapet/testing'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { openAccount } from '../src/account/sealed-account.ts'
import { hashBackupCode, parseBackupCode } from '../src/backup-codes/backup-code.ts'
import { Authenticator, RELYING_PARTY } from './authenticator.ts'
import { build, codeAt, createApp, enrol, KEYS, outcome, post } from './helpers.ts'

const passkeys = RELYING_PARTY

async function redisStore(t: Test): Promise<Store | null> {
  const redis = await useRedis(t)
  if (redis === null) return null
  const client = new Redis(redis.url)
  const store = createRedisStore({ client, prefix: redis.prefix, deadlineMs: 20_000 })
  t.after(async () => {
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

/** One database for all tests, because opening it takes seconds; it is emptied each time. */
async function pglite(): Promise<SqlClient> {
  const sql = createSqlClient(await (embedded ??= openPglite()))
  await migrate(sql, '@parapet/mfa', migrations)
  await sql.query('DELETE FROM mfa_accounts')
  return sql
}

/** The contract of every repository. */
async function contract(t: Test, repository: AccountRepository): Promise<void> {
  await t.test('a saved account is loaded with the next version', async (t) => {
    t.equal(await repository.load('alice'), null)
    t.equal(await repository.save('alice', 0, 'sealed-1'), true)
    t.same(await repository.load('alice'), { version: 1, sealed: 'sealed-1' })
    t.equal(await repository.save('alice', 1, 'sealed-2'), true)
    t.same(await repository.load('alice'), { version: 2, sealed: 'sealed-2' })
  })
  await t.test('a save with another version than the stored one writes nothing', async (t) => {
    for (const version of [0, 1, 3]) {
      t.equal(await repository.save('alice', version, 'never'), false, String(version))
    }
    t.equal((await repository.load('alice'))?.sealed, 'sealed-2')
    t.equal(await repository.save('nobody', 1, 'never'), false)
  })
  await t.test('of a hundred concurrent writers from one version one succeeds', async (t) => {
    const writers = Array.from({ length: 100 }, (_, i) =>
      repository.save('raced', 0, `sealed-${i}`),
    )
    const won = (await Promise.all(writers))
      .map((saved, i) => (saved ? i : -1))
      .filter((i) => i >= 0)
    t.equal(won.length, 1)
    t.same(await repository.load('raced'), { version: 1, sealed: `sealed-${won[0]}` })
  })
  await t.test('a passkey has one owner until it is removed', async (t) => {
    const long = 'c'.repeat(1364)
    t.equal(await repository.findByCredential(long), null)
    t.equal(await repository.save('alice', 2, 'sealed-3', { add: long }), true)
    t.equal(await repository.findByCredential(long), 'alice')
    t.equal(await repository.save('bob', 0, 'never', { add: long }), false, 'owned by another user')
    t.equal(await repository.load('bob'), null, 'nothing was written')
    t.equal(await repository.save('alice', 3, 'sealed-4', { remove: [long] }), true)
    t.equal(await repository.findByCredential(long), null)
  })
  await t.test('a removed user is deleted with the passkeys', async (t) => {
    await repository.save('alice', 4, 'sealed-5', { add: 'key' })
    await repository.remove('alice', ['key'])
    t.equal(await repository.load('alice'), null)
    t.equal(await repository.findByCredential('key'), null)
    await repository.remove('alice', [])
  })
}

await t.test('the contract holds in memory', async (t) =>
  contract(t, createStoreAccounts(createMemoryStore())),
)

await t.test('the contract holds in PGlite', async (t) =>
  contract(t, createSqlAccounts(await pglite())),
)

await t.test('the contract holds in Redis', async (t) => {
  const store = await redisStore(t)
  if (store !== null) await contract(t, createStoreAccounts(store))
})

await t.test('the contract holds in PostgreSQL', async (t) => {
  const sql = await postgres(t)
  if (sql !== null) await contract(t, createSqlAccounts(sql))
})

await t.test('the plugin creates its tables and finds its users after a restart', async (t) => {
  const sql = await pglite()
  const first = await build(t, { sql })
  const { secret } = await enrol(first, 'alice')
  await first.app.close()
  const second = await build(t, { sql })
  second.clock.advance(60_000)
  t.ok(await second.app.mfa.verify('alice', codeAt(secret, second.clock.now())))
})

await t.test('no secret, backup code or ticket is stored in readable form', async (t) => {
  const sql = await pglite()
  const stored: string[] = []
  const memory = createMemoryStore()
  const store: Store = new Proxy(memory, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (key === 'set' || key === 'compareAndSet') stored.push(JSON.stringify(args))
        return Reflect.apply(value, target, args) as unknown
      }
    },
  })
  const built = await build(t, { sql, store })
  const { ticket, secret, backupCodes } = await built.app.mfa.totp.begin({ id: 'alice', name: 'a' })
  await built.app.mfa.totp.confirm('alice', ticket, codeAt(secret, built.clock.now()))
  const { rows } = await sql.query('SELECT * FROM mfa_accounts')
  const dump = JSON.stringify(rows) + stored.join('\n')
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

await t.test(
  'the record of one user in the row of another is refused, and so is a damaged one',
  async (t) => {
    const rows = createStoreAccounts(createMemoryStore())
    let swapped = false
    let damaged = false
    const accounts: AccountRepository = {
      ...rows,
      async load(userId) {
        const stored = await rows.load(swapped ? 'alice' : userId)
        const sealed = stored?.sealed.replace(/.{4}$/, (end) => (damaged ? 'AAAA' : end))
        return stored === null ? null : { ...stored, sealed: sealed! }
      },
    }
    const built = await build(t, { accounts })
    const { app, as, clock } = built
    const { secret, backupCodes } = await enrol(built, 'alice')
    await enrol(built, 'bob')
    const attempts = [codeAt(secret, clock.now()), backupCodes[0]!]
    swapped = true
    for (const code of attempts) {
      const reply = await as('bob', post('/mfa/verify', { code }))
      t.equal(outcome(reply), '500 ACCOUNT_UNREADABLE')
      t.match(reply.json(), { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' })
      t.notMatch(reply.body, /cipher|pe1/)
    }
    swapped = false
    damaged = true
    for (const code of attempts) {
      await t.rejects(app.mfa.verify('alice', code), { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' })
    }
    await app.mfa.forget('alice')
    damaged = false
    t.equal((await app.mfa.status('alice')).enrolled, false, 'it can still be erased')
  },
)

await t.test('a copy of the database without the key verifies no code', async (t) => {
  const accounts = createStoreAccounts(createMemoryStore())
  const built = await build(t, { accounts })
  const { secret, backupCodes } = await enrol(built, 'alice')
  const attacker = await build(t, { accounts, keys: generateCipherKey() })
  attacker.clock.advance(60_000)
  for (const code of [codeAt(secret, attacker.clock.now()), backupCodes[0]!]) {
    await t.rejects(attacker.app.mfa.verify('alice', code), {
      code: 'PARAPET_MFA_ACCOUNT_UNREADABLE',
    })
  }
  const rotated = await build(t, { accounts, keys: `${generateCipherKey()},${KEYS}` })
  rotated.clock.advance(60_000)
  t.ok(
    await rotated.app.mfa.verify('alice', codeAt(secret, rotated.clock.now())),
    'with both keys it opens',
  )
  rotated.clock.advance(60_000)
  await t.rejects(
    built.app.mfa.status('alice'),
    { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' },
    'it is now sealed under the new primary key',
  )
})

await t.test('concurrent writers are serialised at every isolation level', async (t) => {
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

await t.test('a database timeout is a 503 that reveals nothing of the database', async (t) => {
  const server = await usePostgres(t)
  if (server === null) return
  const holder = await server.pool.connect()
  t.after(() => holder.release())
  server.pool.on('connect', (client) => void client.query('SET statement_timeout = 200'))
  const built = await build(t, { sql: createSqlClient(server.pool) })
  const { secret } = await enrol(built, 'alice')
  await holder.query('BEGIN')
  await holder.query('SELECT 1 FROM mfa_accounts FOR UPDATE')
  const payload = { code: codeAt(secret, built.clock.now()) }
  const reply = await built.as('alice', { method: 'POST', url: '/mfa/verify', payload })
  await holder.query('ROLLBACK')
  t.equal(outcome(reply), '503 BUSY')
  t.match(reply.json(), { code: 'PARAPET_MFA_BUSY' })
  t.notMatch(reply.body, /statement|57014|mfa_accounts/)
  t.ok(await built.app.mfa.verify('alice', payload.code), 'the code was not used up')
})

await t.test('requests are refused while the store is down', async (t) => {
  const store = createMemoryStore()
  const built = await build(t, { store, sql: await pglite() })
  built.app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  const { secret } = await enrol(built, 'alice')
  await store.close()
  const reply = await built.as('alice', { url: '/reports' })
  t.equal(outcome(reply), '503 PARAPET_KIT_STORE_UNAVAILABLE')
  const payload = { code: codeAt(secret, built.clock.now()) }
  const verify = await built.as('alice', { method: 'POST', url: '/mfa/verify', payload })
  t.equal(outcome(verify), '503 PARAPET_KIT_STORE_UNAVAILABLE')
})

await t.test('the default store is closed with the app', async (t) => {
  const app = createApp(t)
  await app.register(mfa, { issuer: 'Acme', keys: KEYS })
  await app.ready()
  const { mfa: decorated } = app
  await app.close()
  await t.rejects(decorated.verify('alice', '000000'), {
    code: 'PARAPET_KIT_STORE_UNAVAILABLE',
  })
})

interface AccountVectors {
  readonly keys: string
  readonly salt: string
  readonly backupCodes: readonly { typed: string; plain: string | null; hash?: string }[]
  readonly opens: readonly { userId: string; sealed: string; account: object }[]
  readonly refused: readonly { userId: string; sealed: string; fault: string }[]
}

await t.test('the vectors of docs/spec/mfa-account.md hold', async (t) => {
  const file = new URL('../../../docs/spec/vectors/mfa-account.json', import.meta.url)
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as AccountVectors
  const cipher = createLocalCipher(parseCipherKeys(vectors.keys))
  for (const { typed, plain, hash } of vectors.backupCodes) {
    t.equal(parseBackupCode(typed), plain, typed)
    if (plain !== null) t.equal(await hashBackupCode(plain, vectors.salt), hash)
  }
  for (const { userId, sealed, account } of vectors.opens) {
    t.same(await openAccount(cipher, userId, sealed), account)
  }
  for (const { userId, sealed, fault } of vectors.refused) {
    const refusal = { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' }
    await t.rejects(openAccount(cipher, userId, sealed), refusal, fault)
  }
})

// Not in `t.after`, which runs when the process is idle: an open PGlite keeps it busy.
await (await embedded)?.close()
