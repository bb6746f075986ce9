/** What an operator relies on: the log, health checks, the OpenAPI description, and a failed start. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { lockFolder, systemClock } from '@parapet/kit'
import { plainNode } from '@parapet/testing'
import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { createMemoryRelations, rbac } from '@parapet/rbac'
import Fastify from 'fastify'
import { policy } from '../src/access/policy.ts'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { securityEventLog } from '../src/logging/security-events.ts'
import { signIn } from './support/sign-in.ts'
import {
  createDataFolder,
  createMemoryLog,
  createTestApp,
  openDatabase,
} from './support/test-app.ts'

const database = await openDatabase(t)
const { sql } = database

await t.test('a full disk is logged; the response says to try again, but not why', async (t) => {
  const detail = 'Key (email)=(a@example.com) already exists.'
  const failure = { code: '53100', detail, params: ['hunter2'] }
  let isFull = false
  const query: typeof sql.query = async (text, values) => {
    if (isFull) throw Object.assign(new Error('disk full'), failure)
    return sql.query(text, values)
  }
  // Users are read in a transaction, in which only their own rows are visible.
  const transaction: typeof sql.transaction = (work, limits) =>
    sql.transaction(
      (each) => work({ ...each, query: isFull ? query : (...args) => each.query(...args) }),
      limits,
    )
  const { app, ask, log } = await createTestApp(
    t,
    database,
    {},
    { sql: { ...sql, query, transaction } },
  )
  const headers = await signIn(app, 'admin')
  isFull = true
  const answer = await ask(headers, 'GET', '/api/v1/users')
  t.match(answer, { status: 503, code: 'PARAPET_REFERENCE_DATABASE_UNAVAILABLE' })
  t.same(Object.keys(answer.body), ['type', 'title', 'status', 'code', 'requestId'])
  t.match(answer.headers['retry-after'], /^\d+$/)
  t.match(log(), /"message":"disk full","code":"53100"/)
  t.notMatch(log(), /a@example\.com|hunter2/)
})

await t.test('the log has the path and the route, but no query string and no secret', async (t) => {
  const { app, log } = await createTestApp(t, database)
  await app.inject({
    url: '/api/v1/users?token=hunter2',
    headers: { authorization: 'Bearer hunter2' },
  })
  await app.inject({ url: '/%zz?token=hunter2' })
  await app.inject({ url: '/nowhere?token=hunter2' })
  app.log.info({ a: [{ newPassword: 'hunter2' }], 'set-cookie': 'hunter2', apiKey: 'hunter2' }, 'x')
  t.match(log(), /"path":"\/api\/v1\/users","route":"\/api\/v1\/users"/)
  t.match(log(), /"newPassword":"\[redacted\]"/)
  t.notMatch(log(), /hunter2/)
})

await t.test('security events are written to the log', async (t) => {
  const { app, log } = await createTestApp(t, database)
  app.securityEvents.emit('kit.store_lost', { severity: 'high', details: { reason: 'a test' } })
  t.match(log(), /"level":50.*"type":"kit.store_lost".*"msg":"security event: kit.store_lost/)
})

await t.test('a denied request is logged with its reason', async (t) => {
  const { app, ask, log } = await createTestApp(t, database)
  t.equal((await ask(await signIn(app, 'viewer'), 'GET', '/api/v1/users')).status, 403)
  t.match(log(), /"level":30[^\n]*"principalId":[^\n]*security event: rbac.denied \(no_grant\)/)
})

await t.test('a route that rbac missed is logged as an error of the server', async (t) => {
  const { log, text } = createMemoryLog()
  const app = Fastify({ loggerInstance: log })
  t.after(() => app.close())
  await app.register(securityEventLog)
  await app.register(rbac, { policy, relations: createMemoryRelations() })
  const details = { permissions: [], roles: [], policyDigest: '', suppressed: 0 }
  for (const reason of ['missed', 'no_grant'] as const) {
    app.securityEvents.emit('rbac.denied', { details: { ...details, reason } })
  }
  t.match(text(), /"level":50[^\n]*security event: rbac.denied \(missed\)/)
  t.match(text(), /"level":30[^\n]*security event: rbac.denied \(no_grant\)/)
})

/** A database that works until the test replaces its transactions. */
function createFailingSql() {
  const state: { fail?: () => Promise<never> } = {}
  const transaction: typeof sql.transaction = (work) => state.fail?.() ?? sql.transaction(work)
  return { state, sql: { ...sql, transaction } }
}

