import { problemErrorHandler, type Principal, type SecurityEvent } from '@parapet/kit'
import { anomalyGuard, type AnomalyGuardOptions } from '@parapet/anomaly-guard'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'

const operator: Principal = { id: 'op-1', roles: ['staff', 'operator'] }
const visitor: Principal = { id: 'v-1', roles: ['visitor'] }

interface Built {
  readonly app: FastifyInstance
  readonly events: SecurityEvent[]
  /** Ids of the routes whose handler ran. */
  readonly handled: string[]
}

async function build(t: Test, options: AnomalyGuardOptions = {}): Promise<Built> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard, options)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const handled: string[] = []
  const answer = (id: string) => async () => {
    handled.push(id)
    return { id }
  }
  app.get('/plain', answer('plain'))
  app.get('/open', { config: { anomalyGuard: 'open' } }, answer('open'))
  app.get('/reports', { config: { anomalyGuard: 'closed' } }, answer('reports'))
  app.post('/reports', { config: { anomalyGuard: 'closed' } }, answer('create'))
  return { app, events, handled }
}

await t.test('a route without a rule, or with an open one, is answered', async (t) => {
  const { app, events } = await build(t)
  t.equal((await app.inject('/plain')).statusCode, 200)
  t.equal((await app.inject('/open')).statusCode, 200)
  t.same(events, [], 'no event is emitted')
})

await t.test('an allowed role passes a closed route, and the event names the role', async (t) => {
  const { app, events } = await build(t, {
    allowedRoles: ['operator'],
    principal: () => operator,
  })
  t.same((await app.inject('/reports')).json(), { id: 'reports' })
  t.match(events, [
    {
      type: 'anomaly_guard.passed',
      severity: 'info',
      outcome: 'success',
      principalId: 'op-1',
      route: 'GET /reports',
      details: { role: 'operator' },
    },
  ])
})

await t.test('a login that sets request.principal needs no option', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    request.principal = operator
  })
  await app.register(anomalyGuard, { allowedRoles: ['staff'] })
  app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () => 'reports')
  t.equal((await app.inject('/reports')).statusCode, 200)
})

await t.test('a closed route refuses every other principal', async (t) => {
  const callers: Record<string, Principal | null> = { anonymous: null, visitor }
  for (const [who, principal] of Object.entries(callers)) {
    const { app, events, handled } = await build(t, {
      allowedRoles: ['operator'],
      principal: () => principal,
      retryAfterSeconds: 30,
    })
    const reply = await app.inject('/reports')
    t.equal(reply.statusCode, 503, who)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CLOSED', who)
    t.equal(reply.headers['retry-after'], '30', who)
    t.same(handled, [], `${who}: the handler did not run`)
    t.match(events, [{ type: 'anomaly_guard.refused', details: { reason: 'closed' } }], who)
  }
})

await t.test('an error handler of the app keeps Retry-After in the reply', async (t) => {
  const { app, handled } = await build(t)
  app.setErrorHandler(problemErrorHandler)
  const reply = await app.inject('/reports')
  t.equal(reply.statusCode, 503)
  t.equal(reply.headers['retry-after'], '120')
  t.match(reply.json(), { status: 503, code: 'PARAPET_ANOMALY_GUARD_CLOSED' })
  t.same(handled, [], 'the handler did not run')
})

await t.test('app.anomalyGuard lists the closed routes, for a console or a boot log', async (t) => {
  const { app } = await build(t)
  t.same(app.anomalyGuard.closedRoutes, ['GET /reports', 'HEAD /reports', 'POST /reports'])
})

await t.test('an option that is unknown or out of range stops the boot', async (t) => {
  const refused: readonly [object, RegExp][] = [
    [{ allowedRole: ['operator'] }, /did you mean "allowedRoles"/],
    [{ allowedRoles: 'operator' }, /"allowedRoles" must be an array/],
    [
      { retryAfterSeconds: 0 },
      /"retryAfterSeconds" must be an integer from 1 to 86400 \(seconds\), got 0/,
    ],
    [{ principal: 'op-1' }, /"principal" must be a function/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(anomalyGuard, options)
      },
      { code: 'PARAPET_ANOMALY_GUARD_INVALID_OPTION', statusCode: 500, message },
    )
  }
})

await t.test('a rule that cannot be read stops the boot', async (t) => {
  for (const rule of ['close', true, null, { closed: true }]) {
    const { app } = await build(t)
    t.throws(
      () => app.get('/broken', { config: { anomalyGuard: rule as never } }, async () => 'never'),
      {
        code: 'PARAPET_ANOMALY_GUARD_INVALID_RULE',
        statusCode: 500,
        message: /the route GET \/broken must be "open" or "closed", got /,
      },
    )
  }
})

await t.test(
  'the plugin affects the context in which it is registered, and no other',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(async (child) => {
      await child.register(anomalyGuard)
      child.get('/inside', { config: { anomalyGuard: 'closed' } }, async () => t.fail('it ran'))
    })
    app.get('/outside', { config: { anomalyGuard: 'closed' } }, async () => 'outside')
    const refused = await app.inject('/inside')
    t.equal(refused.statusCode, 503)
    t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CLOSED')
    t.equal((await app.inject('/outside')).statusCode, 200, 'no plugin, no rule')
    t.notOk(app.hasDecorator('anomalyGuard'))
  },
)

await t.test('concurrent requests are decided by their own principal', async (t) => {
  const { app, handled } = await build(t, {
    allowedRoles: ['operator'],
    principal: (request) => (request.headers['x-test-role'] === 'operator' ? operator : visitor),
  })
  const roles = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 'operator' : 'visitor'))
  const replies = await Promise.all(
    roles.map((role) => app.inject({ url: '/reports', headers: { 'x-test-role': role } })),
  )
  t.same(
    replies.map(({ statusCode }) => statusCode),
    roles.map((role) => (role === 'operator' ? 200 : 503)),
  )
  t.equal(handled.length, 10, 'the handler ran for the operators only')
  for (const refused of replies.filter(({ statusCode }) => statusCode === 503)) {
    t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CLOSED')
  }
})
