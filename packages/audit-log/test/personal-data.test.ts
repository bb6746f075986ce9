import { randomBytes } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pii } from '@parapet/audit-log'
import { createLocalCipher, createManualClock, createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { createApp, createKeys, keyOf, named, recordsOf, useFolder, verify } from './support.ts'

const ADDRESS = 'alice@example.org'
const email = () => ({ data: { email: pii(ADDRESS, { subject: 'u-1' }) } })

/** Whether a text is in any file of a folder. */
function contains(folder: string, text: string): boolean {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .some((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(text))
}

await t.test('a search for a person writes no clear text, and finds the records', async (t) => {
  for (const rule of ['hmac', 'pii', 'drop'] as const) {
    const app = await createApp(t, { ...createKeys(), fields: { principal: rule } })
    await app.register(app.audit.routes, { prefix: '/audit', guard: () => true })
    await app.audit.record('thing.act', { principal: ADDRESS })
    await app.audit.flush()
    const filters = { principal: ADDRESS }
    const { entries } = await app.audit.query({ filters })
    t.same(
      entries.map(({ record }) => record.action),
      rule === 'drop' ? [] : ['thing.act'],
      rule,
    )
    const read = await app.inject({ url: '/audit/events', query: filters })
    t.equal(read.json<{ entries: unknown[] }>().entries.length, entries.length)
    for await (const line of await app.audit.export({ filters, format: 'ndjson' })) t.ok(line)
    await app.audit.flush()
    t.notOk(contains(app.folder, ADDRESS), `${rule}: no file has the clear text`)
    if (rule === 'hmac') {
      const hashed = { principal: app.audit.hash(ADDRESS) }
      t.equal((await app.audit.query({ filters: hashed })).entries.length, 1)
    }
  }
})

await t.test('another hashKey is refused at the boot', async (t) => {
  const keys = createKeys()
  const first = await createApp(t, keys)
  await first.close()
  const refused = { code: 'PARAPET_AUDIT_LOG_HASH_KEY_CHANGED', statusCode: 500 }
  const others = { ...keys, hashKey: randomBytes(32) }
  await t.rejects(createApp(t, { ...others, directory: first.folder }), refused)
  const postgres = await usePostgres(t)
  if (postgres !== null) {
    const sql = createSqlClient(postgres.pool)
    const app = await createApp(t, { ...keys, sql })
    await t.rejects(createApp(t, { ...others, sql, key: keyOf(app) }), refused)
  }
  const again = await createApp(t, { ...keys, directory: first.folder })
  t.ok((await again.audit.doctor()).every(({ ok }) => ok))
})

await t.test('what cannot be decrypted is unreadable, not erased', async (t) => {
  const keys = createKeys()
  const app = await createApp(t, keys)
  const { id } = await app.audit.record('thing.act', email())
  await app.close()
  const cipher = createLocalCipher([{ id: 1, secret: randomBytes(32) }])
  const other = await createApp(t, { ...keys, cipher, directory: app.folder })
  t.match(await other.audit.reveal(id), { data: { email: '[unreadable]' } })
  const check = (await other.audit.doctor()).find((each) => each.check === 'cipher')
  t.match(check, { ok: false, detail: /former key/ })
  await other.close()
  const back = await createApp(t, { ...keys, directory: app.folder })
  t.match(await back.audit.reveal(id), { data: { email: ADDRESS } })
  const shards = join(app.folder, 'log/subjects')
  rmSync(shards, { recursive: true })
  t.match(await back.audit.reveal(id), { data: { email: '[unreadable]' } }, 'lost, not erased')
})

await t.test('the erasure of an unknown subject is recorded as a failure', async (t) => {
  const app = await createApp(t, createKeys())
  for (const subject of ['', { a: 1 }, undefined, 7]) {
    await t.rejects(app.audit.erase(subject as never), {
      code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
      statusCode: 500,
    })
  }
  await app.audit.record('thing.act', email())
  t.match(await app.audit.erase('nobody'), { keys: 0, values: 0 })
  t.match(await app.audit.erase('u-1'), { keys: 1, values: 1 })
  t.match(await app.audit.erase('u-1'), { keys: 0, values: 0 })
  const erasures = (await recordsOf(app)).filter(({ resource }) => resource === 'subject')
  t.match(erasures, [
    { result: 'failure', errorCode: 'SUBJECT_UNKNOWN' },
    { result: 'success' },
    { result: 'success' },
  ])
  t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
})

await t.test('restored keys of an erased subject reveal nothing', async (t) => {
  const clock = createManualClock(1_700_000_000_000)
  const keys = { ...createKeys(), clock }
  const app = await createApp(t, keys)
  const { id } = await app.audit.record('thing.act', email())
  await app.audit.flush()
  const backup = useFolder(t)
  const subjects = join(app.folder, 'log/subjects')
  cpSync(subjects, backup, { recursive: true })
  clock.advance(1000)
  await app.audit.erase('u-1')
  await app.close()
  rmSync(subjects, { recursive: true })
  cpSync(backup, subjects, { recursive: true })
  clock.advance(1000)
  const again = await createApp(t, { ...keys, directory: app.folder })
  const events: string[] = []
  again.securityEvents.on('audit_log.erasure_undone', ({ details }) => {
    events.push(details.subject)
  })
  t.match(await again.audit.reveal(id), { data: { email: '[erased]' } })
  t.match(events, [/^[0-9a-f]{32}$/])
  const { id: later } = await again.audit.record('thing.act', email())
  await again.audit.flush()
  t.match(await again.audit.reveal(later), { data: { email: ADDRESS } }, 'a later value is shown')
})

await t.test('a restored table of keys reveals nothing either', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool } = postgres
  const clock = createManualClock(1_700_000_000_000)
  const app = await createApp(t, { ...createKeys(), clock, sql: createSqlClient(pool) })
  const { id } = await app.audit.record('thing.act', email())
  await app.audit.flush()
  await pool.query('CREATE TABLE old_keys AS TABLE audit_log_subject_keys')
  await pool.query('CREATE TABLE old_values AS TABLE audit_log_values')
  clock.advance(1000)
  await app.audit.erase('u-1')
  await pool.query('INSERT INTO audit_log_subject_keys TABLE old_keys')
  await pool.query('INSERT INTO audit_log_values TABLE old_values')
  await pool.query('DELETE FROM audit_log_erasures')
  t.match(await app.audit.reveal(id), { data: { email: '[erased]' } })
})

async function fail(): Promise<never> {
  throw new Error('the database did not answer within 5 ms')
}

await t.test('a read says so if the store does not answer', async (t) => {
  const app = await createApp(t)
  const { id } = await app.audit.record('thing.act', {})
  await app.audit.flush()
  const { store } = app.audit.parts
  Object.assign(store, { search: fail, find: fail, state: fail })
  const unavailable = { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE', statusCode: 503 }
  await t.rejects(app.audit.query(), unavailable)
  await t.rejects(app.audit.prove(id), unavailable)
  await t.rejects(app.audit.reveal(id), unavailable)
  await t.rejects(app.audit.checkpoint(), unavailable)
})
