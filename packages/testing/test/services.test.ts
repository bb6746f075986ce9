import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import {
  plainNode,
  startPostgres,
  startRedis,
  useMysql,
  usePostgres,
  useRedis,
} from '@parapet/testing'
import { Redis } from 'ioredis'
import { Client, Pool } from 'pg'
import t from 'tap'
import { findMysql } from '../src/mysql-server.ts'
import { findPostgres } from '../src/postgres-server.ts'
import { findRedis } from '../src/redis-server.ts'
import { record } from './record.ts'

function connect(url: string, t: { after(handler: () => void): unknown }): Redis {
  const redis = new Redis(url, { retryStrategy: () => 20, maxRetriesPerRequest: null })
  redis.on('error', () => {})
  t.after(() => redis.disconnect())
  return redis
}

await t.test(
  'a Redis share has a prefix of its own, and its keys are gone after the test',
  async (t) => {
    const prefixes: string[] = []
    let url = ''
    await t.test('inner', async (t) => {
      for (const _ of [1, 2]) {
        const fixture = await useRedis(t)
        if (fixture === null) return
        url = fixture.url
        prefixes.push(fixture.prefix)
        const redis = connect(url, t)
        for (let i = 0; i < 1200; i++) void redis.set(`${fixture.prefix}${i}`, 'x')
        t.equal(await redis.get(`${fixture.prefix}1199`), 'x')
      }
    })
    if (url === '') return
    t.equal(new Set(prefixes).size, 2)
    const redis = connect(url, t)
    for (const prefix of prefixes) {
      t.equal(await redis.exists(`${prefix}0`, `${prefix}1199`), 0)
    }
  },
)

await t.test('a started Redis can be paused, killed and restarted on its port', async (t) => {
  const server = await startRedis(t)
  if (server === null) return
  const redis = connect(server.url, t)
  t.equal(await redis.set('a', '1'), 'OK')

  await server.pause()
  let answered = false
  const late = redis.get('a').then((value) => {
    answered = true
    return value
  })
  const probe = new Redis(server.url, { commandTimeout: 50, retryStrategy: () => null })
  probe.on('error', () => {})
  await t.rejects(probe.ping())
  probe.disconnect()
  t.equal(answered, false, 'a paused server does not answer')
  server.resume()
  t.equal(await late, '1', 'and answers when it is resumed')

  await server.kill()
  await server.restart()
  t.equal(await redis.get('a'), null, 'a restarted server is empty, on the same port')
  await server.pause()
})

await t.test('a cluster refuses a script over two slots, also after a restart', async (t) => {
  const server = await startRedis(t, { cluster: true })
  if (server === null) return
  const redis = connect(server.url, t)
  const script = "return redis.call('set', KEYS[1], 'x')"
  t.equal(await redis.eval(script, 2, '{a}1', '{a}2'), 'OK')
  await t.rejects(redis.eval(script, 2, 'a', 'b'), /CROSSSLOT/)
  await server.kill()
  await server.restart()
  t.equal(await redis.eval(script, 1, 'a'), 'OK')
})

await t.test('two schemas are isolated from each other, and both are dropped', async (t) => {
  const schemas: string[] = []
  let url = ''
  await t.test('inner', async (t) => {
    const first = await usePostgres(t)
    const second = await usePostgres(t)
    if (first === null || second === null) return
    url = first.url
    schemas.push(first.schema, second.schema)
    await first.pool.query('create table things (id int)')
    await first.pool.query('insert into things values (1)')
    await t.rejects(second.pool.query('select * from things'), { code: '42P01' })

    const other = new Client({ connectionString: first.url })
    await other.connect()
    t.same(
      (await other.query('select id from things')).rows,
      [{ id: 1 }],
      'the URL selects the schema',
    )
    await other.end()
  })
  if (url === '') return
  const client = new Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query('select 1 from pg_namespace where nspname = any($1)', [
    schemas,
  ])
  await client.end()
  t.same(rows, [])
})

