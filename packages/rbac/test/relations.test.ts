/** Relations as data: sharing, groups of groups, folders, and what a revoked relation still allows. */
import { createManualClock, createSqlClient, useSecurityEvents, type Principal } from '@parapet/kit'
import {
  and,
  createMemoryRelations,
  createPostgresRelations,
  createRelations,
  definePolicy,
  eq,
  not,
  or,
  rbac,
  related,
  type RbacOptions,
  type RelationStore,
  type RelationTuple,
} from '@parapet/rbac'
import { openPglite, usePostgres } from '@parapet/testing'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { constantPolicy } from './arbitraries.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'
import { planRelation } from '../src/relations/relation-plan.ts'
import { checkRefusal } from './refusals.ts'

/** Documents in folders, shared with people, groups or everyone; banned people see nothing. */
const policy = definePolicy({
  permissions: ['doc:read', 'doc:write', 'tenant:manage'],
  resources: { doc: { id: 'string', public: 'boolean' }, tenant: { id: 'string' } },
  relations: {
    group: { member: { direct: ['user', 'group#member'] } },
    folder: {
      parent: { direct: ['folder'] },
      editor: { direct: ['user', 'group#member'], includes: ['parent.editor'] },
      viewer: { direct: ['user', 'group#member'], includes: ['editor', 'parent.viewer'] },
    },
    doc: {
      parent: { direct: ['folder'] },
      banned: { direct: ['user'] },
      editor: { direct: ['user', 'group#member'], includes: ['parent.editor'] },
      viewer: { direct: ['user', 'user:*', 'group#member'], includes: ['editor', 'parent.viewer'] },
    },
    tenant: { admin: { direct: ['user', 'group#member'] } },
  },
  roles: {
    user: {
      when: {
        'doc:read': ({ resource }) =>
          or(
            eq(resource.public, true),
            and(related('doc#viewer', resource.id), not(related('doc#banned', resource.id))),
          ),
        'doc:write': ({ resource }) => related('doc#editor', resource.id),
        'tenant:manage': ({ resource }) => related('tenant#admin', resource.id),
      },
    },
  },
})

const planOf = (key: string) => planRelation(policy.relations!, key)!

type Subject = RelationTuple['subject']
const user = (id: string): Subject => ({ type: 'user', id })
const members = (id: string): Subject => ({ type: 'group', id, relation: 'member' })
const tuple = (type: string, id: string, relation: string, subject: Subject): RelationTuple => ({
  object: { type, id },
  relation,
  subject,
})
const inFolder = (type: string, id: string, folder: string) =>
  tuple(type, id, 'parent', { type: 'folder', id: folder })

/** Doc 1 is two folders below the one that is shared with a group inside a group. */
const shared = [
  inFolder('doc', '1', 'inner'),
  inFolder('folder', 'inner', 'outer'),
  tuple('folder', 'outer', 'viewer', members('staff')),
  tuple('group', 'staff', 'member', members('team')),
  tuple('group', 'team', 'member', user('ann')),
  tuple('doc', '2', 'viewer', { type: 'user', everyone: true }),
  tuple('doc', '3', 'editor', user('bob')),
  tuple('tenant', 't1', 'admin', members('team')),
]

const ann: Principal = { id: 'ann', roles: ['user'] }
const bob: Principal = { id: 'bob', roles: ['user'] }

/** The stores that must give the same answers. */
async function stores(t: Test): Promise<readonly (readonly [string, RelationStore])[]> {
  const found: (readonly [string, RelationStore])[] = [['memory', createMemoryRelations()]]
  const fixture = await usePostgres(t)
  if (fixture === null) return found
  return [...found, ['PostgreSQL', await createPostgresRelations(createSqlClient(fixture.pool))]]
}

const resource = async ({ params }: { readonly params: unknown }) => params as object

async function build(
  t: Test,
  caller: () => Principal | null,
  relations: RelationStore,
  options: Partial<RbacOptions> = {},
) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy, relations, principal: caller, ...options })
  const ran: string[] = []
  for (const [method, permission] of [
    ['GET', 'doc:read'],
    ['PUT', 'doc:write'],
  ] as const) {
    app.route({
      method,
      url: '/doc/:id',
      exposeHeadRoute: false,
      config: { rbac: { permission, resource } },
      handler: async ({ params }) => {
        ran.push(`${method} ${(params as { id: string }).id}`)
        return 'ok'
      },
    })
  }
  return { app, ran }
}

