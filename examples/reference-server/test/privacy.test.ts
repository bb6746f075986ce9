/** Erasure, consent and the ledger in the composed service: a real PostgreSQL, a real Redis, real files. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import { createSqlClient, generateCipherKey, type SqlClient } from '@parapet/kit'
import { verifyReceipt } from '@parapet/privacy'
import { openPglite, startRedis, usePostgres } from '@parapet/testing'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { enrol } from './support/enrol.ts'
import {
  calm,
  createClient,
  createDataFolder,
  createMemoryLog,
  password,
  testDatabaseOf,
} from './support/test-app.ts'

const person = {
  email: 'zedekiah.quillfeather@example.com',
  displayName: 'Zedekiah Quillfeather',
  password,
}
/** Where the subject is. */
const address = '203.0.113.77'
/** What nothing may contain after the erasure. */
const needles = [person.email, 'zedekiah', 'Quillfeather', 'my heirloom recipe']

const keys = () => ({
  PRIVACY_KEYS: generateCipherKey(),
  PRIVACY_SECRET: Buffer.alloc(32, 9).toString('base64url'),
  MFA_KEYS: generateCipherKey(),
})

await t.test('after an erasure, no table, key, file or log line names the subject', async (t) => {
  const [redis, postgres] = [await startRedis(t), await usePostgres(t)]
  if (redis === null || postgres === null) return
  const folder = createDataFolder(t)
  const sql = createSqlClient(postgres.pool)
  const { log, text } = createMemoryLog()
  const env = {
    ...keys(),
    REDIS_URL: redis.url,
    AUDIT_DIR: join(folder, 'audit'),
    PRIVACY_LEDGER_DIR: join(folder, 'ledger'),
    FILES_DIR: join(folder, 'files'),
    OUTBOX_DIR: join(folder, 'outbox'),
    // With it the jobs are those of pg-boss, in the same schema.
    DATABASE_URL: postgres.url,
  }
  const app = await buildApp(readConfig({ ...calm, ...env }), { log })
  t.after(() => app.close())
  const inject = (request: InjectOptions) => app.inject({ remoteAddress: address, ...request })
  const there = Object.assign(Object.create(app) as FastifyInstance, { inject })
  const client = createClient(there, testDatabaseOf(sql))
  const id = await leaveTraces(t, app, client)

  const everything = async () => {
    await app.audit.flush()
    return [
      ...(await readTables(sql)),
      ...(await readRedis(redis.url)),
      ...readFiles(folder),
      text(),
    ]
  }
  const readMail = async () => {
    const { rows } = await sql.query<{ state: string; data: string }>(
      `SELECT state::text AS state, data::text AS data FROM job
       WHERE name = 'sessions.mail' AND start_after <= now()`,
    )
    return rows
  }
  let mail = await readMail()
  while (mail.some(({ state }) => state !== 'completed')) {
    await setTimeout(50)
    mail = await readMail()
  }
  const before = (await everything()).join('\n')
  t.equal(readFiles(env.FILES_DIR).length, 1)
  for (const needle of needles) t.match(before, needle, `the search finds ${needle}`)
  t.match(readFiles(env.OUTBOX_DIR).join(), person.email, 'mail was written')
  t.ok(mail.length > 1, 'the queue keeps jobs of mail that have ended')
  for (const { data } of mail) t.match(data, 'sealed')
  const origins = async () => {
    const { entries } = await app.audit.query({ filters: { principal: id }, limit: 100 })
    return Promise.all(
      entries
        .filter(({ record }) => typeof record.ip === 'object')
        .map(async ({ record }) => (await app.audit.reveal(record.id))['ip']),
    )
  }
  t.ok((await origins()).includes(address), 'records say where the subject was')

  const { id: request } = await app.privacy.request({ subject: id, type: 'erasure' })
  await until(app, request, 'completed')
  const places = await everything()
  for (const needle of needles) {
    const found = places.filter((place) => place.toLowerCase().includes(needle.toLowerCase()))
    t.same(
      found.map((place) => excerpt(place, needle)),
      [],
      needle,
    )
  }
  t.same(readFiles(env.FILES_DIR), [])
  t.same(readFiles(env.OUTBOX_DIR), [])
  const after = await origins()
  t.ok(after.length > 5)
  t.same([...new Set(after)], ['[erased]'], 'records do not say any more where the subject was')
  const naming = places.filter((place) => place.startsWith('audit_log') && place.includes(address))
  // Refused logins and the like stay: they may be those of an attacker.
  t.same(
    naming.filter((place) => place.includes(id)),
    [],
    'no stored record names both',
  )
  t.match(await app.audit.verify(), { exitCode: 0, findings: [] })
  const bookings = await sql.query('SELECT user_id, note FROM bookings')
  t.same(bookings.rows, [{ user_id: null, note: null }], 'the booking stays in the calendar')
  t.same((await sql.query('SELECT FROM rbac_relations')).rows, [])
  const { receipt, parts } = (await app.privacy.findRequest(request))!
  t.same(
    parts.map(({ name, status }) => [name, status]),
    [
      'sessions',
      'second-factors',
      'content',
      'sharing',
      'bookings',
      'files',
      'settings',
      'audit-log',
      'mail',
      'users',
      'privacy',
    ].map((name) => [name, 'done']),
  )
  t.equal(verifyReceipt(receipt!, [app.privacy.publicKey])!.jti, request)
  t.match(await app.audit.status(), { storeIsUp: true, halted: null })
  t.equal((await client.logIn(person.email, password)).status, 401)
})

