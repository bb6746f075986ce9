import { randomUUID } from 'node:crypto'
import {
  blind,
  createLocalProvider,
  createMemoryKeyStore,
  Encrypted,
  fieldEncryption,
} from '@parapet/field-encryption'
import { createManualClock, migrate, type SqlClient } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { withDatabases } from './databases.ts'
import { code, keyset } from './fixtures.ts'

async function build(t: Test) {
  const app = Fastify()
  t.after(() => app.close())
  const clock = createManualClock()
  const provider = createLocalProvider({ keyset })
  await app.register(fieldEncryption, { provider, keyStore: createMemoryKeyStore(), clock })
  return { service: app.fieldEncryption, clock }
}

const Order = Type.Object({
  id: Type.Integer(),
  publicId: Type.String(),
  tenant: Type.String(),
  userId: Type.String(),
  note: Encrypted(Type.String({ maxLength: 50 }), {
    index: { note_key: blind({ normalize: ['lower'], unique: true }) },
  }),
})
const options = { bind: 'publicId', tenant: 'tenant', subject: 'userId' } as const

/** Its id is made by the database, and values are bound to a UUID and sealed by a subject's keys. */
async function createOrders(t: Test, sql: SqlClient) {
  const { service, clock } = await build(t)
  const orders = service.table('orders', Order, options)
  await sql.query('DROP TABLE IF EXISTS orders')
  await sql.query(`CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "publicId" uuid NOT NULL UNIQUE, tenant text NOT NULL, "userId" text)`)
  await migrate(sql, `orders-${randomUUID()}`, [orders.sql.migration()])
  const insert = async (userId: string, note: string) => {
    const record = { publicId: randomUUID(), tenant: 'acme', userId, note }
    const row = await orders.encryptRecord(record)
    const names = Object.keys(row)
    const marks = names.map((_, index) => `$${index + 1}`)
    const into = names.map((name) => `"${name}"`).join(', ')
    await sql.query(`INSERT INTO orders (${into}) VALUES (${marks.join(', ')})`, Object.values(row))
  }
  return { service, clock, orders, insert }
}

const SELECT =
  'SELECT id::int AS id, "publicId"::text AS "publicId", tenant, "userId", note FROM orders'

async function checkSubjects(t: Test, sql: SqlClient): Promise<void> {
  const { service, clock, orders, insert } = await createOrders(t, sql)
  for (const [user, note] of [
    ['ann', 'a'],
    ['bob', 'b'],
    ['ann', 'c'],
  ] as const) {
    await insert(user, note)
  }
  const { rows } = await sql.query(`${SELECT} ORDER BY id`)
  t.match(await orders.decryptMany(rows), [
    { id: 1, note: 'a' },
    { note: 'b' },
    { id: 3, note: 'c' },
  ])
  const swapped = { ...rows[0], publicId: rows[1]!['publicId'] }
  await t.rejects(orders.decryptRecord(swapped), code('OPEN_FAILED'), 'bound to its UUID')
  t.equal((await orders.decryptRecord({ ...rows[0], id: 99 })).note, 'a', 'and not to its id')
  const tenant = 'acme'
  const target = { tenant, subject: 'ann' }
  const { previousKeyId } = await service.rotate(target)
  const source = orders.sql.rowSource(sql, { column: 'tenant', value: tenant })
  t.match(await orders.status({ source, tenant }), { rows: 3, staleRows: 2 })
  t.match(await orders.reencrypt({ source, tenant }), {
    total: 3,
    read: 3,
    rewritten: 2,
    overtaken: 0,
    failed: [],
    done: true,
  })
  const after = await orders.status({ source, tenant })
  t.match(after, { rows: 3, staleRows: 0, plaintext: 0 })
  t.notOk(after.byKeyId.has(previousKeyId))
  clock.advance(600_001)
  await service.retire(previousKeyId, target)
  t.match(await orders.decryptMany((await sql.query(SELECT)).rows), { length: 3 })
  const tables = await orders.reencrypt({ source: orders.sql.rowSource(sql) })
  t.match(tables, { read: 3, failed: [] }, 'the tenant of each row is read as well')
  await sql.query(`INSERT INTO orders ("publicId", tenant, "userId") VALUES ($1, 'acme', NULL)`, [
    randomUUID(),
  ])
  t.match(await orders.reencrypt({ source, tenant }), { read: 4, failed: [{ cursor: '["4"]' }] })
  t.match(await orders.status({ source, tenant }), { rows: 4, staleRows: 1 }, 'no subject')
}

