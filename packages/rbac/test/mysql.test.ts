/** Filters for MySQL, on a real MariaDB: they pass exactly the rows that `can()` allows. */
import { createManualClock, type Principal } from '@parapet/kit'
import {
  after,
  and,
  createMemoryRelations,
  definePolicy,
  eq,
  gt,
  isUnder,
  not,
  or,
  related,
  startsWith,
  type Condition,
  type Filter,
  type Policy,
  type Relations,
} from '@parapet/rbac'
import { drizzleFilter } from '@parapet/rbac/drizzle'
import { kyselyFilter } from '@parapet/rbac/kysely'
import { runs, useMysql } from '@parapet/testing'
import { int, mysqlTable, varchar } from 'drizzle-orm/mysql-core'
import { drizzle } from 'drizzle-orm/mysql2'
import fc from 'fast-check'
import { DummyDriver, Kysely, MysqlAdapter, MysqlIntrospector, MysqlQueryCompiler } from 'kysely'
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { constantPolicy, NOW, PERMISSIONS, policySource, request, row } from './arbitraries.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'

const ann = { id: 'ann', roles: ['user'] }

/** A database of its own. */
async function openMysql(t: Test): Promise<Connection | null> {
  const address = await useMysql(t)
  if (address === null) return null
  const db = await createConnection({ ...address, user: 'root', timezone: 'Z', charset: 'utf8mb4' })
  const name = `parapet_test_${randomUUID().replaceAll('-', '')}`
  t.after(async () => {
    await db.query(`DROP DATABASE IF EXISTS ${name}`)
    await db.end()
  })
  await db.query(`CREATE DATABASE ${name}`)
  await db.query(`USE ${name}`)
  return db
}

function accessFor(
  policy: Policy,
  principal: Principal,
  { relations, ...attributes }: { relations?: Relations; subject?: object; load?: unknown } = {},
): Access {
  const { subject = {}, load } = attributes
  return new Access(
    constantPolicy(new Engine(compilePolicy(policy))),
    { facts: {}, relations, factTimeoutMs: 5000, clock: createManualClock(NOW), challenge: 'x' },
    {
      principal,
      environment: () => ({ time: NOW, attributes: { load } }),
      subject: () => ({ ...subject }),
      report: () => {},
    },
  )
}

/** Once as a prepared statement, and once with the values that the driver writes into the text. */
async function select(db: Connection, filter: Filter): Promise<string> {
  const { text, values } = filter.sql({ dialect: 'mysql' })
  const query = `SELECT id FROM docs WHERE ${text} ORDER BY id`
  const [prepared] = await db.execute<RowDataPacket[]>(query, values as never)
  const [plain] = await db.query<RowDataPacket[]>(query, values as never)
  const [found, again] = [prepared, plain].map((rows) =>
    rows.map((each) => String(each['id'])).join(' '),
  )
  if (found !== again) throw new Error(`${text}\n${JSON.stringify({ found, again })}`)
  return found!
}

/** A row as a database of MySQL can have it. */
const mysqlRow = row.map((each) => ({
  owner: typeof each.owner === 'string' ? each.owner : null,
  state: typeof each.state === 'string' ? each.state : null,
  size: typeof each.size === 'number' && !Number.isNaN(each.size) ? each.size : null,
  live: typeof each.live === 'boolean' ? each.live : null,
  at: each.at instanceof Date ? each.at : null,
  tags: Array.isArray(each.tags) ? (each.tags as unknown[]) : null,
}))

