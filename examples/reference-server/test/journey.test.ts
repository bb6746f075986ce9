/** The server as a process, on the embedded database and on PostgreSQL with Redis. */
import { readdir } from 'node:fs/promises'
import { lockFolder } from '@parapet/kit'
import { startRedis, usePostgres } from '@parapet/testing'
import t from 'tap'
import { logIn, send } from './support/client.ts'
import { journey } from './support/journey.ts'
import { createDataFolder } from './support/test-app.ts'
import { spawnServer, startPost, startServer, type LogLine } from './support/server-process.ts'

const singer = {
  name: 'Café Ñandú',
  genres: ['rock'],
  hourlyRateMinor: 12_000,
  currency: 'MXN',
  phone: '+525512345678',
}
const chief = { ADMIN_EMAIL: 'chief@example.com', ADMIN_PASSWORD: 'correct horse battery' }

await t.test('the service works on embedded defaults', async (t) => {
  const DATA_DIR = createDataFolder(t)
  await journey(t, { DATA_DIR, DEMO: 'off' })
  await (
    await lockFolder(DATA_DIR)
  )()

  await t.test(
    'a second server on one data folder is refused, and a crash loses no data',
    async (t) => {
      const server = await startServer(t, { DATA_DIR })
      const { exited, output } = spawnServer(t, { DATA_DIR })
      t.same((await exited)[0], 1)
      t.match(output(), `is in use by process ${server.child.pid} on `)
      t.match(output(), 'PARAPET_REFERENCE_DATA_IN_USE')

      const made = await send(await logIn(server, { DATA_DIR }), 'POST', '/api/v1/artists', singer)
      t.equal(made.status, 201)
      t.equal(await server.end('SIGKILL'), null)
      const again = await startServer(t, { DATA_DIR })
      const admin = await logIn(again, { DATA_DIR })
      const read = await send(admin, 'GET', String(made.headers.get('location')))
      t.equal(read.status, 200)
      t.same(read.body, made.body)
      t.equal(read.body['phone'], singer.phone, 'the number can still be decrypted')
      const created = await send(admin, 'GET', '/api/v1/audit/events?action=user.create')
      t.match((created.body['entries'] as readonly unknown[]).at(-1), {
        record: { resource: 'user', changes: [{ path: '/roles', to: ['admin'] }] },
      })
    },
  )
})

await t.test('the service works on PostgreSQL and Redis', async (t) => {
  const postgres = await usePostgres(t)
  // Not a shared one: the limits of messages to an address are kept there for an hour.
  const redis = await startRedis(t)
  if (postgres === null || redis === null) return
  const DATA_DIR = `${createDataFolder(t)}/never-created`
  const OUTBOX_DIR = `${createDataFolder(t)}/outbox`
  const services = { DATABASE_URL: postgres.url, REDIS_URL: redis.url }
  await journey(t, { DATA_DIR, OUTBOX_DIR, ...services, ...chief })
  const { rows } = await postgres.pool.query('SELECT display_name FROM users ORDER BY id')
  const names = [{ display_name: 'Administrator' }, { display_name: 'Revista' }]
  t.same(rows, names, 'the rows are in PostgreSQL')
  await t.rejects(readdir(DATA_DIR), { code: 'ENOENT' }, 'no embedded database was created')
})

await t.test('the process exits with the documented code', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const env = { DATABASE_URL: postgres.url }

  await t.test(
    'a request that does not finish in time is aborted, and the exit code is 1',
    async (t) => {
      const server = await startServer(t, { ...env, SHUTDOWN_TIMEOUT_MS: '50' })
      const post = await startPost(server.port, '/api/v1/users', '{"email":"a@example.com"}')
      t.equal(await server.end('SIGTERM'), 1)
      await post.ended
      t.ok(server.log.some(({ msg }) => msg?.startsWith('aborted requests that did not finish')))
    },
  )

  await t.test('a second signal ends the process immediately', async (t) => {
    const server = await startServer(t, env)
    const post = await startPost(server.port, '/api/v1/users', '{"email":"a@example.com"}')
    server.child.kill('SIGINT')
    await server.waitFor(({ msg }) => msg === 'stopping')
    t.equal(await server.end('SIGINT'), 1)
    await post.ended
  })

  await t.test('an unhandled rejection ends the process with a fatal log line', async (t) => {
    const plant = `process.on('SIGUSR2', () => Promise.reject(new Error('planted')))`
    const server = await startServer(t, env, [`--import=data:text/javascript,${plant}`])
    t.equal(await server.end('SIGUSR2'), 1)
    t.match(server.log.at(-1), { level: 60, err: { message: 'planted' } })
  })

  await t.test(
    'an unreachable database stops the start, and the log does not show its password',
    async (t) => {
      const url = new URL(postgres.url)
      url.port = '1'
      url.password = 'hunter2'
      const { child, exited } = spawnServer(t, { DATABASE_URL: url.href })
      let output = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
      t.same((await exited)[0], 1)
      t.match(output, /"level":60.*ECONNREFUSED/)
      t.notMatch(output, /hunter2/)
    },
  )

  await t.test('an invalid environment stops the start with every fault', async (t) => {
    const { exited, output } = spawnServer(t, { PORT: 'http', REDIS_URL: 'http://:hunter2@x' })
    t.same((await exited)[0], 1)
    t.match(output(), /"PORT" must be an integer[^]*"REDIS_URL" must be a URL/)
    t.notMatch(output(), /hunter2/)
  })
})

function isEvent(type: string) {
  return (line: LogLine) => (line['event'] as { type: string } | undefined)?.type === type
}

await t.test('the loss and the recovery of Redis are logged as security events', async (t) => {
  const redis = await startRedis(t)
  const postgres = await usePostgres(t)
  if (redis === null || postgres === null) return
  const server = await startServer(t, { DATABASE_URL: postgres.url, REDIS_URL: redis.url })
  t.equal((await send(server, 'GET', '/ready')).status, 200)
  await redis.kill()
  await server.waitFor(({ msg }) => msg === 'the Redis connection failed')
  const lost = await send(server, 'GET', '/ready')
  t.equal(lost.status, 503)
  t.match(lost.body, { ready: false, closing: false, database: 'up', store: 'down' })
  t.equal(
    (await send(server, 'GET', '/api/v1/artists')).status,
    200,
    'a route that needs no store still works',
  )

  // The fifth failure opens the circuit breaker, which emits a security event.
  for (let more = 0; more < 4; more++) await send(server, 'GET', '/ready')
  await server.waitFor(isEvent('kit.store_lost'))
  const reconnected = server.nextLine(({ msg }) => msg === 'the Redis connection is ready')
  await redis.restart()
  await reconnected
  t.equal((await send(server, 'GET', '/ready')).status, 200)
  await server.waitFor(isEvent('kit.store_recovered'))

  await redis.kill()
  t.equal(await server.end(), 0, 'the server can be stopped while Redis is down')
})
