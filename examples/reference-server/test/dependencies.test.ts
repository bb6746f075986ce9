/** A dependency that is away: every route responds with 503, and `/ready` tells the truth. */
import { Agent, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { generateCipherKey } from '@parapet/kit'
import { startPostgres, startRedis, type PostgresServer } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { database as databasePlugin } from '../src/storage/database.ts'
import { signIn } from './support/sign-in.ts'
import {
  artist,
  createMemoryLog,
  createTestApp,
  openDatabase,
  password,
} from './support/test-app.ts'

const database = await openDatabase(t)
const away = 'PARAPET_REFERENCE_DATABASE_UNAVAILABLE'

/** Sends one request and asserts that it is refused because a dependency is away. */
async function expectAway(
  t: Test,
  app: FastifyInstance,
  code: string | RegExp,
  ...[method, url, payload, headers]: [
    'GET' | 'POST' | 'PATCH',
    string,
    object?,
    Record<string, string>?,
  ]
): Promise<void> {
  const answer = await app.inject({
    method,
    url,
    ...(payload && { payload }),
    ...(headers && { headers }),
  })
  t.match([answer.statusCode, answer.json()], [503, { status: 503, code }], `${method} ${url}`)
  t.match(answer.headers, { 'retry-after': /^\d+$/ }, `${method} ${url}`)
}

async function readiness(app: FastifyInstance) {
  const { statusCode, body } = await app.inject('/ready')
  return { statusCode, ...(JSON.parse(body) as object) }
}

async function run(server: PostgresServer, text: string): Promise<void> {
  const client = new Client(server.url)
  await client.connect()
  await client.query(text)
  await client.end()
}

const login = { login: 'chief@example.com', password }
const registration = { email: 'b@example.com', displayName: 'B', password }

const server = await startPostgres(t)

await t.test('PostgreSQL that is read-only or down is 503, until it is back', async (t) => {
  if (server === null) return
  const { log, text } = createMemoryLog()
  const admins = { ADMIN_EMAIL: login.login, ADMIN_PASSWORD: password }
  const env = { DATABASE_URL: server.url, MFA_KEYS: generateCipherKey(), ...admins }
  const app = await buildApp(readConfig(env), { log })
  t.after(() => app.close())
  const admin = await signIn(app, 'admin')
  t.match(await readiness(app), { statusCode: 200, ready: true })
  t.equal(
    (await app.inject({ method: 'POST', url: '/api/v1/artists', payload: artist, headers: admin }))
      .statusCode,
    201,
  )

  await t.test('a read-only database refuses changes', async (t) => {
    await run(server, 'ALTER SYSTEM SET default_transaction_read_only = on')
    await run(server, 'SELECT pg_reload_conf()')
    await waitUntil(
      async () => (await app.sql.query('SHOW default_transaction_read_only')).rows,
      /"on"/,
    )
    t.match(await readiness(app), { statusCode: 503, database: 'down', store: 'up' })
    await expectAway(t, app, away, 'POST', '/api/v1/users', registration)
    await expectAway(t, app, away, 'POST', '/api/v1/artists', artist, admin)
    t.equal((await app.inject('/api/v1/artists')).statusCode, 200, 'reading works')
  })

  await t.test('every route that needs a database that is down responds with 503', async (t) => {
    await server.kill()
    t.match(await readiness(app), { statusCode: 503, ready: false, database: 'down', store: 'up' })
    await expectAway(t, app, away, 'GET', '/api/v1/artists')
    await expectAway(t, app, away, 'GET', '/api/v1/users', undefined, admin)
    await expectAway(t, app, away, 'POST', '/api/v1/users', registration)
    await expectAway(t, app, /UNAVAILABLE$/, 'POST', '/api/v1/auth/login', login)
    await expectAway(t, app, /UNAVAILABLE$/, 'GET', '/api/v1/mfa', undefined, admin)
    t.equal((await app.inject('/health')).statusCode, 200)
    t.match(
      text(),
      /"message":"The database is unavailable: (?:connect ECONNREFUSED|Connection term)/,
    )
  })

  await t.test('the server works again as soon as the database does', async (t) => {
    await server.restart()
    await run(server, 'ALTER SYSTEM RESET default_transaction_read_only')
    await server.restart()
    await waitUntil(() => readiness(app), /"ready":true/)
    const again = {
      method: 'POST',
      url: '/api/v1/artists',
      payload: artist,
      headers: admin,
    } as const
    t.equal((await app.inject(again)).statusCode, 201)
    t.equal((await app.inject('/api/v1/artists')).json<{ items: unknown[] }>().items.length, 2)
  })
})

/** Asks again until the answer matches; the test fails by its own timeout. */
async function waitUntil(ask: () => Promise<unknown>, expected: RegExp): Promise<void> {
  while (!expected.test(JSON.stringify(await ask()))) await new Promise((go) => setTimeout(go, 20))
}

await t.test('every statement has a deadline, also if PostgreSQL itself hangs', async (t) => {
  if (server === null) return
  const { log } = createMemoryLog()
  const app = Fastify({ loggerInstance: log })
  t.after(() => app.close())
  await app.register(databasePlugin, { databaseUrl: server.url, dataDir: '', deadlineMs: 300 })
  await t.rejects(app.sql.query('SELECT pg_sleep(60)'), { statusCode: 503, code: away })

  const pids: number[] = []
  t.after(() => pids.map((pid) => process.kill(pid, 'SIGCONT')))
  const { rows } = await app.sql.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  pids.push(rows[0]!.pid)
  process.kill(pids[0]!, 'SIGSTOP')
  const work = app.sql.transaction((transaction) => transaction.query('SELECT 1'))
  await t.rejects(work, { code: away, cause: { message: 'Query read timeout' } })
  t.match((await app.sql.query('SELECT 1 AS one')).rows, [{ one: 1 }], 'on another connection')
})

await t.test('an error of the application or of a statement passes unchanged', async (t) => {
  const { app } = await createTestApp(t, database)
  const own = new Error('planned')
  const failing = app.sql.transaction(() => Promise.reject(own))
  t.equal(await failing.catch((error: unknown) => error), own)
  await t.rejects(app.sql.query('SELECT FROM nowhere'), { code: '42P01' })
  await t.rejects(
    app.sql.transaction((work) => work.query('SELECT 1/0')),
    { code: '22012' },
  )
  await t.rejects(
    app.sql.transaction((work) => work.script('SELECT 1/0')),
    { code: '22012' },
  )
})

await t.test('Redis that is down is 503 for the routes that need it', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const { log } = createMemoryLog()
  const app = await buildApp(readConfig({ REDIS_URL: redis.url }), { sql: database.sql, log })
  t.after(() => app.close())
  t.match(await readiness(app), { statusCode: 200 })
  const admin = await signIn(app, 'admin')
  await redis.kill()
  t.match(await readiness(app), { statusCode: 503, database: 'up', store: 'down' })
  const unavailable = 'PARAPET_SESSIONS_UNAVAILABLE'
  // Until sessions notices that its subscription is lost, a later plugin answers with its own code.
  while (app.sessions.revocationState !== 'checked') await new Promise(setImmediate)
  await expectAway(t, app, unavailable, 'GET', '/api/v1/users', undefined, admin)
  await expectAway(t, app, unavailable, 'POST', '/api/v1/artists', artist, admin)
  await expectAway(t, app, unavailable, 'GET', '/api/v1/mfa', undefined, admin)
})

