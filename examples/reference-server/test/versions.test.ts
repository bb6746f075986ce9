/** Two versions side by side: migrations only add, so that an older instance serves during and after them. */
import { createSqlClient, migrate, type SqlClient, type SqlTransaction } from '@parapet/kit'
import { openPglite, usePostgres } from '@parapet/testing'
import t from 'tap'
import { migrations } from '../src/storage/migrations.ts'
import { createKeys } from './support/fleet.ts'
import { signIn } from './support/sign-in.ts'
import { artist, createDataFolder, createTestApp, testDatabaseOf } from './support/test-app.ts'

/** What an older version relies on: tables, columns, and what their rows must fulfil. */
interface Schema {
  readonly columns: ReadonlyMap<string, Column>
  readonly rules: ReadonlyMap<string, Rule>
}

interface Column {
  readonly table: string
  readonly name: string
  readonly type: string
  readonly isRequired: boolean
  readonly hasDefault: boolean
}

interface Rule {
  readonly table: string
  readonly name: string
  /** The columns that it is about; empty: the whole row. */
  readonly columns: readonly string[]
}

const COLUMNS = `
  SELECT c.relname::text AS "table", a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
    a.attnotnull AS "isRequired", a.atthasdef OR a.attidentity <> '' AS "hasDefault"
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v')
    AND a.attnum > 0 AND NOT a.attisdropped`
const RULES = `
  SELECT c.relname::text AS "table", r.name::text AS name, ARRAY(
    SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = r.relid AND a.attnum = ANY (r.keys)) AS columns
  FROM (
    SELECT conrelid AS relid, conname AS name, conkey::int[] AS keys FROM pg_constraint
    UNION SELECT indrelid, relname, indkey::int2[]::int[]
      FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisunique
    UNION SELECT tgrelid, tgname, '{}' FROM pg_trigger WHERE NOT tgisinternal
    UNION SELECT polrelid, polname, '{}' FROM pg_policy
  ) AS r JOIN pg_class c ON c.oid = r.relid
  WHERE c.relnamespace = current_schema()::regnamespace`

function keyed<T extends { readonly table: string; readonly name: string }>(
  found: readonly T[],
): ReadonlyMap<string, T> {
  return new Map(found.map((each) => [`${each.table}.${each.name}`, each]))
}

async function readSchema(sql: Pick<SqlClient, 'query'>): Promise<Schema> {
  const columns = (await sql.query<Column & object>(COLUMNS)).rows
  const rules = (await sql.query<Rule & object>(RULES)).rows
  return { columns: keyed(columns), rules: keyed(rules) }
}

/** What a statement of the older version would trip over. */
function faultsOf(before: Schema, after: Schema): string[] {
  const faults: string[] = []
  const tables = new Set([...before.columns.values()].map(({ table }) => table))
  for (const [key, { type, isRequired }] of before.columns) {
    const now = after.columns.get(key)
    if (now === undefined) faults.push(`drops ${key}`)
    else if (now.type !== type) faults.push(`changes the type of ${key}`)
    else if (now.isRequired && !isRequired) faults.push(`requires ${key}`)
  }
  for (const [key, { table, isRequired, hasDefault }] of after.columns) {
    const isNew = tables.has(table) && !before.columns.has(key)
    if (isNew && isRequired && !hasDefault) faults.push(`adds ${key}, which needs a value`)
  }
  for (const [key, { table, columns }] of after.rules) {
    if (!tables.has(table) || before.rules.has(key)) continue
    // The older version does not write columns that it does not know.
    const isOfNew =
      columns.length > 0 && columns.every((name) => !before.columns.has(`${table}.${name}`))
    if (!isOfNew) faults.push(`restricts ${table} by ${key}`)
  }
  return faults
}

/** Reads the schema after each migration, in the transaction that runs it. */
function watching(sql: SqlClient) {
  const seen: { readonly id: string; readonly faults: readonly string[] }[] = []
  let last: Schema = { columns: new Map(), rules: new Map() }
  const watch = (transaction: SqlTransaction): SqlTransaction => ({
    ...transaction,
    async query<Row extends object>(text: string, values?: readonly unknown[]) {
      const result = await transaction.query<Row>(text, values)
      if (text.includes('INSERT INTO parapet_migrations')) {
        const schema = await readSchema(transaction)
        seen.push({
          id: `${String(values?.[0])} ${String(values?.[1])}`,
          faults: faultsOf(last, schema),
        })
        last = schema
      }
      return result
    },
  })
  const transaction: SqlClient['transaction'] = (work, limits) =>
    sql.transaction((each) => work(watch(each)), limits)
  return { seen, sql: { ...sql, transaction } }
}

