import { createManualClock, createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { createApp, keyOf, named, openFolder, useFolder, verify } from './support.ts'

await t.test('the doctor checks key, store, log, checkpoint, clock and disk', async (t) => {
  const app = await createApp(t)
  t.match(
    (await app.audit.doctor()).map(({ check, ok }) => `${check} ${ok}`),
    ['key true', 'store true', 'log true', 'checkpoint true', 'clock true', /disk/],
  )
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const down = { is: false }
  const sql = createSqlClient(postgres.pool)
  const ill = await createApp(t, {
    sql: {
      ...sql,
      query: (...args) => (down.is ? Promise.reject(new Error('down')) : sql.query(...args)),
    },
  })
  down.is = true
  t.match(
    (await ill.audit.doctor()).find(({ check }) => check === 'store'),
    { ok: false },
  )
  t.match(await ill.audit.status(), { size: 0 })
  down.is = false
})

await t.test(
  'a restart continues the same log, and the new writer names the last record of the old one',
  async (t) => {
    const folder = useFolder(t)
    const writers: string[] = []
    for (let start = 0; start < 3; start++) {
      const app = await createApp(t, { directory: folder })
      writers.push(app.audit.parts.spool.writer)
      await app.audit.record('thing.act', {})
      await app.close()
    }
    const app = await createApp(t, { directory: folder })
    await app.audit.flush()
    const report = await verify(openFolder(folder), app.audit.verifierKey)
    t.same(named(report), [])
    t.equal(report.size, 10, 'three runs with start, action and stop, and one more start')
    t.equal(new Set(writers).size, 3)
  },
)

await t.test('a store that refuses records is not up, although it can be read', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool } = postgres
  const clock = createManualClock(Date.now())
  const app = await createApp(t, { sql: createSqlClient(pool), clock, alerts: [] })
  await app.audit.flush()
  const lost: string[] = []
  app.securityEvents.on('audit_log.store_lost', ({ details }) => void lost.push(details.reason))
  await pool.query('ALTER TABLE audit_log_inbox ADD CONSTRAINT nothing CHECK (false) NOT VALID')
  await app.audit.record('thing.act', {})
  await t.rejects(app.audit.flush())
  // Each second the sequencer reads the inbox with success.
  for (let second = 0; second < 5; second++) {
    clock.advance(1000)
    await new Promise((resolve) => setTimeout(resolve, 10))
    t.match(await app.audit.status(), { storeIsUp: false, isReady: false, problem: /nothing/ })
  }
  t.equal(lost.length, 1, 'one event, although the other part works')
  clock.advance(60_000)
  t.match(await app.audit.status(), { isStalled: true }, 'at once')
  await pool.query('ALTER TABLE audit_log_inbox DROP CONSTRAINT nothing')
  while (!(await app.audit.status()).storeIsUp) {
    clock.advance(30_000)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await app.audit.flush()
  t.match(await app.audit.status(), { isReady: true, problem: null, isStalled: false })
})

await t.test(
  'a tile that cannot be read is an error of the store, not a replaced log',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    const failing = { now: false }
    const first = await createApp(t, { sql, alerts: [] })
    const app = await createApp(t, {
      sql: {
        ...sql,
        query: (text, values) =>
          failing.now && text.includes('FROM audit_log_tiles')
            ? Promise.reject(new Error('the tile cannot be read'))
            : sql.query(text, values),
      },
      alerts: [],
      key: keyOf(first),
    })
    await app.audit.record('thing.act', {})
    await app.audit.flush()
    // The log grows, so that this instance has to compare it with what it saw.
    await first.audit.record('thing.act', {})
    await first.audit.flush()
    failing.now = true
    await app.audit.record('thing.act', {})
    await t.rejects(app.audit.flush())
    failing.now = false
    await app.audit.flush()
    t.match(await app.audit.status(), { isReady: true, problem: null })
  },
)
