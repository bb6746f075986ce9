/** The live policy of a fleet: publishing, following, limited grants and loss of contact. */
import {
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  type SecurityEvent,
  type Store,
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
import { openPglite, usePostgres, useRedis } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { recordHandlers, refuses } from './refusals.ts'

const permissions = ['doc:read', 'doc:write'] as const
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

const handledOf = new WeakMap<FastifyInstance, string[]>()

async function instance(t: Test, options: Partial<RbacOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy: before, principal, ...options })
  handledOf.set(app, recordHandlers(app))
  app.get('/read', { config: { rbac: 'doc:read' } }, async () => 'read')
  app.get('/write', { config: { rbac: 'doc:write' } }, async () => 'written')
  await app.ready()
  return app
}

const statusOf = async (app: FastifyInstance, url: string, role: string, user = 'ann') =>
  (await app.inject({ url, headers: { 'x-role': role, 'x-user': user } })).statusCode

/** Checks that a request is refused with status and code, and that its handler does not run. */
const denies = (
  t: Test,
  app: FastifyInstance,
  status: 403 | 503,
  url: string,
  role: string,
  user = 'ann',
) =>
  refuses(t, { app, handled: handledOf.get(app)! }, status, {
    url,
    headers: { 'x-role': role, 'x-user': user },
  })

/** No instance loads the policy by its timer while a test runs. */
const withoutTimer = { refreshMs: 3_600_000, maxStalenessMs: 86_400_000 }

/** Waits until two instances have the same policy. If they never do, the test runner times out. */
async function converged(one: FastifyInstance, two: FastifyInstance): Promise<void> {
  while (two.rbac.policyDigest !== one.rbac.policyDigest) {
    await new Promise((resolve) => setImmediate(resolve))
  }
}

await t.test('publish puts a policy in force at once and returns what it changed', async (t) => {
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
  t.ok(diff.text.includes('changes "doc:write" for "writer" from allow to conditional'))
  await denies(t, app, 403, '/write', 'writer')
  t.equal(await statusOf(app, '/write', 'owner'), 200)
  t.not(app.rbac.policyDigest, old)
  t.same(app.rbac.policy, after)
  t.match(events, [
    { details: { previousDigest: old, policyDigest: app.rbac.policyDigest, revision: 2 } },
  ])
})

await t.test('diff reports a changed condition', async (t) => {
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
  t.same(app.rbac.diff(other).text, ['changes the condition of "doc:write" for "writer"'])
  t.same(app.rbac.diff(after).text, [])
})

await t.test('a policy that is invalid or that breaks a route is not published', async (t) => {
  const app = await instance(t)
  const gone = definePolicy({ permissions: ['doc:read'], roles: { reader: { grants: ['*'] } } })
  t.same(app.rbac.diff(gone).brokenRoutes, ['GET /write', 'HEAD /write'])
  await t.rejects(app.rbac.publish(gone as Policy), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    statusCode: 500,
    message: /GET \/write: uses a permission that the policy does not declare/,
  })
  const forged = {
    ...after,
    roles: { ...after.roles, reader: { inherits: ['ghost'], grants: [], when: {} } },
  }
  await t.rejects(app.rbac.publish(forged as Policy), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    statusCode: 500,
  })
  t.equal(await statusOf(app, '/write', 'writer'), 200, 'the old policy is in force')
})

await t.test('if two instances publish at once, one of them gets a conflict', async (t) => {
  const policyStore = createMemoryPolicyStore()
  const [one, two] = [await instance(t, { policyStore }), await instance(t, { policyStore })]
  const results = await Promise.allSettled([
    one.rbac.publish(after as Policy),
    two.rbac.publish(after as Policy),
  ])
  t.same(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  const lost = results.find((result) => result.status === 'rejected') as PromiseRejectedResult
  t.match(lost.reason, { code: 'PARAPET_RBAC_CONFLICT', statusCode: 409 })
  t.equal(one.rbac.policyDigest, two.rbac.policyDigest, 'it has loaded the other policy')
})

await t.test('publish with an outdated ifDigest changes nothing', async (t) => {
  const app = await instance(t)
  const read = app.rbac.policyDigest
  await app.rbac.publish(after, { ifDigest: read })
  await t.rejects(app.rbac.publish(before as Policy, { ifDigest: read }), {
    code: 'PARAPET_RBAC_CONFLICT',
    statusCode: 409,
  })
  t.same(app.rbac.policy, after)
  await app.rbac.publish(before, { ifDigest: app.rbac.policyDigest })
  t.same(app.rbac.policy, before, 'an older policy can be published again')
})

await t.test('a policy with a fact that has no finder is not published', async (t) => {
  const app = await instance(t)
  const curious = definePolicy({ ...after, facts: { friend: 'boolean' } } as never)
  await t.rejects(app.rbac.publish(curious), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    statusCode: 500,
    message: /facts\.friend: is declared in the policy but has no finder/,
  })
  t.same(app.rbac.policy, before)
})

