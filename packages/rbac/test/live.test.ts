/** The policy of a fleet: publishing, following, granting for a time, and losing contact. */
import { PGlite } from '@electric-sql/pglite'
import {
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
} from '@parapet/kit'
import {
  createMemoryPolicyStore,
  createPostgresPolicyStore,
  definePolicy,
  encodePolicy,
  eq,
  rbac,
  type Policy,
  type PolicyStore,
  type RbacOptions,
} from '@parapet/rbac'
import { usePostgres, useRedis } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'

const permissions = ['doc:read', 'doc:write', 'doc:purge'] as const
const resources = { doc: { ownerId: 'string' } } as const
const before = definePolicy({
  permissions,
  resources,
  roles: {
    reader: { grants: ['doc:read'] },
    writer: { inherits: ['reader'], grants: ['doc:write'] },
  },
})
const after = definePolicy({
  permissions,
  resources,
  roles: {
    reader: { grants: ['doc:read'] },
    writer: { when: { 'doc:write': ({ resource, subject }) => eq(resource.ownerId, subject.id) } },
    owner: { grants: ['*'] },
  },
})

type Asked = { readonly headers: Readonly<Record<string, unknown>> }
const principal = ({ headers }: Asked) => ({
  id: typeof headers['x-user'] === 'string' ? headers['x-user'] : 'ann',
  roles: [String(headers['x-role'])],
})

async function instance(t: Test, options: Partial<RbacOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy: before, principal, ...options })
  app.get('/read', { config: { rbac: 'doc:read' } }, async () => 'read')
  app.get('/write', { config: { rbac: 'doc:write' } }, async () => 'written')
  await app.ready()
  return app
}

const statusOf = async (app: FastifyInstance, url: string, role: string, user = 'ann') =>
  (await app.inject({ url, headers: { 'x-role': role, 'x-user': user } })).statusCode

/** No instance asks by itself while a test runs. */
const byNews = { refreshMs: 3_600_000, maxStalenessMs: 86_400_000 }

/** Waits, a turn of the event loop at a time, until two instances have the same policy; the runner ends it if they never do. */
async function converged(one: FastifyInstance, two: FastifyInstance): Promise<void> {
  while (two.rbac.policyDigest !== one.rbac.policyDigest) {
    await new Promise((resolve) => setImmediate(resolve))
  }
}

await t.test('publish puts a new policy in force at once, and tells what it changed', async (t) => {
  const app = await instance(t)
  const events: object[] = []
  app.securityEvents.on('rbac.policy_published', (event) => void events.push(event))
  const old = app.rbac.policyDigest
  t.equal(await statusOf(app, '/write', 'writer'), 200)
  const expected = app.rbac.diff(after)
  const diff = await app.rbac.publish(after)
  t.same(diff, expected)
  t.match(diff, {
    permissions: { added: [], removed: [] },
    roles: { added: ['owner'], removed: [] },
    routes: [
      { route: 'GET /read', role: 'writer', from: 'allow', to: 'deny' },
      { route: 'GET /read', role: 'owner', from: 'deny', to: 'allow' },
      { route: 'HEAD /read', role: 'writer', from: 'allow', to: 'deny' },
      { route: 'HEAD /read', role: 'owner', from: 'deny', to: 'allow' },
      { route: 'GET /write', role: 'writer', from: 'allow', to: 'conditional' },
      { route: 'GET /write', role: 'owner', from: 'deny', to: 'allow' },
      { route: 'HEAD /write', role: 'writer', from: 'allow', to: 'conditional' },
      { route: 'HEAD /write', role: 'owner', from: 'deny', to: 'allow' },
    ],
  })
  t.ok(diff.text.includes('"writer" goes from allow to conditional on "doc:write"'))
  t.equal(await statusOf(app, '/write', 'writer'), 403)
  t.equal(await statusOf(app, '/write', 'owner'), 200)
  t.not(app.rbac.policyDigest, old)
  t.same(app.rbac.policy, after)
  t.match(events, [
    { details: { previousDigest: old, policyDigest: app.rbac.policyDigest, revision: 2 } },
  ])
})

await t.test('a diff tells a condition that changes', async (t) => {
  const app = await instance(t, { policy: after })
  const other = definePolicy({
    permissions,
    resources,
    roles: {
      reader: { grants: ['doc:read'] },
      owner: { grants: ['*'] },
      writer: { when: { 'doc:write': ({ resource }) => eq(resource.ownerId, 'root') } },
    },
  })
  t.same(app.rbac.diff(other).text, ['"writer" has "doc:write" under another condition'])
  t.same(app.rbac.diff(after).text, [])
})

