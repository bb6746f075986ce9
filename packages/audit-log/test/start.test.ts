import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { auditLog } from '@parapet/audit-log'
import { createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import Fastify from 'fastify'
import { Pool, type PoolConfig } from 'pg'
import t, { type Test } from 'tap'
import { ORIGIN, useFolder } from './support.ts'

async function start(t: Test, config: PoolConfig, portDeadlineMs?: number): Promise<Error> {
  const pool = new Pool(config)
  pool.on('error', () => {})
  const app = Fastify()
  const sql = createSqlClient(pool)
  const deadline = portDeadlineMs === undefined ? {} : { portDeadlineMs }
  const options = { origin: ORIGIN, directory: useFolder(t), sql, ...deadline }
  t.after(() => void pool.end().catch(() => {}))
  t.after(() => app.close())
  try {
    await app.register(auditLog, options)
  } catch (error) {
    return error as Error
  }
  return new Error('it started')
}

await t.test('the boot names the reason why the database cannot be used', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sockets: Socket[] = []
  const silent = createServer((socket) => void sockets.push(socket.on('error', () => {})))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => {
    silent.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = silent.address() as { port: number }
  const elsewhere = (change: (url: URL) => void): PoolConfig => {
    const url = new URL(postgres.url)
    change(url)
    return { connectionString: url.href }
  }
  const cases: [config: PoolConfig, reason: RegExp, portDeadlineMs?: number][] = [
    [{ host: '127.0.0.1', port }, /did not answer within 50 ms/, 50],
    [{ host: '127.0.0.1', port: 1 }, /ECONNREFUSED/],
    [elsewhere((url) => url.searchParams.set('options', '-c search_path=nowhere')), /schema/],
    [elsewhere((url) => (url.pathname = '/nowhere')), /nowhere/],
  ]
  for (const [config, reason, portDeadlineMs] of cases) {
    const error = await start(t, config, portDeadlineMs)
    t.match(error, { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE', statusCode: 503, message: reason })
    t.ok(error.cause instanceof Error)
  }
})