await t.test(
  'other instances are notified even if this one cannot reload the policy',
  async (t) => {
    const policyStore = createMemoryPolicyStore()
    const store = createMemoryStore()
    t.after(() => store.close())
    let isDown = false
    const halfDown: PolicyStore = {
      ...policyStore,
      load: (known) =>
        isDown ? Promise.reject(new Error('unreachable')) : policyStore.load(known),
    }
    const one = await instance(t, { ...withoutTimer, policyStore: halfDown, store })
    const two = await instance(t, { ...withoutTimer, policyStore, store })
    isDown = true
    await t.rejects(one.rbac.publish(after), { message: 'unreachable' })
    isDown = false
    await one.rbac.refresh()
    await converged(one, two)
    t.same(two.rbac.policy, after)
  },
)

await t.test(
  'a policy of a later version is not applied, and then the old one becomes stale',
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
    await policyStore.change(change, (await policyStore.load(null))!, clock.now())
    await t.rejects(app.rbac.refresh(), {
      code: 'PARAPET_RBAC_INVALID_POLICY',
      message: /version: must be 1/,
    })
    t.equal(await statusOf(app, '/read', 'reader'), 200, 'the old policy is in force')
    await t.rejects(
      app.rbac.publish(after),
      { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500 },
      'it cannot replace a policy that it cannot read',
    )
    t.equal((await policyStore.load(null))?.policy, later)
    clock.advance(10_001)
    await denies(t, app, 503, '/read', 'reader')
  },
)

await t.test(
  'if the clock is set back by more than maxStalenessMs, the policy is stale',
  async (t) => {
    let now = 1_700_000_000_000
    const clock = { now: () => now, schedule: () => () => {} }
    const policyStore = createMemoryPolicyStore()
    const app = await instance(t, { policyStore, clock, refreshMs: 1000, maxStalenessMs: 10_000 })
    now -= 10_000
    t.equal(await statusOf(app, '/read', 'reader'), 200)
    now -= 1
    await denies(t, app, 503, '/read', 'reader')
    await app.rbac.refresh()
    t.equal(await statusOf(app, '/read', 'reader'), 200)
  },
)

await t.test('instances converge by notification, and without it within refreshMs', async (t) => {
  const clock = createManualClock()
  const policyStore = createMemoryPolicyStore()
  const store = createMemoryStore({ clock })
  t.after(() => store.close())
  const shared = { policyStore, clock, refreshMs: 5000, maxStalenessMs: 60_000 }
  const [one, two, unnotified] = [
    await instance(t, { ...shared, store }),
    await instance(t, { ...shared, store }),
    await instance(t, shared),
  ] as [FastifyInstance, FastifyInstance, FastifyInstance]
  await one.rbac.publish(after)
  await converged(one, two)
  t.equal(two.rbac.policyDigest, one.rbac.policyDigest, 'by notification')
  await denies(t, two, 403, '/write', 'writer')
  t.equal(await statusOf(unnotified, '/write', 'writer'), 200, 'not notified')
  clock.advance(5000)
  await unnotified.rbac.refresh()
  await denies(t, unnotified, 403, '/write', 'writer')
})

await t.test(
  'an instance that is out of contact denies all but public routes, and recovers',
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
      await denies(t, app, 503, '/read', 'reader')
      t.equal(app.rbac.hasPermission(['reader'], 'doc:read'), false)
      t.match(app.rbac.explain({ id: 'ann', roles: ['reader'] }, 'doc:read'), {
        allowed: false,
        reason: 'stale',
      })
      down = 'no'
      clock.advance(20_000)
      await app.rbac.refresh().catch(() => {})
      await app.rbac.refresh()
      t.equal(await statusOf(app, '/read', 'reader'), 200, `recovered after the store ${how}`)
    }
  },
)