await t.test(
  'a policy that is unsound, or that a route cannot live with, is refused',
  async (t) => {
    const app = await instance(t)
    const gone = definePolicy({ permissions: ['doc:read'], roles: { reader: { grants: ['*'] } } })
    t.same(app.rbac.diff(gone).brokenRoutes, ['GET /write', 'HEAD /write'])
    await t.rejects(app.rbac.publish(gone as Policy), {
      code: 'PARAPET_RBAC_INVALID_POLICY',
      message: /GET \/write: names a permission that the policy lacks/,
    })
    const forged = {
      ...after,
      roles: { ...after.roles, reader: { inherits: ['ghost'], grants: [], when: {} } },
    }
    await t.rejects(app.rbac.publish(forged as Policy), { code: 'PARAPET_RBAC_INVALID_POLICY' })
    t.equal(await statusOf(app, '/write', 'writer'), 200, 'the old policy holds')
  },
)

await t.test('a request that began under one policy ends under it', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy: before, principal })
  const answers: boolean[][] = []
  app.addHook('onRequest', async (request) => {
    if (request.url !== '/across') return
    const first = request.rbac.can('doc:write')
    await app.rbac.publish(app.rbac.policy.roles['owner'] === undefined ? after : before)
    answers.push([first, request.rbac.can('doc:write')])
  })
  app.get(
    '/across',
    {
      config: {
        rbac: {
          permission: 'doc:write',
          resource: async () => {
            await app.rbac.publish(app.rbac.policy.roles['owner'] === undefined ? after : before)
            return { ownerId: 'someone else' }
          },
        },
      },
    },
    async ({ rbac: access }) => {
      answers.push([access.can('doc:write')])
      return 'in'
    },
  )
  t.equal(await statusOf(app, '/across', 'writer'), 200, 'granted under the policy it began with')
  t.same(answers, [[true, true], [true]])
})

await t.test('of two that publish at once one wins, and the other is told', async (t) => {
  const policyStore = createMemoryPolicyStore()
  const [one, two] = [await instance(t, { policyStore }), await instance(t, { policyStore })]
  const results = await Promise.allSettled([
    one.rbac.publish(after as Policy),
    two.rbac.publish(after as Policy),
  ])
  t.same(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  const lost = results.find((result) => result.status === 'rejected') as PromiseRejectedResult
  t.match(lost.reason, { code: 'PARAPET_RBAC_CONFLICT', statusCode: 409 })
  t.equal(one.rbac.policyDigest, two.rbac.policyDigest, 'and it has read what won')
})

await t.test('a policy made from one that is no longer in force overwrites nothing', async (t) => {
  const app = await instance(t)
  const read = app.rbac.policyDigest
  await app.rbac.publish(after, { ifDigest: read })
  await t.rejects(app.rbac.publish(before as Policy, { ifDigest: read }), {
    code: 'PARAPET_RBAC_CONFLICT',
    statusCode: 409,
  })
  t.same(app.rbac.policy, after)
  await app.rbac.publish(before, { ifDigest: app.rbac.policyDigest })
  t.same(app.rbac.policy, before, 'an older policy is published like any other')
})

await t.test('a policy that the next boot would refuse is refused at once', async (t) => {
  const app = await instance(t)
  const curious = definePolicy({ ...after, facts: { friend: 'boolean' } } as never)
  await t.rejects(app.rbac.publish(curious), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    message: /facts\.friend: is declared in the policy and has no finder/,
  })
  t.same(app.rbac.policy, before)
})

await t.test('a change is told even when this instance cannot read it back', async (t) => {
  const policyStore = createMemoryPolicyStore()
  const store = createMemoryStore()
  t.after(() => store.close())
  let deaf = false
  const halfDown: PolicyStore = {
    ...policyStore,
    load: (known) => (deaf ? Promise.reject(new Error('unreachable')) : policyStore.load(known)),
  }
  const one = await instance(t, { ...byNews, policyStore: halfDown, store })
  const two = await instance(t, { ...byNews, policyStore, store })
  deaf = true
  await t.rejects(one.rbac.publish(after), { message: 'unreachable' })
  deaf = false
  await one.rbac.refresh()
  await converged(one, two)
  t.same(two.rbac.policy, after)
})

