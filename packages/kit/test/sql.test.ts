import {
  createSqlClient,
  migrate,
  migrationStatus,
  type Migration,
  type SqlClient,
} from '@parapet/kit'
import { openPglite, usePostgres } from '@parapet/testing'
import { EventEmitter, once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { Pool } from 'pg'
import t, { type Test } from 'tap'

const owner = '@parapet/example'
const first: Migration = {
  id: '0001_create_notes',
  sql: `CREATE TABLE notes (id integer PRIMARY KEY, body text NOT NULL); CREATE INDEX ON notes (body)`,
}
const second: Migration = { id: '0002_add_mark', sql: 'ALTER TABLE notes ADD mark boolean' }

const pglite = await openPglite()
t.after(() => pglite.close())

/** Runs a test on PostgreSQL, and on PGlite in a new schema. */
async function onBoth(title: string, body: (t: Test, sql: SqlClient) => Promise<void>) {
  await t.test(`PGlite: ${title}`, async (t) => {
    await pglite.exec('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
    await body(t, createSqlClient(pglite))
  })
  await t.test(`PostgreSQL: ${title}`, async (t) => {
    const postgres = await usePostgres(t)
    if (postgres !== null) await body(t, createSqlClient(postgres.pool))
  })
}

async function tables(sql: SqlClient): Promise<string[]> {
  const { rows } = await sql.query<{ name: string }>(
    'SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1',
  )
  return rows.map(({ name }) => name)
}

await onBoth('a query returns rows and the number of changed rows', async (t, sql) => {
  await migrate(sql, owner, [first])
  const insert = 'INSERT INTO notes VALUES ($1, $2)'
  t.strictSame(await sql.query(insert, [1, "it's"]), { rows: [], rowCount: 1 })
  t.equal((await sql.query(insert, [2, 'b'])).rowCount, 1)
  t.strictSame(await sql.query('SELECT id, body FROM notes WHERE id = $1', [1]), {
    rows: [{ id: 1, body: "it's" }],
    rowCount: 1,
  })
  t.equal((await sql.query('UPDATE notes SET body = $1', ['c'])).rowCount, 2)
  t.equal((await sql.query('DELETE FROM notes WHERE id > 9')).rowCount, 0)
  t.equal((await sql.query('DELETE FROM notes RETURNING id')).rowCount, 2)
})

await onBoth('a transaction is all or nothing', async (t, sql) => {
  await migrate(sql, owner, [first])
  const answer = await sql.transaction(async (transaction) => {
    await transaction.query('INSERT INTO notes VALUES (1, $1)', ['kept'])
    return 'done'
  })
  t.equal(answer, 'done')
  const fault = new Error('changed my mind')
  await t.rejects(
    sql.transaction(async (transaction) => {
      await transaction.query('INSERT INTO notes VALUES (2, $1)', ['dropped'])
      throw fault
    }),
    fault,
  )
  await t.rejects(
    sql.transaction((transaction) => transaction.query('INSERT INTO notes VALUES (1, NULL)')),
    { code: '23502' },
  )
  t.equal((await sql.query('SELECT 1 FROM notes')).rowCount, 1)
})

await onBoth('migrations run once, in order, and are reported', async (t, sql) => {
  t.strictSame(await migrate(sql, owner, [first]), { applied: [first.id], unknown: [] })
  t.strictSame(await migrate(sql, owner, [first]), { applied: [], unknown: [] })
  t.strictSame(await migrate(sql, owner, [first, second]), { applied: [second.id], unknown: [] })
  t.strictSame(await migrate(sql, owner, [first]), { applied: [], unknown: [second.id] })
  t.strictSame(await migrate(sql, '@parapet/other', [{ ...first, sql: 'SELECT 1' }]), {
    applied: [first.id],
    unknown: [],
  })
  t.strictSame(await tables(sql), ['notes', 'parapet_migrations'])
})

await onBoth('an edited or inserted migration stops the run', async (t, sql) => {
  await migrate(
    sql,
    owner,
    [second].map((m) => ({ ...m, sql: 'SELECT 1' })),
  )
  const changed = { code: 'PARAPET_KIT_MIGRATION_CHANGED', statusCode: 500 }
  await t.rejects(migrate(sql, owner, [second]), { ...changed, message: /was edited after it ran/ })
  await t.rejects(migrate(sql, owner, [first, { ...second, sql: 'SELECT 1' }]), {
    ...changed,
    message: /"0001_create_notes" .* sorts before "0002_add_mark"/,
  })
  t.strictSame(await tables(sql), ['parapet_migrations'])
})

const table = (name: string): Migration => ({
  id: `0001_${name}`,
  sql: `CREATE TABLE ${name} (id integer)`,
  independent: true,
})

await onBoth('an independent migration may be added anywhere', async (t, sql) => {
  await migrate(sql, owner, [first, table('users')])
  const all = [table('accounts'), first, table('users'), table('bills'), second]
  t.strictSame((await migrate(sql, owner, all)).applied, ['0001_accounts', '0001_bills', second.id])
  t.strictSame(await tables(sql), ['accounts', 'bills', 'notes', 'parapet_migrations', 'users'])
  t.strictSame((await migrate(sql, owner, all)).applied, [])
  const changed = { code: 'PARAPET_KIT_MIGRATION_CHANGED' }
  const edited = [{ ...table('users'), sql: 'SELECT 1' }]
  await t.rejects(migrate(sql, owner, edited), changed, 'it must not be edited either')
  const late: Migration = { id: '0001_d', sql: 'SELECT 1' }
  await t.rejects(migrate(sql, owner, [first, late, second]), changed, 'others keep their order')
  await t.rejects(migrate(sql, owner, [table('users'), table('users')]), {
    code: 'PARAPET_KIT_INVALID_ARGUMENT',
  })
})

await onBoth('a failing migration changes nothing', async (t, sql) => {
  const broken: Migration = { id: '0002_broken', sql: 'CREATE TABLE half (); SELECT nonsense' }
  await t.rejects(migrate(sql, owner, [first, broken]), {
    code: 'PARAPET_KIT_MIGRATION_FAILED',
    statusCode: 500,
    message: /"0002_broken" of "@parapet\/example" failed .*nonsense/,
    cause: { code: '42703' },
  })
  t.strictSame(await tables(sql), [])
})

await onBoth('two concurrent runs run each migration once', async (t, sql) => {
  const slow: Migration = { id: '0001_slow', sql: `${first.sql}; SELECT pg_sleep(0.05)` }
  const reports = await Promise.all(
    Array.from({ length: 8 }, () => migrate(sql, owner, [slow, second])),
  )
  const applied = reports.map((report) => report.applied).filter((ids) => ids.length > 0)
  t.strictSame(applied, [[slow.id, second.id]])
  t.equal((await sql.query('SELECT 1 FROM parapet_migrations')).rowCount, 2)
})

await onBoth('a transaction is of no use after its end', async (t, sql) => {
  let late: (() => Promise<unknown>)[] = []
  await sql.transaction(async (transaction) => {
    late = [() => transaction.query('SELECT 1'), () => transaction.script('SELECT 1')]
  })
  await t.rejects(
    sql.transaction(async (transaction) => {
      late.push(() => transaction.query('SELECT 1'))
      throw new Error('changed my mind')
    }),
  )
  await sql.session?.(async (session) => void late.push(() => session.query('SELECT 1')))
  for (const each of late) {
    await t.rejects(each(), { code: 'PARAPET_KIT_TRANSACTION_ENDED', statusCode: 500 })
  }
})

await t.test('a connection that does not answer within the deadline is closed', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool } = postgres
  const sql = createSqlClient(pool, { deadlineMs: 200 })
  const timeout = { code: 'PARAPET_KIT_SQL_TIMEOUT', statusCode: 503 }
  await t.rejects(sql.query('SELECT pg_sleep(20)'), timeout)
  await t.rejects(
    sql.transaction((transaction) => transaction.query('SELECT pg_sleep(20)')),
    timeout,
  )
  t.equal(pool.totalCount, 0, 'neither connection returned to the pool')
  const slow = await sql.transaction(
    async (transaction) => (await transaction.query('SELECT pg_sleep(0.3)')).rowCount,
    { deadlineMs: Infinity },
  )
  t.equal(slow, 1)
})