async function checkBatches(t: Test, sql: SqlClient): Promise<void> {
  const { service, orders, insert } = await createOrders(t, sql)
  for (let i = 0; i < 25; i++) await insert('ann', `note {"${i}"}, \\ 'é'`)
  await service.rotate({ tenant: 'acme', subject: 'ann' })
  const source = orders.sql.rowSource(sql, { column: 'tenant', value: 'acme' })
  let statements = 0
  const counting = {
    ...source,
    read: (cursor: string | null, limit: number) => source.read(cursor, limit),
    cursorOf: (row: object) => source.cursorOf(row as never),
    write: (before: object, after: object) => source.write(before as never, after as never),
    async writeMany(changes: Parameters<NonNullable<typeof source.writeMany>>[0]) {
      statements++
      // Another process changes one row of the batch.
      await sql.query('UPDATE orders SET note = NULL WHERE id = 3 AND note IS NOT NULL')
      return source.writeMany!(changes)
    },
  }
  const done = await orders.reencrypt({ source: counting, tenant: 'acme', batchRows: 10 })
  t.match(done, { read: 25, rewritten: 24, overtaken: 1, failed: [] })
  t.equal(statements, 3, 'one statement for each batch')
  const { rows } = await sql.query(`${SELECT} ORDER BY id`)
  const notes = (await orders.decryptMany(rows)).map(({ note }) => note)
  t.equal(notes[24], `note {"24"}, \\ 'é'`)
  t.equal(notes[2], null)
}

async function checkConflicts(t: Test, sql: SqlClient): Promise<void> {
  const { service, orders, insert } = await createOrders(t, sql)
  for (const note of ['x', 'y', 'z']) await insert('ann', note)
  const source = orders.sql.rowSource(sql, { column: 'tenant', value: 'acme' })
  await service.rotate({ tenant: 'acme', subject: 'ann' })
  // Tokens of texts that an earlier version held apart.
  const taken = await orders.encryptRecord({
    publicId: '1',
    tenant: 'acme',
    userId: 'ann',
    note: 'y',
  })
  const columns = ['note_key_a', 'note_key_b'].filter((name) => taken[name] !== null)
  for (const name of columns) {
    await sql.query(`UPDATE orders SET ${name} = NULL WHERE id = 2`)
    await sql.query(`UPDATE orders SET ${name} = $1 WHERE id = 1`, [taken[name]])
  }
  const run = await orders.reencrypt({ source, tenant: 'acme', batchRows: 3 })
  t.match(run, { read: 3, done: true })
  t.match(
    await orders.reencrypt({ source, tenant: 'acme' }),
    { failed: [] },
    'the next one repairs it',
  )
  t.match(await orders.status({ source, tenant: 'acme' }), { staleRows: 0 })
}

await t.test('rows of every kind of identity are re-encrypted', async (t) => {
  await withDatabases(t, async (t, sql) => {
    await t.test('a subject that is not the id, and an id from the database', (t) =>
      checkSubjects(t, sql),
    )
    await t.test('a batch is one statement, and no update is lost', (t) => checkBatches(t, sql))
    await t.test('a value that another row has does not end the run', (t) => checkConflicts(t, sql))
  })
})

await t.test(
  'a run that is not awaited runs, and its progress can be read beside it',
  async (t) => {
    const { service } = await build(t)
    const Note = Type.Object({ id: Type.String(), text: Encrypted(Type.String()) })
    const notes = service.table('notes', Note)
    const rows = await notes.encryptMany(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((id) => ({ id, text: id })),
    )
    await service.rotate()
    let reads = 0
    const source = {
      async read(cursor: string | null, limit: number) {
        reads++
        if (cursor === 'f' && reads > 90) throw new Error('the database is down')
        return rows.filter(({ id }) => cursor === null || String(id) > cursor).slice(0, limit)
      },
      cursorOf: (row: object) => (row as { id: string }).id,
      write: async () => true,
    }
    const run = notes.reencrypt({ source, batchRows: 2 })
    const seen: number[] = []
    for await (const { read } of run.progress) seen.push(read)
    t.ok(seen.length >= 1 && seen.length <= 3)
    t.equal(seen.at(-1), 6)
    t.match(await run, { read: 6, rewritten: 6, total: null, done: true, cursor: 'f' })
    for await (const _ of notes.reencrypt({ source, batchRows: 2 })) break
    t.match(await notes.reencrypt({ source, cursor: 'f' }), { read: 0, done: true })
    reads = 90
    const failing = notes.reencrypt({ source })
    await t.rejects(
      async () => {
        for await (const _ of failing.progress);
      },
      { message: 'the database is down' },
    )
    await t.rejects(failing, { message: 'the database is down' })
  },
)
