import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createSqlClient } from '@parapet/kit'
import { plainNode, runs, startPostgres, usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import { Pool } from 'pg'
import t, { type Test } from 'tap'
import { SEQUENCER } from '../src/postgres/cursors.ts'
import { createApp, keyOf, named, recordsOf, useFolder, verify } from './support.ts'

const WRITER = fileURLToPath(new URL('crash-writer.ts', import.meta.url))

/** Starts a writer, and kills it after a number of acknowledged records. @returns their ids */
async function killAfter(acknowledged: number, args: readonly string[]): Promise<string[]> {
  const [file, all] = plainNode([WRITER, ...args])
  const child = spawn(file, all, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  let lines = 0
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    for (const byte of chunk) if (byte === 10) lines++
    // The first line says that the writer is ready.
    if (lines > acknowledged) child.kill('SIGKILL')
  })
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  if (signal !== 'SIGKILL')
    throw new Error(`the writer exited before it was killed: ${code ?? signal}`)
  if (!child.stdout.readableEnded) await once(child.stdout, 'end')
  // The kill may have truncated the text after the last line break.
  return text.split('\n').slice(1, -1)
}

async function crashTest(t: Test, kills: number, sqlUrl?: string): Promise<void> {
  const folder = useFolder(t)
  const acknowledged: string[] = []
  for (let kill = 0; kill < kills; kill++) {
    const after = Math.floor(Math.random() ** 2 * 1500)
    const ids = await killAfter(after, sqlUrl === undefined ? [folder] : [folder, sqlUrl])
    acknowledged.push(...ids)
  }
  const pool = sqlUrl === undefined ? undefined : new Pool({ connectionString: sqlUrl })
  const app = await createApp(t, {
    directory: folder,
    ...(pool === undefined ? undefined : { sql: createSqlClient(pool) }),
  })
  const records = await recordsOf(app)
  const ids = records.map(({ id }) => String(id))
  const stored = new Set(ids)
  t.equal(stored.size, ids.length, 'no record is stored twice')
  t.equal(acknowledged.filter((id) => !stored.has(id)).length, 0, 'no acknowledged record is lost')
  const report = await verify(app.audit.parts.store, app.audit.verifierKey)
  t.same(named(report), [], 'the log verifies')
  t.equal(report.writers, kills + 1, 'each start was a new writer')
  t.comment(`${kills} kills, ${acknowledged.length} acknowledged, ${ids.length} in the log`)
  await app.close()
  await pool?.end()
}

await t.test(
  'kill -9 under load neither loses nor duplicates an acknowledged record (directory)',
  async (t) => {
    await crashTest(t, runs(6, 120))
  },
)

await t.test(
  'kill -9 under load neither loses nor duplicates an acknowledged record (PostgreSQL)',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    await crashTest(t, runs(4, 100), postgres.url)
  },
)

await t.test('while the store is down, records wait in the spool and none is lost', async (t) => {
  const server = await startPostgres(t)
  if (server === null) return
  const pool = new Pool({ connectionString: server.url, connectionTimeoutMillis: 500 })
  pool.on('error', () => {})
  t.after(() => pool.end())
  const app = await createApp(t, { sql: createSqlClient(pool), integrateIntervalMs: 20 })
  app.post('/act', { config: { audit: 'thing.act' } }, async () => 'done')
  const types: string[] = []
  app.securityEvents.on('*', ({ type }) => void types.push(type))
  const statuses = new Set<number>()
  let answered = 0
  const load = async (isRunning: () => boolean) => {
    while (isRunning()) {
      const reply = await app.inject({ method: 'POST', url: '/act' })
      statuses.add(reply.statusCode)
      answered++
    }
  }
  const has = (type: string) => types.includes(type)
  await load(() => answered < 100)
  await server.kill()
  const downUntil = Date.now() + runs(0, 30_000)
  await load(() => !has('audit_log.store_lost') || Date.now() < downUntil)
  t.equal((await app.audit.status()).storeIsUp, false)
  await server.restart()
  await load(() => !has('audit_log.store_recovered'))
  t.same([...statuses], [200], 'every request succeeded, because its record was durable')
  let records: Record<string, unknown>[] = []
  // The pool may still have a broken connection from before the restart.
  while (records.length === 0) records = await recordsOf(app).catch(() => [])
  t.equal(
    records.filter(({ action }) => action === 'thing.act').length,
    answered,
    'no record is lost',
  )
  const report = await verify(app.audit.parts.store, app.audit.verifierKey)
  t.same(named(report), [])
  await app.close()
})

/** A flush can lose against another sequencer; then it is repeated. */
async function flushed(app: FastifyInstance): Promise<void> {
  for (;;) {
    try {
      return await app.audit.flush()
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      if (!/another sequencer/.test(message) && code !== '23505' && code !== '40001') throw error
    }
  }
}

await t.test('four writers and two sequencers on one database produce one log', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool, url } = postgres
  // The lease is always granted, so that both sequencers run at once and only compare-and-set protects the log.
  const forced = () => {
    const own = new Pool({ connectionString: url, max: 3 })
    t.after(() => own.end())
    const sql = createSqlClient(own)
    const query: typeof sql.query = (text, values) =>
      sql.query(
        text,
        values?.[0] === SEQUENCER ? [`own-${Math.random()}`, ...values.slice(1)] : values,
      )
    return { query, transaction: sql.transaction.bind(sql) }
  }
  const first = await createApp(t, { sql: createSqlClient(pool), sequencer: false })
  const key = keyOf(first)
  const apps = [
    first,
    await createApp(t, { sql: createSqlClient(pool), sequencer: false, key }),
    await createApp(t, { sql: forced(), key, integrateIntervalMs: 5 }),
    await createApp(t, { sql: forced(), key, integrateIntervalMs: 5 }),
  ]
  const each = runs(400, 5000)
  const ids = await Promise.all(
    apps.map(async (app) => {
      const all: string[] = []
      for (let i = 0; i < each; i += 20) {
        const receipts = await Promise.all(
          Array.from({ length: 20 }, () => app.audit.record('load.test', {})),
        )
        all.push(...receipts.map(({ id }) => id))
      }
      return all
    }),
  )
  await Promise.all(apps.map(flushed))
  // The inbox is empty now, so the sequencers no longer conflict.
  const records = await recordsOf(apps[2]!)
  const stored = new Set(records.map(({ id }) => String(id)))
  t.equal(stored.size, records.length, 'no record is stored twice')
  t.equal(ids.flat().filter((id) => !stored.has(id)).length, 0, 'no record is missing')
  const report = await verify(first.audit.parts.store, first.audit.verifierKey)
  t.same(named(report), [], 'one log, no fork, no gap')
  t.equal(report.writers, 4)
})