await t.test('a server that accepts connections and never answers is a timeout', async (t) => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const pool = new Pool({ host: '127.0.0.1', port, user: 'x', connectionTimeoutMillis: 400 })
  t.after(() => pool.end())
  const sql = createSqlClient(pool, { deadlineMs: 100 })
  const timeout = { code: 'PARAPET_KIT_SQL_TIMEOUT', statusCode: 503 }
  await t.rejects(sql.query('SELECT 1'), timeout)
  await t.rejects(migrate(sql, owner, [first]), timeout)
})

await t.test('a migration that cannot lock its table gives up and names the reason', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  await migrate(sql, owner, [first])
  const report = await postgres.pool.connect()
  await report.query('BEGIN; SELECT * FROM notes')
  await t.rejects(migrate(sql, owner, [first, second], { deadlineMs: 400 }), {
    code: 'PARAPET_KIT_MIGRATION_BLOCKED',
    statusCode: 503,
    message: /lock timeout/,
  })
  const key = `hashtextextended('parapet_migrations:' || current_schema(), 0)`
  await report.query(`COMMIT; SELECT pg_advisory_lock(${key})`)
  await t.rejects(migrate(sql, owner, [first, second], { deadlineMs: 100 }), {
    code: 'PARAPET_KIT_MIGRATION_BLOCKED',
    message: /another instance migrates/,
  })
  report.release(true)
  t.strictSame((await migrate(sql, owner, [first, second])).applied, [second.id])
})

