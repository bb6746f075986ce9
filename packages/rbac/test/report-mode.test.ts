/** Gradual adoption: the mode `report` refuses nothing, and `scaffold` prints a table of rules. */
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import { fromMap, rbac } from '@parapet/rbac'
import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { allows, checkRefusal } from './refusals.ts'

const policy = fromMap({ 'post:read': ['reader'], 'post:write': ['writer'] })
const report = { reason: 'adoption', until: '2026-03-31' }

async function build(t: Test, options: object = {}) {
  const clock = createManualClock(Date.UTC(2026, 2, 1))
  const app = Fastify()
  t.after(() => app.close())
  const events: SecurityEvent[] = []
  await app.register(rbac, {
    policy,
    clock,
    mode: 'report',
    report,
    principal: ({ headers }: FastifyRequest) => {
      if (headers.authorization === 'bad') throw new Error('bad token')
      return headers.authorization === undefined ? null : { id: 'ann', roles: ['reader'] }
    },
    ...options,
  })
  app.securityEvents.on('*', (event) => void events.push(event))
  app.get('/posts/:id', async () => 'post')
  app.put('/posts/:id', { config: { rbac: 'post:write' } }, async () => 'written')
  const hidden = { permission: 'post:write', resource: () => null, hideAs: 404 } as const
  app.get('/hidden', { config: { rbac: hidden } }, async () => 'hidden')
  app.get('/ask', { config: { rbac: { public: 'asks' } } }, async ({ rbac: access }) => {
    await access.authorize('post:write')
    return access.can('post:write')
  })
  app.post('/login', async () => 'token')
  return { app, events, clock }
}

const ann = { authorization: 'ann' }

await t.test('the mode report refuses nothing, counts denials and emits events', async (t) => {
  const { app, events } = await build(t)
  await allows(t, { app }, { url: '/posts/1' }, 'a route without a rule')
  await allows(t, { app }, { method: 'PUT', url: '/posts/1', headers: ann })
  await allows(t, { app }, { method: 'PUT', url: '/posts/1', headers: ann })
  await allows(t, { app }, { method: 'PUT', url: '/posts/1' }, 'anonymous')
  await allows(t, { app }, { method: 'PUT', url: '/posts/1', headers: { authorization: 'bad' } })
  await allows(t, { app }, { url: '/hidden', headers: ann })
  const ask = await allows(t, { app }, { url: '/ask', headers: ann })
  t.equal(ask.body, 'false', 'can() still tells the truth')
  const found = app.rbac.report()
  t.match(found, { active: true, undeclared: ['GET /posts/:id', 'POST /login'], denied: 7 })
  t.same(
    found.denials.map(({ route, reason, count }) => `${count} ${route} ${reason}`).toSorted(),
    [
      '1 GET /ask no_grant',
      '1 GET /hidden no_grant',
      '1 GET /posts/:id anonymous',
      '2 PUT /posts/:id anonymous',
      '2 PUT /posts/:id no_grant',
    ],
  )
  t.same(events[0]?.type, 'rbac.routes_undeclared')
  t.match(events[0]?.details, { count: 2, routes: ['GET /posts/:id', 'POST /login'] })
  t.same([...new Set(events.slice(1).map(({ type }) => type))], ['rbac.denial_reported'])
})

await t.test('requests are refused again when the report mode ends', async (t) => {
  const { app, clock } = await build(t)
  await allows(t, { app }, { url: '/posts/1', headers: ann })
  clock.advance(Date.UTC(2026, 3, 1) - clock.now())
  checkRefusal(t, await app.inject({ url: '/posts/1', headers: ann }), 403)
  checkRefusal(t, await app.inject({ method: 'PUT', url: '/posts/1' }), 401)
  t.equal(app.rbac.report().active, false)
})

await t.test(
  'an app that starts after the last day refuses requests, as a running one does',
  async (t) => {
    const last = Date.UTC(2026, 2, 31, 23, 59, 59, 999)
    const clock = createManualClock(last)
    const { app } = await build(t, { clock })
    await allows(t, { app }, { url: '/posts/1', headers: ann }, 'on the last day')
    const later = createManualClock(last + 1)
    const restarted = await build(t, { clock: later })
    clock.advance(1)
    for (const each of [app, restarted.app]) {
      checkRefusal(t, await each.inject({ url: '/posts/1', headers: ann }), 403, 'without a rule')
      checkRefusal(t, await each.inject({ method: 'PUT', url: '/posts/1', headers: ann }), 403)
      checkRefusal(t, await each.inject({ method: 'PUT', url: '/posts/1' }), 401)
    }
    t.match(restarted.events, [
      { type: 'rbac.report_ended', severity: 'high', details: { until: '2026-03-31' } },
      { type: 'rbac.routes_undeclared', details: { count: 2 } },
    ])
  },
)

await t.test('the report mode needs a reason and a day of at most one year ahead', async (t) => {
  for (const [options, message] of [
    [{ report: undefined }, /"mode" must be "report" if "report" is set, and needs it/],
    [{ mode: 'enforce' }, /"mode" must be "report" if "report" is set/],
    [{ report: { ...report, until: '2027-04-01' } }, /must be within one year/],
    [{ report: { until: '2026-03-31' } }, /"report.reason"/],
    [{ mode: 'off' }, /"mode" must be one of "enforce", "report"/],
  ] as const) {
    await t.rejects(() => build(t, options), {
      code: 'PARAPET_RBAC_INVALID_OPTION',
      statusCode: 500,
      message,
    })
  }
})

await t.test('scaffold prints the option routes for routes without a rule', async (t) => {
  const { app } = await build(t)
  await app.ready()
  t.equal(
    app.rbac.scaffold(),
    [
      'routes: {',
      `  // 'POST /login': TODO a permission, { authenticated: 'why' } or { public: 'why' },`,
      `  'GET /posts/:id': 'post:read',`,
      '}',
    ].join('\n'),
  )
  const refused = Fastify()
  t.after(() => refused.close())
  await refused.register(rbac, { policy })
  for (let i = 0; i < 200; i++) refused.get(`/posts/${i}`, async () => 'post')
  await t.rejects(async () => refused.ready(), {
    code: 'PARAPET_RBAC_UNDECLARED_ROUTES',
    message: /app\.rbac\.scaffold\(\)/,
  })
  t.equal(refused.rbac.scaffold().split('\n').length, 202)
})