await t.test('a principal is related through folders, groups of groups and everyone', async (t) => {
  for (const [name, relations] of await stores(t)) {
    await t.test(name, async (t) => {
      let caller = ann
      const { app, ran } = await build(t, () => caller, relations)
      await app.rbac.relate({ add: shared })
      const get = async (id: string) => (await app.inject(`/doc/${id}`)).statusCode
      t.same([await get('1'), await get('2'), await get('3'), await get('4')], [200, 200, 403, 403])
      caller = bob
      t.same([await get('1'), await get('2'), await get('3')], [403, 200, 200])
      t.same(ran, ['GET 1', 'GET 2', 'GET 2', 'GET 3'])
      checkRefusal(t, await app.inject({ method: 'PUT', url: '/doc/2' }), 403)
      t.equal((await app.inject({ method: 'PUT', url: '/doc/3' })).statusCode, 200)
      t.same(await relations.read({ type: 'tenant', id: 't1' }), [shared.at(-1)])
    })
  }
})

await t.test('a revoked relation is denied on the next request of every instance', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const open = () => createPostgresRelations(createSqlClient(fixture.pool))
  const [first, second] = [
    await build(t, () => ann, await open()),
    await build(t, () => ann, await open()),
  ]
  await first.app.rbac.relate({ add: shared })
  const get = async ({ app }: typeof first) => (await app.inject('/doc/1')).statusCode
  for (const removed of [shared[0]!, shared[1]!, shared[2]!, shared[3]!, shared[4]!]) {
    // Each instance has the answer in its cache.
    t.same([await get(first), await get(second), await get(second)], [200, 200, 200])
    await first.app.rbac.relate({ remove: [removed] })
    t.same([await get(second), await get(first)], [403, 403], JSON.stringify(removed))
    await second.app.rbac.relate({ add: [removed] })
  }
  // Also by a statement of another program.
  t.equal(await get(second), 200)
  await fixture.pool.query(`DELETE FROM rbac_relations WHERE subject_id = 'ann'`)
  t.same([await get(first), await get(second)], [403, 403])
})

await t.test('a relation is in force with the transaction that writes the resource', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const sql = createSqlClient(fixture.pool)
  const { app } = await build(t, () => ann, await createPostgresRelations(sql))
  const events: object[] = []
  useSecurityEvents(app, {}).on(
    'rbac.relations_changed',
    ({ details }) => void events.push(details),
  )
  const get = async () => (await app.inject('/doc/9')).statusCode
  const add = [tuple('doc', '9', 'editor', user('ann'))]
  await t.rejects(
    sql.transaction(async (transaction) => {
      await app.rbac.relate({ add }, { transaction })
      t.equal(await get(), 403, 'it is not committed')
      throw new Error('the resource cannot be written')
    }),
    /cannot be written/,
  )
  t.equal(await get(), 403)
  await sql.transaction((transaction) => app.rbac.relate({ add }, { transaction }))
  t.equal(await get(), 200)
  await app.rbac.relate({ add })
  t.match(events, [{ isCommitted: false }, { isCommitted: false }, {}])
  t.notOk('isCommitted' in events[2]!, 'the package itself has committed it')
})

await t.test('cycles end, and a walk that is too long is unknown', async (t) => {
  const cycle = [
    inFolder('folder', 'a', 'b'),
    inFolder('folder', 'b', 'a'),
    inFolder('doc', '1', 'a'),
    tuple('group', 'x', 'member', members('y')),
    tuple('group', 'y', 'member', members('x')),
    tuple('folder', 'b', 'viewer', members('x')),
  ]
  const chain = Array.from({ length: 40 }, (_, index) =>
    inFolder('folder', `f${index}`, `f${index + 1}`),
  )
  const deep = [inFolder('doc', '2', 'f0'), ...chain, tuple('folder', 'f40', 'viewer', user('ann'))]
  const limit = { maxVisited: 30 }
  const fixture = await usePostgres(t)
  const limited: RelationStore[] = [createMemoryRelations(limit)]
  if (fixture !== null) {
    limited.push(await createPostgresRelations(createSqlClient(fixture.pool), limit))
  }
  for (const relations of limited) {
    const { app } = await build(t, () => ann, relations)
    await app.rbac.relate({ add: [...cycle, ...deep] })
    checkRefusal(t, await app.inject('/doc/1'), 403, 'a cycle without the principal')
    checkRefusal(t, await app.inject('/doc/2'), 403, 'more objects than the limit')
    await app.rbac.relate({ add: [tuple('group', 'y', 'member', user('ann'))] })
    t.equal((await app.inject('/doc/1')).statusCode, 200, 'a cycle with the principal')
    await t.rejects(app.rbac.list(ann, 'doc:read'), {
      code: 'PARAPET_RBAC_TOO_MANY_RELATIONS',
      statusCode: 500,
    })
  }
})

