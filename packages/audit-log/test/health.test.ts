import { createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { createApp, named, openFolder, useFolder, verify } from './support.ts'

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