await t.test('readiness says which dependency is down, but not why', async (t) => {
  const { state, sql: failing } = createFailingSql()
  const { app, ask, log } = await createTestApp(t, database, {}, { sql: failing })
  const up = { database: 'up', store: 'up', auditLog: 'up' }
  const ready = await ask({}, 'GET', '/ready')
  t.equal(ready.status, 200)
  t.same(ready.body, { ready: true, closing: false, ...up, load: 'normal' })
  for (const failure of [
    new Error('connect ECONNREFUSED 10.1.2.3'),
    Object.assign(new Error('could not extend file'), { code: '53100' }),
    Object.assign(new Error('cannot execute UPDATE during recovery'), { code: '25006' }),
  ]) {
    state.fail = () => Promise.reject(failure)
    const answer = await ask({}, 'GET', '/ready')
    t.match(answer, { status: 503, headers: { 'retry-after': /^\d+$/ } })
    t.same(answer.body, { ready: false, closing: false, ...up, database: 'down', load: 'normal' })
    t.match(log(), failure.message)
  }
  t.match(log(), /ECONNREFUSED.*"dependency":"database"/)
  await app.store.close()
  t.match((await ask({}, 'GET', '/ready')).body, { database: 'down', store: 'down' })
  t.equal((await ask({}, 'GET', '/health')).status, 200)
})

await t.test('readiness checks have a deadline, and concurrent requests share one', async (t) => {
  let asked = 0
  const deadlines: (() => void)[] = []
  const clock = {
    now: Date.now,
    schedule: (delayMs: number, task: () => void) => {
      // The incident response has deadlines of its own, when it starts and when it closes.
      if (delayMs !== 1000) return systemClock.schedule(delayMs, task)
      deadlines.push(task)
      return () => {}
    },
  }
  const { state, sql: failing } = createFailingSql()
  const { ask } = await createTestApp(t, database, {}, { clock, sql: failing })
  state.fail = () => (asked++, new Promise<never>(() => {}))
  const answers = Promise.all([ask({}, 'GET', '/ready'), ask({}, 'GET', '/ready')])
  while (deadlines.length < 3) await new Promise(setImmediate)
  // The answers of the store and the audit log arrive first.
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(deadlines.length, 3)
  for (const expire of deadlines) expire()
  for (const answer of await answers) {
    t.match([answer.status, answer.body], [503, { database: 'down', store: 'up' }])
  }
  t.equal(asked, 1)
})

interface Operation {
  readonly operationId: string
  readonly responses: Readonly<Record<string, unknown>>
}

await t.test('every route is described, and the description is valid OpenAPI 3.1', async (t) => {
  const { app, ask } = await createTestApp(t, database)
  const answer = await ask({}, 'GET', '/openapi.json')
  t.equal(answer.status, 200)
  const { valid, errors } = await new Validator().validate({ ...answer.body })
  t.ok(valid, JSON.stringify(errors))

  const { openapi, paths } = answer.body as unknown as {
    openapi: string
    paths: Record<string, Record<string, Operation>>
  }
  t.match(openapi, /^3\.1\./)
  const ids = new Set<string>()
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      t.match(operation, { operationId: /\w/, summary: /\w/, tags: [/\w/] }, `${method} ${path}`)
      t.ok('4XX' in operation.responses && '5XX' in operation.responses, `${method} ${path}`)
      ids.add(operation.operationId)
    }
  }
  const routes = app.rbac.matrix().rows.filter(({ method, url }) => {
    // The files of the documentation are those of its library.
    return method !== 'HEAD' && !/^\/docs(?:\/|$)/.test(url)
  })
  // The files of a page are no operations.
  const files = ['altcha.css', 'altcha.js', 'page.css', 'page.js', 'worker.js']
  for (const file of files) t.ok(app.hasRoute({ method: 'GET', url: `/challenge/${file}` }), file)
  t.equal(routes.length, ids.size + files.length, 'no route is missing from the description')
})

await t.test('a part that fails at start closes everything that was opened before', async (t) => {
  const dataDir = createDataFolder(t)
  const { log } = createMemoryLog()
  // The database opens, then the connection to Redis fails.
  const config = readConfig({ DATA_DIR: dataDir, REDIS_URL: 'redis://127.0.0.1:1' })
  await t.rejects(buildApp(config, { log }), { message: 'Connection is closed.' })
  await (
    await lockFolder(dataDir)
  )()
})

await t.test('a process that ends has written every line of its log, in order', async (t) => {
  const file = `${t.testdir({})}/program.ts`
  const source = new URL('../src/logging/log.ts', import.meta.url).href
  writeFileSync(
    file,
    `import { pbkdf2 } from 'node:crypto'
    import { createLog } from '${source}'
    // A password is hashed on the only thread that writes files asynchronously.
    pbkdf2('password', 'salt', 500_000, 64, 'sha512', () => {})
    const log = createLog({ logLevel: 'info' })
    for (let line = 0; line < 50; line++) log.info({ line }, 'started')
    log.fatal('the end')
    process.exit(1)`,
  )
  const [node, args] = plainNode([file])
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' }
  const { stdout } = spawnSync(node, args, { encoding: 'utf8', env })
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly line?: number; readonly msg: string })
  t.equal(lines.length, 51)
  t.same(
    lines.slice(0, 50).map(({ line }) => line),
    Array.from({ length: 50 }, (_, line) => line),
  )
  t.equal(lines.at(-1)?.msg, 'the end')
})