await t.test('the ends of lines do not change a migration', async (t) => {
  const sql = createSqlClient(pglite)
  await pglite.exec('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
  await migrate(sql, owner, [{ id: '0001_x', sql: 'SELECT 1;\nSELECT 2' }])
  const crlf = { id: '0001_x', sql: 'SELECT 1;\r\nSELECT 2' }
  t.strictSame((await migrate(sql, owner, [crlf])).applied, [])
})

await t.test('migrations that are misnamed or out of order are refused', async (t) => {
  const sql = createSqlClient(pglite)
  const refused = { code: 'PARAPET_KIT_INVALID_ARGUMENT', statusCode: 500 }
  await t.rejects(migrate(sql, owner, [{ id: 'first', sql: '' }]), refused)
  await t.rejects(migrate(sql, owner, [second, first]), refused)
  await t.rejects(migrate(sql, owner, [first, first]), refused)
  t.throws(() => createSqlClient({} as never), refused)
})

await t.test(
  'a connection that breaks inside a transaction does not return to the pool',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const { pool } = postgres
    const sql = createSqlClient(pool)
    const killed = sql.transaction(async (transaction) => {
      const { rows } = await transaction.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      await sql.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid])
      await transaction.query('SELECT 1')
    })
    await t.rejects(killed)
    t.equal((await sql.query('SELECT 1')).rowCount, 1, 'the pool goes on')
  },
)

await t.test(
  'a role without the right to change tables can start when nothing is pending',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const { pool, schema, url } = postgres
    await migrate(createSqlClient(pool), owner, [first])
    await pool.query(`CREATE ROLE ${schema} LOGIN`)
    t.after(() => pool.query(`DROP OWNED BY ${schema}; DROP ROLE ${schema}`))
    await pool.query(`GRANT USAGE ON SCHEMA ${schema} TO ${schema};
    GRANT SELECT ON parapet_migrations TO ${schema}`)
    const own = new Pool({ connectionString: url.replace(/\/\/[^@/]*@/, `//${schema}@`) })
    t.after(() => own.end())
    const restricted = createSqlClient(own)
    t.same(await migrate(restricted, owner, [first]), { applied: [], unknown: [] })
    await t.rejects(migrate(restricted, owner, [first, second]), {
      code: 'PARAPET_KIT_MIGRATION_FAILED',
    })
  },
)