await t.test(
  'after a restore of an older backup, the subject is erased before the start',
  async (t) => {
    const folder = createDataFolder(t)
    const env = { ...keys(), PRIVACY_LEDGER_DIR: join(folder, 'ledger') }
    const first = await openPglite()
    const app = await buildApp(readConfig(env), {
      sql: createSqlClient(first),
      log: createMemoryLog().log,
    })
    const client = createClient(app, testDatabaseOf(createSqlClient(first)))
    await client.ask({}, 'POST', '/api/v1/users', person)
    const id = await idOf(app.sql)
    const backup = await first.dumpDataDir('none')
    const { id: request } = await app.privacy.request({ subject: id, type: 'erasure' })
    await until(app, request, 'completed')
    const erased = await readTables(createSqlClient(first), 'users')
    await app.close()
    await first.close()

    const second = await PGlite.create({ loadDataDir: backup })
    t.after(() => second.close())
    const sql = createSqlClient(second)
    t.match((await readTables(sql, 'users')).join(), person.email, 'the backup has the subject')
    const restored = await buildApp(readConfig(env), { sql, log: createMemoryLog().log })
    t.after(() => restored.close())
    const now = (await readTables(sql, 'users')).join()
    t.notMatch(now, person.email)
    const address = /erased-[0-9a-f]{32}@erased\.invalid/
    t.equal(address.exec(now)?.[0], address.exec(erased.join())?.[0], 'with the same values')
  },
)

await t.test('a receipt says which audit records are older than the keys, and stay', async (t) => {
  const folder = createDataFolder(t)
  const own = keys()
  const database = await openPglite()
  t.after(() => database.close())
  const sql = createSqlClient(database)
  const { MFA_KEYS } = own
  const old = { MFA_KEYS, AUDIT_DIR: join(folder, 'audit') }
  const app = await buildApp(readConfig({ ...calm, ...old }), { sql, log: createMemoryLog().log })
  const client = createClient(app, testDatabaseOf(sql))
  await client.ask({}, 'POST', '/api/v1/users', person)
  const id = await idOf(sql)
  // More than one page of them.
  for (let n = 0; n < 130; n++) {
    await app.audit.record('test.visit', { principal: id, ip: address, resourceId: `${n}` })
  }
  await app.audit.flush()
  await app.close()

  const sealing = await buildApp(readConfig({ ...calm, ...old, ...own }), {
    sql,
    log: createMemoryLog().log,
  })
  t.after(() => sealing.close())
  for (const resourceId of ['130', '131']) {
    await sealing.audit.record('test.visit', { principal: id, ip: address, resourceId })
  }
  await sealing.audit.flush()
  const access = await sealing.privacy.request({ subject: id, type: 'access' })
  await until(sealing, access.id, 'ready')
  const { archive } = (await sealing.privacy.findRequest(access.id))!
  const collected = archive!.sources.find(({ name }) => name === 'audit-log')!
  t.ok(collected.records >= 132 && collected.records < 150, `${collected.records} records`)
  const { id: request } = await sealing.privacy.request({ subject: id, type: 'erasure' })
  await until(sealing, request, 'completed')
  const { receipt } = (await sealing.privacy.findRequest(request))!
  const { parts } = verifyReceipt(receipt!, [sealing.privacy.publicKey])!
  const { retained } = parts.find(({ name }) => name === 'audit-log')!
  t.same(retained.map(({ field }) => field).toSorted(), ['ip', 'records', 'userAgent'])
  t.match(retained.find(({ field }) => field === 'ip')!.basis, 'PRIVACY_KEYS')
})

await t.test('the profile for partners needs a consent, and a withdrawal ends it', async (t) => {
  const pglite = await openPglite()
  t.after(() => pglite.close())
  const sql = createSqlClient(pglite)
  const app = await buildApp(readConfig(keys()), { sql, log: createMemoryLog().log })
  t.after(() => app.close())
  const { ask, register } = createClient(app, testDatabaseOf(sql))
  const { headers } = await register('viewer')
  const url = '/api/v1/users/me/partner-profile'
  const refused = { status: 403, code: 'PARAPET_PRIVACY_CONSENT_REQUIRED' }
  t.match(await ask(headers, 'GET', url), refused)
  const consent = '/api/v1/privacy/consents/data_sharing'
  const given = { state: 'granted', noticeVersion: '2026-11' }
  t.match(await ask(headers, 'PUT', consent, given), { status: 200, body: { isGranted: true } })
  t.match(await ask(headers, 'GET', url), { status: 200, body: { displayName: 'viewer' } })
  t.match(await ask({ ...headers, 'sec-gpc': '1' }, 'GET', url), refused)
  t.equal((await ask(headers, 'DELETE', consent)).status, 200)
  t.match(await ask(headers, 'GET', url), refused)
  t.equal((await ask({}, 'GET', url)).status, 401)
})

