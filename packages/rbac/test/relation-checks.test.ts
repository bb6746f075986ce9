/** What a check of relations costs PostgreSQL, and what keeps its answers from being out of date. */
import { createSqlClient, type SqlClient } from '@parapet/kit'
import {
  createMemoryRelations,
  createPostgresRelations,
  createRelations,
  type RelationStore,
  type RelationTuple,
} from '@parapet/rbac'
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { planRelation, type RelationsDocument } from '../src/relations/relation-plan.ts'
import { AnswerCache } from '../src/tuples/answer-cache.ts'
import { CHECK } from '../src/tuples/postgres-statements.ts'
import { createSignal } from './refusals.ts'

const relations: RelationsDocument = {
  group: { member: { direct: ['user', 'group#member'], includes: [] } },
  folder: {
    parent: { direct: ['folder'], includes: [] },
    editor: { direct: ['user'], includes: ['parent.editor'] },
    viewer: { direct: ['user', 'group#member'], includes: ['editor', 'parent.viewer'] },
  },
  doc: {
    parent: { direct: ['folder'], includes: [] },
    viewer: { direct: ['user', 'user:*', 'group#member'], includes: ['parent.viewer'] },
  },
}
const plan = planRelation(relations, 'doc#viewer')!
const ask = (...ids: readonly string[]) => ids.map((objectId) => ({ plan, objectId }))
const ann = { type: 'user', id: 'ann' }
const group = (id: string) => ({ type: 'group', id, relation: 'member' })
const tuple = (
  object: string,
  relation: string,
  subject: RelationTuple['subject'],
): RelationTuple => {
  const [type = '', id = ''] = object.split(':')
  return { object: { type, id }, relation, subject }
}

/** A document in folders in folders, the last of which is shared. */
const chain = (levels: number) => [
  tuple('doc:deep', 'parent', { type: 'folder', id: 'f0' }),
  ...Array.from({ length: levels }, (_, level) =>
    tuple(`folder:f${level}`, 'parent', { type: 'folder', id: `f${level + 1}` }),
  ),
  tuple(`folder:f${levels}`, 'viewer', ann),
]
const list = (store: RelationStore) => store.list('ann', plan, { limit: 10 })

/** Counts the statements, each of which is one round trip, and keeps their values. */
function counting(sql: SqlClient) {
  const values: unknown[][] = []
  const query: SqlClient['query'] = (text, given) => {
    values.push([...(given ?? [])])
    return sql.query(text, given)
  }
  return { values, sql: { ...sql, query } }
}

await t.test('a check is one statement, whether its answer is known or not', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const { sql, values } = counting(createSqlClient(fixture.pool))
  const store = await createPostgresRelations(sql)
  await store.write({ add: [tuple('doc:1', 'viewer', ann)] })
  const statements = async (...ids: readonly string[]) => {
    values.length = 0
    return { answers: await store.check('ann', ask(...ids)), count: values.length }
  }
  t.same(await statements('1', '2'), { answers: [true, false], count: 1 }, 'not known')
  t.same(await statements('1', '2'), { answers: [true, false], count: 1 }, 'known')
  t.same(await statements('2', '3'), { answers: [false, false], count: 1 }, 'known in part')
  await store.write({ remove: [tuple('doc:1', 'viewer', ann)] })
  t.same(await statements('1', '2'), { answers: [false, false], count: 1 }, 'known, and changed')
})

