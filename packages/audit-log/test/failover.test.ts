import { createManualClock, createSqlClient, type ManualClock } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import type { Pool } from 'pg'
import t, { type Test } from 'tap'
import { Holes } from '../src/postgres/holes.ts'
import { createApp, keyOf, named, recordsOf, verify } from './support.ts'

const SECOND_MS = 1000
/** Longer than the pause of the shipper. */
const SHIP_MS = 200

/** An app whose loops run only when the test moves the clock or flushes. */
async function lab(t: Test, options: Parameters<typeof createApp>[1] = {}) {
  const postgres = await usePostgres(t)
  if (postgres === null) return null
  const clock = createManualClock(Date.now())
  const sql = createSqlClient(postgres.pool)
  const app = await createApp(t, { sql, clock, alerts: [], ...options })
  const events: [type: string, details: object][] = []
  app.securityEvents.on('*', ({ type, details }) => void events.push([type, details]))
  return { app, clock, pool: postgres.pool, sql, events }
}

async function act(app: FastifyInstance, ...ids: string[]): Promise<void> {
  for (const resourceId of ids) await app.audit.record('thing.act', { resourceId })
}

function acted(records: readonly Record<string, unknown>[]): unknown[] {
  return records
    .filter(({ action }) => action === 'thing.act')
    .map((record) => record['resourceId'])
}

/**
 * Waits for what a loop does at its next run. A loop that was still running when the clock moved has
 * scheduled that run later, so the clock moves again now and then.
 */
async function until(
  isDone: () => boolean | Promise<boolean>,
  clock: ManualClock,
  stepMs: number,
): Promise<void> {
  for (let poll = 0; !(await isDone()); poll++) {
    if (poll % 20 === 0) clock.advance(stepMs)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function waiting(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ n: number }>('select count(*)::int as n from audit_log_inbox')
  return rows[0]!.n
}

await t.test('records that the inbox lost are shipped again, in their order', async (t) => {
  const bench = await lab(t)
  if (bench === null) return
  const { app, clock, pool } = bench
  await act(app, 'a')
  await app.audit.flush()
  await act(app, 'b', 'c')
  await until(async () => (await waiting(pool)) === 2, clock, SHIP_MS)
  await pool.query('delete from audit_log_inbox')
  await act(app, 'd')
  t.same(acted(await recordsOf(app)), ['a', 'b', 'c', 'd'])
  t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
})

await t.test('without a flush, a record stays in the spool until the log has it', async (t) => {
  const bench = await lab(t, { sequencer: false })
  if (bench === null) return
  const { app, clock, pool, sql } = bench
  const { spool } = app.audit.parts
  await act(app, 'a', 'b')
  await until(async () => (await waiting(pool)) === 3, clock, SHIP_MS)
  await spool.rotate()
  await pool.query('delete from audit_log_inbox where seq < 2')
  const second = createManualClock(Date.now())
  const other = await createApp(t, { sql, clock: second, alerts: [], key: keyOf(app) })
  await until(async () => (await waiting(pool)) === 2, second, SHIP_MS)
  const size = async () => (await other.audit.status()).size
  await until(async () => (await size()) === 1, second, SECOND_MS)
  t.equal(await waiting(pool), 1, 'the number after the hole waits')
  t.ok(spool.bytes > 0, 'an INSERT is no proof')
  await until(async () => (await waiting(pool)) === 3, clock, 6 * SECOND_MS)
  await until(async () => (await size()) === 4, second, SECOND_MS)
  t.same(acted(await recordsOf(other)), ['a', 'b'])
  await until(() => spool.bytes === 0, clock, 2 * SECOND_MS)
  t.same(named(await verify(other.audit.parts.store, other.audit.verifierKey)), [])
})

await t.test('inserts that a rule swallows are no records, and the app is not ready', async (t) => {
  const bench = await lab(t, { stallMs: 10 * SECOND_MS })
  if (bench === null) return
  const { app, clock, pool, events } = bench
  await app.audit.flush()
  await pool.query('create rule swallow as on insert to audit_log_inbox do instead nothing')
  await act(app, 'a')
  await app.audit.flush()
  t.same(acted(await recordsOf(app)), [])
  clock.advance(11 * SECOND_MS)
  t.match(await app.audit.status(), { isStalled: true, isReady: false })
  await until(() => events.some(([type]) => type === 'audit_log.stalled'), clock, SECOND_MS)
  await pool.query('drop rule swallow on audit_log_inbox')
  await app.audit.flush()
  t.same(acted(await recordsOf(app)), ['a'])
})

function row(seq: number | null, refusal?: 'forged') {
  return {
    writer: seq === null ? 'tx' : 'w',
    seq,
    leaf: '',
    attachments: null,
    ...(refusal === undefined ? undefined : { refusal }),
  }
}

await t.test('later numbers wait for a hole, but not for ever', (t) => {
  const holes = new Holes()
  const marks = new Map([['w', 3]])
  const numbers = (seqs: ReturnType<typeof row>[], now: number) =>
    holes.hold(seqs, marks, now).map(({ seq }) => seq)
  t.same(numbers([row(2), row(3), row(4), row(null)], 0), [2, 3, 4, null])
  t.same(numbers([row(3), row(5), row(6), row(null)], 0), [3, null], '4 is missing')
  t.same(numbers([row(5), row(9, 'forged')], 0), [9], 'a forged row is refused at once')
  t.same(numbers([row(5)], 29_999), [])
  t.same(numbers([row(5)], 30_000), [5])
  t.same(numbers([row(3)], 30_000), [3])
  t.same(numbers([row(5)], 30_001), [], 'a new hole is a new wait')
  t.end()
})

function rowOf(writer: string, seq: number, leaf = '') {
  return { writer, seq, leaf, attachments: null }
}

await t.test('a new writer waits for the rows of the one before it', (t) => {
  const holes = new Holes()
  const first = JSON.stringify({ v: 1, data: { previous: 'old' } })
  const rows = [rowOf('old', 3), rowOf('new', 0, first), rowOf('new', 1), rowOf('other', 0)]
  const marks = new Map([
    ['old', 2],
    ['new', 0],
    ['other', 0],
  ])
  const names = (now: number) =>
    holes.hold(rows, marks, now).map(({ writer, seq }) => `${writer} ${seq}`)
  t.same(names(0), ['other 0'])
  t.same(names(30_000), ['old 3', 'new 0', 'new 1', 'other 0'])
  t.end()
})
