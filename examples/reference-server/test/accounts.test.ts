/** Taking accounts over: registration, changes of the own account, and administrators at once. */
import { setTimeout } from 'node:timers/promises'
import { createSqlClient } from '@parapet/kit'
import { usePostgres, useRedis } from '@parapet/testing'
import { Pool } from 'pg'
import t from 'tap'
import { enrol } from './support/enrol.ts'
import { signIn } from './support/sign-in.ts'
import {
  createTestApp,
  invalid,
  noteStatements,
  openDatabase,
  password,
  testDatabaseOf,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)
const tooMany = { status: 429, code: 'PARAPET_SESSIONS_TOO_MANY_TRIES' }
const newcomer = 'seven purple tandem otters'
const stepUp = { status: 401, code: 'PARAPET_MFA_STEP_UP_REQUIRED' }
const lastAdmin = { status: 409, code: 'PARAPET_REFERENCE_LAST_ADMIN' }

await t.test('a registration does not reveal whether the address is taken', async (t) => {
  const { sql, noted } = noteStatements(database.sql)
  const { app, ask, logIn, log, mailbox, verify } = await createTestApp(t, database, {}, { sql })
  const email = 'Ann@example.com'
  const post = (body: object) => ask({}, 'POST', '/api/v1/users', body)
  const free = await post({ email, displayName: 'Ann', password })
  await verify(email)
  const rows = await database.rows()
  noted.length = 0
  const taken = await post({ email: 'ann@EXAMPLE.com', displayName: 'B', password: newcomer })
  const other = await post({ email: 'bob@example.com', displayName: 'B', password: newcomer })
  const view = ({ status, text, headers }: typeof free) => {
    const names = Object.keys(headers).toSorted()
    return { status, text, names, length: headers['content-length'] }
  }
  t.same(view(taken), view(free))
  t.match(view(free), { status: 202, text: '{"accepted":true}' })
  t.equal(other.status, 202)
  // The job that sends the message reads the users as well, after the response.
  const inserts = noted.filter(({ text }) => text.startsWith('INSERT'))
  t.equal(inserts.length, 2)
  t.equal(inserts[0]!.text, inserts[1]!.text, 'both ran the same statement')
  for (const { values } of inserts) t.match(values[3], /^\$argon2id\$/, 'with a hashed password')

  await database.sql.query(`DELETE FROM users WHERE email = 'bob@example.com'`)
  t.same(await database.rows(), rows, 'the taken account is unchanged')
  t.equal((await logIn(email, password)).status, 200)
  t.equal((await logIn(email, newcomer)).status, 401)
  const { rows: found } = await database.sql.query<{ id: string }>(
    'SELECT id::text AS id FROM users',
  )
  t.match(log(), 'users.registration_repeated')
  await mailbox.find('Ann@example.com', /You have one already/)
  await app.audit.flush()
  const filters = { action: 'users.registration_repeated' }
  const { entries } = await app.audit.query({ filters })
  t.match(entries, [{ record: { resource: 'user', resourceId: found[0]!.id, result: 'failure' } }])
  const counts = new Map<string, number>()
  for (const { record } of (await app.audit.query()).entries) {
    if (record.route !== 'POST /api/v1/users') continue
    counts.set(record.requestId!, (counts.get(record.requestId!) ?? 0) + 1)
  }
  t.same(new Set(counts.values()), new Set([3]), 'every registration wrote three records')
})

await t.test('of registrations at once with one address one creates the user', async (t) => {
  const { ask } = await createTestApp(t, database)
  const user = { email: 'ann@example.com', displayName: 'A', password }
  const answers = await Promise.all([1, 2, 3].map(() => ask({}, 'POST', '/api/v1/users', user)))
  t.same(
    answers.map(({ status }) => status),
    [202, 202, 202],
  )
  const { rows } = await database.sql.query('SELECT email FROM users')
  t.equal(rows.length, 1)
})

await t.test('a registration needs a password', async (t) => {
  const { refuse } = await createTestApp(t, database)
  const user = { email: 'ann@example.com', displayName: 'A' }
  await refuse(t, invalid, {}, 'POST', '/api/v1/users', user)
  await refuse(t, invalid, {}, 'POST', '/api/v1/users', { ...user, password: 'short' })
  const weak = { status: 400, code: 'PARAPET_SESSIONS_PASSWORD_REFUSED' }
  for (const trivial of ['passwordpassword', 'x'.repeat(15), 'ann@example.com2026']) {
    await refuse(t, weak, {}, 'POST', '/api/v1/users', { ...user, password: trivial })
  }
})