await t.test(
  'relations that fail or are late are unknown: grants fail, denies apply',
  async (t) => {
    const clock = createManualClock()
    const answers = {
      throwing: () => Promise.reject(new Error('the database is away')),
      hanging: () => new Promise<never>(() => {}),
      nonsense: async () => ['yes', 1] as never,
      empty: async () => [],
    }
    for (const [name, check] of Object.entries(answers)) {
      const relations = { ...createMemoryRelations(), check }
      const { app, ran } = await build(t, () => ann, relations, { clock, factTimeoutMs: 50 })
      const reply = app.inject('/doc/1')
      if (name === 'hanging') {
        await new Promise((resolve) => setImmediate(resolve))
        clock.advance(51)
      }
      checkRefusal(t, await reply, 403, name)
      t.same(ran, [])
    }
  },
)

await t.test('a change of relations is checked against the policy and recorded', async (t) => {
  const relations = createMemoryRelations()
  const { app } = await build(t, () => ann, relations)
  const events: unknown[] = []
  useSecurityEvents(app, {}).on('rbac.relations_changed', (event) => void events.push(event))
  await app.ready()
  const refused = [
    tuple('doc', '1', 'owner', user('ann')),
    tuple('doc', '1', 'viewer', { type: 'folder', id: 'x' }),
    tuple('doc', '1', 'editor', { type: 'user', everyone: true }),
    tuple('spaceship', '1', 'viewer', user('ann')),
    tuple('constructor', '1', 'viewer', user('ann')),
    tuple('doc', '1', 'viewer', { type: 'group', id: 'x', relation: 'owner' }),
  ]
  for (const each of refused) {
    await t.rejects(app.rbac.relate({ add: [each] }), {
      code: 'PARAPET_RBAC_UNDECLARED_RELATION',
      statusCode: 400,
    })
  }
  for (const id of ['', 'a\0', '\ud800', 'x'.repeat(513), '\u4e00'.repeat(342), 7 as never]) {
    await t.rejects(
      app.rbac.relate({ add: [tuple('doc', id, 'viewer', user('ann'))] }),
      { code: 'PARAPET_RBAC_INVALID_ARGUMENT', statusCode: 500 },
      JSON.stringify(id),
    )
  }
  const malformed: unknown[] = [
    null,
    {},
    tuple('doc', '1', 'viewer', { type: 'user' } as never),
    tuple('doc', '1', 'viewer', { ...user('ann'), everyone: false } as never),
    tuple('doc', '1', 'viewer', { ...user('ann'), everyone: true } as never),
    tuple('doc', '1', ['viewer'] as never, user('ann')),
  ]
  const changes: unknown[] = [{ add: null }, { add: 'x' }, { added: [] }]
  for (const each of [...changes, ...malformed.map((one) => ({ add: [one] }))]) {
    await t.rejects(
      app.rbac.relate(each as never),
      { code: 'PARAPET_RBAC_INVALID_ARGUMENT', statusCode: 500 },
      JSON.stringify(each),
    )
  }
  t.same(events, [], 'nothing was stored')
  const add = [tuple('doc', 'a#b', 'viewer', members('x@y'))]
  await app.rbac.relate({ add, remove: [] }, { by: ann, reason: 'asked for' })
  t.match(events, [
    {
      principalId: 'ann',
      details: {
        added: ['doc:a%23b#viewer@group:x%40y#member'],
        removed: [],
        count: 1,
        reason: 'asked for',
      },
    },
  ])
})

/** A text of 1024 bytes that PostgreSQL cannot compress. */
function longId(seed: number): string {
  const code = (index: number) => 0x4e00 + ((index * index * 7919 + seed * 31 + index) % 20_000)
  return `${Array.from({ length: 341 }, (_, index) => String.fromCodePoint(code(index))).join('')}x`
}

