import { randomUUID } from 'node:crypto'
import { blind, compound, Encrypted } from '@parapet/field-encryption'
import { drizzleTable, pgColumns } from '@parapet/field-encryption/drizzle'
import { kyselyTable } from '@parapet/field-encryption/kysely'
import { usePostgres } from '@parapet/testing'
import { Type } from '@sinclair/typebox'
import { drizzle } from 'drizzle-orm/node-postgres'
import { and, eq, gt } from 'drizzle-orm'
import { integer, pgTable, uuid } from 'drizzle-orm/pg-core'
import { Kysely, PostgresDialect, type Generated } from 'kysely'
import t, { type Test } from 'tap'
import { buildFixed, code } from './fixtures.ts'

const Person = Type.Object({
  id: Type.Integer(),
  publicId: Type.String(),
  visits: Type.Optional(Type.Integer()),
  email: Encrypted(Type.String(), {
    index: { email_key: blind({ normalize: ['lower'], unique: true }) },
  }),
  born: Encrypted(Type.Date()),
  extra: Type.Object({ list: Type.Array(Encrypted(Type.String())) }),
})

async function tableOf(t: Test) {
  const { app } = await buildFixed(t)
  const indexes = { email_born: compound(['email', 'born']) }
  return app.fieldEncryption.table('people', Person, { bind: 'publicId', indexes })
}

const born = new Date('1984-02-29T00:00:00.000Z')
const person = (email: string) => ({
  publicId: randomUUID(),
  email,
  born,
  extra: { list: ['a', '"é"'] },
})

interface Database {
  people: {
    id: Generated<number>
    publicId: string
    visits: Generated<number>
    email: string
    [column: string]: unknown
  }
}

await t.test('Kysely creates, inserts, finds, updates and reads encrypted rows', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: postgres.pool }) })
  const people = kyselyTable(await tableOf(t))
  const create = db.schema
    .createTable('people')
    .addColumn('id', 'serial', (column) => column.primaryKey())
    .addColumn('publicId', 'uuid')
    .addColumn('visits', 'integer', (column) => column.defaultTo(0))
  await people.addColumns(create).execute()
  const records = ['jane@example.com', 'john@example.com'].map(person)
  await db
    .insertInto('people')
    .values(await people.values(records))
    .execute()
  const found = await people.where('email', 'JANE@example.com', { from: 'p' })
  const select = db.selectFrom('people as p').selectAll('p').where(found).where('p.visits', '<', 9)
  const [jane, ...others] = await people.rows(select)
  t.match(jane, { id: 1, email: 'jane@example.com', born, extra: { list: ['a', '"é"'] } })
  t.equal(others.length, 0)
  const { publicId } = records[0]!
  const changes = await people.set({ publicId, email: 'jane@x', born })
  t.notOk('publicId' in changes)
  await db.updateTable('people').set(changes).where('publicId', '=', publicId).execute()
  const both = await people.whereAll({ email: 'jane@x', born })
  t.match(await people.rows(db.selectFrom('people').selectAll().where(both)), [{ id: 1 }])
  const visitor = await people.rows(await db.selectFrom('people').selectAll().execute(), {
    roles: [],
  })
  t.notOk(visitor.some((row) => 'email' in row))
  const stored = await db.selectFrom('people').selectAll().execute()
  t.notMatch(JSON.stringify(stored), /jane|john|1984/)
})

await t.test('Drizzle inserts, finds, updates and reads encrypted rows', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const encrypted = await tableOf(t)
  const schema = pgTable('people', {
    id: integer('id').primaryKey().generatedAlwaysAsIdentity(),
    publicId: uuid('public_id').notNull(),
    visits: integer('visits').default(0),
    ...pgColumns(encrypted),
  })
  const people = drizzleTable(encrypted, schema)
  await postgres.pool.query(`CREATE TABLE people (id integer GENERATED ALWAYS AS IDENTITY,
    public_id uuid NOT NULL, visits integer DEFAULT 0,
    ${encrypted.columns.map(({ name, type }) => `"${name}" ${type}`).join(', ')})`)
  const db = drizzle(postgres.pool)
  const records = ['jane@example.com', 'john@example.com'].map(person)
  await db.insert(schema).values(await people.values(records))
  const found = await people.where('email', 'JOHN@example.com')
  const john = await people.rows(
    db
      .select()
      .from(schema)
      .where(and(found, gt(schema.id, 1))),
  )
  t.match(john, [{ id: 2, email: 'john@example.com', born, extra: { list: ['a', '"é"'] } }])
  const { publicId } = records[1]!
  const changes = await people.set({ publicId, email: 'john@x', born })
  await db.update(schema).set(changes).where(eq(schema.publicId, publicId))
  const both = await people.whereAll({ email: 'john@x', born })
  t.match(await people.rows(db.select().from(schema).where(both)), [{ id: 2, email: 'john@x' }])
  t.same(await people.rows(await db.select().from(schema).where(found)), [])
  const { rows } = await postgres.pool.query('SELECT * FROM people')
  t.notMatch(JSON.stringify(rows), /jane|john|1984/)
  const bare = pgTable('people', { id: integer('id') })
  t.throws(() => drizzleTable(encrypted, bare), code('INVALID_ARGUMENT'))
})
