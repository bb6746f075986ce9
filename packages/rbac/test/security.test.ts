import { createManualClock, declarePhase, type Principal } from '@parapet/kit'
import { plainNode } from '@parapet/testing'
import websocket from '@fastify/websocket'
import {
  definePolicy,
  eq,
  fromMap,
  has,
  ne,
  not,
  rbac,
  testMatrix,
  type RbacOptions,
} from '@parapet/rbac'
import Fastify from 'fastify'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { checkRefusal } from './refusals.ts'

const policy = fromMap({
  'content:read': ['viewer', 'admin'],
  'content:write': ['admin'],
  'content:purge': ['super admin'],
})
const closed = { config: { rbac: 'content:write' as const } }

async function build(t: Test, caller: Principal | null, options: Partial<RbacOptions> = {}) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy, principal: () => caller, ...options })
  return app
}

const never = (t: Test) => async () => t.fail('the handler ran')

await t.test(
  'a request without a principal gets 401 that reveals nothing of the policy',
  async (t) => {
    const app = await build(t, null)
    app.get('/closed', closed, never(t))
    app.get('/any', { config: { rbac: { any: ['content:read', 'content:write'] } } }, never(t))
    for (const url of ['/closed', '/any']) {
      const reply = await app.inject(url)
      checkRefusal(t, reply, 401, url)
      t.ok(reply.headers['www-authenticate'])
      t.notMatch(reply.body, /content|admin|viewer|principal/)
    }
  },
)

await t.test('a string of roles is never split', async (t) => {
  const app = await build(t, {
    id: 'x',
    roles: ['super admin', 'viewer,admin', ' admin', 'ADMIN', 'admin '],
  })
  app.get('/closed', closed, never(t))
  app.get(
    '/purge',
    { config: { rbac: 'content:purge' } },
    async () => 'a role name may contain spaces',
  )
  checkRefusal(t, await app.inject('/closed'), 403)
  t.equal((await app.inject('/purge')).statusCode, 200)
  for (const roles of ['admin', 'viewer admin', { 0: 'admin', length: 1 }, null]) {
    const bad = await build(t, { id: 'x', roles: roles as never })
    bad.get('/closed', closed, never(t))
    const reply = await bad.inject('/closed')
    t.equal(reply.statusCode, 500)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_KIT_INVALID_PRINCIPAL')
    t.throws(() => bad.rbac.hasPermission(roles as never, 'content:write'), {
      code: 'PARAPET_RBAC_INVALID_ARGUMENT',
      statusCode: 500,
    })
  }
})

await t.test('ids, roles and permissions are separate namespaces', async (t) => {
  const app = await build(t, {
    id: 'admin',
    tenantId: 'admin',
    roles: ['content:write', '*', 'content:*'],
  })
  app.get('/closed', closed, never(t))
  checkRefusal(t, await app.inject('/closed'), 403)
  const scoped = await build(t, {
    id: 'key',
    roles: [],
    permissions: ['content:*', '*', 'admin', 'content:read'],
  })
  scoped.get('/closed', closed, never(t))
  scoped.get(
    '/read',
    { config: { rbac: 'content:read' } },
    async () => 'a permission of the principal itself must match exactly',
  )
  checkRefusal(t, await scoped.inject('/closed'), 403)
  t.equal((await scoped.inject('/read')).statusCode, 200)
})

await t.test('names of members of Object.prototype are ordinary names', async (t) => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf']
  const app = await build(t, { id: 'x', roles: names, permissions: names })
  app.get('/closed', closed, never(t))
  checkRefusal(t, await app.inject('/closed'), 403)
  for (const name of names) {
    t.throws(() => app.rbac.hasPermission(['admin'], name), {
      code: 'PARAPET_RBAC_UNKNOWN_PERMISSION',
      statusCode: 500,
    })
    t.equal(app.rbac.hasPermission([name], 'content:read'), false)
    t.equal(app.rbac.explain({ id: 'x', roles: [name] }, 'content:read').allowed, false)
    t.equal(app.rbac.explain({ id: 'x', roles: ['admin'] }, name).reason, 'unknown_permission')
  }
  const odd = fromMap({ 'content:read': ['constructor', 'toString'] })
  const declared = await build(t, { id: 'x', roles: ['constructor'] }, { policy: odd })
  t.equal(declared.rbac.hasPermission(['constructor'], 'content:read'), true, 'a declared role')
  t.equal(declared.rbac.hasPermission(['valueOf'], 'content:read'), false)
  t.throws(() => fromMap({ 'content:read': ['__proto__'] }), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
  })
  t.throws(() => definePolicy(JSON.parse('{"permissions":[],"roles":{"__proto__":{}}}') as never), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
  })
})