await t.test('a check of depth 10 reads as much in a large table as in a small one', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const { pool } = fixture
  const { sql, values } = counting(createSqlClient(pool))
  const store = await createPostgresRelations(sql, { maxCached: 0 })
  const client = await pool.connect()
  t.teardown(() => client.release())
  /** Pages of the table and its indexes that one check reads, on a connection that has its plan. */
  const pages = async (principal: string) => {
    await store.check(principal, ask('deep'))
    const given = values.at(-1)!
    for (let warm = 0; warm < 2; warm++) await client.query(CHECK, given)
    const explain = `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${CHECK}`
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
      explain,
      given,
    )
    const { Plan } = rows[0]!['QUERY PLAN'][0]
    return Plan['Shared Hit Blocks']! + Plan['Shared Read Blocks']!
  }
  // The plan of the connection is made while the table is empty, and nothing is analyzed later.
  await pages('ann')
  await store.write({
    add: [
      ...chain(9).slice(0, -1),
      tuple('folder:f9', 'viewer', { type: 'group', id: 'outer', relation: 'member' }),
      tuple('group:outer', 'member', { type: 'group', id: 'inner', relation: 'member' }),
      tuple('group:inner', 'member', ann),
    ],
  })
  t.same(await store.check('ann', ask('deep')), [true])
  const small = await pages('ann')
  await pool.query(`
    INSERT INTO rbac_relations (object_type, object_id, relation, subject_relation, subject_type, subject_id)
    SELECT 'doc', 'd' || i, 'viewer', '', 'user', 'u' || i % 1000 FROM generate_series(1, 100000) i
    UNION ALL SELECT 'group', 'inner', 'member', '', 'user', 'm' || i FROM generate_series(1, 100000) i`)
  t.same(await store.check('m77', ask('deep')), [true], 'a member of a group of 100 000')
  // An index of the large table has one or two levels more.
  const [allowed, refused] = [await pages('ann'), await pages('outsider')]
  t.ok(small < 130, `${small} pages`)
  t.ok(allowed < 250 && refused < 250, `${allowed} and ${refused} pages of 200 013 tuples`)
})

await t.test('a plan follows no step whose answer another one contains', (t) => {
  const viewer = planRelation(relations, 'folder#viewer')!
  t.same(
    viewer.steps.map(({ type, target, next }) => `${type}#${target} ${next}`),
    ['folder#viewer member', 'folder#viewer viewer', 'group#member member'],
    'not parent.editor',
  )
  const mutual: RelationsDocument = {
    folder: {
      parent: { direct: ['folder'], includes: [] },
      a: { direct: ['user'], includes: ['b', 'parent.a'] },
      b: { direct: ['user'], includes: ['a', 'parent.b'] },
    },
  }
  t.equal(planRelation(mutual, 'folder#a')!.steps.length, 2, 'one of two that contain each other')
  t.end()
})

await t.test(
  'a revoked relation is read from no cache, whatever happened to the revisions',
  async (t) => {
    const fixture = await usePostgres(t)
    if (fixture === null) return
    const { pool } = fixture
    const sql = createSqlClient(pool)
    const [first, second] = [await createPostgresRelations(sql), await createPostgresRelations(sql)]
    const shared = tuple('doc:1', 'viewer', ann)
    const answer = async () => (await second.check('ann', ask('1')))[0]
    const damages = {
      'rows of revisions were deleted': () => pool.query('DELETE FROM rbac_relation_revisions'),
      'all of them, in a new table': () => pool.query('TRUNCATE rbac_relation_revisions'),
      'the revision was set back': () =>
        pool.query('UPDATE rbac_relation_revisions SET revision = 0, nonce = 0'),
    }
    for (const [name, damage] of Object.entries(damages)) {
      await first.write({ add: [shared] })
      t.same([await answer(), await answer()], [true, true], name)
      await damage()
      t.equal(await answer(), true)
      await first.write({ remove: [shared] })
      t.equal(await answer(), false, name)
    }
    await first.write({ add: [shared] })
    t.equal(await answer(), true)
    const client = await pool.connect()
    await client.query('SET session_replication_role = replica')
    await client.query('DELETE FROM rbac_relations')
    await client.query('RESET session_replication_role')
    client.release()
    t.equal(await answer(), false, 'a statement of a session without ordinary triggers')
  },
)

await t.test('an answer that arrives after a revocation is not kept', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const sql = createSqlClient(fixture.pool)
  const store = await createPostgresRelations(sql)
  const { received, send } = createSignal()
  let held: Promise<void> | undefined
  const query: SqlClient['query'] = async (text, given) => {
    const wait = held
    const result = await sql.query(text, given)
    await wait
    return result as never
  }
  const late = await createPostgresRelations({ ...sql, query })
  await store.write({ add: [tuple('doc:1', 'viewer', ann)] })
  held = received
  const early = late.check('ann', ask('1'))
  // It has been read once a later statement of the same pool has been answered.
  await sql.query('SELECT pg_sleep(0.2)')
  held = undefined
  await store.write({ remove: [tuple('doc:1', 'viewer', ann)] })
  t.same(await late.check('ann', ask('1')), [false])
  send()
  t.same(await early, [true], 'it was asked before the revocation')
  t.same(await late.check('ann', ask('1')), [false])
})

