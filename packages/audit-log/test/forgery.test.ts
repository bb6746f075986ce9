import { createHash } from 'node:crypto'
import { pii } from '@parapet/audit-log'
import { createManualClock, createSqlClient, uuidV7 } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import type { Pool } from 'pg'
import t, { type Test } from 'tap'
import { canonicalize, type Json } from '../src/record/canonical-json.ts'
import { createApp, createKeys, keyOf, named, recordsOf, verify } from './support.ts'

/** An app on PostgreSQL, and what its events report. */
async function lab(t: Test, options: Parameters<typeof createApp>[1] = {}) {
  const postgres = await usePostgres(t)
  if (postgres === null) return null
  const { pool } = postgres
  const app = await createApp(t, {
    sql: createSqlClient(pool),
    integrateIntervalMs: 60_000,
    ...options,
  })
  const events: [type: string, details: object][] = []
  app.securityEvents.on('*', ({ type, details }) => void events.push([type, details]))
  return { app, pool, events }
}

/** A record as a process without the writers' key would write it into the inbox. */
function forge(writer: string, seq: number | null, action: string, data: Json) {
  const members = { action, data, id: uuidV7(), result: 'failure', time: Date.now(), v: 1, writer }
  return canonicalize(seq === null ? members : { ...members, seq })
}

const INSERT = 'insert into audit_log_inbox (writer, seq, leaf) values ($1, $2, $3)'

function actionsOf(records: readonly Record<string, unknown>[]): unknown[] {
  return records.map(({ action }) => action)
}

function report(app: FastifyInstance) {
  return verify(app.audit.parts.store, app.audit.verifierKey)
}

await t.test('an invented inbox row never enters the log, and is reported', async (t) => {
  const bench = await lab(t)
  if (bench === null) return
  const { app, pool, events } = bench
  await app.audit.flush()
  const { writer, nextSeq } = app.audit.parts.spool
  await pool.query(INSERT, [writer, nextSeq, forge(writer, nextSeq, 'user.delete', {})])
  await pool.query(INSERT, ['tx', null, forge('tx', null, 'user.delete', {})])
  await pool.query(INSERT, ['ab'.repeat(8), 0, forge('ab'.repeat(8), 0, 'user.delete', {})])
  t.same(actionsOf(await recordsOf(app)), ['audit_log.writer_started'])
  t.same(
    events.filter(([type]) => type === 'audit_log.inbox_refused'),
    [['audit_log.inbox_refused', { count: 3, forged: 3, replayed: 0 }]],
  )
  await app.audit.record('thing.act', {})
  t.match(actionsOf(await recordsOf(app)), ['audit_log.writer_started', 'thing.act'])
  t.same(named(await report(app)), [])
})

await t.test(
  'a captured row of a transaction enters the log once, even if it is inserted again',
  async (t) => {
    const bench = await lab(t)
    if (bench === null) return
    const { app, pool, events } = bench
    await app.audit.inTransaction(pool, 'thing.act', { resourceId: 'x' })
    const { rows } = await pool.query<Record<string, string>>('select * from audit_log_inbox')
    await app.audit.flush()
    const copy = [rows[0]!['leaf'], rows[0]!['mac']]
    const again = `insert into audit_log_inbox (writer, leaf, mac) values ('tx', $1, $2)`
    await pool.query(again, copy)
    await pool.query(again, copy)
    const actions = actionsOf(await recordsOf(app))
    t.equal(actions.filter((action) => action === 'thing.act').length, 1)
    t.match(events.at(-1), ['audit_log.inbox_refused', { count: 2, forged: 0, replayed: 2 }])
    t.same(named(await report(app)), [])
  },
)

