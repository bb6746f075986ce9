import { declarePhase } from '@parapet/kit'
import { template } from '@parapet/template'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'

function create(t: Test): FastifyInstance {
  const app = Fastify()
  t.after(() => app.close())
  return app
}

await t.test('a route that the plugin came too late for is refused, not left open', async (t) => {
  const app = create(t)
  const reasons: string[] = []
  // Not awaited: Fastify declares the route before it runs the plugin.
  void app.register(template, { allowedRoles: ['operator'] })
  app.get('/reports', { config: { template: 'closed' } }, async () => t.fail('the handler ran'))
  await app.ready()
  app.securityEvents.on('template.refused', ({ details }) => void reasons.push(details.reason))
  const reply = await app.inject('/reports')
  t.equal(reply.statusCode, 503)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_TEMPLATE_CLOSED')
  t.same(reasons, ['missed'])
})

await t.test('HEAD, another case, a query and a trailing slash do not open a route', async (t) => {
  const app = Fastify({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } })
  t.after(() => app.close())
  await app.register(template)
  app.get('/reports', { config: { template: 'closed' } }, async () => t.fail('the handler ran'))
  for (const url of ['/reports', '/reports/', '/REPORTS', '/reports?open=1', '/%72eports']) {
    for (const method of ['GET', 'HEAD'] as const) {
      t.equal((await app.inject({ method, url })).statusCode, 503, `${method} ${url}`)
    }
  }
})

await t.test('a closed route is refused before its body is read', async (t) => {
  const app = create(t)
  await app.register(template)
  app.addContentTypeParser('text/plain', async () => t.fail('the body was parsed'))
  app.post('/reports', { config: { template: 'closed' } }, async () => t.fail('the handler ran'))
  const reply = await app.inject({
    method: 'POST',
    url: '/reports',
    headers: { 'content-type': 'text/plain' },
    body: 'x'.repeat(10_000),
  })
  t.equal(reply.statusCode, 503)
})

await t.test('a config object shared by two routes is not written to', async (t) => {
  const app = create(t)
  await app.register(template)
  const shared = Object.freeze({ template: 'closed' as const })
  app.get('/one', { config: shared }, async () => t.fail('the handler ran'))
  app.get('/two', { config: shared }, async () => t.fail('the handler ran'))
  t.equal((await app.inject('/one')).statusCode, 503)
  t.equal((await app.inject('/two')).statusCode, 503)
  t.same(Reflect.ownKeys(shared), ['template'])
})

await t.test('a mapping that throws or invents a principal opens nothing', async (t) => {
  const mappings = {
    throws: () => {
      throw new Error('the login is down')
    },
    'roles as one text': () => ({ id: 'x', roles: 'operator' }) as never,
    'no id': () => ({ roles: ['operator'] }) as never,
  }
  for (const [name, principal] of Object.entries(mappings)) {
    const app = create(t)
    await app.register(template, { allowedRoles: ['operator'], principal })
    app.get('/reports', { config: { template: 'closed' } }, async () => t.fail('the handler ran'))
    t.equal((await app.inject('/reports')).statusCode, 500, name)
  }
})

await t.test('a role of the prototype chain is no role', async (t) => {
  const app = create(t)
  await app.register(template, {
    allowedRoles: ['operator'],
    principal: () => ({ id: 'x', roles: ['constructor', '__proto__', 'OPERATOR', ' operator'] }),
  })
  app.get('/reports', { config: { template: 'closed' } }, async () => t.fail('the handler ran'))
  t.equal((await app.inject('/reports')).statusCode, 503)
})

await t.test('the refusal tells nothing of the route or of the roles that pass', async (t) => {
  const app = create(t)
  await app.register(template, { allowedRoles: ['operator'] })
  app.get('/reports', { config: { template: 'closed' } }, async () => t.fail('the handler ran'))
  const { body } = await app.inject('/reports')
  t.notMatch(body, /operator|reports/)
})

await t.test('it must stand after the login and before the step-up', async (t) => {
  const app = create(t)
  declarePhase(app, '@parapet/mfa', 'step-up')
  await t.rejects(
    async () => {
      await app.register(template)
    },
    { code: 'PARAPET_KIT_WRONG_ORDER', message: /must be registered before @parapet\/mfa/ },
  )
})
