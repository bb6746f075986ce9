/** Filters in Kysely and Drizzle, and the text for SQLite and MySQL. */
import { createManualClock, type Principal } from '@parapet/kit'
import {
  and,
  createMemoryRelations,
  definePolicy,
  eq,
  gt,
  or,
  related,
  type Filter,
  type SqlFragment,
} from '@parapet/rbac'
import { drizzleFilter } from '@parapet/rbac/drizzle'
import { kyselyFilter } from '@parapet/rbac/kysely'
import { runs, usePostgres } from '@parapet/testing'
import { drizzle } from 'drizzle-orm/node-postgres'
import { int, mysqlTable, varchar } from 'drizzle-orm/mysql-core'
import { boolean, doublePrecision, pgTable, text as pgText, timestamp } from 'drizzle-orm/pg-core'
import { integer, sqliteTable, text as sqliteText } from 'drizzle-orm/sqlite-core'
import { MySqlDialect } from 'drizzle-orm/mysql-core'
import { SQLiteSyncDialect } from 'drizzle-orm/sqlite-core'
import fc from 'fast-check'
import {
  DummyDriver,
  Kysely,
  PostgresDialect,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import initSqlJs, { type Database } from 'sql.js'
import t from 'tap'
import { constantPolicy, NOW, PERMISSIONS, policySource, request, row } from './arbitraries.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'

type Asked = typeof request extends fc.Arbitrary<infer T> ? T : never

function accessOf(source: unknown, { principal, subject, load, friend }: Asked): Access {
  return new Access(
    constantPolicy(new Engine(compilePolicy(definePolicy(source as never)))),
    {
      facts: { friend: () => friend },
      factTimeoutMs: 1000,
      clock: createManualClock(NOW),
      challenge: 'Bearer',
    },
    {
      principal,
      environment: () => ({ time: NOW, attributes: { load } }),
      subject: () => subject,
      report: () => {},
    },
  )
}

/** Returns `undefined` if a fact decides. */
function filterOf(access: Access, permission: string): Filter | undefined {
  try {
    return access.filter(permission)
  } catch (error) {
    if ((error as { code?: string }).code === 'PARAPET_RBAC_FACT_IN_FILTER') return undefined
    throw error
  }
}

/** A row as a driver of SQLite returns it: times in milliseconds, lists as JSON. */
const sqliteRow = row.map((each) => ({
  owner: typeof each.owner === 'string' ? each.owner : null,
  state: typeof each.state === 'string' ? each.state : null,
  size: typeof each.size === 'number' && !Number.isNaN(each.size) ? each.size : null,
  live: typeof each.live === 'boolean' ? each.live : null,
  at: each.at instanceof Date ? each.at.getTime() : null,
  tags: Array.isArray(each.tags) ? (each.tags as unknown[]) : null,
}))

function select(db: Database, { text: where, values }: SqlFragment): string {
  const statement = db.prepare(`SELECT id FROM docs WHERE ${where} ORDER BY id`)
  statement.bind(values as never)
  const ids: unknown[] = []
  while (statement.step()) ids.push(statement.get()[0])
  statement.free()
  return ids.join(' ')
}

await t.test('a filter for SQLite passes exactly the rows that can() allows', async (t) => {
  const SQL = await initSqlJs()
  const db = new SQL.Database()
  t.after(() => db.close())
  db.run(
    'CREATE TABLE docs (id INTEGER PRIMARY KEY, owner TEXT, state TEXT, size REAL, live INTEGER, at INTEGER, tags TEXT)',
  )
  const rows = fc.sample(sqliteRow, { numRuns: 60, seed: 4 }).map((each, id) => ({ id, ...each }))
  for (const { id, owner, state, size, live, at, tags } of rows) {
    const values = [id, owner, state, size, live === null ? null : Number(live), at]
    db.run('INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?, ?)', [
      ...values,
      tags === null ? null : JSON.stringify(tags),
    ])
  }
  let wheres = 0
  fc.assert(
    fc.property(policySource, request, (source, asked) => {
      const access = accessOf(source, asked)
      for (const permission of PERMISSIONS) {
        const filter = filterOf(access, permission)
        if (filter?.kind !== 'where') continue
        wheres++
        const fragment = filter.sql({ dialect: 'sqlite' })
        const expected = rows.filter((each) => access.can(permission, each)).map(({ id }) => id)
        const found = select(db, fragment)
        if (found !== expected.join(' ')) {
          throw new Error(
            `${filter.text}\n${fragment.text}\n${JSON.stringify({ expected, found })}`,
          )
        }
      }
    }),
    { numRuns: runs(800, 8000) },
  )
  t.ok(wheres > 200, `${wheres} filters`)
})

const policy = definePolicy({
  permissions: ['note:read', 'note:write'],
  resources: {
    note: {
      id: 'string',
      ownerId: 'string',
      size: 'number',
      live: 'boolean',
      at: 'time',
      tags: 'string[]',
    },
  },
  relations: { note: { reader: { direct: ['user'] } } },
  roles: {
    user: {
      when: {
        'note:read': ({ resource, subject }) =>
          or(eq(resource.ownerId, subject.id), related('note#reader', resource.id)),
      },
    },
  },
})

async function notesFilter(principal: Principal, loaded = true): Promise<Filter> {
  const relations = createMemoryRelations()
  await relations.write({
    add: [
      {
        object: { type: 'note', id: '2' },
        relation: 'reader',
        subject: { type: 'user', id: 'ann' },
      },
    ],
  })
  const access = new Access(
    constantPolicy(new Engine(compilePolicy(policy))),
    { facts: {}, relations, factTimeoutMs: 1000, clock: createManualClock(), challenge: 'Bearer' },
    { principal, environment: () => ({ time: 0 }), subject: () => undefined, report: () => {} },
  )
  return loaded ? access.loadFilter('note:read') : access.filter('note:read')
}

const ann = { id: 'ann', roles: ['user'] }
const nobody = { id: 'ann', roles: [] }
const chief = { id: 'ann', roles: [], permissions: ['note:read'] }

const notes = pgTable('notes', {
  id: pgText('id').primaryKey(),
  ownerId: pgText('owner_id'),
  size: doublePrecision('size'),
  live: boolean('live'),
  at: timestamp('at', { withTimezone: true }),
  tags: pgText('tags').array(),
})

await t.test('Kysely and Drizzle select the same rows of PostgreSQL', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const { pool } = fixture
  await pool.query(`
    CREATE TABLE notes (id text PRIMARY KEY, owner_id text, size float8, live boolean, at timestamptz, tags text[]);
    INSERT INTO notes (id, owner_id) VALUES ('1', 'ann'), ('2', 'bob'), ('3', 'bob'), ('4', NULL)`)
  const kysely = new Kysely<{ notes: { id: string; owner_id: string } }>({
    dialect: new PostgresDialect({ pool }),
  })
  const db = drizzle(pool)
  for (const [principal, expected] of [
    [ann, '1 2'],
    [nobody, ''],
    [chief, '1 2 3 4'],
  ] as const) {
    const filter = await notesFilter(principal)
    const visible = kyselyFilter(filter, { columns: { ownerId: 'n.owner_id' } })
    const query = kysely.selectFrom('notes as n').select('n.id').where(visible).orderBy('n.id')
    t.equal((await query.execute()).map(({ id }) => id).join(' '), expected)
    const rows = await db
      .select({ id: notes.id })
      .from(notes)
      .where(drizzleFilter(filter, notes))
      .orderBy(notes.id)
    t.equal(rows.map(({ id }) => id).join(' '), expected)
  }
})

