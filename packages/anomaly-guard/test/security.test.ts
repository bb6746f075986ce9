import { declarePhase } from '@parapet/kit'
import { anomalyGuard } from '@parapet/anomaly-guard'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'

function create(t: Test): FastifyInstance {
  const app = Fastify()
  t.after(() => app.close())
  return app
}

/** The refusal of a closed route; a handler that ran has failed the test by itself. */
function assertRefused(t: Test, reply: LightMyRequestResponse, name = 'refused'): void {
  t.equal(reply.statusCode, 503, name)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CLOSED', name)
}

await t.test('a route that was declared before the plugin was ready is refused', async (t) => {
  const app = create(t)
  const reasons: string[] = []
  // Not awaited: Fastify declares the route before it runs the plugin.
  void app.register(anomalyGuard, { allowedRoles: ['operator'] })
  app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () => t.fail('the handler ran'))
  await app.ready()
  app.securityEvents.on('anomaly_guard.refused', ({ details }) => void reasons.push(details.reason))
  const reply = await app.inject('/reports')
  assertRefused(t, reply)
  t.same(reasons, ['missed'])
})

await t.test('HEAD, another case, a query and a trailing slash do not open a route', async (t) => {
  const app = Fastify({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } })
  t.after(() => app.close())
  await app.register(anomalyGuard)
  app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () => t.fail('the handler ran'))
  for (const url of ['/reports', '/reports/', '/REPORTS', '/reports?open=1', '/%72eports']) {
    assertRefused(t, await app.inject(url), `GET ${url}`)
    const head = await app.inject({ method: 'HEAD', url })
    t.equal(head.statusCode, 503, `HEAD ${url}`)
  }
})

await t.test('a closed route is refused before its body is read', async (t) => {
  const app = create(t)
  await app.register(anomalyGuard)
  app.addContentTypeParser('text/plain', async () => t.fail('the body was parsed'))
  app.post('/reports', { config: { anomalyGuard: 'closed' } }, async () =>
    t.fail('the handler ran'),
  )
  const reply = await app.inject({
    method: 'POST',
    url: '/reports',
    headers: { 'content-type': 'text/plain' },
    body: 'x'.repeat(10_000),
  })
  assertRefused(t, reply)
})

await t.test('a config object shared by two routes is not written to', async (t) => {
  const app = create(t)
  await app.register(anomalyGuard)
  const shared = Object.freeze({ anomalyGuard: 'closed' as const })
  app.get('/one', { config: shared }, async () => t.fail('the handler ran'))
  app.get('/two', { config: shared }, async () => t.fail('the handler ran'))
  assertRefused(t, await app.inject('/one'))
  assertRefused(t, await app.inject('/two'))
  t.same(Reflect.ownKeys(shared), ['anomalyGuard'])
})

await t.test(
  'a principal mapping that throws or returns an invalid principal opens no route',
  async (t) => {
    const mappings = {
      throws: () => {
        throw new Error('the login is down')
      },
      'roles as one text': () => ({ id: 'x', roles: 'operator' }) as never,
      'no id': () => ({ roles: ['operator'] }) as never,
    }
    for (const [name, principal] of Object.entries(mappings)) {
      const app = create(t)
      await app.register(anomalyGuard, { allowedRoles: ['operator'], principal })
      app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () =>
        t.fail('the handler ran'),
      )
      const reply = await app.inject('/reports')
      t.equal(reply.statusCode, 500, name)
      const { code } = reply.json<{ code?: string }>()
      t.equal(code, name === 'throws' ? undefined : 'PARAPET_KIT_INVALID_PRINCIPAL', name)
    }
  },
)

await t.test(
  'a name of the prototype chain, or another spelling, is not an allowed role',
  async (t) => {
    const app = create(t)
    await app.register(anomalyGuard, {
      allowedRoles: ['operator'],
      principal: () => ({ id: 'x', roles: ['constructor', '__proto__', 'OPERATOR', ' operator'] }),
    })
    app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () =>
      t.fail('the handler ran'),
    )
    assertRefused(t, await app.inject('/reports'))
  },
)

await t.test('the refusal names neither the route nor the allowed roles', async (t) => {
  const app = create(t)
  await app.register(anomalyGuard, { allowedRoles: ['operator'] })
  app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () => t.fail('the handler ran'))
  const reply = await app.inject('/reports')
  assertRefused(t, reply)
  t.notMatch(reply.body, /operator|reports/)
})

await t.test('registering the plugin after the step-up stops the boot', async (t) => {
  const app = create(t)
  declarePhase(app, '@parapet/mfa', 'step-up')
  await t.rejects(
    async () => {
      await app.register(anomalyGuard)
    },
    {
      code: 'PARAPET_KIT_WRONG_ORDER',
      statusCode: 500,
      message: /must be registered before @parapet\/mfa/,
    },
  )
})