await t.test('a filter passes exactly the rows that can() allows', async (t) => {
  const db = await openMysql(t)
  if (db === null) return
  // The collations ignore case, accents and blanks at the end; the filter must not.
  await db.query(`
    CREATE TABLE docs (
      id INTEGER PRIMARY KEY, owner VARCHAR(40) COLLATE utf8mb4_general_ci, state TEXT CHARACTER SET utf8mb4,
      size DOUBLE, live BOOLEAN, at DATETIME(3), tags JSON)`)
  const rows = fc.sample(mysqlRow, { numRuns: 60, seed: 4 }).map((each, id) => ({ id, ...each }))
  const odd = ['ANN', 'ann ', 'änn', 'bob/x', 'b%b', 'b_b'].map((owner, index) => ({
    id: 100 + index,
    owner,
    state: owner,
    size: 0,
    live: true,
    at: new Date(NOW),
    tags: [owner],
  }))
  for (const { id, owner, state, size, live, at, tags } of [...rows, ...odd]) {
    const list = tags === null ? null : JSON.stringify(tags)
    const values = [id, owner, state, size, live, at, list]
    await db.query('INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?, ?)', values)
  }
  let wheres = 0
  await fc.assert(
    fc.asyncProperty(policySource, request, async (source, { principal, subject, load }) => {
      const access = accessFor(definePolicy(source as never), principal, { subject, load })
      for (const permission of PERMISSIONS) {
        const filter = filterOf(access, permission)
        if (filter?.kind !== 'where') continue
        wheres++
        const expected = [...rows, ...odd]
          .filter((each) => access.can(permission, each))
          .map(({ id }) => id)
        const found = await select(db, filter)
        if (found !== expected.join(' ')) {
          const { text } = filter.sql({ dialect: 'mysql' })
          throw new Error(`${filter.text}\n${text}\n${JSON.stringify({ expected, found })}`)
        }
      }
    }),
    { numRuns: runs(100, 8000) },
  )
  t.ok(wheres > 20, `${wheres} filters`)
})

/** Returns `undefined` if a fact decides. */
function filterOf(access: Access, permission: string): Filter | undefined {
  try {
    return access.filter(permission)
  } catch (error) {
    if ((error as { code?: string }).code === 'PARAPET_RBAC_FACT_IN_FILTER') return undefined
    throw error
  }
}

await t.test('thousands of related ids are one filter', async (t) => {
  const db = await openMysql(t)
  if (db === null) return
  await db.query('CREATE TABLE docs (id VARCHAR(40) PRIMARY KEY)')
  await db.query(`INSERT INTO docs VALUES ("d7"), ("D8"), ("d8999"), ("other")`)
  const relations = createMemoryRelations()
  const subject = { type: 'user', id: 'ann' }
  await relations.write({
    add: Array.from({ length: 9000 }, (_, index) => ({
      object: { type: 'doc', id: `d${index}` },
      relation: 'viewer',
      subject,
    })),
  })
  const policy = definePolicy({
    permissions: ['doc:read'],
    resources: { doc: { id: 'string' } },
    relations: { doc: { viewer: { direct: ['user'] } } },
    roles: { user: { when: { 'doc:read': ({ resource }) => related('doc#viewer', resource.id) } } },
  })
  const filter = await accessFor(policy, ann, { relations }).loadFilter('doc:read')
  t.equal(await select(db, filter), 'd7 d8999')
})