await t.test('a polluted prototype grants nothing', async (t) => {
  const owned = definePolicy({
    permissions: ['doc:write'],
    resources: { doc: { ownerId: 'string', locked: 'boolean' } },
    roles: {
      author: {
        when: { 'doc:write': ({ resource, subject }) => eq(resource.ownerId, subject.id) },
      },
    },
    deny: [
      {
        id: 'locked',
        permissions: ['doc:write'],
        when: ({ resource }) => eq(resource.locked, true),
      },
    ],
  })
  const app = await build(t, { id: 'ann', roles: ['author'] }, { policy: owned })
  app.get(
    '/',
    { config: { rbac: { permission: 'doc:write', resource: () => ({ locked: false }) } } },
    never(t),
  )
  const prototype = Object.prototype as { ownerId?: string; rbac?: unknown; public?: string }
  prototype.ownerId = 'ann'
  prototype.public = 'polluted'
  try {
    checkRefusal(t, await app.inject('/'), 403)
  } finally {
    delete prototype.ownerId
    delete prototype.public
  }
})

await t.test('a polluted prototype gives a principal no permissions and no tenant', async (t) => {
  const tenants = definePolicy({
    permissions: ['doc:read', 'doc:write'],
    resources: { doc: { tenantId: 'string' } },
    roles: {
      user: {
        when: { 'doc:read': ({ resource, subject }) => eq(resource.tenantId, subject.tenantId) },
      },
      writer: { grants: ['doc:write'] },
    },
  })
  const app = Fastify()
  t.after(() => app.close())
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    request.principal = { id: 'x', roles: ['user'] }
  })
  await app.register(rbac, { policy: tenants })
  app.get(
    '/',
    { config: { rbac: { public: 'decides by itself' } } },
    async ({ rbac: access, principal }) => [
      access.can('doc:read', { tenantId: 't1' }),
      access.can('doc:write'),
      app.rbac.explain(principal, 'doc:write').allowed,
    ],
  )
  const prototype = Object.prototype as { tenantId?: string; permissions?: string[] }
  prototype.tenantId = 't1'
  prototype.permissions = ['doc:write']
  try {
    t.same((await app.inject('/')).json(), [false, false, false])
  } finally {
    delete prototype.tenantId
    delete prototype.permissions
  }
})

await t.test(
  'a role name with separators of the cache key does not match another entry',
  async (t) => {
    const many = fromMap({ 'a:b': ['r0', 'r1'], 'a:c': ['r2'] })
    const app = await build(t, null, { policy: many })
    t.equal(app.rbac.hasPermission(['0,1;'], 'a:b'), false)
    t.equal(app.rbac.hasPermission(['r2', 'r0'], 'a:b'), true)
    t.equal(app.rbac.hasPermission(['r2', 'r0,r1'], 'a:b'), false)
    t.equal(app.rbac.hasPermission(['2', '0'], 'a:b'), false)
  },
)

await t.test('a hierarchy of a thousand roles works, and a cycle in it is found', async (t) => {
  const roles: Record<string, { grants?: ['a:b']; inherits?: string[] }> = Object.fromEntries(
    Array.from({ length: 1000 }, (_, i) => [
      `r${i}`,
      i === 0 ? { grants: ['a:b'] } : { inherits: [`r${i - 1}`] },
    ]),
  )
  const deep = definePolicy({ permissions: ['a:b'], roles })
  const app = await build(t, { id: 'x', roles: ['r999'] }, { policy: deep })
  t.equal(app.rbac.hasPermission(['r999'], 'a:b'), true)
  const explanation = app.rbac.explain({ id: 'x', roles: ['r999'] }, 'a:b')
  t.equal(explanation.grants[0]?.path.length, 1000)
  const cycle: typeof roles = { ...roles, r0: { inherits: ['r999'] } }
  t.throws(() => definePolicy({ permissions: ['a:b'], roles: cycle }), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    message: /roles: must not inherit in a cycle/,
  })
})