await t.test('Drizzle tables choose the database, Kysely takes it as an option', async (t) => {
  const filter = await notesFilter(ann)
  const onMySql = mysqlTable('notes', {
    id: int('id'),
    ownerId: varchar('owner_id', { length: 9 }),
  })
  const mysql = new MySqlDialect().sqlToQuery(drizzleFilter(filter, onMySql))
  t.match(
    mysql.sql,
    /`notes`\.`owner_id` = \? AND CAST\(CONVERT\(`notes`\.`owner_id` USING utf8mb4\)/,
  )
  t.same(mysql.params, ['ann', 'ann', '2', '2'])
  const onSqlite = sqliteTable('notes', { id: integer('id'), ownerId: sqliteText('owner_id') })
  const sqlite = new SQLiteSyncDialect().sqlToQuery(drizzleFilter(filter, onSqlite))
  t.match(sqlite.sql, /typeof\("notes"\."owner_id"\) IN \('text'\)/)
  t.same(sqlite.params, ['ann', '2'])
  const kysely = new Kysely<{ notes: { id: string } }>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  })
  const visible = kyselyFilter(filter, { dialect: 'sqlite' })
  const compiled = kysely.selectFrom('notes').selectAll().where(visible).compile()
  t.match(compiled.sql, /where \(\(\(\(CASE WHEN typeof\("ownerId"\)/)
  t.same(compiled.parameters, ['ann', '2'])
  t.throws(() => filter.sql({ dialect: 'oracle' as never }), {
    code: 'PARAPET_RBAC_INVALID_ARGUMENT',
    statusCode: 500,
  })
})

await t.test('a filter whose relations were not looked up is refused, not guessed', async (t) => {
  const filter = await notesFilter(ann, false)
  t.throws(() => filter.matches({ id: '2' }), {
    code: 'PARAPET_RBAC_RELATION_IN_FILTER',
    statusCode: 500,
  })
  for (const dialect of ['postgres', 'mysql', 'sqlite'] as const) {
    t.throws(() => filter.sql({ dialect }), { code: 'PARAPET_RBAC_INVALID_ARGUMENT' }, dialect)
  }
})

await t.test('nested attributes are read from columns of JSON', async (t) => {
  const nested = definePolicy({
    permissions: ['doc:read'],
    resources: {
      doc: {
        'meta.owner.id': 'string',
        'meta.size': 'number',
        'meta.live': 'boolean',
        'meta.at': 'time',
      },
    },
    roles: {
      owner: {
        when: {
          'doc:read': ({ resource, subject }) =>
            or(
              eq(resource['meta.owner.id'], subject.id),
              and(gt(resource['meta.size'], 5), eq(resource['meta.live'], true)),
            ),
        },
      },
      late: {
        when: {
          'doc:read': ({ resource, environment }) => gt(resource['meta.at'], environment.time),
        },
      },
    },
  })
  const access = (role: string) =>
    new Access(
      constantPolicy(new Engine(compilePolicy(nested))),
      { facts: {}, factTimeoutMs: 1000, clock: createManualClock(), challenge: 'Bearer' },
      {
        principal: { id: 'ann', roles: [role] },
        environment: () => ({ time: 0 }),
        subject: () => undefined,
        report: () => {},
      },
    )
  const metas = [
    { owner: { id: 'ann' } },
    { owner: { id: 7 } },
    { owner: 'ann' },
    { size: 6, live: true },
    { size: '6', live: true },
    { size: 6, live: 1 },
    { size: 5, live: true },
    { size: 6.5, live: true, owner: null },
    [],
    'ann',
    null,
  ]
  const filter = access('owner').filter('doc:read')
  const expected = metas.flatMap((meta, id) => (filter.matches({ meta }) ? [id] : [])).join(' ')
  t.equal(expected, '0 3 7')
  const SQL = await initSqlJs()
  const db = new SQL.Database()
  t.after(() => db.close())
  db.run('CREATE TABLE docs (id INTEGER PRIMARY KEY, meta TEXT)')
  for (const [id, meta] of metas.entries()) {
    db.run('INSERT INTO docs VALUES (?, ?)', [id, JSON.stringify(meta)])
  }
  db.run(`INSERT INTO docs VALUES (99, 'no json'), (100, NULL)`)
  t.equal(select(db, filter.sql({ dialect: 'sqlite' })), expected)
  const late = access('late').filter('doc:read')
  for (const dialect of ['postgres', 'sqlite', 'mysql'] as const) {
    t.throws(() => late.sql({ dialect }), { code: 'PARAPET_RBAC_INVALID_ARGUMENT' }, dialect)
  }
  t.ok(late.sql({ columns: { 'meta.at': 'at' } }))
  const fixture = await usePostgres(t)
  if (fixture === null) return
  await fixture.pool.query('CREATE TABLE docs (id int PRIMARY KEY, meta jsonb)')
  for (const [id, meta] of metas.entries()) {
    await fixture.pool.query('INSERT INTO docs VALUES ($1, $2)', [id, JSON.stringify(meta)])
  }
  await fixture.pool.query('INSERT INTO docs VALUES (100, NULL)')
  const { text, values } = filter.sql()
  const found = await fixture.pool.query<{ id: number }>(
    `SELECT id FROM docs WHERE ${text} ORDER BY id`,
    [...values],
  )
  t.equal(found.rows.map(({ id }) => id).join(' '), expected)
})
