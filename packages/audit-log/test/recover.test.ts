import { cpSync, existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import type { Pool } from 'pg'
import t from 'tap'
import { requestRecovery } from '../src/pipeline/recover.ts'
import { createApp, named, recordsOf, useFolder, verify } from './support.ts'

const TABLES = ['state', 'events', 'tiles', 'checkpoints', 'inbox', 'cursors']

/** Copies the tables, as a backup or a replica that lags behind. */
async function backUp(pool: Pool): Promise<() => Promise<void>> {
  for (const name of TABLES)
    await pool.query(`create table copy_${name} as table audit_log_${name}`)
  return async () => {
    for (const name of TABLES) {
      await pool.query(`delete from audit_log_${name}`)
      const overriding = name === 'inbox' ? 'overriding system value' : ''
      await pool.query(`insert into audit_log_${name} ${overriding} select * from copy_${name}`)
    }
  }
}

await t.test(
  'a drill: after a store lost its last entries, the spool fills the hole',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const { pool } = postgres
    const options = { sql: createSqlClient(pool), directory: useFolder(t), alerts: [] }
    const app = await createApp(t, options)
    const ids: string[] = []
    const record = async (to: typeof app, count: number) => {
      for (let n = 0; n < count; n++) ids.push((await to.audit.record('thing.act', {})).id)
    }
    await record(app, 5)
    await app.audit.flush()
    const restore = await backUp(pool)
    await record(app, 5)
    await app.audit.flush()
    await restore()
    const problems: string[] = []
    app.securityEvents.on('audit_log.tampering_found', ({ details }) => {
      problems.push(details.problem)
    })
    // These reach the inbox before the sequencer notices; then nothing is shipped any more.
    await record(app, 3)
    await app.audit.flush()
    t.match(problems, [/shorter than before; see "audit-log recover"/])
    await record(app, 3)
    t.match(await app.audit.status(), { isReady: false, problem: /shorter/ })
    await app.close()

    const unasked = await createApp(t, options)
    const kept = unasked.audit.parts.spool.bytes
    // Shipping first, as its shorter pause makes it: nothing may leave the spool.
    await unasked.audit.flush()
    t.ok(unasked.audit.parts.spool.bytes >= kept, 'the spool is kept')
    t.match(await unasked.audit.status(), { halted: /shorter/ }, 'a restart alone changes nothing')
    await unasked.close()

    await requestRecovery(options.directory)
    const next = await createApp(t, options)
    const told: object[] = []
    next.securityEvents.on('audit_log.log_recovered', ({ details }) => void told.push(details))
    await record(next, 2)
    const stored = (await recordsOf(next)).map(({ id }) => String(id))
    t.same(
      ids.filter((id) => !stored.includes(id)),
      [],
      'every acknowledged record is in the log',
    )
    t.equal(new Set(stored).size, stored.length, 'and only once')
    t.notOk(existsSync(join(options.directory, 'recover.json')))
    const report = await verify(next.audit.parts.store, next.audit.verifierKey)
    t.same(named(report), [])
    t.equal(report.declaredLosses, 1)
  },
)

await t.test(
  'what neither the store nor the spool has is declared by a signed statement',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const { pool } = postgres
    const directory = useFolder(t)
    const options = { sql: createSqlClient(pool), directory, alerts: [] }
    const app = await createApp(t, options)
    const { spool } = app.audit.parts
    await app.audit.record('thing.act', {})
    await app.audit.flush()
    const restore = await backUp(pool)
    await app.audit.record('thing.act', {})
    await spool.rotate()
    await app.audit.flush()
    // The segment was shipped and removed, and now the store forgets it.
    await restore()
    await app.audit.record('thing.act', {})
    await app.audit.flush()
    await app.close()
    await requestRecovery(directory)
    const next = await createApp(t, options)
    const records = await recordsOf(next)
    t.match(
      records.find(({ action }) => action === 'audit_log.log_recovered'),
      { data: { seen: { size: 3 }, stored: { size: 2 }, lost: { [spool.writer]: [[2, 2]] } } },
    )
    const report = await verify(next.audit.parts.store, next.audit.verifierKey)
    t.same(named(report), [], 'the loss is declared')
    t.equal(report.exitCode, 0)
  },
)

await t.test('a restored directory goes on in the same way', async (t) => {
  const directory = useFolder(t)
  const copy = join(useFolder(t), 'log')
  const app = await createApp(t, { directory, alerts: [] })
  await app.audit.record('thing.act', { resourceId: '1' })
  await app.audit.flush()
  cpSync(join(directory, 'log'), copy, {
    recursive: true,
    filter: (source) => !source.includes('/lock.'),
  })
  await app.audit.record('thing.act', { resourceId: '2' })
  await app.close()
  rmSync(join(directory, 'log'), { recursive: true })
  cpSync(copy, join(directory, 'log'), { recursive: true })
  const halted = await createApp(t, { directory, alerts: [] })
  await halted.audit.flush().catch(() => {})
  t.match(await halted.audit.status(), { halted: /shorter/ })
  await halted.close()
  await requestRecovery(directory)
  const next = await createApp(t, { directory, alerts: [] })
  const records = await recordsOf(next)
  t.ok(records.some(({ action }) => action === 'audit_log.log_recovered'))
  const report = await verify(next.audit.parts.store, next.audit.verifierKey)
  t.same(
    named(report).filter((finding) => !finding.startsWith('gap')),
    [],
  )
})
