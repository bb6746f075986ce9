/** Grants: who made them, who may make them, their limits and their start. */
import {
  createManualClock,
  createSqlClient,
  type Principal,
  type SecurityEvent,
} from '@parapet/kit'
import {
  createMemoryPolicyStore,
  createPostgresPolicyStore,
  definePolicy,
  rbac,
  type RbacOptions,
} from '@parapet/rbac'
import { openPglite } from '@parapet/testing'
import Fastify from 'fastify'
import t, { type Test } from 'tap'

const roles = {
  employee: { grants: ['doc:read'] },
  editor: { grants: ['doc:write'] },
  auditor: { grants: ['doc:read'] },
  admin: { grants: ['*'] },
} as const
const source = { permissions: ['doc:read', 'doc:write'], roles } as const
const open = definePolicy(source)
const START = Date.UTC(2026, 0, 1)
const until = START + 10_000
const root = { id: 'root', roles: ['admin'], sessionId: 's1' }

async function build(t: Test, options: Partial<RbacOptions> = {}) {
  const app = Fastify()
  t.after(() => app.close())
  const clock = createManualClock(START)
  await app.register(rbac, { policy: open, clock, principal: () => root, ...options })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const config = { rbac: { public: 'a test' } } as const
  app.post('/grant', { config }, async (request) => {
    void request.rbac
    await app.rbac.grant('editor', 'bob', { until, request, reason: 'ticket 7' })
    await app.rbac.revoke('editor', 'bob', { request, reason: 'done' })
    await app.rbac.publish(open, { request, reason: 'rollout' })
  })
  return { app, clock, events }
}

await t.test(
  'events of changes carry the acting principal, the request and a reason',
  async (t) => {
    const { app, events } = await build(t)
    const reply = await app.inject({
      method: 'POST',
      url: '/grant',
      headers: { 'request-id': 'r' },
    })
    t.equal(reply.statusCode, 200, reply.body)
    t.same(
      events.map(({ type }) => type),
      ['rbac.role_granted', 'rbac.role_revoked', 'rbac.policy_published'],
    )
    const actor = { principalId: 'root', sessionId: 's1', ip: '127.0.0.1', route: 'POST /grant' }
    for (const event of events) {
      t.match(event, actor)
      t.ok(event.requestId)
    }
    t.same(
      events.map(({ details }) => (details as { reason: string }).reason),
      ['ticket 7', 'done', 'rollout'],
    )
    await app.rbac.grant('editor', 'bob', { until, by: root })
    t.match(events.at(-1), { principalId: 'root', details: { grantee: 'bob' } })
    await app.rbac.grant('editor', 'bob', { until })
    t.notOk('principalId' in events.at(-1)!, 'the application itself')
    await t.rejects(() => app.rbac.grant('editor', 'bob', { until, reason: '' }), {
      code: 'PARAPET_RBAC_INVALID_ARGUMENT',
      statusCode: 500,
    })
  },
)

/** The options of a change by a principal. */
const as = (by: Principal | null) => ({ until, by })

await t.test('delegation says who may grant and revoke which role', async (t) => {
  const policy = definePolicy({
    ...source,
    roles: { ...roles, chief: { inherits: ['admin'] } },
    delegation: { admin: ['editor', 'auditor'] },
  })
  const { app, events } = await build(t, { policy })
  await app.ready()
  await app.rbac.grant('editor', 'bob', as(root))
  await app.rbac.grant('editor', 'bob', as({ id: 'c', roles: ['chief'] }))
  await app.rbac.grant('admin', 'new', as(null))
  const count = events.length
  for (const [role, by] of [
    ['admin', root],
    ['editor', { id: 'e', roles: ['editor'] }],
    ['editor', { ...root, scopes: ['doc:*'] }],
  ] as const) {
    for (const change of [
      () => app.rbac.grant(role, 'eve', as(by)),
      () => app.rbac.revoke(role, 'bob', as(by)),
    ]) {
      await t.rejects(change, { code: 'PARAPET_RBAC_NOT_DELEGATED', statusCode: 403 })
    }
  }
  await t.rejects(() => app.rbac.grant('editor', 'eve', { until }), {
    code: 'PARAPET_RBAC_INVALID_ARGUMENT',
    message: /is required, because the policy has "delegation"/,
  })
  t.equal(events.length, count, 'nothing was changed')
  await app.rbac.grant('editor', 'eve', as({ id: 'new', roles: [] }))
  t.match(events.at(-1), { principalId: 'new' }, 'a role for a limited time delegates as well')
})