/** Written before the first release: no older version is in use anywhere. */
const settled: Readonly<Record<string, readonly string[]>> = {
  '@parapet/reference-server 0006_give_users_roles': ['restricts users by users.users_roles_check'],
  '@parapet/reference-server 0007_protect_rows_of_users': ['restricts users by users.users_rows'],
  '@parapet/audit-log 0002_authenticate_writers': [
    'drops audit_log_writers.writer',
    'drops audit_log_writers.next_seq',
  ],
}

await t.test('every migration, of every plugin, only adds', async (t) => {
  const pglite = await openPglite()
  t.after(() => pglite.close())
  const { seen, sql } = watching(createSqlClient(pglite))
  await createTestApp(t, testDatabaseOf(sql), { ...createKeys(), AUDIT_DIR: createDataFolder(t) })
  t.ok(seen.length > migrations.length, `${seen.length} migrations`)
  const found = seen.filter(({ faults }) => faults.length > 0).map(({ id, faults }) => [id, faults])
  t.same(Object.fromEntries(found), settled)
})

await t.test('what only an edit of a table can do is found', async (t) => {
  const pglite = await openPglite()
  t.after(() => pglite.close())
  const sql = createSqlClient(pglite)
  await pglite.exec('CREATE TABLE a (b int, c text, d int)')
  const before = await readSchema(sql)
  const changes: readonly (readonly [change: string, fault: string])[] = [
    ['ALTER TABLE a DROP COLUMN b', 'drops a.b'],
    ['ALTER TABLE a RENAME b TO e', 'drops a.b'],
    ['ALTER TABLE a ALTER c TYPE int USING 1', 'changes the type of a.c'],
    ['ALTER TABLE a ALTER c SET NOT NULL', 'requires a.c'],
    ['ALTER TABLE a ADD e int NOT NULL', 'adds a.e, which needs a value'],
    ['ALTER TABLE a ADD CHECK (b > 0)', 'restricts a by a.a_b_check'],
    ['CREATE UNIQUE INDEX u ON a (d)', 'restricts a by a.u'],
    ['DROP TABLE a', 'drops a.b'],
  ]
  for (const [change, fault] of changes) {
    await pglite.exec(`BEGIN; ${change}`)
    t.has(faultsOf(before, await readSchema(sql)), [fault], change)
    await pglite.exec('ROLLBACK')
  }
  await pglite.exec(
    "ALTER TABLE a ADD e int, ADD f text NOT NULL DEFAULT '' CHECK (f <> 'x'); CREATE TABLE g (h int NOT NULL)",
  )
  t.same(faultsOf(before, await readSchema(sql)), [])
})

await t.test(
  'an older instance serves while a newer one migrates, and starts again after it',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const database = testDatabaseOf(createSqlClient(postgres.pool))
    const { app, ask } = await createTestApp(t, database)
    const booker = await signIn(app, 'booker')
    const statuses = new Set<number>()
    const migration = { isRunning: true }
    const serve = async (): Promise<void> => {
      while (migration.isRunning) {
        statuses.add((await ask(booker, 'POST', '/api/v1/artists', artist)).status)
        statuses.add((await ask(booker, 'GET', '/api/v1/artists?limit=5')).status)
      }
    }
    const clients = [serve(), serve()]
    const next = {
      id: '9000_next',
      sql: `ALTER TABLE artists ADD COLUMN next text NOT NULL DEFAULT 'a'; CREATE INDEX ON artists (next)`,
    }
    const owner = '@parapet/reference-server'
    const { applied } = await migrate(database.sql, owner, [...migrations, next])
    migration.isRunning = false
    await Promise.all(clients)
    t.same(applied, [next.id])
    t.same(
      [...statuses].toSorted((a, b) => a - b),
      [200, 201],
    )

    const older = await createTestApp(t, database)
    const made = await older.ask(
      await signIn(older.app, 'booker'),
      'POST',
      '/api/v1/artists',
      artist,
    )
    t.equal(made.status, 201)
  },
)
