/** Lists and filters of related objects: pages beyond every limit, and what PostgreSQL does with them. */
import { createManualClock, createSqlClient } from '@parapet/kit'
import {
  createMemoryRelations,
  createPostgresRelations,
  definePolicy,
  not,
  or,
  rbac,
  related,
  type Relations,
  type RelationTuple,
} from '@parapet/rbac'
import { can } from '@parapet/rbac/client'
import { usePostgres } from '@parapet/testing'
import Fastify from 'fastify'
import initSqlJs from 'sql.js'
import t, { type Test } from 'tap'
import { constantPolicy } from './arbitraries.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'

const declared = {
  permissions: ['doc:read', 'doc:hide'],
  resources: { doc: { id: 'string' } },
  relations: { doc: { viewer: { direct: ['user'] }, editor: { direct: ['user'] } } },
} as const
const policy = definePolicy({
  ...declared,
  roles: {
    user: {
      when: {
        'doc:read': ({ resource }) =>
          or(related('doc#viewer', resource.id), related('doc#editor', resource.id)),
        'doc:hide': ({ resource }) => not(related('doc#viewer', resource.id)),
      },
    },
  },
})
const ann = { id: 'ann', roles: ['user'] }
const shared = (id: string, relation = 'viewer'): RelationTuple => ({
  object: { type: 'doc', id },
  relation,
  subject: { type: 'user', id: 'ann' },
})
const many = Array.from({ length: 12_000 }, (_, index) =>
  shared(`d${index}`, index % 2 === 0 ? 'viewer' : 'editor'),
)

function accessFor(relations: Relations): Access {
  return new Access(
    constantPolicy(new Engine(compilePolicy(policy))),
    { facts: {}, relations, factTimeoutMs: 5000, clock: createManualClock(), challenge: 'Bearer' },
    {
      principal: ann,
      environment: () => ({ time: 0 }),
      subject: () => undefined,
      report: () => {},
    },
  )
}

async function build(t: Test, relations: Relations) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, {
    policy,
    relations,
    authzen: {
      rule: { public: 'a test of searches' },
      baseUrl: 'https://pdp.example.com',
      subject: ({ id }) => ({ id, roles: ['user'] }),
    },
  })
  return app
}

await t.test('every related object is on one page, however many there are', async (t) => {
  const relations = createMemoryRelations({ maxVisited: 100_000 })
  await relations.write({ add: [...many, shared('d0', 'editor')] })
  const app = await build(t, relations)
  const found: string[] = []
  let after: string | undefined
  do {
    const page = await app.rbac.list(ann, 'doc:read', 'doc', { after, limit: 1000 })
    found.push(...page.ids)
    after = page.next
  } while (after !== undefined)
  t.same(found, many.map(({ object }) => object.id).toSorted())
  const wrong = { code: 'PARAPET_RBAC_INVALID_ARGUMENT', statusCode: 500 }
  await t.rejects(app.rbac.list(ann, 'doc:read', 'doc', { after: 7 as never }), wrong)
})

await t.test(
  'with a lister, a list decides each row where relations lead to too many',
  async (t) => {
    const rows = Array.from({ length: 30 }, (_, index) => ({ id: `d${10 + index}` }))
    const relations = createMemoryRelations({ maxVisited: 10 })
    await relations.write({ add: many.slice(0, 30) })
    const kinds = new Set<string>()
    let failure: Error | undefined
    const app = Fastify()
    t.after(() => app.close())
    const check: Relations['check'] = (...asked) =>
      failure === undefined ? relations.check(...asked) : Promise.reject(failure)
    await app.register(rbac, {
      policy,
      relations: { ...relations, check },
      resources: {
        doc: ({ filter, after = '', limit }) => {
          kinds.add(filter.kind)
          return rows.filter(({ id }) => id > after).slice(0, limit)
        },
      },
      authzen: {
        rule: { public: 'a test of searches' },
        baseUrl: 'https://pdp.example.com',
        subject: ({ id }) => ({ id, roles: ['user'] }),
      },
    })
    const found: string[] = []
    let after: string | undefined
    do {
      const page = await app.rbac.list(ann, 'doc:read', 'doc', { after, limit: 4 })
      found.push(...page.ids)
      after = page.next
    } while (after !== undefined)
    t.same(
      found,
      rows.slice(0, 20).map(({ id }) => id),
    )
    t.same([...kinds], ['all'])
    const search = await app.inject({
      method: 'POST',
      url: '/access/v1/search/resource',
      body: {
        subject: { type: 'user', id: 'ann' },
        action: { name: 'read' },
        resource: { type: 'doc' },
      },
    })
    const { results } = search.json<{ results: { id: string }[] }>()
    t.same(
      results.map(({ id }) => id),
      found,
      'AuthZEN searches the same',
    )
    failure = new Error('the database is away')
    await t.rejects(app.rbac.list(ann, 'doc:read'), failure, 'no row is hidden by a failure')
  },
)