await t.test('a missing attribute denies in grants, under not and in deny rules', async (t) => {
  const careful = definePolicy({
    permissions: ['doc:a', 'doc:b', 'doc:c', 'doc:d', 'doc:e'],
    resources: { doc: { tenantId: 'string', hold: 'boolean', readers: 'string[]' } },
    roles: {
      user: {
        grants: ['doc:d', 'doc:e'],
        when: {
          'doc:a': ({ resource, subject }) => eq(resource.tenantId, subject.tenantId),
          'doc:b': ({ resource }) => not(eq(resource.hold, true)),
          'doc:c': ({ resource, subject }) => not(has(resource.readers, subject.id)),
        },
      },
    },
    deny: [
      { id: 'hold', permissions: ['doc:d'], when: ({ resource }) => eq(resource.hold, true) },
      {
        id: 'foreign',
        permissions: ['doc:e'],
        when: ({ resource, subject }) => ne(resource.tenantId, subject.tenantId),
      },
    ],
  })
  const throwing = {
    get hold(): boolean {
      throw new Error('lazy loading failed')
    },
    get tenantId(): string {
      throw new Error('lazy loading failed')
    },
  }
  const decisions: unknown[] = []
  const app = await build(t, { id: 'ann', roles: ['user'] }, { policy: careful })
  app.get('/', { config: { rbac: { public: 'decides by itself' } } }, async ({ rbac: access }) => {
    for (const resource of [
      undefined,
      null,
      {},
      { hold: 'true', tenantId: 7, readers: 'ann' },
      throwing,
      'text',
    ]) {
      for (const name of careful.permissions) decisions.push(access.can(name, resource))
    }
  })
  await app.inject('/')
  t.equal(decisions.length, 30)
  t.ok(
    decisions.every((decision) => decision === false),
    'every check is denied',
  )
})

await t.test('a route that was declared before an un-awaited plugin keeps its rule', async (t) => {
  for (const [caller, status] of [
    [null, 401],
    [{ id: 'v', roles: ['viewer'] }, 403],
  ] as const) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(async (child) => {
      child.get('/child', closed, async () => t.fail('the handler ran'))
    })
    // Without await, Fastify declares the routes before it runs the plugin.
    void app.register(rbac, { policy, principal: () => caller })
    app.get('/declared', closed, async () => t.fail('the handler ran'))
    app.get('/public', { config: { rbac: { public: 'compiled at ready' } } }, async () => 'open')
    await app.ready()
    for (const url of ['/declared', '/child']) checkRefusal(t, await app.inject(url), status, url)
    t.equal((await app.inject('/public')).statusCode, 200)
    const { rows } = app.rbac.matrix()
    t.same(
      rows.filter(({ method }) => method === 'GET').map(({ url }) => url),
      ['/child', '/declared', '/public'],
      'the matrix has every route',
    )
    await testMatrix(app)
  }
})

await t.test('a route without a rule that is older than the plugin stops the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(async (child) => {
    child.get('/keys', async () => t.fail('the handler ran'))
  })
  void app.register(rbac, { policy })
  app.get('/undeclared', async () => t.fail('the handler ran'))
  app.get('/declared', closed, async () => t.fail('the handler ran'))
  await t.rejects(async () => app.ready(), {
    code: 'PARAPET_RBAC_UNDECLARED_ROUTES',
    statusCode: 500,
    message: /:\n  GET \/keys\n  GET \/undeclared$/,
  })
})

await t.test(
  'an invalid rule of a route that is older than the plugin stops the boot',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    app.get('/typo', { config: { rbac: 'content:raed' } }, async () => t.fail('the handler ran'))
    await app.register(rbac, { policy })
    await t.rejects(async () => app.ready(), {
      code: 'PARAPET_RBAC_INVALID_RULE',
      statusCode: 500,
      message: /GET \/typo uses the permission "content:raed"/,
    })
  },
)