await onBoth(
  'a transaction whose failed statement was ignored is not reported as done',
  async (t, sql) => {
    await sql.query('CREATE TABLE marks (mark text)')
    const ignoring = sql.transaction(async (transaction) => {
      await transaction.query("INSERT INTO marks VALUES ('lost')")
      await transaction.query('SELECT 1 / 0').catch(() => {})
      return 'done'
    })
    await t.rejects(ignoring, { code: 'PARAPET_KIT_TRANSACTION_ROLLED_BACK', statusCode: 500 })
    t.strictSame((await sql.query('SELECT * FROM marks')).rows, [])
    const saved = await sql.transaction(async (transaction) => {
      await transaction.query('SAVEPOINT before')
      await transaction.query('SELECT 1 / 0').catch(() => {})
      await transaction.query('ROLLBACK TO SAVEPOINT before')
      await transaction.query("INSERT INTO marks VALUES ('kept')")
      return 'done'
    })
    t.equal(saved, 'done')
    t.strictSame((await sql.query('SELECT * FROM marks')).rows, [{ mark: 'kept' }])
  },
)

await onBoth(
  'a migration that controls the transaction is refused before anything runs',
  async (t, sql) => {
    const controlled = [
      'CREATE TABLE x (a int); COMMIT; SELECT 1 / 0',
      'begin; CREATE TABLE x (a int)',
      'CREATE TABLE x (a int); -- comment\n  ROLLBACK',
      '/* ; */ END',
      'START  TRANSACTION',
      'ABORT;',
    ]
    for (const text of controlled) {
      await t.rejects(migrate(sql, owner, [{ id: '0001_x', sql: text }]), {
        code: 'PARAPET_KIT_INVALID_ARGUMENT',
        message: /must not contain/,
      })
    }
    const harmless = `
    CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $body$ BEGIN RETURN 1; END; $body$;
    CREATE FUNCTION g() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
    SAVEPOINT s; ROLLBACK TO SAVEPOINT s;
    COMMENT ON FUNCTION f() IS 'a; COMMIT; it''s text'`
    const report = await migrate(sql, owner, [{ id: '0001_x', sql: harmless }])
    t.strictSame(report.applied, ['0001_x'])
  },
)

/** CREATE INDEX CONCURRENTLY waits for the transactions of all other tests of the database. */
const patient = { deadlineMs: 120_000 }

const indexed = [
  { id: '0001_create', sql: 'CREATE TABLE rows (a int)' },
  {
    id: '0002_index',
    sql: 'CREATE INDEX CONCURRENTLY IF NOT EXISTS rows_a ON rows (a)',
    inTransaction: false,
  },
  { id: '0003_column', sql: 'ALTER TABLE rows ADD COLUMN b int' },
]

await onBoth('a statement that needs no transaction runs alone and in order', async (t, sql) => {
  t.strictSame(
    (await migrationStatus(sql, owner, indexed)).pending,
    indexed.map(({ id }) => id),
  )
  const dry = await migrate(sql, owner, indexed, { dryRun: true })
  t.strictSame(
    dry.applied,
    indexed.map(({ id }) => id),
  )
  const found =
    "SELECT 1 FROM pg_class WHERE relname = 'rows' AND relnamespace = current_schema()::regnamespace"
  t.equal((await sql.query(found)).rows.length, 0, 'a dry run changes nothing')
  const reports = await Promise.all([
    migrate(sql, owner, indexed, patient),
    migrate(sql, owner, indexed, patient),
  ])
  t.strictSame(
    reports.flatMap(({ applied }) => applied).toSorted(),
    indexed.map(({ id }) => id),
  )
  const status = await migrationStatus(sql, owner, indexed.toSpliced(1, 1))
  t.match(status, { pending: [], changed: [], unknown: ['0002_index'] })
  t.ok(status.applied.every(({ appliedAt }) => Math.abs(appliedAt - Date.now()) < 600_000))
  const edited = indexed.with(0, { id: '0001_create', sql: 'CREATE TABLE other (a int)' })
  t.strictSame((await migrationStatus(sql, owner, edited)).changed, ['0001_create'])
})