await t.test('exact types, nested attributes and columns of other character sets', async (t) => {
  const db = await openMysql(t)
  if (db === null) return
  await db.query(`
    CREATE TABLE docs (
      id INTEGER PRIMARY KEY, uid VARCHAR(40), account BIGINT, due DATE, state ENUM('open', 'shut'), meta JSON,
      name VARCHAR(40) CHARACTER SET latin1, path VARCHAR(80))`)
  const uid = '0b7f4d3e-6c1a-4a51-9a55-3f2d8e7c9b10'
  const rows = [
    { uid, account: '9007199254740993', due: '2026-03-01', state: 'open', name: 'é', path: '/a/b' },
    { uid: uid.toUpperCase(), account: '9007199254740992', due: '2026-02-28', path: '/ab' },
    {
      uid: 'x',
      account: '-1',
      state: 'shut',
      name: 'e',
      path: '/A/b',
      meta: { size: 6, on: true },
    },
    { meta: { size: '6', on: 1 }, name: 'É', path: '/a' },
    { meta: { size: 7 }, due: '0001-01-01', path: '/a/' },
  ]
  for (const [id, each] of rows.entries()) {
    const values: unknown[] = [id, each.uid, each.account, each.due, each.state]
    const meta = each.meta === undefined ? null : JSON.stringify(each.meta)
    await db.query('INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?, ?, ?)', [
      ...values.map((value) => value ?? null),
      meta,
      each.name ?? null,
      each.path,
    ])
  }
  const declared = {
    permissions: ['doc:read'],
    resources: {
      doc: {
        uid: 'uuid',
        account: 'bigint',
        due: 'date',
        state: 'enum',
        'meta.size': 'number',
        'meta.on': 'boolean',
        name: 'string',
        path: 'string',
      },
    },
  } as const
  const cases: Record<string, readonly [Condition, expected: string]> = {
    uuid: [eq({ ref: 'resource.uid' }, uid), '0 1'],
    bigint: [gt({ ref: 'resource.account' }, 9007199254740992n), '0'],
    date: [after({ ref: 'resource.due' }, '2026-02-28'), '0'],
    enum: [not(eq({ ref: 'resource.state' }, 'open')), '2'],
    nested: [and(gt({ ref: 'resource.meta.size' }, 5), eq({ ref: 'resource.meta.on' }, true)), '2'],
    latin1: [
      or(eq({ ref: 'resource.name' }, 'é'), startsWith({ ref: 'resource.name' }, 'É')),
      '0 3',
    ],
    path: [isUnder({ ref: 'resource.path' }, '/a'), '0 3 4'],
  }
  for (const [name, [when, expected]] of Object.entries(cases)) {
    const policy = definePolicy({ ...declared, roles: { user: { when: { 'doc:read': when } } } })
    const filter = accessFor(policy, ann).filter('doc:read')
    const inMemory = rows.flatMap((each, id) => (filter.matches(each) ? [id] : [])).join(' ')
    t.equal(inMemory, expected, `${name}: in memory`)
    t.equal(await select(db, filter), expected, name)
  }
})

await t.test('Kysely and Drizzle select the rows that a filter passes', async (t) => {
  const db = await openMysql(t)
  if (db === null) return
  await db.query(`CREATE TABLE notes (id INTEGER PRIMARY KEY, owner_id VARCHAR(20))`)
  await db.query(`INSERT INTO notes VALUES (1, 'ann'), (2, 'ANN'), (3, 'bob'), (4, NULL)`)
  const policy = definePolicy({
    permissions: ['note:read'],
    resources: { note: { ownerId: 'string' } },
    roles: {
      user: { when: { 'note:read': ({ resource, subject }) => eq(resource.ownerId, subject.id) } },
    },
  })
  const filter = accessFor(policy, ann).filter('note:read')
  const notes = mysqlTable('notes', {
    id: int('id').primaryKey(),
    ownerId: varchar('owner_id', { length: 20 }),
  })
  const rows = await drizzle(db)
    .select({ id: notes.id })
    .from(notes)
    .where(drizzleFilter(filter, notes))
  t.same(rows, [{ id: 1 }])
  const visible = kyselyFilter(filter, { dialect: 'mysql', columns: { ownerId: 'n.owner_id' } })
  const compiler = new Kysely<{ notes: { id: number } }>({
    dialect: {
      createAdapter: () => new MysqlAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (own) => new MysqlIntrospector(own),
      createQueryCompiler: () => new MysqlQueryCompiler(),
    },
  })
  const query = compiler.selectFrom('notes as n').select('n.id').where(visible).compile()
  const [found] = await db.execute<RowDataPacket[]>(query.sql, query.parameters as never)
  t.same(found, [{ id: 1 }])
})