await t.test('a forged pruning does not excuse removed entries', async (t) => {
  const bench = await lab(t)
  if (bench === null) return
  const { app, pool } = bench
  await Promise.all(Array.from({ length: 600 }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
  const { writer, nextSeq } = app.audit.parts.spool
  const data = { before: 512, newest: 0, policy: { days: 1, byAction: {} }, root: '' }
  await pool.query(INSERT, [writer, nextSeq, forge(writer, nextSeq, 'audit_log.log_pruned', data)])
  await app.audit.flush()
  await pool.query('delete from audit_log_events where index < 512')
  await pool.query('update audit_log_state set min_index = 512')
  const found = await report(app)
  t.match(named(found), ['pruned 512'])
  t.equal(found.exitCode, 1)
})

/** An instance that only writes, and one that only sequences. */
async function pair(t: Test) {
  const bench = await lab(t, { sequencer: false, alerts: [] })
  if (bench === null) return null
  const { app: writer, pool, events } = bench
  const sequencer = async (options: Parameters<typeof createApp>[1] = {}) => {
    const key = keyOf(writer)
    const sql = createSqlClient(pool)
    const app = await createApp(t, { sql, key, alerts: [], ...options })
    app.securityEvents.on('*', ({ type, details }) => void events.push([type, details]))
    return app
  }
  return { writer, sequencer, pool, events }
}

await t.test('a forged gap record does not excuse a removed row', async (t) => {
  const both = await pair(t)
  if (both === null) return
  const { writer, sequencer, pool } = both
  await writer.audit.record('thing.act', {})
  await writer.audit.record('thing.act', {})
  await writer.audit.flush()
  const name = writer.audit.parts.spool.writer
  await pool.query('delete from audit_log_inbox where seq = 1')
  const data = { dropped: {}, from: 0, lost: [[1, 1]], to: 1, writer: name }
  await pool.query(INSERT, [name, 3, forge(name, 3, 'audit_log.gap_recorded', data)])
  const clock = createManualClock(Date.now())
  const app = await sequencer({ clock })
  await app.audit.flush()
  t.notOk(actionsOf(await recordsOf(app)).includes('thing.act'), 'the numbers after the hole wait')
  clock.advance(31_000)
  await app.audit.flush()
  const found = await report(app)
  t.match(found.findings, [{ kind: 'gap', detail: /the records 1 to 1 of the writer/ }])
  t.equal(found.exitCode, 2)
})

await t.test('a table of numbers cannot silence acknowledged records', async (t) => {
  const bench = await lab(t)
  if (bench === null) return
  const { app, pool } = bench
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  await t.rejects(pool.query('update audit_log_writers set next_seq = 1000'), { code: '42P01' })
  for (let n = 0; n < 100; n++) void app.audit.record('thing.act', {})
  const actions = actionsOf(await recordsOf(app))
  t.equal(actions.filter((action) => action === 'thing.act').length, 101)
})

await t.test(
  'an edited last entry of a writer stops the sequencer instead of moving its number',
  async (t) => {
    const both = await pair(t)
    if (both === null) return
    const { writer, sequencer, pool, events } = both
    await writer.audit.record('thing.act', {})
    await writer.audit.flush()
    await (await sequencer()).audit.flush()
    await pool.query(
      `update audit_log_events set seq = 1000, leaf = replace(leaf, '"seq":1,', '"seq":1000,')
     where seq = 1 and writer = $1`,
      [writer.audit.parts.spool.writer],
    )
    await writer.audit.record('thing.act', {})
    await writer.audit.flush()
    await (await sequencer()).audit.flush()
    t.match(
      events.filter(([type]) => type === 'audit_log.tampering_found'),
      [['audit_log.tampering_found', { problem: /the entry \d was edited/ }]],
    )
  },
)

await t.test('a cursor that was moved forward hides nothing from a sink', async (t) => {
  const got: number[] = []
  const sink = {
    name: 'siem',
    deliver: async (entries: readonly { index: number }[]) => {
      got.push(...entries.map(({ index }) => index))
    },
  }
  const bench = await lab(t, { sinks: [sink] })
  if (bench === null) return
  const { app, pool, events } = bench
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  t.same(got, [0, 1])
  await app.audit.record('thing.act', {})
  await pool.query(`update audit_log_cursors set position = 3 where name = 'siem'`)
  await app.audit.flush()
  await app.audit.flush()
  t.same(got, [0, 1, 2])
  t.match(
    events.filter(([type]) => type === 'audit_log.cursor_refused'),
    [['audit_log.cursor_refused', { sink: 'siem', position: 3 }]],
  )
  t.equal((await app.audit.status()).lag['siem'], 0)
})

await t.test('a deleted mark of an erasure is named', async (t) => {
  const bench = await lab(t, createKeys())
  if (bench === null) return
  const { app, pool } = bench
  await app.audit.record('user.create', { data: { email: pii('e', { subject: 's' }) } })
  await app.audit.erase('s')
  t.same(named(await report(app)), [])
  await pool.query('delete from audit_log_erasures')
  const found = await report(app)
  t.match(found.findings, [{ kind: 'erasure', detail: /mark of the erasure was deleted/ }])
  t.equal(found.exitCode, 1)
})

async function forceTree(pool: Pool, hash: Buffer): Promise<void> {
  const edge = JSON.stringify([hash.toString('base64')])
  await pool.query('update audit_log_state set size = 1, root = $1, edge = $2', [
    hash.toString('base64'),
    edge,
  ])
}

await t.test('a state with another root is not signed, although its edge fits', async (t) => {
  const bench = await lab(t)
  if (bench === null) return
  const { app, pool, events } = bench
  await app.audit.flush()
  const own = await pool.query<{ note: string }>('select note from audit_log_state')
  await forceTree(pool, createHash('sha256').update('x').digest())
  await app.audit.record('thing.act', {})
  await app.audit.flush().catch(() => {})
  t.match(events.at(-1), ['audit_log.tampering_found', {}])
  const { rows } = await pool.query<{ note: string }>('select note from audit_log_state')
  t.same(rows, own.rows, 'no checkpoint was signed')
})