await t.test(
  'a role is granted for a limited time in all instances, and can be revoked',
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
      await denies(t, app, 403, '/write', 'reader', 'bob')
      t.same(app.rbac.grants(), [{ principalId: 'ann', role: 'writer', until }])
    }
    clock.advance(999)
    t.equal(await statusOf(one, '/write', 'reader'), 200)
    clock.advance(1)
    await denies(t, one, 403, '/write', 'reader')
    t.same(one.rbac.grants(), [])
    await one.rbac.grant('writer', { id: 'bob', roles: [] }, { until: clock.now() + 1000 })
    t.equal(await statusOf(one, '/write', 'reader', 'bob'), 200)
    await one.rbac.revoke('writer', { id: 'bob', roles: [] })
    await denies(t, one, 403, '/write', 'reader', 'bob')
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
        statusCode: 500,
      })
    }
  },
)

await t.test(
  'a stored policy takes precedence over the option, and a damaged one stops the boot',
  async (t) => {
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
        load: async () => ({ revision: 3, changeId: 'c', policy, grants: [] }),
        change: async () => null,
      }
      const app = Fastify()
      t.after(() => app.close())
      await t.rejects(
        async () => {
          await app.register(rbac, { policy: before, policyStore: broken })
        },
        { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500 },
        policy.slice(0, 40),
      )
    }
  },
)

await t.test(
  'if another application publishes a policy without a permission, its routes deny',
  async (t) => {
    const policyStore = createMemoryPolicyStore()
    const app = await instance(t, { policyStore })
    const gone = definePolicy({ permissions: ['doc:read'], roles: { reader: { grants: ['*'] } } })
    const digest = '0'.repeat(64)
    await policyStore.change(
      { kind: 'publish', policy: encodePolicy(gone), digest },
      (await policyStore.load(null))!,
      0,
    )
    await app.rbac.refresh()
    t.equal(await statusOf(app, '/read', 'reader'), 200)
    await denies(t, app, 403, '/write', 'reader')
  },
)

await t.test('grant and revoke are repeated if another change was stored first', async (t) => {
  const clock = createManualClock()
  const policyStore = createMemoryPolicyStore()
  const [one, two] = [
    await instance(t, { policyStore, clock }),
    await instance(t, { policyStore, clock }),
  ] as [FastifyInstance, FastifyInstance]
  const until = clock.now() + 1000
  await one.rbac.grant('writer', 'ann', { until })
  await two.rbac.grant('writer', 'bob', { until })
  await one.rbac.revoke('writer', 'ann')
  await two.rbac.refresh()
  for (const app of [one, two]) {
    t.same(app.rbac.grants(), [{ principalId: 'bob', role: 'writer', until }])
  }
})

await t.test('an instance starts without the notifications of an unreachable store', async (t) => {
  const clock = createManualClock()
  const policyStore = createMemoryPolicyStore()
  const memory = createMemoryStore({ clock })
  t.after(() => memory.close())
  let isDown = true
  const store = new Proxy(memory, {
    get(target, name: keyof Store) {
      if (name === 'subscribe' && isDown) return () => Promise.reject(new Error('unreachable'))
      const member: unknown = target[name]
      return typeof member === 'function' ? (member.bind(target) as unknown) : member
    },
  })
  const options = { policyStore, clock, refreshMs: 5000, maxStalenessMs: 60_000 }
  const follower = await instance(t, { ...options, store })
  const publisher = await instance(t, { ...options, store: memory })
  isDown = false
  clock.advance(5000)
  await new Promise((resolve) => setImmediate(resolve))
  await publisher.rbac.publish(after)
  await converged(publisher, follower)
  t.same(follower.rbac.policy, after)
})