await t.test(
  'only the option routes opens a route that was declared before the plugin',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    app.decorateRequest('principal', null)
    app.addHook('onRequest', async (request) => {
      const role = request.headers['x-role']
      if (typeof role === 'string') request.principal = { id: 'x', roles: [role] }
    })
    await app.register(
      async (login) => {
        login.post('/login', async () => 'token')
        login.get('/sessions', async () => {
          handled++
          return 'list'
        })
      },
      { prefix: '/auth' },
    )
    let handled = 0
    app.get('/old', async () => {
      handled++
      return 'old'
    })
    await app.register(rbac, {
      policy,
      routes: {
        'POST /auth/login': { public: 'the login itself' },
        'GET /auth/sessions': 'content:read',
        'GET /old': 'content:write',
      },
    })
    await app.ready()
    t.equal((await app.inject({ method: 'POST', url: '/auth/login' })).statusCode, 200)
    checkRefusal(t, await app.inject('/auth/sessions'), 401)
    const as = (role: string, url: string, method: 'GET' | 'HEAD' = 'GET') =>
      app.inject({ method, url, headers: { 'x-role': role } })
    checkRefusal(t, await as('viewer', '/old'), 403)
    checkRefusal(t, await as('viewer', '/old', 'HEAD'), 403)
    t.equal(handled, 0, 'no handler runs')
    t.equal((await as('viewer', '/auth/sessions')).statusCode, 200)
    t.equal((await as('admin', '/old')).statusCode, 200)
    const { rows } = app.rbac.matrix()
    t.same(
      rows.map(({ method, url }) => `${method} ${url}`),
      ['POST /auth/login', 'GET /auth/sessions', 'HEAD /auth/sessions', 'GET /old', 'HEAD /old'],
    )
  },
)

await t.test(
  'HEAD, OPTIONS, other spellings, prefixes and child contexts are guarded',
  async (t) => {
    const app = Fastify({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } })
    t.after(() => app.close())
    await app.register(rbac, { policy, principal: () => ({ id: 'v', roles: ['viewer'] }) })
    await app.register(
      async (child) => {
        child.get('/', closed, never(t))
        child.options('/', closed, never(t))
        child.head('/own', closed, never(t))
        await child.register(async (grandchild) => {
          grandchild.get('/deep', closed, never(t))
        })
      },
      { prefix: '/v1' },
    )
    for (const url of ['/v1', '/v1/', '/V1', '/v1?x=1', '/%761', '/v1/deep', '/v1/DEEP/']) {
      for (const method of ['GET', 'HEAD'] as const) {
        checkRefusal(t, await app.inject({ method, url }), 403, `${method} ${url}`)
      }
    }
    checkRefusal(t, await app.inject({ method: 'OPTIONS', url: '/v1' }), 403)
    checkRefusal(t, await app.inject({ method: 'HEAD', url: '/v1/own' }), 403)
    t.equal((await app.inject('/v1/nowhere')).statusCode, 404, 'an unknown path stays 404')
  },
)

await t.test('the 404 handler of the app is not guarded', async (t) => {
  const app = await build(t, null)
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).send({ gone: true }))
  const reply = await app.inject('/nowhere')
  t.equal(reply.statusCode, 404)
  t.same(reply.json(), { gone: true })
})

await t.test('a websocket upgrade is refused before the socket opens', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(websocket)
  await app.register(rbac, {
    policy,
    principal: ({ headers }) =>
      headers['x-role'] === undefined ? null : { id: 'x', roles: [String(headers['x-role'])] },
  })
  // The connection is closed at once, so the body of the reply may not arrive.
  const codes: string[] = []
  app.addHook('onError', async (_request, _reply, error) => void codes.push(error.code))
  let opened = 0
  app.get('/live', { websocket: true, ...closed }, (socket: { close(): void }) => {
    opened++
    socket.close()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  t.equal(await upgrade(port, {}), 401)
  t.equal(await upgrade(port, { 'x-role': 'viewer' }), 403)
  t.same(codes, ['PARAPET_RBAC_UNAUTHENTICATED', 'PARAPET_RBAC_DENIED'])
  t.equal(opened, 0, 'the handler does not run')
  t.equal(await upgrade(port, { 'x-role': 'admin' }), 101)
  t.equal(opened, 1)
})

function upgrade(port: number, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      port,
      host: '127.0.0.1',
      path: '/live',
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        ...headers,
      },
    })
    request.on('upgrade', ({ statusCode }, socket) => {
      socket.destroy()
      resolve(statusCode)
    })
    request.on('response', ({ statusCode }) => resolve(statusCode))
    request.on('error', reject)
    request.end()
  })
}