await t.test(
  'a policy of a later version leaves the old one in force, and then nothing',
  async (t) => {
    const clock = createManualClock()
    const policyStore = createMemoryPolicyStore()
    const app = await instance(t, {
      policyStore,
      clock,
      refreshMs: 1000,
      maxStalenessMs: 10_000,
    })
    const later = encodePolicy(after).replace('"version":1', '"version":2')
    const change = { kind: 'publish', policy: later, digest: '0'.repeat(64) } as const
    await policyStore.change(change, app.rbac.revision, clock.now())
    await t.rejects(app.rbac.refresh(), {
      code: 'PARAPET_RBAC_INVALID_POLICY',
      message: /version: must be 1/,
    })
    t.equal(await statusOf(app, '/read', 'reader'), 200, 'the policy it knows')
    await t.rejects(
      app.rbac.publish(after),
      { code: 'PARAPET_RBAC_INVALID_POLICY' },
      'what it cannot read it cannot replace',
    )
    t.equal((await policyStore.load(-1))?.policy, later)
    clock.advance(10_001)
    t.equal(await statusOf(app, '/read', 'reader'), 503)
  },
)

await t.test('a clock that is set back ends the trust in the last contact', async (t) => {
  let now = 1_700_000_000_000
  const clock = { now: () => now, schedule: () => () => {} }
  const policyStore = createMemoryPolicyStore()
  const app = await instance(t, { policyStore, clock, refreshMs: 1000, maxStalenessMs: 10_000 })
  now -= 10_000
  t.equal(await statusOf(app, '/read', 'reader'), 200)
  now -= 1
  t.equal(await statusOf(app, '/read', 'reader'), 503)
  await app.rbac.refresh()
  t.equal(await statusOf(app, '/read', 'reader'), 200)
})

await t.test('instances converge at the news, and without them within refreshMs', async (t) => {
  const clock = createManualClock()
  const policyStore = createMemoryPolicyStore()
  const store = createMemoryStore({ clock })
  t.after(() => store.close())
  const shared = { policyStore, clock, refreshMs: 5000, maxStalenessMs: 60_000 }
  const [one, two, deaf] = [
    await instance(t, { ...shared, store }),
    await instance(t, { ...shared, store }),
    await instance(t, shared),
  ] as [FastifyInstance, FastifyInstance, FastifyInstance]
  await one.rbac.publish(after)
  await converged(one, two)
  t.equal(two.rbac.policyDigest, one.rbac.policyDigest, 'by the news')
  t.equal(await statusOf(two, '/write', 'writer'), 403)
  t.equal(await statusOf(deaf, '/write', 'writer'), 200, 'it has heard nothing yet')
  clock.advance(5000)
  await deaf.rbac.refresh()
  t.equal(await statusOf(deaf, '/write', 'writer'), 403)
})

await t.test(
  'an instance without contact denies everything but public routes, and recovers',
  async (t) => {
    const clock = createManualClock()
    const policyStore = createMemoryPolicyStore()
    let down: 'no' | 'fails' | 'hangs' = 'no'
    const shaky: PolicyStore = {
      ...policyStore,
      load: (known) =>
        down === 'no'
          ? policyStore.load(known)
          : down === 'fails'
            ? Promise.reject(new Error('unreachable'))
            : new Promise(() => {}),
    }
    const app = await instance(t, {
      policyStore: shaky,
      clock,
      refreshMs: 1000,
      maxStalenessMs: 10_000,
    })
    for (const how of ['fails', 'hangs'] as const) {
      down = how
      clock.advance(10_000)
      t.equal(await statusOf(app, '/read', 'reader'), 200, 'not yet')
      clock.advance(1)
      const reply = await app.inject({ url: '/read', headers: { 'x-role': 'reader' } })
      t.equal(reply.statusCode, 503, how)
      t.equal(reply.json<{ code: string }>().code, 'PARAPET_RBAC_STALE')
      t.equal(app.rbac.hasPermission(['reader'], 'doc:read'), false)
      t.match(app.rbac.explain({ id: 'ann', roles: ['reader'] }, 'doc:read'), {
        allowed: false,
        reason: 'stale',
      })
      down = 'no'
      clock.advance(20_000)
      await app.rbac.refresh().catch(() => {})
      await app.rbac.refresh()
      t.equal(await statusOf(app, '/read', 'reader'), 200, `after it ${how} no more`)
    }
  },
)

