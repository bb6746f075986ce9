import { createSqlClient, type SqlClient } from '@parapet/kit'
import {
  createMemoryRecords,
  createSqlLedger,
  migratePrivacy,
  type Records,
} from '@parapet/privacy'
import { usePostgres } from '@parapet/testing'
import t, { type Test } from 'tap'
import {
  createMemoryParts,
  createSqlParts,
  type ArchiveParts,
} from '../src/export/archive-parts.ts'
import { createSqlRecords } from '../src/storage/records-postgres.ts'
import { createApp, openConfirmed } from './helpers.ts'

async function openSql(t: Test): Promise<SqlClient | null> {
  const postgres = await usePostgres(t)
  if (postgres === null) return null
  const sql = createSqlClient(postgres.pool)
  await Promise.all([migratePrivacy(sql), migratePrivacy(sql)])
  return sql
}

const stores: Record<
  string,
  (t: Test) => Promise<{ records: Records; parts: ArchiveParts } | null>
> = {
  memory: async () => ({ records: createMemoryRecords(), parts: createMemoryParts() }),
  async postgres(t) {
    const sql = await openSql(t)
    return sql && { records: createSqlRecords(sql), parts: createSqlParts(sql) }
  },
}

for (const [name, open] of Object.entries(stores)) {
  await t.test(`${name}: records are versioned, unique and sorted`, async (t) => {
    const store = await open(t)
    if (store === null) return
    const { records } = store
    t.equal(await records.insert(record('a', 1, 'k')), true)
    t.equal(await records.insert(record('a', 2)), false, 'the id is taken')
    t.equal(await records.insert(record('b', 2, 'k')), false, 'the key is taken')
    t.equal(await records.insert({ ...record('a', 1, 'k'), kind: 'hold' }), true, 'of another kind')
    t.equal(await records.insert(record('b', 2)), true)
    t.equal(await records.insert(record('c', 2)), true)

    const found = (await records.find<{ id: string }>('request', 'a'))!
    t.match(found, {
      version: 1,
      owner: 'o',
      topic: 'open',
      uniqueKey: 'k',
      time: 1,
      body: { id: 'a' },
    })
    const changed = { ...found, topic: 'closed', uniqueKey: null, body: { id: 'a', n: 1 } }
    const saves = await Promise.all([records.save(changed), records.save(changed)])
    t.same(saves.filter(Boolean), [true], 'one of two writers wins')
    t.match(await records.find('request', 'a'), { version: 2, topic: 'closed', body: { n: 1 } })
    const second = (await records.find('request', 'b'))!
    t.equal(await records.save({ ...second, uniqueKey: 'k' }), true, 'the key is free again')
    const third = (await records.find('request', 'c'))!
    t.equal(await records.save({ ...third, uniqueKey: 'k' }), false)

    const ids = async (...filter: Parameters<Records['list']>) =>
      (await records.list(...filter)).map(({ id }) => id)
    t.same(await ids('request', { limit: 10 }), ['c', 'b', 'a'])
    t.same(await ids('request', { limit: 10, order: 'earliest' }), ['a', 'b', 'c'])
    t.same(await ids('request', { limit: 1, topic: 'open' }), ['c'])
    t.same(await ids('request', { limit: 10, after: { time: 2, id: 'c' } }), ['b', 'a'])
    t.same(await ids('request', { limit: 10, owner: 'other' }), [])
    t.same(await records.missing('request', ['a', 'z']), ['z'])
    t.equal(await records.remove('request', 'a'), true)
    t.equal(await records.remove('request', 'a'), false)
    t.equal(await records.find('request', 'a'), null)
  })

  await t.test(`${name}: parts of an archive are replaced and removed together`, async (t) => {
    const store = await open(t)
    if (store === null) return
    const { parts } = store
    const key = { request: 'r', source: 's', part: 0 }
    await parts.write(key, 'one')
    await parts.write(key, 'two')
    await parts.write({ ...key, part: 1 }, 'three')
    await parts.write({ ...key, request: 'other' }, 'four')
    t.equal(await parts.read(key), 'two')
    await parts.removeAll('r')
    t.equal(await parts.read(key), null)
    t.equal(await parts.read({ ...key, request: 'other' }), 'four')
  })
}

await t.test('memory is bounded', async (t) => {
  const parts = createMemoryParts(10)
  const key = { request: 'r', source: 's', part: 0 }
  await parts.write(key, '12345678')
  await parts.write(key, '123456789')
  await t.rejects(parts.write({ ...key, part: 1 }, '12'), {
    code: 'PARAPET_PRIVACY_INVALID_ARGUMENT',
  })
  const records = createMemoryRecords(1)
  const mark = {
    kind: 'mark',
    owner: null,
    topic: null,
    uniqueKey: null,
    time: 1,
    body: {},
  } as const
  await records.insert({ ...mark, id: 'a' })
  await t.rejects(records.insert({ ...mark, id: 'b' }), {
    code: 'PARAPET_PRIVACY_INVALID_ARGUMENT',
  })
})

await t.test(
  'on PostgreSQL, an erasure and its ledger are stored without the subject',
  async (t) => {
    const [sql, other] = [await openSql(t), await openSql(t)]
    if (sql === null || other === null) return
    const ledger = createSqlLedger(other)
    const app = await createApp(t, { sql, ledger })
    app.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
    const id = await openConfirmed(app, 'ann', 'erasure')
    await app.until(id, 'completed')
    for (const [on, table] of [
      [sql, 'privacy_records'],
      [other, 'privacy_ledger'],
    ] as const) {
      const { rows } = await on.query<{ line: string }>(
        `SELECT ${table}::text AS line FROM ${table}`,
      )
      t.ok(rows.length > 0)
      t.notMatch(rows.map(({ line }) => line).join('\n'), /\bann\b|acme\.example/)
    }
    const lines: string[] = []
    for await (const batch of ledger.read()) lines.push(...batch)
    t.equal(lines.length, 1)
  },
)

function record(id: string, time: number, uniqueKey: string | null = null) {
  return { kind: 'request', id, owner: 'o', topic: 'open', uniqueKey, time, body: { id } } as const
}