await t.test('the longest names and ids can be stored', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const [type, relation] = ['t'.repeat(64), 'r'.repeat(63)]
  const longest = definePolicy({
    permissions: ['doc:read'],
    resources: {},
    relations: { [type]: { [relation]: { direct: [`${type}#${relation}`, 'user'] } } },
    roles: { user: { grants: ['*'] } },
  })
  const relations = await createPostgresRelations(createSqlClient(fixture.pool))
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy: longest, relations })
  const [object, group] = [longId(1), longId(2)]
  t.equal(Buffer.byteLength(object), 1024)
  await app.rbac.relate({
    add: [
      tuple(type, object, relation, { type, id: group, relation }),
      tuple(type, group, relation, user('ann')),
    ],
  })
  const plan = planRelation(longest.relations!, `${type}#${relation}`)!
  t.same(await relations.check('ann', [{ plan, objectId: object }]), [true])
})

await t.test('no principal can name everyone, a group or another relation by its id', async (t) => {
  for (const [name, relations] of await stores(t)) {
    await relations.write({
      add: [
        tuple('doc', '1', 'viewer', members('team')),
        tuple('doc', '2', 'viewer', { type: 'user', everyone: true }),
        tuple('doc', '3', 'viewer', user('*')),
      ],
    })
    const plan = planOf('doc#viewer')
    const questions = ['1', '2', '3'].map((objectId) => ({ plan, objectId }))
    for (const id of ['*', 'team', 'team#member', 'group:team#member', 'ann\0', '\ud800']) {
      const expected = [false, true, id === '*']
      t.same(await relations.check(id, questions), expected, `${name}: ${JSON.stringify(id)}`)
      const { ids } = await relations.list(id, plan, { limit: 10 })
      t.same(
        ids,
        ['1', '2', '3'].filter((_, index) => expected[index]),
      )
    }
    t.same(await relations.check('ann', [{ plan, objectId: '2\0' }, questions[1]!]), [false, true])
  }
})

await t.test('an application can keep the tuples itself', async (t) => {
  const asked: string[] = []
  const relations = createRelations({
    tuplesOf: async (objects, principalId) => {
      asked.push(...objects.map(({ type, id }) => `${type}:${id} ${principalId}`))
      return shared
    },
  })
  const { app } = await build(t, () => ann, relations as never)
  t.equal((await app.inject('/doc/1')).statusCode, 200)
  t.equal((await app.inject('/doc/4')).statusCode, 403)
  t.ok(asked.includes('folder:outer ann'))
  await t.rejects(app.rbac.relate({ add: shared }), {
    code: 'PARAPET_RBAC_INVALID_ARGUMENT',
    statusCode: 500,
  })
})

await t.test('mistakes in relations stop the boot', async (t) => {
  const faults: Record<string, object> = {
    'an unknown type': { doc: { viewer: { direct: ['group#member'] } } },
    'an unknown relation': { doc: { viewer: { includes: ['editor'] } } },
    'a way through nothing': {
      doc: { parent: { direct: ['folder'] }, viewer: { includes: ['parent.viewer'] } },
      folder: { owner: { direct: ['user'] } },
    },
    'nothing at all': { doc: { viewer: {} } },
    'relations of principals': { user: { friend: { direct: ['user'] } } },
    'a malformed subject': { doc: { viewer: { direct: ['user:ann'] } } },
  }
  for (const [title, relations] of Object.entries(faults)) {
    t.throws(
      () => definePolicy({ permissions: ['doc:read'], roles: {}, relations } as never),
      { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500 },
      title,
    )
  }
  t.throws(
    () =>
      definePolicy({
        permissions: ['doc:read'],
        resources: { doc: { id: 'string' } },
        roles: { r: { when: { 'doc:read': ({ resource }) => related('doc#owner', resource.id) } } },
      }),
    { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500 },
  )
  const app = Fastify()
  t.after(() => app.close())
  await t.rejects(Promise.resolve(app.register(rbac, { policy })), {
    code: 'PARAPET_RBAC_INVALID_OPTION',
    statusCode: 500,
  })
})

