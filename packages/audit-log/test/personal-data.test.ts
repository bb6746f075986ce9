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

await t.test('one statement stores the values of all records of a step', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool } = postgres
  const app = await createApp(t, { ...createKeys(), sql: createSqlClient(pool) })
  await pool.query(`
    CREATE TABLE statements (name text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO statements VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER INSERT ON audit_log_values FOR EACH STATEMENT EXECUTE FUNCTION note();
    CREATE TRIGGER note AFTER INSERT ON audit_log_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION note()`)
  const records = Array.from({ length: 60 }, (_, index) =>
    app.audit.record('thing.act', { data: { email: pii(ADDRESS, { subject: `u-${index % 7}` }) } }),
  )
  const [first] = await Promise.all(records)
  await app.audit.flush()
  const count = async (text: string) => {
    const { rows } = await pool.query<{ count: string }>(text)
    return Number(rows[0]!.count)
  }
  t.equal(await count('SELECT count(*) FROM audit_log_values'), 60)
  t.equal(await count('SELECT count(*) FROM audit_log_subject_keys'), 7)
  const values = await count(`SELECT count(*) FROM statements WHERE name = 'audit_log_values'`)
  t.ok(values <= (await count('SELECT count(*) FROM statements')) - values, 'at most one a step')
  t.match(await app.audit.reveal(first!.id), { data: { email: ADDRESS } })
  await app.audit.erase('u-0')
  t.match(await app.audit.reveal(first!.id), { data: { email: '[erased]' } })
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

await t.test('an address is erasable with its principal, and readable without one', async (t) => {
  const app = await createApp(t, {
    ...createKeys(),
    fields: { ip: 'pii-or-clear', userAgent: 'pii-or-clear' },
    subjectOf: ({ resource, resourceId }) =>
      resource === 'user' && typeof resourceId === 'string' ? resourceId : undefined,
  })
  const source = { ip: '203.0.113.9', userAgent: 'a browser' }
  await app.audit.record('thing.act', { ...source, principal: 'u-1' })
  await app.audit.record('user.create', { ...source, resource: 'user', resourceId: 'u-1' })
  await app.audit.record('thing.refuse', { ...source, ip: '203.0.113.10' })
  await app.audit.flush()
  t.notOk(contains(app.folder, '203.0.113.9"'), 'no file has the address of a subject')
  const find = async (filters: object) => (await app.audit.query({ filters })).entries[0]!.record
  const sealed = await find({ principal: 'u-1' })
  t.match(sealed, { principal: 'u-1', ip: { $pii: String }, userAgent: { $pii: String } })
  t.match(await find({ ip: '203.0.113.10' }), { action: 'thing.refuse', userAgent: 'a browser' })
  t.match(await app.audit.reveal(sealed.id), source)
  await app.audit.erase('u-1')
  t.match(await app.audit.reveal(sealed.id), { ip: '[erased]', userAgent: '[erased]' })
  t.equal((await verify(app.audit.parts.store, app.audit.verifierKey)).exitCode, 0)
})
