/** Apps with a login of their own: asynchronous mappings, and rules decided after the route's hooks. */
import { createManualClock, type Principal } from '@parapet/kit'
import { fromMap, rbac, testMatrix, type DecisionHook } from '@parapet/rbac'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { allows, checkRefusal, createSignal, recordHandlers, refuses } from './refusals.ts'

const policy = fromMap({ 'doc:read': ['reader'], 'doc:write': ['writer'] })
const users: Readonly<Record<string, Principal>> = {
  ann: { id: 'ann', roles: ['reader'] },
}

/** A login that finds the user of a token, as a database would. */
async function findUser({ headers }: FastifyRequest): Promise<Principal | null> {
  const { authorization: token } = headers
  if (token === undefined) return null
  if (!Object.hasOwn(users, token)) throw Object.assign(new Error('bad token'), { statusCode: 401 })
  return users[token]!
}

/** The usual hook of @fastify/jwt or @fastify/auth. */
async function authenticate(request: FastifyRequest): Promise<void> {
  request.principal = await findUser(request)
  if (request.principal === null) {
    throw Object.assign(new Error('no token'), { statusCode: 401, code: 'OWN_401' })
  }
}

const ann = { authorization: 'ann' }

await t.test('an asynchronous principal is awaited before the rule is decided', async (t) => {
  for (const hook of ['onRequest', 'preParsing', 'preHandler'] as const) {
    const app = Fastify()
    t.after(() => app.close())
    let asked = 0
    await app.register(rbac, {
      policy,
      hook,
      principal: (request) => {
        asked++
        return findUser(request)
      },
    })
    const built = { app, handled: recordHandlers(app) }
    const rule = { permission: 'doc:read', resource: () => ({}) } as const
    app.get('/doc', { config: { rbac: rule } }, async () => 'doc')
    app.get('/write', { config: { rbac: 'doc:write' } }, async () => 'doc')
    const open = { config: { rbac: { public: 'asks' } } } as const
    app.get('/open', open, async ({ rbac: access }) => access.can('doc:read'))
    await allows(t, built, { url: '/doc', headers: ann })
    t.equal(asked, 1, 'once per request')
    await refuses(t, built, 403, { url: '/write', headers: ann })
    await refuses(t, built, 401, { url: '/doc' })
    t.equal((await app.inject({ url: '/open', headers: ann })).body, 'true', 'public routes too')
    t.equal((await app.inject('/open')).body, 'false')
    const forged = { authorization: 'eve' }
    t.equal((await app.inject({ url: '/doc', headers: forged })).statusCode, 401, 'its own error')
    t.match((await app.inject({ url: '/open', headers: forged })).json(), { message: 'bad token' })
    t.equal((await app.inject('/nowhere')).statusCode, 404)
    t.same(built.handled.length, 4)
  }
})

await t.test('an asynchronous principal that never answers gets 503', async (t) => {
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  const called = createSignal()
  const principal = () => {
    called.send()
    return new Promise<null>(() => {})
  }
  await app.register(rbac, { policy, clock, principal })
  app.get('/doc', { config: { rbac: 'doc:read' } }, async () => t.fail('the handler ran'))
  const reply = app.inject('/doc')
  await called.received
  clock.advance(1000)
  t.match((await reply).json(), { statusCode: 503, code: 'PARAPET_RBAC_LOOKUP_TIMEOUT' })
})

async function buildWithRouteLogin(t: Test, hook: DecisionHook, own: 'onRequest' | 'preHandler') {
  const app = Fastify()
  t.after(() => app.close())
  app.get('/older', { config: { rbac: 'doc:write' }, [own]: [authenticate] }, async () => 'older')
  await app.register(rbac, { policy, hook })
  const built = { app, handled: recordHandlers(app) }
  app.get('/doc', { config: { rbac: 'doc:read' }, [own]: [authenticate] }, async () => 'doc')
  app.get('/write', { config: { rbac: 'doc:write' }, [own]: authenticate }, async () => 'doc')
  app.get('/bare', { config: { rbac: 'doc:read' } }, async () => 'bare')
  return built
}

await t.test('the option hook serves logins in hooks of the route', async (t) => {
  for (const [hook, own] of [
    ['preParsing', 'onRequest'],
    ['preHandler', 'onRequest'],
    ['preHandler', 'preHandler'],
  ] as const) {
    const built = await buildWithRouteLogin(t, hook, own)
    await allows(t, built, { url: '/doc', headers: ann }, `${hook} after ${own}`)
    await allows(t, built, { method: 'HEAD', url: '/doc', headers: ann })
    await refuses(t, built, 403, { url: '/write', headers: ann })
    await refuses(t, built, 401, { url: '/bare', headers: ann }, 'no login in its own hooks')
    const refused = await built.app.inject('/doc')
    t.match(refused.json(), { statusCode: 401, code: 'OWN_401' })
    const older = await built.app.inject({ url: '/older', headers: ann })
    checkRefusal(t, older, own === 'onRequest' ? 403 : 401, 'a route older than the plugin')
    t.equal(built.handled.length, 2, 'no handler of a refused request runs')
    await testMatrix(built.app)
  }
})

await t.test('by default the rule is decided before hooks of the route', async (t) => {
  const built = await buildWithRouteLogin(t, 'onRequest', 'onRequest')
  await refuses(t, built, 401, { url: '/doc', headers: ann })
})

async function setHeaders(_request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.headers({ 'x-app': '2', 'cache-control': 'private' })
}

await t.test(
  'a refusal after the hooks of the route has exactly the headers of a 404',
  async (t) => {
    for (const hook of ['onRequest', 'preParsing', 'preHandler'] as const) {
      const app = Fastify()
      t.after(() => app.close())
      app.addHook('onRequest', async (_request, reply) => void reply.header('x-app', '1'))
      await app.register(rbac, { policy, hook, principal: () => users['ann']! })
      const config = {
        rbac: { permission: 'doc:read', resource: () => null, hideAs: 404 },
      } as const
      app.get('/hidden', { config, onRequest: setHeaders }, async () => t.fail('the handler ran'))
      const [hidden, missing] = [await app.inject('/hidden'), await app.inject('/nowhere')]
      t.equal(hidden.statusCode, 404)
      t.same(
        { ...hidden.headers, date: '', 'content-length': '' },
        { ...missing.headers, date: '', 'content-length': '' },
        hook,
      )
    }
  },
)

await t.test('a named route covers its path with a slash at the end', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(async (child) => child.get('/', async () => 'old'), { prefix: '/old' })
  await app.register(rbac, {
    policy,
    routes: { 'GET /api': { public: 'a test' }, 'GET /old': { public: 'a test' } },
  })
  await app.register(async (child) => child.get('/', async () => 'api'), { prefix: '/api' })
  for (const url of ['/api', '/api/', '/old', '/old/']) {
    for (const method of ['GET', 'HEAD'] as const) await allows(t, { app }, { method, url })
  }
})