await t.test('check looks relations up without an event, and can does not', async (t) => {
  const { app } = await build(t, () => ann, createMemoryRelations())
  await app.rbac.relate({ add: shared })
  const events: unknown[] = []
  useSecurityEvents(app, {}).on('*', (event) => void events.push(event))
  app.get('/', { config: { rbac: { authenticated: 'a test' } } }, async ({ rbac: own }) => ({
    can: own.can('doc:read', { id: '1' }),
    check: await own.check('doc:read', { id: '1' }),
    refused: await own.check('doc:read', { id: '4' }),
    without: await own.check('doc:read'),
    unknown: await own.check('doc:fly').catch(({ code }: { code: string }) => code),
  }))
  t.same((await app.inject('/')).json(), {
    can: false,
    check: true,
    refused: false,
    without: false,
    unknown: 'PARAPET_RBAC_UNKNOWN_PERMISSION',
  })
  t.same(events, [])
})

await t.test('ids of columns of PostgreSQL are compared as the column does', async (t) => {
  const fixture = await usePostgres(t)
  if (fixture === null) return
  const { pool } = fixture
  const relations = await createPostgresRelations(createSqlClient(pool))
  const [one, two] = [
    '0b7f4d3e-6c1a-4a51-9a55-3f2d8e7c9b10',
    '1b7f4d3e-6c1a-4a51-9a55-3f2d8e7c9b10',
  ]
  await pool.query(`
    CREATE TABLE things (name text, uid uuid, number bigint);
    INSERT INTO things VALUES ('a', '${one}', 7), ('b', '${two}', 9223372036854775807), ('c', NULL, NULL)`)
  const odd = ['', 'x', '1e3', '07', '-0', '9223372036854775808', one.toUpperCase(), `${one} `]
  const ids = [one, '7', '9223372036854775807', ...odd.filter((id) => id !== '')]
  await relations.write({ add: ids.map((id) => tuple('thing', id, 'viewer', user('ann'))) })
  for (const [type, expected] of [
    ['uuid', 'a'],
    ['bigint', 'a b'],
  ] as const) {
    const column = type === 'uuid' ? 'uid' : 'number'
    const things = definePolicy({
      permissions: ['thing:read'],
      resources: { thing: { [column]: type } },
      relations: { thing: { viewer: { direct: ['user'] } } },
      roles: {
        user: {
          when: {
            'thing:read': {
              op: 'related',
              relation: 'thing#viewer',
              left: { ref: `resource.${column}` },
            },
          },
        },
      },
    })
    const access = new Access(
      constantPolicy(new Engine(compilePolicy(things))),
      { facts: {}, relations, factTimeoutMs: 5000, clock: createManualClock(), challenge: 'x' },
      {
        principal: ann,
        environment: () => ({ time: 0 }),
        subject: () => undefined,
        report: () => {},
      },
    )
    const { rows } = await pool.query<{ name: string }>('SELECT * FROM things ORDER BY name')
    for (const filter of [access.filter('thing:read'), await access.loadFilter('thing:read')]) {
      const { text, values } = filter.sql()
      const found = await pool.query<{ name: string }>(
        `SELECT name FROM things WHERE ${text} ORDER BY name`,
        [...values],
      )
      t.equal(found.rows.map(({ name }) => name).join(' '), expected, type)
    }
    const checked = await Promise.all(rows.map(async (each) => access.check('thing:read', each)))
    t.equal(rows.flatMap(({ name }, index) => (checked[index]! ? [name] : [])).join(' '), expected)
  }
})

// The last one: PGlite keeps this process busy for seconds, and connections have deadlines.
await t.test('two migrations at once, and on PGlite', async (t) => {
  const db = await openPglite()
  t.after(() => db.close())
  const sql = createSqlClient(db)
  const relations = await createPostgresRelations(sql)
  await createPostgresRelations(sql)
  const before = await relations.revision()
  await relations.write({ add: shared })
  const after = await relations.revision()
  t.not(before, after)
  const { ids } = await relations.list('ann', planOf('doc#viewer'), { limit: 10 })
  t.same(ids, ['1', '2'])
  const questions = ['1', '4'].map((objectId) => ({ plan: planOf('doc#viewer'), objectId }))
  t.same(await relations.check('ann', questions), [true, false])
  await relations.write({ remove: shared })
  t.notOk([before, after].includes(await relations.revision()))
  t.same(await relations.list('ann', planOf('doc#viewer'), { limit: 10 }), {
    ids: [],
    hasMore: false,
  })
})