await t.test('an audit log that cannot reach its end makes the server not ready', async (t) => {
  const { app } = await createTestApp(t, database)
  t.match(await readiness(app), { statusCode: 200, auditLog: 'up' })
  const headers = await signIn(app, 'admin')
  await app.audit.flush()
  await app.audit.parts.spool.close()
  t.match(await readiness(app), { statusCode: 503, database: 'up', store: 'up', auditLog: 'down' })
  const rows = await database.rows()
  const change = { method: 'POST', url: '/api/v1/artists', payload: artist, headers } as const
  const refused = await app.inject(change)
  t.match([refused.statusCode, refused.json()], [503, { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE' }])
  t.same(await database.rows(), rows, 'a change that cannot be recorded is not made')
})

await t.test('idle connections get a last answer at shutdown, then they end', async (t) => {
  const { app } = await createTestApp(t, database)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const agents = Array.from({ length: 6 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
  t.after(() => agents.map((agent) => agent.destroy()))
  const ask = (agent: Agent) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const request = get({ port, host: '127.0.0.1', path: '/health', agent })
      request.on('error', reject).on('response', (response) => {
        response.resume().on('end', () => resolve(response))
      })
    })
  for (const answer of await Promise.all(agents.map(ask))) {
    t.equal(answer.headers.connection, 'keep-alive')
  }
  const closed = app.close()
  await waitUntil(async () => app.isClosing(), /true/)
  // All at once: they have the time that idle connections have.
  for (const answer of await Promise.all(agents.slice(1).map(ask))) {
    t.match(answer, { statusCode: 200, headers: { connection: 'close' } })
  }
  await closed
})
