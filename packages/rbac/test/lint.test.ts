/** The lint of policies: mistakes stop the boot and publishing, unless they are waived. */
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import { and, definePolicy, eq, gt, isIn, lt, ne, not, rbac, type Policy } from '@parapet/rbac'
import Fastify from 'fastify'
import t, { type Test } from 'tap'

const base = {
  permissions: ['doc:read', 'doc:write'],
  resources: { doc: { ownerId: 'string', size: 'number' } },
} as const
const own = { op: 'eq', left: { ref: 'resource.ownerId' }, right: { ref: 'subject.id' } } as const
const clean = { reader: { grants: ['doc:*'] } } as const
const owner = { ref: 'resource.ownerId' } as const
const size = { ref: 'resource.size' } as never
const when = (condition: object) => ({ ...clean, r: { when: { 'doc:write': condition } } })

const mistakes: readonly (readonly [object, string, string])[] = [
  [
    { roles: { r: { grants: ['doc:*'], when: { 'doc:write': own } } } },
    'DEAD-CONDITION',
    'roles.r.when["doc:write"]',
  ],
  [
    { roles: { ...clean, r: { inherits: ['reader'], when: { 'doc:write': own } } } },
    'DEAD-CONDITION',
    'roles.r.when["doc:write"]',
  ],
  ...[
    and(eq(owner as never, 'a'), eq(owner as never, 'b')),
    and(eq(owner as never, 'a'), ne(owner as never, 'a')),
    and(isIn(owner as never, ['a', 'b']), eq(owner as never, 'c')),
    and(gt(size, 5), lt(size, 5)),
    and(own, and(not(own))),
    isIn(owner as never, []),
  ].map((each) => [{ roles: when(each) }, 'CONTRADICTION', 'roles.r.when["doc:write"]'] as const),
  [{ roles: { r: { grants: ['doc:read'] } } }, 'UNUSED-PERMISSION', 'permissions["doc:write"]'],
  [{ roles: { ...clean, ghost: {} } }, 'UNREACHABLE-ROLE', 'roles.ghost'],
  [
    {
      roles: { ...clean, a: { grants: ['doc:read'] }, b: { grants: ['doc:read'] } },
      sod: [{ id: 's', roles: ['a', 'b'] }],
      assignment: { requires: { a: ['b'] } },
    },
    'UNREACHABLE-ROLE',
    'roles.a',
  ],
]
const define = (change: object): Policy => definePolicy({ ...base, ...change } as never)

async function start(t: Test, policy: Policy, options: object = {}) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy, ...options })
  return app
}

await t.test('each mistake stops the boot, and a waiver accepts it', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 1))
  for (const [change, rule, where] of mistakes) {
    const policy = define(change)
    await t.rejects(
      () => start(t, policy),
      { code: 'PARAPET_RBAC_POLICY_LINT', statusCode: 500, message: `(${rule})` },
      rule,
    )
    const waiver = { rule, where, reason: 'a test', until: '2026-06-30' }
    const app = await start(t, policy, { clock, waivers: [waiver] })
    t.same(app.rbac.lint(), [], 'waived')
    const other = await start(t, define({ roles: clean }))
    t.match(other.rbac.lint(policy), [{ rule, where }])
    await t.rejects(() => other.rbac.publish(policy), {
      code: 'PARAPET_RBAC_POLICY_LINT',
      statusCode: 500,
    })
    t.notOk('ghost' in other.rbac.policy.roles, 'nothing is published')
  }
})

await t.test('a deny rule of permissions that nobody has is found', (t) => {
  const policy = define({
    roles: { r: { grants: ['doc:read'] } },
    deny: [{ id: 'd', permissions: ['doc:write'] }],
  })
  return t.rejects(() => start(t, policy), { message: /deny\.d: .*\(IDLE-DENY\)/ })
})

await t.test('conditions and roles that make sense are not reported', async (t) => {
  const app = await start(
    t,
    define({
      roles: {
        ...when(and(gt(size, 5), lt(size, 9), ne(owner as never, 'x'))),
        viewer: { grants: ['doc:read'], when: { 'doc:write': own } },
        editor: { inherits: ['viewer'], grants: ['doc:*'] },
        requester: {},
        approver: {},
      },
      sod: [{ id: 's', roles: ['requester', 'approver'] }],
    }),
  )
  t.same(app.rbac.lint(), [])
})

await t.test('an invalid waiver stops the boot', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 5, 30))
  for (const [waiver, message] of [
    [{ until: '2027-08-01' }, /must be within one year/],
    [{ until: '2026-02-30' }, /must be a day/],
    [{ until: '2026-06-30', rule: 'NO-RULE' }, /must be one of DEAD-CONDITION/],
  ] as const) {
    const waivers = [{ rule: 'IDLE-DENY', reason: 'a test', ...waiver }]
    await t.rejects(() => start(t, define({ roles: clean }), { clock, waivers }), {
      code: 'PARAPET_RBAC_INVALID_OPTION',
      statusCode: 500,
      message,
    })
  }
})

await t.test('a waiver that has ended is reported at boot, and accepts nothing new', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 5, 30))
  const [change, rule] = mistakes[0]!
  const policy = define(change)
  const waivers = [{ rule, reason: 'a test', until: '2026-06-30' }]
  for (const isOver of [false, true]) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(rbac, { policy, clock, waivers })
    const events: SecurityEvent[] = []
    app.securityEvents.on('rbac.waiver_ended', (event) => void events.push(event))
    await app.ready()
    t.equal(events.length, isOver ? 1 : 0, 'the app starts in any case')
    t.equal(app.rbac.lint().length, isOver ? 1 : 0)
    if (isOver) {
      t.match(events[0]?.details, { findings: [`(${rule})`] })
      await t.rejects(() => app.rbac.publish(policy), { code: 'PARAPET_RBAC_POLICY_LINT' })
    } else {
      await app.rbac.publish(policy)
    }
    clock.advance(86_400_000)
    t.equal(app.rbac.lint().length, 1, 'it ends in a running instance as well')
  }
})