await t.test('a writer does not wait for a transaction whose backend shares its row', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const { pool } = fixture
  const store = await createPostgresRelations(createSqlClient(pool))
  const [writer, other] = [await pool.connect(), await pool.connect()]
  t.teardown(() => [writer, other].forEach((client) => client.release()))
  const before = await store.revision()
  const { rows } = await writer.query<{ shard: number }>('SELECT pg_backend_pid() % 64 AS shard')
  const { shard } = rows[0]!
  await other.query('BEGIN')
  await other.query('SELECT FROM rbac_relation_revisions WHERE shard = $1 FOR UPDATE', [shard])
  // It would fail instead of waiting for ever.
  await writer.query('SET lock_timeout = 2000')
  await store.write({ add: [tuple('doc:1', 'viewer', ann)] }, writer)
  t.not(await store.revision(), before)
  await other.query('ROLLBACK')
  const total = await pool.query<{ rows: number; changes: number }>(
    'SELECT count(*)::int AS rows, sum(revision)::int AS changes FROM rbac_relation_revisions',
  )
  t.same(total.rows, [{ rows: 64, changes: 1 }])
})

await t.test('revocations during checks of two instances', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const sql = createSqlClient(fixture.pool)
  const stores = [await createPostgresRelations(sql), await createPostgresRelations(sql)]
  let stale = 0
  const flip = async (id: string) => {
    const shared = tuple(`doc:${id}`, 'viewer', ann)
    for (let round = 0; round < 12; round++) {
      const writer = stores[round % 2]!
      await writer.write({ add: [shared] })
      const during = stores.map((store) => store.check('ann', ask(id)))
      await Promise.all([writer.write({ remove: [shared] }), ...during])
      const after = await Promise.all(stores.map((store) => store.check('ann', ask(id))))
      stale += after.filter(([related]) => related !== false).length
    }
  }
  await Promise.all(['1', '2', '3', '4'].map(flip))
  t.equal(stale, 0)
})

await t.test('lists and checks go equally far', async (t) => {
  const near = createMemoryRelations()
  await near.write({ add: chain(63) })
  t.same(await near.check('ann', ask('deep')), [true])
  t.same((await list(near)).ids, ['deep'])
  const far = createMemoryRelations()
  await far.write({ add: chain(64) })
  t.same(await far.check('ann', ask('deep')), [null])
  await t.rejects(list(far), { code: 'PARAPET_RBAC_TOO_MANY_RELATIONS', statusCode: 500 })
})

await t.test('a check is unknown only where a list fails, and both name the option', async (t) => {
  const fixture = await usePostgres(t)
  const limit = { maxVisited: 30 }
  const limited: RelationStore[] = [createMemoryRelations(limit)]
  if (fixture !== null) {
    limited.push(await createPostgresRelations(createSqlClient(fixture.pool), limit))
  }
  const groups = Array.from({ length: 40 }, (_, index) => ({
    type: 'group',
    id: `g${String(index).padStart(2, '0')}`,
    relation: 'member',
  }))
  const member = tuple('group:g39', 'member', ann)
  const docs = Array.from({ length: 40 }, (_, index) => tuple(`doc:d${index}`, 'viewer', ann))
  const refused = {
    code: 'PARAPET_RBAC_TOO_MANY_RELATIONS',
    statusCode: 500,
    message: /"doc#viewer" leads to more than 30 objects\. Raise "maxVisited"/,
  }
  for (const store of limited) {
    await store.write({ add: groups.map((group) => tuple('doc:wide', 'viewer', group)) })
    t.same(await store.check('ann', ask('wide')), [false], 'the walk from ann is short')
    await store.write({ add: [member] })
    t.same(await store.check('ann', ask('wide', 'd1')), [true, false])
    t.same((await list(store)).ids, ['wide'])
    await store.write({ add: docs })
    t.same(await store.check('ann', ask('wide', 'd1')), [null, true], 'both walks are too long')
    await t.rejects(list(store), refused)
  }
  if (fixture === null) return
  const { strings, values } = limited[1]!.subselect!('ann', plan)
  const text = strings.reduce((left, right, index) => `${left}$${index}${right}`)
  await t.rejects(fixture.pool.query(`SELECT 'x' NOT IN (${text})`, [...values]), {
    code: '54000',
    message: /PARAPET_RBAC_TOO_MANY_RELATIONS: .* "doc#viewer" leads to more than 30 objects/,
  })
})