await t.test('grants respect the limits and prerequisites of the policy', async (t) => {
  const policy = definePolicy({
    ...source,
    assignment: { maxRoles: 2, maxHolders: { auditor: 1 }, requires: { editor: ['employee'] } },
  })
  const { app } = await build(t, { policy })
  const ann = { id: 'ann', roles: ['employee'] }
  const refuse = (role: 'editor' | 'auditor', who: Principal | string, message: RegExp) =>
    t.rejects(() => app.rbac.grant(role, who, { until }), {
      code: 'PARAPET_RBAC_ASSIGNMENT_LIMIT',
      statusCode: 409,
      message,
    })
  await refuse('editor', 'ann', /requires the role "employee"/)
  await app.rbac.grant('editor', ann, { until })
  await refuse('auditor', ann, /would be more than 2 roles/)
  await app.rbac.grant('auditor', 'bob', { until })
  await app.rbac.grant('auditor', 'bob', { until: until + 1 })
  await refuse('auditor', 'eve', /already has 1 holders/)
  t.equal(app.rbac.grants().length, 2)
  for (const assignment of [{ maxRoles: 0 }, { maxHolders: { ghost: 1 } }, { min: 1 }]) {
    t.throws(() => definePolicy({ ...source, assignment: assignment as never }), {
      code: 'PARAPET_RBAC_INVALID_POLICY',
      statusCode: 500,
    })
  }
  t.throws(() => definePolicy({ ...source, delegation: { admin: ['ghost' as never] } }), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    message: /delegation: uses the role "ghost"/,
  })
})

await t.test('a grant can start later, in memory and in PostgreSQL', async (t) => {
  const db = await openPglite()
  t.after(() => db.close())
  for (const policyStore of [undefined, await createPostgresPolicyStore(createSqlClient(db))]) {
    const { app, clock } = await build(t, {
      ...(policyStore === undefined ? {} : { policyStore }),
      principal: () => ({ id: 'bob', roles: [] }),
    })
    app.get('/doc', { config: { rbac: 'doc:write' } }, async () => 'doc')
    await app.rbac.grant('editor', 'bob', { from: START + 1000, until })
    t.match(app.rbac.grants(), [{ role: 'editor', from: START + 1000, until }])
    t.equal((await app.inject('/doc')).statusCode, 403, 'too early')
    clock.advance(1000)
    t.equal((await app.inject('/doc')).statusCode, 200)
    clock.advance(9000)
    t.equal((await app.inject('/doc')).statusCode, 403, 'too late')
    await t.rejects(() => app.rbac.grant('editor', 'bob', { from: 9e14, until: until + 9000 }), {
      code: 'PARAPET_RBAC_INVALID_ARGUMENT',
      message: /"from" must be an integer less than "until"/,
    })
  }
})

await t.test('a role for a limited time cannot outlive itself by delegation', async (t) => {
  const policy = definePolicy({ ...source, delegation: { editor: ['editor', 'auditor'] } })
  const { app, clock } = await build(t, { policy })
  const temporary = { id: 'temp', roles: [] }
  await app.rbac.grant('editor', 'temp', as(null))
  const late = { until: until + 1, by: temporary }
  for (const [role, grantee] of [
    ['editor', 'temp'],
    ['editor', 'friend'],
    ['auditor', temporary],
  ] as const) {
    await t.rejects(() => app.rbac.grant(role, grantee, late), {
      code: 'PARAPET_RBAC_GRANT_TOO_LONG',
      statusCode: 403,
      message: /"(editor|auditor)" only until 2026-01-01T00:00:10.000Z/,
    })
  }
  t.equal(app.rbac.grants().length, 1, 'nothing was granted')
  await app.rbac.grant('editor', 'friend', as(temporary))
  await t.rejects(
    () => app.rbac.grant('editor', 'temp', { until: until + 1, by: { id: 'friend', roles: [] } }),
    { code: 'PARAPET_RBAC_GRANT_TOO_LONG', statusCode: 403 },
    'nor with the help of a friend',
  )
  await app.rbac.grant('editor', 'other', { until: until + 1, by: { id: 'e', roles: ['editor'] } })
  clock.advance(10_000)
  await t.rejects(() => app.rbac.revoke('editor', 'other', as(temporary)), {
    code: 'PARAPET_RBAC_NOT_DELEGATED',
    statusCode: 403,
  })
})

await t.test('delegation is checked again if another change was stored first', async (t) => {
  const policy = definePolicy({ ...source, delegation: { admin: ['editor'] } })
  const policyStore = createMemoryPolicyStore()
  const one = await build(t, { policy, policyStore })
  const two = await build(t, { policy, policyStore })
  await one.app.rbac.grant('admin', 'temp', as(null))
  await two.app.rbac.refresh()
  await one.app.rbac.revoke('admin', 'temp', as(null))
  await t.rejects(() => two.app.rbac.grant('editor', 'eve', as({ id: 'temp', roles: [] })), {
    code: 'PARAPET_RBAC_NOT_DELEGATED',
    statusCode: 403,
  })
  t.same(two.app.rbac.grants(), [])
})

await t.test('what is no principal is refused with a code', async (t) => {
  const { app } = await build(t)
  for (const value of ['ann', {}, { id: 'x' }, { id: 1, roles: [] }, { roles: [] }, 5]) {
    const who = value as never
    const calls: (() => unknown)[] = [
      () => app.rbac.grant('editor', 'bob', { until, by: who }),
      () => app.rbac.revoke('editor', 'bob', { by: who }),
      () => app.rbac.publish(open, { by: who }),
      async () => app.rbac.explain(who, 'doc:read'),
    ]
    // The id of a principal can be passed as text.
    if (typeof value !== 'string') calls.push(() => app.rbac.grant('editor', who, { until }))
    for (const call of calls) {
      await t.rejects(async () => call(), {
        code: 'PARAPET_RBAC_INVALID_ARGUMENT',
        statusCode: 500,
        message: /must be a principal such as \{ id: 'ann', roles: \[\] \}/,
      })
    }
  }
})
