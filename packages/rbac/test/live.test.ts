/** The live policy of a fleet: publishing, following, limited grants and loss of contact. */
import {
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
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

await t.test('a request uses one policy even if another is published meanwhile', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy: before, principal })
  const decisions: boolean[][] = []
  app.addHook('onRequest', async (request) => {
    if (request.url !== '/across') return
    const first = request.rbac.can('doc:write')
    await app.rbac.publish(app.rbac.policy.roles['owner'] === undefined ? after : before)
    decisions.push([first, request.rbac.can('doc:write')])
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
      decisions.push([access.can('doc:write')])
      return 'in'
    },
  )
  t.equal(await statusOf(app, '/across', 'writer'), 200, 'allowed by the policy at its start')
  t.same(decisions, [[true, true], [true]])
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
    await policyStore.change(change, app.rbac.revision, clock.now())
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
    t.equal((await policyStore.load(-1))?.policy, later)
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
        load: async () => ({ revision: 3, policy, grants: [] }),
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
      app.rbac.revision,
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
  t.same(await policyStore.load(-1), { revision: 0, policy: null, grants: [] })
  const results = await Promise.all(
    [1, 2, 3].map(() =>
      policyStore.change({ kind: 'publish', policy: encodePolicy(before), digest: 'd1' }, 0, 0),
    ),
  )
  t.same(
    results.filter((each) => each !== null),
    [1],
    'one of three concurrent changes is stored',
  )
  t.equal(await policyStore.load(1), null, 'the revision is known')
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
  t.equal(await policyStore.change(publish, 4, now + 700), 5, 'expired grants are deleted')
  t.same(await policyStore.load(4), { revision: 5, policy: encodePolicy(after), grants: [] })
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