await t.test(
  'a role is granted until a moment, in the whole fleet, and can be taken back',
  async (t) => {
    const clock = createManualClock()
    const policyStore = createMemoryPolicyStore()
    const [one, two] = [
      await instance(t, { policyStore, clock }),
      await instance(t, { policyStore, clock }),
    ] as [FastifyInstance, FastifyInstance]
    const until = clock.now() + 1000
    await one.rbac.grant('writer', 'ann', { until })
    await two.rbac.refresh()
    for (const app of [one, two]) {
      t.equal(await statusOf(app, '/write', 'reader', 'ann'), 200)
      t.equal(await statusOf(app, '/write', 'reader', 'bob'), 403)
      t.same(app.rbac.grants(), [{ principalId: 'ann', role: 'writer', until }])
    }
    clock.advance(999)
    t.equal(await statusOf(one, '/write', 'reader'), 200)
    clock.advance(1)
    t.equal(await statusOf(one, '/write', 'reader'), 403, 'at the very moment')
    t.same(one.rbac.grants(), [])
    await one.rbac.grant('writer', { id: 'bob', roles: [] }, { until: clock.now() + 1000 })
    t.equal(await statusOf(one, '/write', 'reader', 'bob'), 200)
    await one.rbac.revoke('writer', { id: 'bob', roles: [] })
    t.equal(await statusOf(one, '/write', 'reader', 'bob'), 403)
    const refused: [string, string, number][] = [
      ['ghost', 'ann', clock.now() + 1],
      ['writer', '', clock.now() + 1],
      ['writer', 'x'.repeat(513), clock.now() + 1],
      ['writer', 'ann', clock.now()],
      ['writer', 'ann', Infinity],
    ]
    for (const [role, id, end] of refused) {
      await t.rejects(one.rbac.grant(role, id, { until: end }), {
        code: 'PARAPET_RBAC_INVALID_ARGUMENT',
      })
    }
  },
)

await t.test('a stored policy outlives the code, and a damaged one starts nothing', async (t) => {
  const policyStore = createMemoryPolicyStore()
  const first = await instance(t, { policyStore })
  await first.rbac.publish(after)
  const second = await instance(t, { policyStore })
  t.same(second.rbac.policy, after)
  const text = encodePolicy(after)
  const damaged = [
    text.replace('"grants":["*"]', '"grants":["*","doc:none"]'),
    `${text} `,
    text.replace('{"', '{ "'),
    '{',
    'null',
    text.replace('"version":1', '"version":2'),
  ]
  for (const policy of damaged) {
    const broken: PolicyStore = {
      load: async () => ({ revision: 3, policy, grants: [] }),
      change: async () => null,
    }
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(rbac, { policy: before, policyStore: broken })
      },
      { code: 'PARAPET_RBAC_INVALID_POLICY' },
      policy.slice(0, 40),
    )
  }
})

await t.test('a policy from elsewhere that lacks a permission closes its routes', async (t) => {
  const policyStore = createMemoryPolicyStore()
  const app = await instance(t, { policyStore })
  const gone = definePolicy({ permissions: ['doc:read'], roles: { reader: { grants: ['*'] } } })
  const digest = '0'.repeat(64)
  await policyStore.change(
    { kind: 'publish', policy: encodePolicy(gone), digest },
    app.rbac.revision,
    0,
  )
  await app.rbac.refresh()
  t.equal(await statusOf(app, '/read', 'reader'), 200)
  t.equal(await statusOf(app, '/write', 'reader'), 403)
})