await t.test('an instance that waits for the lock has no open transaction', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const holder = await postgres.pool.connect()
  const key = `hashtextextended('parapet_migrations:' || current_schema(), 0)`
  await holder.query(`SELECT pg_advisory_lock(${key})`)
  const client = createSqlClient(postgres.pool)
  let begun = 0
  let tries = 0
  const tried = new EventEmitter()
  const third = once(tried, 'third')
  const counting: SqlClient = {
    ...client,
    transaction: (work) => {
      begun++
      return client.transaction((transaction) =>
        work({
          ...transaction,
          query: (text, values) => {
            if (text.includes('pg_try_advisory_xact_lock') && ++tries === 3) tried.emit('third')
            return transaction.query(text, values)
          },
        }),
      )
    },
  }
  const migrated = migrate(counting, owner, indexed)
  await third
  t.equal(begun, 3, 'each try is a transaction of its own')
  await holder.query(`SELECT pg_advisory_unlock(${key})`)
  holder.release()
  t.strictSame(
    (await migrated).applied,
    indexed.map(({ id }) => id),
  )
})

await onBoth('a failed migration says what was undone and what was not', async (t, sql) => {
  const failed = { code: 'PARAPET_KIT_MIGRATION_FAILED', statusCode: 500 }
  await t.rejects(migrate(sql, owner, [{ id: '0001_x', sql: 'SELECT 1 / 0' }]), {
    ...failed,
    message: /\(its transaction was rolled back\): division by zero/,
  })
  const alone = { id: '0001_x', sql: 'SELECT 1 / 0', inTransaction: false }
  await t.rejects(migrate(sql, owner, [alone]), { ...failed, message: /may have left traces/ })
  t.strictSame((await migrationStatus(sql, owner, [alone])).pending, ['0001_x'])
})

await onBoth('statements that would outlive their transaction are refused', async (t, sql) => {
  const refused = { code: 'PARAPET_KIT_INVALID_ARGUMENT', statusCode: 500 }
  await migrate(sql, owner, [first])
  const lasting = [
    'COMMIT',
    'commit and chain',
    'ROLLBACK',
    'BEGIN',
    'START TRANSACTION',
    "PREPARE TRANSACTION 'x'",
    '/* a /* nested */ comment */ COMMIT',
    '-- a comment\nEND',
    "SET search_path = 'other'",
    'set role postgres',
    'RESET ALL',
    'DISCARD ALL',
  ]
  for (const text of lasting) {
    await t.rejects(sql.query(text), refused, text)
    const transaction = sql.transaction(async (inside) => {
      await inside.query("INSERT INTO notes VALUES (1, 'x')")
      await inside.query(text)
    })
    await t.rejects(transaction, refused, `${text} in a transaction`)
    const script = sql.transaction((inside) => inside.script(`SELECT 1; ${text}`))
    await t.rejects(script, refused, `${text} in a script`)
  }
  t.equal((await sql.query('SELECT 1 FROM notes')).rowCount, 0, 'nothing was committed')
  await sql.transaction(async (inside) => {
    await inside.query('SET LOCAL lock_timeout = 100')
    await inside.query('SAVEPOINT a')
    await inside.query("INSERT INTO notes VALUES (1, 'COMMIT; SET x')")
    await inside.query('ROLLBACK TO SAVEPOINT a')
    await inside.query('ROLLBACK TRANSACTION TO a')
    await inside.query("UPDATE notes SET body = E'it\\'s; COMMIT'")
    await inside.script('SELECT $a$; COMMIT; $a$; /* /* */ ; COMMIT */ SET LOCAL lock_timeout = 1')
  })
  t.equal((await sql.query('SELECT 1 FROM notes')).rowCount, 0)
})

await t.test('a session leaves no setting and no transaction on its connection', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  const pidOf = async () => {
    const text = `SELECT pg_backend_pid() AS pid, current_setting('lock_timeout') AS setting`
    return (await sql.query<{ pid: number; setting: string }>(text)).rows[0]!
  }
  const before = await pidOf()
  await sql.session!(async (session) => {
    await session.query('SET lock_timeout = 1234')
    await session.query('BEGIN')
    await session.query('CREATE TABLE left_open (id integer)')
  })
  t.same(await pidOf(), before, 'the same connection, as it was')
  t.notOk((await tables(sql)).includes('left_open'))
})

await t.test('without a schema, migrate says so at once', async (t) => {
  await pglite.exec('DROP SCHEMA public CASCADE')
  t.after(() => pglite.exec('CREATE SCHEMA public'))
  await t.rejects(migrate(createSqlClient(pglite), owner, [first]), {
    code: 'PARAPET_KIT_NO_SCHEMA',
    statusCode: 500,
  })
})
