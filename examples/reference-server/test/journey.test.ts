/** The journey on the embedded database and on PostgreSQL with Redis, and how the process ends. */
import { readFile } from 'node:fs/promises'
import { startRedis, usePostgres, useRedis } from '@parapet/testing'
import t from 'tap'
import { journey, logIn, send } from './journey.ts'
import { spawnServer, startPost, startServer, type LogLine } from './server-process.ts'

const singer = {
  name: 'Café Ñandú',
  genres: ['rock'],
  hourlyRateMinor: 12_000,
  currency: 'MXN',
  phone: '+525512345678',
}
const chief = { ADMIN_EMAIL: 'chief@example.com', ADMIN_PASSWORD: 'correct horse battery' }

await t.test('the journey on embedded defaults', async (t) => {
  const DATA_DIR = t.testdir()
  await journey(t, { DATA_DIR })
  await t.rejects(readFile(`${DATA_DIR}/lock`), { code: 'ENOENT' }, 'the folder is free again')

  await t.test('a second server on one folder is refused, and a crash loses nothing', async (t) => {
    const server = await startServer(t, { DATA_DIR })
    const { exited, output } = spawnServer(t, { DATA_DIR })
    t.same((await exited)[0], 1)
    t.match(output(), `Process ${server.child.pid} has this data folder open`)

    const made = await send(await logIn(server, { DATA_DIR }), 'POST', '/artists', singer)
    t.equal(made.status, 201)
    t.equal(await server.end('SIGKILL'), null)
    const again = await startServer(t, { DATA_DIR })
    const admin = await logIn(again, { DATA_DIR })
    const read = await send(admin, 'GET', String(made.headers.get('location')))
    t.equal(read.status, 200)
    t.same(read.body, made.body)
    t.equal(read.body['phone'], singer.phone, 'its keys are still there')
    const created = await send(admin, 'GET', '/audit/events?action=user.create')
    t.match((created.body['entries'] as readonly unknown[]).at(-1), {
      record: { resource: 'user', changes: [{ path: '/roles', to: ['admin'] }] },
    })
  })
})

await t.test('the journey on PostgreSQL and Redis', async (t) => {
  const postgres = await usePostgres(t)
  const redis = await useRedis(t)
  if (postgres === null || redis === null) return
  const DATA_DIR = `${t.testdir()}/never-made`
  await journey(t, { DATA_DIR, DATABASE_URL: postgres.url, REDIS_URL: redis.url, ...chief })
  const { rows } = await postgres.pool.query('SELECT display_name FROM users ORDER BY id')
  const names = [{ display_name: 'Administrator' }, { display_name: 'Revista' }]
  t.same(rows, names, 'the rows are in PostgreSQL')
  await t.rejects(readFile(`${DATA_DIR}/lock`), { code: 'ENOENT' }, 'no embedded database was made')
})

await t.test('the process ends as it says', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const env = { DATABASE_URL: postgres.url }

  await t.test('a request that does not end is cut off, and the exit code is 1', async (t) => {
    const server = await startServer(t, { ...env, SHUTDOWN_TIMEOUT_MS: '50' })
    const post = await startPost(server.port, '/users', '{"email":"a@example.com"}')
    t.equal(await server.end('SIGTERM'), 1)
    await post.ended
    t.ok(server.log.some(({ msg }) => msg === 'requests under way were cut off'))
  })

  await t.test('a second signal ends it at once', async (t) => {
    const server = await startServer(t, env)
    const post = await startPost(server.port, '/users', '{"email":"a@example.com"}')
    server.child.kill('SIGINT')
    await server.waitFor(({ msg }) => msg === 'stopping')
    t.equal(await server.end('SIGINT'), 1)
    await post.ended
  })

  await t.test('a promise that nobody caught ends it with a fatal line', async (t) => {
    const plant = `process.on('SIGUSR2', () => Promise.reject(new Error('planted')))`
    const server = await startServer(t, env, [`--import=data:text/javascript,${plant}`])
    t.equal(await server.end('SIGUSR2'), 1)
    t.match(server.log.at(-1), { level: 60, err: { message: 'planted' } })
  })

  await t.test(
    'a database that refuses stops the start, and the password stays unsaid',
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

  await t.test('a wrong environment stops the start with every fault', async (t) => {
    const { exited, output } = spawnServer(t, { PORT: 'http', REDIS_URL: 'http://:hunter2@x' })
    t.same((await exited)[0], 1)
    t.match(output(), /PORT: must be a whole number[^]*REDIS_URL: must be a URL/)
    t.notMatch(output(), /hunter2/)
  })
})

function isEvent(type: string) {
  return (line: LogLine) => (line['event'] as { type: string } | undefined)?.type === type
}

await t.test('a Redis that dies is told, and one that comes back too', async (t) => {
  const redis = await startRedis(t)
  const postgres = await usePostgres(t)
  if (redis === null || postgres === null) return
  const server = await startServer(t, { DATABASE_URL: postgres.url, REDIS_URL: redis.url })
  t.equal((await send(server, 'GET', '/ready')).status, 200)
  await redis.kill()
  await server.waitFor(({ msg }) => msg === 'the Redis connection failed')
  const lost = await send(server, 'GET', '/ready')
  t.equal(lost.status, 503)
  t.same(lost.body, { ready: false, closing: false, database: 'up', store: 'down' })
  t.equal((await send(server, 'GET', '/artists')).status, 200, 'what needs no store goes on')

  // Four more refusals make five: the breaker opens, and that is a security event.
  for (let more = 0; more < 4; more++) await send(server, 'GET', '/ready')
  await server.waitFor(isEvent('kit.store_lost'))
  const reconnected = server.nextLine(({ msg }) => msg === 'the Redis connection is ready')
  await redis.restart()
  await reconnected
  t.equal((await send(server, 'GET', '/ready')).status, 200)
  await server.waitFor(isEvent('kit.store_recovered'))

  await redis.kill()
  t.equal(await server.end(), 0, 'it can be stopped while Redis is away')
})