await t.test('any order of publishing and granting ends equal in all instances', async (t) => {
  const command = fc.record({
    who: fc.nat(2),
    what: fc.constantFrom('before', 'after', 'grant', 'revoke', 'refresh'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 12 }), async (commands) => {
      const clock = createManualClock()
      const policyStore = createMemoryPolicyStore()
      const apps = await Promise.all(
        [0, 1, 2].map(async () => {
          const app = Fastify()
          await app.register(rbac, { policy: before, principal, policyStore, clock })
          await app.ready()
          return app
        }),
      )
      const run = ({ who, what }: { who: number; what: string }): Promise<unknown> => {
        const access = apps[who]!.rbac
        if (what === 'refresh') return access.refresh()
        if (what === 'grant') return access.grant('writer', 'ann', { until: clock.now() + 5000 })
        if (what === 'revoke') return access.revoke('writer', 'ann')
        return access.publish(what === 'before' ? before : after)
      }
      const results = await Promise.allSettled(commands.map(run))
      await Promise.all(apps.map((app) => app.rbac.refresh()))
      const states = new Set(
        apps.map(({ rbac: access }) =>
          JSON.stringify([access.revision, access.policyDigest, access.grants()]),
        ),
      )
      await Promise.all(apps.map((app) => app.close()))
      const codes = results.flatMap((result) =>
        result.status === 'rejected' ? [(result.reason as { code: string }).code] : [],
      )
      return states.size === 1 && codes.every((code) => code === 'PARAPET_RBAC_CONFLICT')
    }),
    { numRuns: 30 },
  )
  t.pass('converged')
})

async function keepsPolicies(t: Test, policyStore: PolicyStore): Promise<void> {
  t.same(await policyStore.load(-1), { revision: 0, policy: null, grants: [] })
  const racers = await Promise.all(
    [1, 2, 3].map(() =>
      policyStore.change({ kind: 'publish', policy: encodePolicy(before), digest: 'd1' }, 0, 0),
    ),
  )
  t.same(
    racers.filter((each) => each !== null),
    [1],
    'one of three',
  )
  t.equal(await policyStore.load(1), null, 'nothing new')
  const now = 1_700_000_000_000
  const grant = { principalId: 'ann', role: 'writer', until: now + 500 }
  t.equal(await policyStore.change({ kind: 'grant', grant }, 1, now), 2)
  t.equal(
    await policyStore.change({ kind: 'grant', grant: { ...grant, until: now + 700 } }, 2, now),
    3,
  )
  t.equal(
    await policyStore.change({ kind: 'revoke', principalId: 'bob', role: 'writer' }, 3, now),
    4,
  )
  t.same(await policyStore.load(1), {
    revision: 4,
    policy: encodePolicy(before),
    grants: [{ ...grant, until: now + 700 }],
  })
  t.equal(
    await policyStore.change({ kind: 'revoke', principalId: 'ann', role: 'reader' }, 1, now),
    null,
  )
  const publish = { kind: 'publish', policy: encodePolicy(after), digest: 'd2' } as const
  t.equal(await policyStore.change(publish, 4, now + 700), 5, 'what has ended is dropped')
  t.same(await policyStore.load(4), { revision: 5, policy: encodePolicy(after), grants: [] })
}

await t.test('the memory policy store keeps the contract', async (t) => {
  await keepsPolicies(t, createMemoryPolicyStore())
})

await t.test('the policy store on PGlite keeps the contract', async (t) => {
  const db = await PGlite.create()
  t.teardown(() => db.close())
  await keepsPolicies(t, await createPostgresPolicyStore(createSqlClient(db)))
})

await t.test(
  'the policy store on PostgreSQL keeps the contract, and a fleet on Redis follows it',
  async (t) => {
    const postgres = await usePostgres(t)
    const redis = await useRedis(t)
    if (postgres === null || redis === null) return
    const sql = createSqlClient(postgres.pool)
    await keepsPolicies(t, await createPostgresPolicyStore(sql))
    const options = async () => {
      const client = new Redis(redis.url)
      const store = createRedisStore({ client, prefix: redis.prefix })
      t.teardown(async () => {
        await store.close()
        client.disconnect()
      })
      const policyStore = await createPostgresPolicyStore(sql)
      return { ...byNews, policyStore, store }
    }
    const one = await instance(t, await options())
    const two = await instance(t, await options())
    const changed = definePolicy({ ...after, permissions: [...permissions, 'doc:list'] } as never)
    await one.rbac.publish(changed)
    await converged(one, two)
    t.equal(two.rbac.revision, one.rbac.revision, 'by the news alone')
    // Both know the same revision: the database lets one of them pass.
    const policies = await Promise.allSettled([
      one.rbac.publish(after),
      two.rbac.publish(before as Policy),
    ])
    t.same(policies.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
    t.match(
      policies.find((each) => each.status === 'rejected'),
      { reason: { code: 'PARAPET_RBAC_CONFLICT' } },
    )
    await converged(one, two)
    t.same(two.rbac.policy, policies[0].status === 'fulfilled' ? after : before)
  },
)
