/** The recipes of docs/recipes/rbac.md beside the plugins that they name. */
import auth from '@fastify/auth'
import autoload from '@fastify/autoload'
import cookie from '@fastify/cookie'
import jwt from '@fastify/jwt'
import session from '@fastify/session'
import { fromMap, rbac } from '@parapet/rbac'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { allows, recordHandlers, refuses } from './refusals.ts'

const policy = fromMap({ 'doc:read': ['reader'], 'doc:write': ['writer'] })
const secret = 'a secret of at least thirty-two characters'

function newApp(t: Test): { readonly app: FastifyInstance; readonly handled: string[] } {
  const app = Fastify()
  t.after(() => app.close())
  return { app, handled: recordHandlers(app) }
}

interface Claims {
  readonly sub: string
  readonly roles: string[]
}

async function authenticate(request: FastifyRequest): Promise<void> {
  const { sub, roles } = await request.jwtVerify<Claims>()
  request.principal = { id: sub, roles }
}

const byKey = async (request: FastifyRequest) => {
  if (request.headers['x-api-key'] !== 'key') throw new Error('no such key')
  request.principal = { id: 'robot', roles: ['writer'] }
}

const source = (name: string) => JSON.stringify(import.meta.resolve(name))

const tokenOf = (app: FastifyInstance, ...roles: string[]) => ({
  authorization: `Bearer ${app.jwt.sign({ sub: 'ann', roles })}`,
})

await t.test('@fastify/jwt in a hook of the route, decided in preParsing', async (t) => {
  const built = newApp(t)
  const { app } = built
  await app.register(jwt, { secret })
  await app.register(rbac, { policy, hook: 'preParsing' })
  const route = { config: { rbac: 'doc:read' }, onRequest: authenticate } as const
  app.get('/doc', route, async ({ principal }) => principal?.id)
  await app.ready()
  const reply = await allows(t, built, { url: '/doc', headers: tokenOf(app, 'reader') })
  t.equal(reply.body, 'ann')
  await refuses(t, built, 403, { url: '/doc', headers: tokenOf(app, 'writer') })
  t.match((await app.inject('/doc')).json(), {
    statusCode: 401,
    code: 'FST_JWT_NO_AUTHORIZATION_IN_HEADER',
  })
  t.equal(built.handled.length, 1)
})

await t.test('@fastify/jwt in an asynchronous principal', async (t) => {
  const built = newApp(t)
  const { app } = built
  await app.register(jwt, { secret })
  await app.register(rbac, {
    policy,
    principal: async (request) => {
      if (request.headers.authorization === undefined) return null
      const { sub, roles } = await request.jwtVerify<Claims>()
      return { id: sub, roles }
    },
  })
  app.get('/doc', { config: { rbac: 'doc:read' } }, async ({ principal }) => principal?.id)
  await app.ready()
  await allows(t, built, { url: '/doc', headers: tokenOf(app, 'reader') })
  await refuses(t, built, 403, { url: '/doc', headers: tokenOf(app, 'writer') })
  await refuses(t, built, 401, { url: '/doc' })
  t.equal(built.handled.length, 1)
})

await t.test('@fastify/auth in preHandler of the route', async (t) => {
  const built = newApp(t)
  const { app } = built
  await app.register(jwt, { secret })
  await app.register(auth)
  await app.register(rbac, { policy, hook: 'preHandler' })
  const login = app.auth([authenticate, byKey])
  const route = { config: { rbac: 'doc:write' }, preHandler: login } as const
  app.post('/doc', route, async ({ principal }) => principal?.id)
  await app.ready()
  const post = { method: 'POST', url: '/doc', payload: {} } as const
  const robot = await allows(t, built, { ...post, headers: { 'x-api-key': 'key' } })
  t.equal(robot.body, 'robot')
  await allows(t, built, { ...post, headers: tokenOf(app, 'writer') })
  await refuses(t, built, 403, { ...post, headers: tokenOf(app, 'reader') })
  t.equal((await app.inject(post)).statusCode, 401)
  t.equal(built.handled.length, 2)
})

await t.test('@fastify/session in a hook of the instance', async (t) => {
  const built = newApp(t)
  const { app } = built
  await app.register(cookie)
  await app.register(session, { secret, cookie: { secure: false } })
  const roles = new Map([['ann', ['reader']]])
  await app.register(rbac, {
    policy,
    principal: async ({ session }) => {
      const id: unknown = session.get('userId' as never)
      return typeof id === 'string' ? { id, roles: roles.get(id) ?? [] } : null
    },
  })
  app.get('/doc', { config: { rbac: 'doc:read' } }, async () => 'doc')
  app.post('/login', { config: { rbac: { public: 'the login' } } }, async (request) => {
    request.session.set('userId' as never, 'ann' as never)
    return 'welcome'
  })
  await refuses(t, built, 401, { url: '/doc' })
  const login = await allows(t, built, { method: 'POST', url: '/login' })
  const headers = { cookie: String(login.headers['set-cookie']).split(';')[0]! }
  await allows(t, built, { url: '/doc', headers })
  roles.delete('ann')
  await refuses(t, built, 403, { url: '/doc', headers }, 'a revoked role ends at once')
})

/** The files of a plugin folder. */
const files = (dependencies: string) => ({
  'rbac.mjs': `
    import fp from ${source('fastify-plugin')}
    import { fromMap, rbac } from ${source('@parapet/rbac')}
    const policy = fromMap({ 'doc:read': ['reader'] })
    export default fp(async (app) => app.register(rbac, { policy }), { name: 'my-rbac'${dependencies} })`,
  'sessions.mjs': `
    import fp from ${source('fastify-plugin')}
    import { declarePhase } from ${source('@parapet/kit')}
    export default fp(async (app) => {
      declarePhase(app, 'my-sessions', 'authentication')
      app.addHook('onRequest', async (request) => {
        request.principal = { id: 'ann', roles: ['reader'] }
      })
    }, { name: 'my-sessions' })`,
})

await t.test('@fastify/autoload needs the dependency in fp', async (t) => {
  const folder = t.testdir({ without: files(''), with: files(`, dependencies: ['my-sessions']`) })
  const start = async (plugins: 'with' | 'without') => {
    const built = newApp(t)
    await built.app.register(autoload, { dir: join(folder, plugins) })
    built.app.get('/doc', { config: { rbac: 'doc:read' } }, async () => 'doc')
    await built.app.ready()
    return built
  }
  await t.rejects(start('without'), {
    code: 'PARAPET_KIT_WRONG_ORDER',
    message: /dependencies/,
  })
  const built = await start('with')
  await allows(t, built, { url: '/doc' })
})