await t.test(
  'roles refuse a request before its body is read and before its resource is loaded',
  async (t) => {
    const app = await build(t, { id: 'v', roles: ['viewer'] })
    app.addContentTypeParser('text/plain', async () => t.fail('the body was parsed'))
    const resource = () => t.fail('the resource was loaded')
    app.post('/role', closed, never(t))
    app.post('/resource', { config: { rbac: { permission: 'content:write', resource } } }, never(t))
    for (const url of ['/role', '/resource']) {
      const reply = await app.inject({
        method: 'POST',
        url,
        headers: { 'content-type': 'text/plain' },
        body: 'x'.repeat(10_000),
      })
      checkRefusal(t, reply, 403, url)
    }
  },
)

const failing = () => Promise.reject(new Error('the database is down'))

await t.test('if loading the resource fails, the handler does not run', async (t) => {
  const app = await build(t, { id: 'root', roles: ['admin'] })
  app.get('/', { config: { rbac: { permission: 'content:read', resource: failing } } }, never(t))
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 500)
  t.equal(reply.json<{ message: string }>().message, 'the database is down')
})

await t.test('a config object that two routes share is not changed', async (t) => {
  const app = await build(t, { id: 'v', roles: ['viewer'] })
  const shared = Object.freeze({ rbac: 'content:write' as const })
  app.get('/one', { config: shared }, never(t))
  app.get('/two', { config: shared }, never(t))
  checkRefusal(t, await app.inject('/one'), 403)
  checkRefusal(t, await app.inject('/two'), 403)
  t.same(Reflect.ownKeys(shared), ['rbac'])
})

await t.test(
  'if the principal changes during a request, decisions are made for the new one',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    app.decorateRequest('principal', null)
    await app.register(rbac, { policy })
    app.get('/', { config: { rbac: { public: 'switches' } } }, async (request) => {
      const before = request.rbac.can('content:write')
      request.principal = { id: 'root', roles: ['admin'] }
      const during = request.rbac.can('content:write')
      request.principal = { id: 'root', roles: ['viewer'] }
      return [before, during, request.rbac.can('content:write')]
    })
    t.same((await app.inject('/')).json(), [false, true, false])
  },
)

await t.test('a principal that violates a separation of duty has no rights', async (t) => {
  const duties = definePolicy({
    permissions: ['payment:request', 'payment:approve'],
    roles: {
      requester: { grants: ['payment:request'] },
      approver: { grants: ['payment:approve'] },
      head: { inherits: ['approver'] },
    },
    sod: [{ id: 'four eyes', roles: ['requester', 'approver'] }],
  })
  const clock = createManualClock()
  const app = await build(t, { id: 'x', roles: ['requester', 'head'] }, { policy: duties, clock })
  const reasons: string[] = []
  app.securityEvents.on('rbac.denied', ({ details }) => void reasons.push(details.reason))
  app.get('/', { config: { rbac: { any: ['payment:request', 'payment:approve'] } } }, never(t))
  checkRefusal(t, await app.inject('/'), 403)
  t.same(reasons, ['separation_of_duty'])
  t.equal(app.rbac.hasPermission(['requester', 'head'], 'payment:request'), false)
  const until = clock.now() + 1000
  await t.rejects(app.rbac.grant('head', { id: 'ann', roles: ['requester'] }, { until }), {
    code: 'PARAPET_RBAC_SEPARATION_OF_DUTY',
    statusCode: 409,
  })
  await app.rbac.grant('approver', 'ann', { until })
  await t.rejects(app.rbac.grant('requester', 'ann', { until }), {
    code: 'PARAPET_RBAC_SEPARATION_OF_DUTY',
    statusCode: 409,
  })
})

await t.test('registering it after the step-up plugin stops the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  declarePhase(app, '@parapet/mfa', 'step-up')
  await t.rejects(
    async () => {
      await app.register(rbac, { policy })
    },
    { code: 'PARAPET_KIT_WRONG_ORDER', message: /must be registered before @parapet\/mfa/ },
  )
})