await t.test('a started PostgreSQL keeps its data after a kill and a stop', async (t) => {
  const server = await startPostgres(t)
  if (server === null) return
  const pool = new Pool({ connectionString: server.url })
  pool.on('error', () => {})
  t.after(() => pool.end())
  await pool.query('create table things (id int)')
  await server.kill()
  await t.rejects(pool.query('select * from things'))
  await server.restart()
  t.same((await pool.query('select * from things')).rows, [])
  await server.stop()
  await t.rejects(pool.query('select * from things'))
  await server.restart()
  t.same((await pool.query('select * from things')).rows, [])
})

await t.test('if no server answers, one is started for this process', async (t) => {
  const redisUrl = await findRedis('redis://127.0.0.1:1')
  if (redisUrl === null) return t.pass('needs Redis', { skip: 'no redis-server on PATH' })
  t.equal(await connect(redisUrl, t).ping(), 'PONG')
  const postgresUrl = await findPostgres('postgres://root@127.0.0.1:1/test')
  if (postgresUrl === null) return t.pass('needs PostgreSQL', { skip: 'not installed' })
  const client = new Client({ connectionString: postgresUrl })
  await client.connect()
  t.equal((await client.query('select 1 as one')).rowCount, 1)
  await client.end()
  return undefined
})

await t.test('a configured address that does not answer is an error, not a skip', async (t) => {
  setEnvironment(t, { REDIS_URL: 'redis://127.0.0.1:1', DATABASE_URL: 'postgres://127.0.0.1:1/x' })
  await t.rejects(findRedis(), /127\.0\.0\.1:1/)
  await t.rejects(findPostgres(), { code: 'ECONNREFUSED' })
})

await t.test(
  'a missing service is a skip by name, or a failure where it is required',
  async (t) => {
    setEnvironment(t, { PATH: '', PARAPET_REQUIRE_SERVICES: '' })
    const { inner, log } = record()
    t.equal(await startRedis(inner), null)
    process.env['PARAPET_REQUIRE_SERVICES'] = '1'
    t.equal(await startRedis(inner), null)
    t.same(log, [
      'skip no Redis: redis-server is not on PATH',
      'fail no Redis: redis-server is not on PATH',
    ])
  },
)

await t.test('a started server ends with its process, however the process ends', async (t) => {
  const script = `
    import { findRedis } from ${JSON.stringify(import.meta.resolve('../src/redis-server.ts'))}
    console.log(await findRedis('redis://127.0.0.1:1'))
    setInterval(() => {}, 1000)`
  const child = spawn(...plainNode(['--input-type=module', '-e', script]))
  t.after(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const url = line.toString().trim()
  if (url === 'null') return t.pass('needs Redis', { skip: 'no redis-server on PATH' })
  const redis = connect(url, t)
  t.equal(await redis.ping(), 'PONG')
  const closed = once(redis, 'close')
  child.kill('SIGKILL')
  await closed
  t.pass('the connection is closed')
  return undefined
})

function setEnvironment(
  t: { after(handler: () => void): unknown },
  values: Record<string, string>,
): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name]
    process.env[name] = value
    t.after(() => {
      if (before === undefined) delete process.env[name]
      else process.env[name] = before
    })
  }
}

await t.test('a server that cannot start is an error that shows its log', async (t) => {
  const folder = t.testdir({ 'redis-server': '#!/bin/sh\necho "Fatal: no luck"\nexit 1\n' })
  chmodSync(`${folder}/redis-server`, 0o755)
  setEnvironment(t, { PATH: folder })
  await t.rejects(startRedis(t), /redis-server did not start: Fatal: no luck/)
})

await t.test('a MariaDB is found, or started where none answers', async (t) => {
  const running = await useMysql(t)
  if (running === null) return
  const own = await findMysql(1)
  if (typeof own === 'string') throw new Error(own)
  t.not(own.port, running.port)
  t.same(await findMysql(own.port), own, 'it answers')
})