await t.test('where there is a second factor, e-mail and password need a fresh one', async (t) => {
  const { app, ask, refuse, register } = await createTestApp(t, database)
  const { id, headers } = await register('viewer')
  const { headers: fresh } = await enrol(ask, headers)
  const older = await signIn(app, 'viewer', id)
  const changes = [
    ['/api/v1/auth/email', { email: 'new@example.com', current: password }],
    ['/api/v1/auth/password', { current: password, password: `another ${password}` }],
  ] as const
  for (const [url, body] of changes) await refuse(t, stepUp, older, 'POST', url, body)
  for (const [url, body] of changes) t.ok((await ask(fresh, 'POST', url, body)).status < 300)
})

await t.test('ten wrong passwords bring 429, also at once and on another instance', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const env = { REDIS_URL: redis.url }
  const [one, two] = [await createTestApp(t, database, env), await createTestApp(t, database, env)]
  const { id } = await one.register('viewer')
  const headers = await signIn(one.app, 'viewer', id)
  const other = await signIn(two.app, 'viewer', id)
  const guess = (index: number) => {
    const current = `wrong ${index}`
    return index % 2 === 0
      ? one.ask(headers, 'POST', '/api/v1/auth/password', { current, password: `new ${password}` })
      : one.ask(headers, 'POST', '/api/v1/auth/email', { current, email: 'new@example.com' })
  }
  const answers = await Promise.all(Array.from({ length: 25 }, (_, index) => guess(index)))
  const statuses = answers.map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 403).length, 10, statuses.join())
  const limited = answers.filter(({ status }) => status === 429)
  t.equal(limited.length, 15)
  for (const { code, headers: sent } of limited) {
    t.equal(code, tooMany.code)
    t.match(sent['retry-after'], /^[1-9]\d{0,2}$/)
  }
  const right = { current: password, password: `another ${password}` }
  await two.refuse(t, tooMany, other, 'POST', '/api/v1/auth/password', right)
  const bob = await one.register('viewer')
  t.equal((await one.ask(bob.headers, 'POST', '/api/v1/auth/password', right)).status, 204)
})

/** Waits until both connections of the server wait for a lock. */
async function bothWait(pool: Pool, application: string): Promise<void> {
  const text = `SELECT 1 FROM pg_stat_activity
                WHERE application_name = $1 AND wait_event_type = 'Lock'`
  for (let tries = 0; tries < 1000; tries++) {
    if ((await pool.query(text, [application])).rowCount === 2) return
    await setTimeout(10)
  }
  throw new Error('the two requests never waited for each other')
}

await t.test('two administrators on PostgreSQL cannot remove each other at once', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const application = `administrators-${postgres.schema.slice(-12)}`
  const settings = { connectionString: postgres.url, max: 2, application_name: application }
  const pool = new Pool(settings)
  t.after(() => pool.end())
  const server = testDatabaseOf(createSqlClient(pool))
  const { app, ask, refuse, register } = await createTestApp(t, server)
  const chief = await signIn(app, 'admin')
  const remove = (who: Headers, id: string) => ask(who, 'DELETE', `/api/v1/users/${id}`)
  const demote = (who: Headers, id: string) =>
    ask(who, 'PUT', `/api/v1/users/${id}/roles`, { roles: ['viewer'] })

  for (const [first, second] of [
    [remove, remove],
    [remove, demote],
    [demote, demote],
  ] as const) {
    const [ann, bob] = [await register('admin'), await register('admin')]
    await server.sql.query(`UPDATE users SET roles = '{admin}'`)
    // While the rows are locked, each request gets as far as it can without the other one.
    const blocker = await postgres.pool.connect()
    await blocker.query('BEGIN; SELECT 1 FROM users FOR UPDATE')
    const both = Promise.all([first(ann.headers, bob.id), second(bob.headers, ann.id)])
    await bothWait(postgres.pool, application)
    await blocker.query('COMMIT')
    blocker.release()
    const answers = await both
    const done = answers.filter(({ status }) => status < 300)
    t.equal(done.length, 1, answers.map(({ status }) => status).join())
    t.match(
      answers.filter(({ status }) => status >= 300),
      [lastAdmin],
    )
    const text = `SELECT id::text AS id FROM users WHERE 'admin' = ANY (roles)`
    const { rows } = await server.sql.query<{ id: string }>(text)
    t.equal(rows.length, 1, 'one administrator is left')
    const url = `/api/v1/users/${rows[0]!.id}`
    await refuse(t, lastAdmin, chief, 'DELETE', url)
    await refuse(t, lastAdmin, chief, 'PUT', `${url}/roles`, { roles: ['viewer'] })
    await server.clear()
  }
})