/** Does what a user does: registers, logs in, fails to log in, writes, enrols, consents, exports. */
async function leaveTraces(
  t: Test,
  app: FastifyInstance,
  { ask, send, logIn, verify }: ReturnType<typeof createClient>,
): Promise<string> {
  await ask({}, 'POST', '/api/v1/users', person)
  const id = await idOf(app.sql)
  await ask({}, 'POST', '/api/v1/auth/password/forgot', { email: person.email })
  await verify(person.email)
  t.equal((await logIn(person.email, 'a wrong password')).status, 401)
  const { body } = await logIn(person.email, password)
  const headers = { authorization: `Bearer ${String(body['access_token'])}` }
  await app.sql.query(
    `INSERT INTO content (id, author_id, title, body) VALUES (gen_random_uuid(), $1, 'T', 'my heirloom recipe')`,
    [id],
  )
  const url = `/api/v1/users/${id}`
  t.equal((await ask(headers, 'PATCH', url, { displayName: 'Z. Quillfeather' })).status, 200)
  const settings = { timeZone: 'Europe/Quillfeather' }
  t.equal((await ask(headers, 'PATCH', '/api/v1/settings', settings)).status, 200)
  const change = { email: 'zedekiah.second@example.com', current: password }
  t.equal((await ask(headers, 'POST', '/api/v1/auth/email', change)).status, 202)
  const file = await send({
    method: 'POST',
    url: '/api/v1/files?name=quillfeather.txt',
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    payload: 'my heirloom recipe',
  })
  t.equal(file.status, 201)
  t.equal((await ask(headers, 'POST', '/api/v1/bookings', await offerOf(app.sql))).status, 201)
  await app.sql.query(
    `INSERT INTO rbac_relations
       SELECT 'content', id::text, 'reviewer', '', 'user', author_id::text FROM content`,
  )
  const consent = { state: 'granted', noticeVersion: '2026-11' }
  await ask(headers, 'PUT', '/api/v1/privacy/consents/marketing_emails', consent)
  const { body: opened, status } = await ask(headers, 'POST', '/api/v1/privacy/requests', {
    type: 'access',
  })
  t.equal(status, 201)
  await until(app, String(opened['id']), 'ready')
  await enrol(ask, headers)
  return id
}

/** A booking of an artist who plays at a venue. */
async function offerOf(sql: SqlClient): Promise<object> {
  const { rows } = await sql.query<{ artistId: string; venueId: string }>(
    `WITH artist AS (
       INSERT INTO artists (id, name, genres, hourly_rate_minor, currency)
       VALUES (gen_random_uuid(), 'A', '{jazz}', 100, 'EUR') RETURNING id
     ), venue AS (
       INSERT INTO venues (id, name, city, country, capacity)
       VALUES (gen_random_uuid(), 'V', 'Lima', 'PE', 10) RETURNING id
     )
     SELECT artist.id::text AS "artistId", venue.id::text AS "venueId" FROM artist, venue`,
  )
  const date = new Date(Date.now() + 86_400_000 * 30).toISOString().slice(0, 10)
  return { ...rows[0], date, hours: 2, price: 2, note: 'my heirloom recipe, for Quillfeather' }
}

async function until(app: FastifyInstance, id: string, state: string): Promise<void> {
  for (let turn = 0; (await app.privacy.findRequest(id))?.state !== state; turn++) {
    if (turn > 20_000) throw new Error(`the request never was ${state}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function idOf(sql: SqlClient): Promise<string> {
  const text = 'SELECT id::text AS id FROM users WHERE email = $1'
  return (await sql.query<{ id: string }>(text, [person.email])).rows[0]!.id
}

/** Every row of every table, or of one. */
async function readTables(sql: SqlClient, only?: string): Promise<string[]> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT format('%I', table_name) AS name FROM information_schema.tables
      WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`,
  )
  const names = rows.map(({ name }) => name).filter((name) => only === undefined || name === only)
  const texts = names.map(async (name) => {
    const found = await sql.query<{ row: string }>(`SELECT r::text AS row FROM ${name} r`)
    return found.rows.map(({ row }) => `${name}: ${row}`)
  })
  return (await Promise.all(texts)).flat()
}

/** Every key of Redis with its value, as Redis itself serializes it. */
async function readRedis(url: string): Promise<string[]> {
  const redis = new Redis(url)
  try {
    const keys = await redis.keys('*')
    const read = async (key: string) =>
      `redis ${key}: ${(await redis.dumpBuffer(key)).toString('latin1')}`
    return await Promise.all(keys.map(read))
  } finally {
    redis.disconnect()
  }
}

function readFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => `${path}: ${readFileSync(path, 'latin1')}`)
}

function excerpt(place: string, needle: string): string {
  const at = place.toLowerCase().indexOf(needle.toLowerCase())
  return `${place.slice(0, 60)} … ${place.slice(Math.max(0, at - 80), at + 80)}`
}
