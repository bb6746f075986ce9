/** What an operator relies on: the log, health checks, the OpenAPI description, and a failed start. */
import { lockFolder } from '@parapet/kit'
import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { signIn } from './support/sign-in.ts'
import {
  createDataFolder,
  createMemoryLog,
  createTestApp,
  openDatabase,
} from './support/test-app.ts'

const database = await openDatabase(t)
const { sql } = database

await t.test('a failure of the database is logged; the response does not explain it', async (t) => {
  const detail = 'Key (email)=(a@example.com) already exists.'
  const failure = { code: '53100', detail, params: ['hunter2'] }
  const query = async () => {
    throw Object.assign(new Error('disk full'), failure)
  }
  const { app, ask, log } = await createTestApp(t, database, {}, { sql: { ...sql, query } })
  const answer = await ask(await signIn(app, 'admin'), 'GET', '/users')
  t.equal(answer.status, 500)
  t.same(Object.keys(answer.body), ['type', 'title', 'status', 'requestId'])
  t.match(log(), /"message":"disk full","code":"53100"/)
  t.notMatch(log(), /a@example\.com|hunter2/)
})

await t.test('the log has the path and the route, but no query string and no secret', async (t) => {
  const { app, log } = await createTestApp(t, database)
  await app.inject({ url: '/users?token=hunter2', headers: { authorization: 'Bearer hunter2' } })
  await app.inject({ url: '/%zz?token=hunter2' })
  await app.inject({ url: '/nowhere?token=hunter2' })
  app.log.info({ a: [{ newPassword: 'hunter2' }], 'set-cookie': 'hunter2', apiKey: 'hunter2' }, 'x')
  t.match(log(), /"path":"\/users","route":"\/users"/)
  t.match(log(), /"newPassword":"\[redacted\]"/)
  t.notMatch(log(), /hunter2/)
})

await t.test('security events are written to the log', async (t) => {
  const { app, log } = await createTestApp(t, database)
  app.securityEvents.emit('kit.store_lost', { severity: 'high', details: { reason: 'a test' } })
  t.match(log(), /"level":50.*"type":"kit.store_lost".*"msg":"security event"/)
})

async function refuseQuery(): Promise<never> {
  throw new Error('connect ECONNREFUSED 10.1.2.3')
}

await t.test('readiness says which dependency is down, but not why', async (t) => {
  const ports = { sql: { ...sql, query: refuseQuery } }
  const { app, ask, log } = await createTestApp(t, database, {}, ports)
  const answer = await ask({}, 'GET', '/ready')
  t.equal(answer.status, 503)
  t.same(answer.body, { ready: false, closing: false, database: 'down', store: 'up' })
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
      t.equal(delayMs, 1000)
      deadlines.push(task)
      return () => {}
    },
  }
  const query = () => (asked++, new Promise<never>(() => {}))
  const { ask } = await createTestApp(t, database, {}, { clock, sql: { ...sql, query } })
  const answers = Promise.all([ask({}, 'GET', '/ready'), ask({}, 'GET', '/ready')])
  await new Promise(setImmediate)
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
  // 3 resources with 5 routes each, the roles, 3 routes of the own user, 7 of sessions, 18 of mfa,
  // 6 of the audit log, health, readiness, violation reports and the description.
  t.equal(ids.size, 54)
  const routes = app.printRoutes({ commonPrefix: false }).match(/\((?!HEAD)[A-Z, ]+\)/g) ?? []
  const methods = routes
    .flatMap((list) => list.slice(1, -1).split(', '))
    .filter((m) => m !== 'HEAD')
  t.equal(methods.length, ids.size, 'no route is missing from the description')
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