await t.test('maxVisited is the one limit of lists', async (t) => {
  const relations = createMemoryRelations({ maxVisited: 20_000 })
  await relations.write({ add: many.map(({ object }) => shared(object.id)) })
  const filter = await accessFor(relations).loadFilter('doc:read')
  t.equal(many.filter(({ object }) => filter.matches(object)).length, 12_000)
  const app = await build(t, relations)
  const packed = await app.rbac.pack(ann)
  t.equal(can(packed, 'doc:read', { id: 'd2' }, 0), false, 'a pack has room for 10 000')
})

await t.test('a pack has no relation to more objects than fit, and everything else', async (t) => {
  const relations = createMemoryRelations()
  await relations.write({ add: many.slice(0, 10) })
  const app = await build(t, relations)
  const before = await app.rbac.pack(ann)
  t.equal(can(before, 'doc:read', { id: 'd2' }, 0), true)
  await relations.write({ add: many.map(({ object }) => shared(object.id)) })
  const after = await app.rbac.pack(ann)
  t.equal(can(after, 'doc:read', { id: 'd2' }, 0), false)
  t.equal(can(after, 'doc:hide', { id: 'other' }, 0), false, 'not related is unknown as well')
})

await t.test('AuthZEN searches related resources without a lister, as list does', async (t) => {
  const relations = createMemoryRelations()
  await relations.write({ add: ['1', '2', '3'].map((id) => shared(id)) })
  const app = await build(t, relations)
  const search = async (action: string, page: object) => {
    const body = {
      subject: { type: 'user', id: 'ann' },
      action: { name: action },
      resource: { type: 'doc' },
      page,
    }
    const reply = await app.inject({ method: 'POST', url: '/access/v1/search/resource', body })
    return reply.json<{ page: { next_token: string }; results: { id: string }[] }>()
  }
  const first = await search('read', { limit: 2 })
  t.same(
    first.results.map(({ id }) => id),
    ['1', '2'],
  )
  const second = await search('read', { limit: 2, token: first.page.next_token })
  t.same([second.results.map(({ id }) => id), second.page.next_token], [['3'], ''])
  t.same((await search('hide', {})).results, [], 'something else decides')
  const [digest] = JSON.parse(
    Buffer.from(first.page.next_token, 'base64url').toString(),
  ) as readonly string[]
  for (const after of ['a\0', '\ud800', 7]) {
    const token = Buffer.from(JSON.stringify([digest, after])).toString('base64url')
    t.match(await search('read', { token }), { code: 'PARAPET_RBAC_MALFORMED_EVALUATION' })
  }
})

await t.test('SQLite takes thousands of ids', async (t) => {
  const relations = createMemoryRelations()
  await relations.write({ add: many.slice(0, 8000) })
  const { text, values } = (await accessFor(relations).loadFilter('doc:read')).sql({
    dialect: 'sqlite',
  })
  const db = new (await initSqlJs()).Database()
  t.after(() => db.close())
  db.run(
    `CREATE TABLE docs (id TEXT COLLATE NOCASE); INSERT INTO docs VALUES ('d7'), ('D8'), ('x')`,
  )
  const [result] = db.exec(`SELECT id FROM docs WHERE ${text}`, values as never)
  t.same(result!.values, [['d7']])
})

await t.test('a filter joins related ids, whatever the collation of the column is', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const { pool } = fixture
  const relations = await createPostgresRelations(createSqlClient(pool))
  await relations.write({ add: [shared('a'), shared('d7'), shared('d8', 'editor')] })
  const access = accessFor(relations)
  for (const type of ['text', 'text COLLATE "C"', 'text COLLATE "POSIX"', 'varchar(9)']) {
    await pool.query(
      `CREATE TABLE docs (id ${type}); INSERT INTO docs VALUES ('d7'), ('x'), (NULL)`,
    )
    for (const [permission, expected] of [
      ['doc:read', 'd7'],
      ['doc:hide', 'x'],
    ] as const) {
      const { text, values } = access.filter(permission).sql()
      const found = await pool.query<{ id: string }>(`SELECT id FROM docs WHERE ${text}`, [
        ...values,
      ])
      t.equal(found.rows.map(({ id }) => id).join(' '), expected, `${type} ${permission}`)
    }
    await pool.query('DROP TABLE docs')
  }
  await pool.query(`
    CREATE TABLE docs (id text PRIMARY KEY);
    INSERT INTO docs SELECT 'd' || i FROM generate_series(1, 20000) i;
    ANALYZE docs`)
  await relations.write({ add: many.slice(0, 4000) })
  const { text, values } = access.filter('doc:read').sql()
  const { rows } = await pool.query<{ 'QUERY PLAN': string }>(
    `EXPLAIN SELECT id FROM docs WHERE ${text}`,
    [...values],
  )
  const plan = rows.map((each) => each['QUERY PLAN']).join('\n')
  t.match(plan, /hashed SubPlan|Index Only Scan using docs_pkey/, 'no list is searched row by row')
  const found = await pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM docs WHERE ${text}`,
    [...values],
  )
  t.equal(found.rows[0]!.n, 3999)
})
