/** Row-level security: even a handler that forgets its condition cannot read the rows of another user. */
import { createSqlClient, type SqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import t, { type Test } from 'tap'
import { actingAs, asServer } from '../src/storage/row-security.ts'
import { createKeys } from './support/fleet.ts'
import {
  createDataFolder,
  createTestApp,
  openDatabase,
  testDatabaseOf,
  type TestDatabase,
} from './support/test-app.ts'

const tables = ['users', 'bookings', 'settings', 'files'] as const

/** Two users with a row in every table. */
async function createRows(t: Test, database: TestDatabase) {
  const { MFA_KEYS = '', AUDIT_KEY = '' } = createKeys()
  const env = { MFA_KEYS, AUDIT_KEY, AUDIT_DIR: createDataFolder(t) }
  const { register } = await createTestApp(t, database, env)
  const [ann, bob] = [await register('viewer'), await register('viewer')]
  const { sql } = database
  const insertArtist = `INSERT INTO artists (id, name, genres, hourly_rate_minor, currency)
    VALUES ($1, 'A', '{jazz}', 1, 'EUR')`
  await sql.query(insertArtist, [ann.id])
  const insertVenue = `INSERT INTO venues (id, name, city, country, capacity) VALUES ($1, 'V', 'C', 'DE', 1)`
  await sql.query(insertVenue, [ann.id])
  for (const { id } of [ann, bob]) {
    await sql.query('INSERT INTO settings (id) VALUES ($1)', [id])
    await sql.query(
      `INSERT INTO bookings (id, user_id, artist_id, venue_id, on_date, hours, price_minor, currency)
       VALUES ($1, $1, $2, $2, '2030-01-01', 1, 1, 'EUR')`,
      [id, ann.id],
    )
    await sql.query(
      `INSERT INTO files (id, owner_id, folder, name) VALUES ($1, $1, 'f', 'pe1.x')`,
      [id],
    )
  }
  return { ann, bob }
}

const count = async (sql: Pick<SqlClient, 'query'>, table: string) =>
  (await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)).rows[0]!.n

async function checkRows(t: Test, database: TestDatabase): Promise<void> {
  const { sql } = database
  const { ann, bob } = await createRows(t, database)
  const asAnn = { id: ann.id, roles: ['viewer'] }
  for (const table of tables) {
    t.equal(await actingAs(sql, asAnn, (tx) => count(tx, table)), 1, `${table}: the own row`)
    t.equal(await actingAs(sql, null, (tx) => count(tx, table)), 0, `${table}: nobody sees none`)
    const admin = { id: ann.id, roles: ['admin'] }
    t.equal(await actingAs(sql, admin, (tx) => count(tx, table)), 2, `${table}: all`)
    const update = `UPDATE ${table} SET version = 9 WHERE id = $1`
    const changed = await actingAs(sql, asAnn, (tx) => tx.query(update, [bob.id]))
    t.equal(changed.rowCount, 0, `${table}: no change of another row`)
    const removal = `DELETE FROM ${table} WHERE id = $1`
    t.equal((await actingAs(sql, asAnn, (tx) => tx.query(removal, [bob.id]))).rowCount, 0)
  }
  await actingAs(sql, asAnn, async (tx) => {
    t.equal(await asServer(tx, () => count(tx, 'users')), 2, 'the server sees all users')
    t.equal(await count(tx, 'users'), 1, 'then the transaction acts for the principal again')
    await t.rejects(
      asServer(tx, async () => {
        throw new TypeError('a handler fails')
      }),
      TypeError,
    )
    t.equal(await count(tx, 'users'), 1, 'also after an error that a handler catches')
  })
  const steal = 'UPDATE bookings SET user_id = $1 WHERE user_id = $2'
  await t.rejects(
    actingAs(sql, asAnn, (tx) => tx.query(steal, [bob.id, ann.id])),
    { code: '42501' },
    'a row cannot be given away',
  )
  const booker = { id: bob.id, roles: ['viewer', 'booker'] }
  t.equal(await actingAs(sql, booker, (tx) => count(tx, 'bookings')), 2, 'bookers see all bookings')
  t.equal(await actingAs(sql, booker, (tx) => count(tx, 'files')), 1, 'and no other files')
  t.equal(await count(sql, 'users'), 2, 'the server itself is not restricted afterwards')
}

await t.test('PGlite shows a user the own rows only', async (t) => {
  await checkRows(t, await openDatabase(t))
})

await t.test('PostgreSQL shows a user the own rows only', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const database = testDatabaseOf(createSqlClient(postgres.pool))
  await checkRows(t, database)

  await t.test('a statement of a user cannot reach the tables of plugins', async (t) => {
    const principal = { id: '0190d5a0-0000-7000-8000-000000000000', roles: ['admin'] }
    const { rows } = await database.sql.query<{ name: string }>(
      `SELECT tablename AS name FROM pg_tables WHERE schemaname = $1
       AND tablename <> ALL ($2) ORDER BY 1`,
      [postgres.schema, [...tables, 'content', 'artists', 'venues']],
    )
    t.ok(rows.length > 5)
    for (const { name } of rows) {
      await t.rejects(
        actingAs(database.sql, principal, (tx) => tx.query(`SELECT 1 FROM "${name}"`)),
        { code: '42501' },
        name,
      )
    }
  })
})

await t.test('a role without superuser rights migrates and is restricted as well', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const role = `owner_${postgres.schema}`.slice(0, 60)
  await postgres.pool.query(`CREATE ROLE ${role} LOGIN CREATEROLE`)
  t.after(async () => {
    await postgres.pool.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER`)
    await postgres.pool.query(`DROP OWNED BY ${role} CASCADE`)
    await postgres.pool.query(`DROP ROLE ${role}`)
  })
  await postgres.pool.query(`ALTER SCHEMA ${postgres.schema} OWNER TO ${role}`)
  await postgres.pool.query(`GRANT parapet_rows TO ${role} WITH ADMIN OPTION`)
  const url = new URL(postgres.url)
  url.username = role
  const { Pool } = await import('pg')
  const pool = new Pool({ connectionString: url.href, max: 4 })
  t.after(() => pool.end())
  await checkRows(t, testDatabaseOf(createSqlClient(pool)))
})