await t.test('instances converge after any order of publishing and granting', async (t) => {
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

/** The contract of a policy store. */
async function checkContract(t: Test, policyStore: PolicyStore): Promise<void> {
  const empty = (await policyStore.load(null))!
  t.match(empty, { revision: 0, policy: null, grants: [] })
  const publication = { kind: 'publish', policy: encodePolicy(before), digest: 'd1' } as const
  const results = await Promise.all([1, 2, 3].map(() => policyStore.change(publication, empty, 0)))
  const stored = results.filter((each) => each !== null)
  t.match(stored, [{ revision: 1 }], 'one of three concurrent changes is stored')
  const first = stored[0]!
  t.equal(await policyStore.load(first), null, 'the state is known')
  t.match(await policyStore.load({ ...first, changeId: 'x' }), first, 'a state of another history')
  t.equal(await policyStore.change(publication, { ...first, changeId: 'x' }, 0), null)
  const now = 1_700_000_000_000
  const grant = { principalId: 'ann', role: 'writer', until: now + 500 }
  const longer = { ...grant, until: now + 700 }
  const second = (await policyStore.change({ kind: 'grant', grant }, first, now))!
  const third = (await policyStore.change({ kind: 'grant', grant: longer }, second, now))!
  const revocation = { kind: 'revoke', principalId: 'bob', role: 'writer' } as const
  const fourth = (await policyStore.change(revocation, third, now))!
  const marks = [empty, first, second, third, fourth]
  t.same(
    marks.map(({ revision }) => revision),
    [0, 1, 2, 3, 4],
  )
  t.equal(new Set(marks.map(({ changeId }) => changeId)).size, 5, 'every change has its own id')
  t.same(await policyStore.load(first), {
    ...fourth,
    policy: encodePolicy(before),
    grants: [longer],
  })
  t.equal(await policyStore.change({ ...revocation, principalId: 'ann' }, first, now), null)
  const publish = { kind: 'publish', policy: encodePolicy(after), digest: 'd2' } as const
  const last = await policyStore.change(publish, fourth, now + 700)
  t.match(last, { revision: 5 }, 'expired grants are deleted')
  t.same(await policyStore.load(fourth), { ...last, policy: encodePolicy(after), grants: [] })
}

await t.test('the policy store in memory fulfils the contract', async (t) => {
  await checkContract(t, createMemoryPolicyStore())
})

await t.test('the policy store on PGlite fulfils the contract', async (t) => {
  const db = await openPglite()
  t.after(() => db.close())
  await checkContract(t, await createPostgresPolicyStore(createSqlClient(db)))
})

await t.test(
  'the policy store on PostgreSQL fulfils the contract, and instances follow it through Redis',
  async (t) => {
    const postgres = await usePostgres(t)
    const redis = await useRedis(t)
    if (postgres === null || redis === null) return
    const sql = createSqlClient(postgres.pool)
    await checkContract(t, await createPostgresPolicyStore(sql))
    const options = async () => {
      const client = new Redis(redis.url)
      const store = createRedisStore({ client, prefix: redis.prefix })
      t.after(async () => {
        await store.close()
        client.disconnect()
      })
      const policyStore = await createPostgresPolicyStore(sql)
      return { ...withoutTimer, policyStore, store }
    }
    const one = await instance(t, await options())
    const two = await instance(t, await options())
    const changed = definePolicy({ ...after, permissions: [...permissions, 'doc:list'] } as never)
    await one.rbac.publish(changed)
    await converged(one, two)
    t.equal(two.rbac.revision, one.rbac.revision, 'by notification alone')
    // Both have loaded the same revision, so the database accepts one of the changes.
    const policies = await Promise.allSettled([
      one.rbac.publish(after),
      two.rbac.publish(before as Policy),
    ])
    t.same(policies.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
    t.match(
      policies.find((each) => each.status === 'rejected'),
      { reason: { code: 'PARAPET_RBAC_CONFLICT', statusCode: 409 } },
    )
    await converged(one, two)
    t.same(two.rbac.policy, policies[0].status === 'fulfilled' ? after : before)
  },
)

await t.test(
  'after a failover that loses a change, instances do not keep what was lost',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    const policyStore = await createPostgresPolicyStore(sql)
    const tables = ['rbac_revision', 'rbac_policies', 'rbac_grants']
    const one = await instance(t, { ...withoutTimer, policyStore })
    const two = await instance(t, { ...withoutTimer, policyStore })
    await one.rbac.grant('writer', 'ann', { until: Date.now() + 1e6 })
    await two.rbac.refresh()
    for (const table of tables) await sql.query(`CREATE TABLE old_${table} AS TABLE ${table}`)
    await one.rbac.publish(after)
    for (const table of tables) {
      await sql.query(`DELETE FROM ${table}`)
      await sql.query(`INSERT INTO ${table} SELECT * FROM old_${table}`)
    }
    await two.rbac.revoke('writer', 'ann')
    t.equal(one.rbac.revision, two.rbac.revision, 'the numbers are equal, the states are not')
    await one.rbac.refresh()
    t.same(one.rbac.policy, before, 'the lost policy is not in force')
    t.same(one.rbac.grants(), [], 'the revoked role is gone')
    await denies(t, one, 403, '/write', 'reader')
    await one.rbac.publish(after)
    await two.rbac.refresh()
    t.same(two.rbac.policy, after)
    await sql.query('DELETE FROM rbac_revision')
    const damaged: (() => Promise<unknown>)[] = [
      () => one.rbac.publish(before),
      () => one.rbac.refresh(),
    ]
    for (const change of damaged) {
      await t.rejects(change, { code: 'PARAPET_RBAC_DAMAGED_STORE', statusCode: 503 })
    }
  },
)

await t.test('the clock of one instance does not delete grants that others use', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const policyStore = await createPostgresPolicyStore(createSqlClient(postgres.pool))
  const day = 86_400_000
  const one = await instance(t, { ...withoutTimer, policyStore })
  const fast = await instance(t, {
    ...withoutTimer,
    policyStore,
    clock: createManualClock(Date.now() + 2 * day),
  })
  await one.rbac.grant('writer', 'ann', { until: Date.now() + day })
  await fast.rbac.grant('writer', 'bob', { until: Date.now() + 3 * day })
  await one.rbac.refresh()
  t.equal(one.rbac.grants().length, 2)
  t.equal(await statusOf(one, '/write', 'reader'), 200)
})

await t.test(
  'a change that the policy store does not answer gets 503, and may come late',
  async (t) => {
    const clock = createManualClock()
    const memory = createMemoryPolicyStore()
    const waiting: (() => void)[] = []
    let isHung = false
    const policyStore: PolicyStore = {
      ...memory,
      async change(...parts) {
        if (isHung) await new Promise<void>((resolve) => void waiting.push(resolve))
        return memory.change(...parts)
      },
    }
    const app = await instance(t, { policyStore, clock, refreshMs: 1000, maxStalenessMs: 5000 })
    isHung = true
    const until = clock.now() + 1e6
    const changes: (() => Promise<unknown>)[] = [
      () => app.rbac.publish(after),
      () => app.rbac.grant('writer', 'ann', { until }),
      () => app.rbac.revoke('writer', 'ann'),
    ]
    for (const change of changes) {
      const outcome = t.rejects(change, { code: 'PARAPET_RBAC_OUTCOME_UNKNOWN', statusCode: 503 })
      clock.advance(5000)
      await outcome
    }
    await app.rbac.refresh()
    const late = t.rejects(app.rbac.publish(after), { code: 'PARAPET_RBAC_OUTCOME_UNKNOWN' })
    clock.advance(5000)
    await late
    await app.rbac.refresh()
    t.same(app.rbac.policy, before)
    waiting.at(-1)!()
    while (app.rbac.revision === 1) await new Promise((resolve) => setImmediate(resolve))
    t.same(app.rbac.policy, after, 'a change that is stored late is in force at once')
  },
)

await t.test('a stored policy that differs from the option is reported at boot', async (t) => {
  const start = async (policyStore: PolicyStore, options: Partial<RbacOptions>) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(rbac, { policy: after, principal, policyStore, ...options })
    const events: SecurityEvent[] = []
    app.securityEvents.on('*', (event) => void events.push(event))
    await app.ready()
    return { app, events }
  }
  const policyStore = createMemoryPolicyStore()
  const old = await instance(t, { policyStore })
  const warned = await start(policyStore, {})
  t.same(warned.app.rbac.policy, before, 'the stored policy is in force')
  t.match(warned.events, [
    {
      type: 'rbac.policy_differs',
      details: {
        policyDigest: old.rbac.policyDigest,
        changes: old.rbac.diff(after).text.slice(0, 1),
      },
    },
  ])
  await t.rejects(() => start(policyStore, { onDifference: 'fail' }), {
    code: 'PARAPET_RBAC_POLICY_DIFFERS',
    statusCode: 500,
    message: /"owner"/,
  })
  t.same((await policyStore.load(null))?.policy, encodePolicy(before))
  const together = await Promise.all(
    [1, 2, 3].map(() => start(policyStore, { onDifference: 'publish' })),
  )
  for (const { app } of together) t.same(app.rbac.policy, after)
  t.equal((await policyStore.load(null))?.revision, 2, 'three starts publish once')
  const published = together.flatMap(({ events }) => events)
  t.match(published, [
    { type: 'rbac.policy_published', details: { previousDigest: old.rbac.policyDigest } },
  ])
  t.equal(published.length, 1)
  const { events } = await start(policyStore, { onDifference: 'fail' })
  t.same(events, [], 'there is no difference')
})