await t.test('policy, decisions, filters and AuthZEN generate no code from text', async (t) => {
  // Fastify's router generates code and no option disables that, so this process runs the parts of
  // the plugin without an app. The next test watches a whole app.
  const folder = mkdtempSync(fileURLToPath(new URL('.strict-', import.meta.url)))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(
    `${folder}/app.ts`,
    `import { definePolicy, during, eq, or } from '@parapet/rbac'
     import { Engine } from '../../src/decide/engine.ts'
     import { compilePolicy } from '../../src/policy/compile-policy.ts'
     import { createFilter } from '../../src/decide/filter.ts'
     import { explain } from '../../src/review/explain.ts'
     import { readEvaluation } from '../../src/authzen/evaluation.ts'
     import { readRule } from '../../src/decide/route-rule.ts'
     import { RuleGuard } from '../../src/decide/rule-guard.ts'
     try { new Function('return 1'); throw new Error('the flag is off') } catch (e) { if (!(e instanceof EvalError)) throw e }
     const policy = definePolicy({
       permissions: ['a:b'],
       resources: { a: { ownerId: 'string' } },
       roles: { r: { when: { 'a:b': ({ resource, subject, environment }) => or(
         eq(resource.ownerId, subject.id),
         during(environment.time, { from: '00:00', until: '00:01', timeZone: 'Europe/Berlin' }),
       ) } } },
     })
     const principal = { id: 'ann', roles: ['r'] }
     const context = { principal, subject: undefined, resource: { ownerId: 'ann' },
       environment: { time: 43_200_000 }, facts: undefined }
     const engine = new Engine(compilePolicy(policy))
     const rights = engine.rightsOf(principal)
     const id = engine.permissionIds.get('a:b')!
     console.log(
       new RuleGuard((readRule('a:b') as { node: never }).node, engine).rightOf(rights),
       engine.decide(rights, id, context).allowed,
       createFilter(engine, rights, id, context).sql().text,
       explain(engine.model, ['r'], 'a:b', context).allowed,
       typeof readEvaluation({ subject: {}, action: {}, resource: {} }),
     )`,
  )
  const [command, args] = plainNode(['--disallow-code-generation-from-strings', `${folder}/app.ts`])
  const { stdout } = await promisify(execFile)(command, args)
  t.equal(stdout.trim(), 'conditional true (("ownerId" = $1)) true string')
})

await t.test('in a whole app, only the router generates code from text', async (t) => {
  const authors: string[] = []
  const { Function: native } = globalThis
  globalThis.Function = new Proxy(native, {
    construct(target, args) {
      // Frames: the error, this trap, the caller.
      authors.push(new Error('code from text').stack!.split('\n')[2]!)
      return Reflect.construct(target, args) as object
    },
  })
  t.after(() => void (globalThis.Function = native))
  const owned = definePolicy({
    permissions: ['doc:read', 'doc:write'],
    resources: { doc: { ownerId: 'string' } },
    roles: {
      user: {
        grants: ['doc:read'],
        when: { 'doc:write': ({ resource, subject }) => eq(resource.ownerId, subject.id) },
      },
    },
  })
  const caller = { id: 'ann', roles: ['user'] }
  const app = await build(t, caller, {
    policy: owned,
    authzen: {
      subject: () => caller,
      rule: 'doc:read',
      baseUrl: 'https://pdp.example.com',
      trustedResourceProperties: ['ownerId'],
    },
  })
  const own = { permission: 'doc:write', resource: () => ({ ownerId: 'ann' }) } as const
  app.put('/', { config: { rbac: own } }, async (request) => {
    await request.rbac.authorize('doc:read')
    return request.rbac.filter('doc:write').sql().text
  })
  t.equal((await app.inject({ method: 'PUT', url: '/' })).body, '(("ownerId" = $1))')
  const decision = await app.inject({
    method: 'POST',
    url: '/access/v1/evaluation',
    body: {
      subject: { type: 'user', id: 'ann' },
      action: { name: 'write' },
      resource: { type: 'doc', id: '1', properties: { ownerId: 'ann' } },
    },
  })
  t.same(decision.json(), { decision: true })
  await app.rbac.publish(owned)
  await testMatrix(app)
  t.ok(app.rbac.explain(caller, 'doc:write', own.resource()).allowed)
  t.ok(authors.length > 0, 'the trap works')
  t.same(
    authors.filter((frame) => !frame.includes('/node_modules/find-my-way/')),
    [],
  )
})