await t.test('the walks of a page share one budget, and answer as single checks do', async (t) => {
  const ids = Array.from({ length: 40 }, (_, index) => `p${index}`)
  const tuples = [
    ...ids.map((id, index) => tuple(`doc:${id}`, 'viewer', group(`g${index % 7}`))),
    ...Array.from({ length: 300 }, (_, index) =>
      tuple(`group:g${index % 7}`, 'member', group(`s${index}`)),
    ),
    // In one group at the first step, in another one at the last.
    tuple('group:g0', 'member', ann),
    tuple('group:s295', 'member', ann),
    tuple('doc:p3', 'viewer', { type: 'user', everyone: true }),
  ]
  const far = Array.from({ length: 900 }, (_, index) =>
    tuple('group:g1', 'member', group(`far${index}`)),
  )
  const fixture = await usePostgres(t)
  const limits = { maxVisited: 1000, maxCached: 0 }
  const stores = [createMemoryRelations({ maxVisited: 1000 })]
  if (fixture !== null) {
    stores.push(await createPostgresRelations(createSqlClient(fixture.pool), limits))
  }
  const few = ids.slice(0, 10)
  for (const store of stores) {
    await store.write({ add: tuples })
    const single: (boolean | null)[] = []
    for (const id of ids) single.push((await store.check('ann', ask(id)))[0]!)
    t.same(await store.check('ann', ask(...ids)), single)
    t.equal(single.filter((answer) => answer === true).length, 13)
    await store.write({ add: far })
    t.same(await store.check('ann', ask(...few)), single.slice(0, 10), 'ten walks are not a page')
    await store.write({ add: ids.map((id) => tuple(`doc:${id}`, 'viewer', group('g1'))) })
    await t.rejects(store.check('eve', ask(...ids)), {
      code: 'PARAPET_RBAC_TOO_MANY_RELATIONS',
      message: /10000 objects for one page of 40 questions/,
    })
    t.same(await store.check('eve', ask('p3')), [true], 'a single check goes as far as before')
  }
})

await t.test('pages begin after any text', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const stores = [
    createMemoryRelations(),
    await createPostgresRelations(createSqlClient(fixture.pool)),
  ]
  const ids = ['a', 'a\u0001', 'b', '\ufffd', '\u{1f600}']
  for (const store of stores) {
    await store.write({ add: ids.map((id) => tuple(`doc:${id}`, 'viewer', ann)) })
  }
  for (const after of [
    '',
    'a',
    'a\0',
    'a\0z',
    '\0',
    '\ud800',
    '\ufffd',
    '\u{1f600}',
    'z'.repeat(5000),
  ]) {
    const [memory, stored] = await Promise.all(
      stores.map((store) => store.list('ann', plan, { limit: 3, after })),
    )
    t.same(stored, memory, JSON.stringify(after.slice(0, 9)))
  }
})

await t.test('a tuple of everyone has no id', async (t) => {
  const tuples = [tuple('doc:1', 'viewer', { type: 'user', id: 'ann', relation: '*' })]
  const loaded = createRelations({ tuplesOf: () => tuples, tuplesTo: () => tuples })
  t.same(await loaded.check('bob', ask('1')), [false])
  t.same(await loaded.list('bob', plan, { limit: 10 }), { ids: [], hasMore: false })
})

await t.test('limits of relations are checked', async (t) => {
  const refused = { code: 'PARAPET_RBAC_INVALID_OPTION', statusCode: 500 }
  t.throws(() => createMemoryRelations({ maxVisited: 0 }), refused)
  t.throws(() => createRelations({ tuplesOf: () => [] }, { maxVisited: NaN }), refused)
  const nothing = {} as SqlClient
  await t.rejects(createPostgresRelations(nothing, { maxCache: 0 } as never), refused)
  await t.rejects(createPostgresRelations(nothing, { maxCached: -1 }), refused)
})

await t.test('answers about objects with long ids are not kept', async (t) => {
  const kept = new AnswerCache(10)
  const long = 'x'.repeat(5000)
  kept.set('1', 'ann', ask('1', long), [true, true])
  t.same(kept.get('ann', ask('1')), { revision: '1', answers: [true] })
  t.equal(kept.get('ann', ask(long)), undefined)
})
