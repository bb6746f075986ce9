import {
  createManualClock,
  problemErrorHandler,
  type Principal,
  type SecurityEvent,
} from '@parapet/kit'
import { definePolicy, eq, fromMap, or, rbac, testMatrix, type RbacOptions } from '@parapet/rbac'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'

const policy = definePolicy({
  permissions: [
    'content:read',
    'content:write',
    'content:delete',
    'content:read_drafts',
    'settings:manage',
  ],
  resources: {
    content: {
      id: 'string',
      tenantId: 'string',
      ownerId: 'string',
      live: 'boolean',
      legalHold: 'boolean',
    },
  },
  roles: {
    viewer: { when: { 'content:read': ({ resource }) => eq(resource.live, true) } },
    author: {
      inherits: ['viewer'],
      grants: ['content:read_drafts'],
      when: { 'content:write': ({ subject, resource }) => eq(resource.ownerId, subject.id) },
    },
    editor: { inherits: ['author'], grants: ['content:*'] },
    admin: { grants: ['*'] },
    requester: {},
    approver: {},
  },
  deny: [
    {
      id: 'legal-hold',
      permissions: ['content:delete'],
      when: ({ resource }) => eq(resource.legalHold, true),
    },
  ],
  sod: [{ id: 'payment', roles: ['requester', 'approver'] }],
  fields: { content: { ownerId: 'content:read_drafts' } },
})

const records: Record<string, object> = {
  live: { id: 'live', ownerId: 'ann', live: true, legalHold: false },
  draft: { id: 'draft', ownerId: 'ann', live: false, legalHold: false },
  held: { id: 'held', ownerId: 'ann', live: true, legalHold: true },
}

interface Built {
  readonly app: FastifyInstance
  readonly events: SecurityEvent[]
  readonly handled: string[]
}

/** The caller is written into headers, as a login would read them out of a token. */
const principal = (request: { headers: Record<string, unknown> }): Principal | null => {
  const { 'x-user': id, 'x-roles': roles } = request.headers as Record<string, string | undefined>
  return id === undefined
    ? null
    : { id, roles: roles === undefined || roles === '' ? [] : roles.split(',') }
}
const as = (id: string, ...roles: string[]) => ({ 'x-user': id, 'x-roles': roles.join(',') })

const resource = ({ params }: { params: unknown }): object | null =>
  records[(params as { id: string }).id] ?? null

async function build(t: Test, options: Partial<RbacOptions> = {}): Promise<Built> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy, principal, ...options })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const handled: string[] = []
  const answer = (id: string) => async () => {
    handled.push(id)
    return { id }
  }
  app.get('/health', { config: { rbac: { public: 'liveness probe' } } }, answer('health'))
  app.get('/me', { config: { rbac: { authenticated: 'everybody sees themselves' } } }, answer('me'))
  app.get('/settings', { config: { rbac: 'settings:manage' } }, answer('settings'))
  app.get(
    '/content/:id',
    { config: { rbac: { permission: 'content:read', resource, hideAs: 404 } } },
    answer('read'),
  )
  app.put(
    '/content/:id',
    { config: { rbac: { permission: 'content:write', resource } } },
    answer('write'),
  )
  app.delete(
    '/content/:id',
    { config: { rbac: { permission: 'content:delete', resource } } },
    answer('delete'),
  )
  app.get(
    '/either',
    {
      config: {
        rbac: { any: ['settings:manage', { all: ['content:read_drafts', 'content:write'] }] },
      },
    },
    answer('either'),
  )
  return { app, events, handled }
}

const statusOf = async (
  app: FastifyInstance,
  method: 'GET' | 'PUT' | 'DELETE',
  url: string,
  headers = {},
) => (await app.inject({ method, url, headers })).statusCode

const withoutPath = (body: string) => body.replaceAll(/\/(content|nowhere)\/\w+/g, '')

await t.test('a route lets pass who has its permission, and nobody else', async (t) => {
  const { app, handled } = await build(t)
  t.equal(await statusOf(app, 'GET', '/settings', as('root', 'admin')), 200)
  t.same(handled, ['settings'])
  t.equal(await statusOf(app, 'GET', '/settings', as('ann', 'editor', 'nobody-knows')), 403)
  t.equal(await statusOf(app, 'GET', '/settings', as('ann')), 403)
  t.same(handled, ['settings'], 'no other handler ran')
})

await t.test('an anonymous caller gets 401 with WWW-Authenticate, a known one 403', async (t) => {
  for (const handler of [undefined, problemErrorHandler]) {
    const { app, handled } = await build(t, { challenge: 'Bearer realm="content"' })
    if (handler !== undefined) app.setErrorHandler(handler)
    const anonymous = await app.inject('/settings')
    t.equal(anonymous.statusCode, 401)
    t.equal(anonymous.headers['www-authenticate'], 'Bearer realm="content"')
    t.equal(anonymous.json<{ code: string }>().code, 'PARAPET_RBAC_UNAUTHENTICATED')
    const known = await app.inject({ url: '/settings', headers: as('ann', 'viewer') })
    t.equal(known.statusCode, 403)
    t.equal(known.headers['www-authenticate'], undefined)
    t.equal(known.json<{ code: string }>().code, 'PARAPET_RBAC_DENIED')
    t.same(handled, [])
  }
})

await t.test(
  'public routes answer everybody, authenticated ones everybody who is signed in',
  async (t) => {
    const { app } = await build(t)
    t.equal(await statusOf(app, 'GET', '/health'), 200)
    t.equal(await statusOf(app, 'GET', '/me'), 401)
    t.equal(await statusOf(app, 'GET', '/me', as('ann')), 200)
  },
)

await t.test('any and all combine permissions', async (t) => {
  const { app } = await build(t)
  t.equal(await statusOf(app, 'GET', '/either', as('root', 'admin')), 200)
  t.equal(await statusOf(app, 'GET', '/either', as('eve', 'editor')), 200)
  t.equal(
    await statusOf(app, 'GET', '/either', as('ann', 'author')),
    403,
    'writing hangs on a resource',
  )
  t.equal(await statusOf(app, 'GET', '/either', as('ann', 'viewer')), 403)
})

await t.test('conditions look at the resource that the rule loads', async (t) => {
  const { app } = await build(t)
  t.equal(await statusOf(app, 'PUT', '/content/draft', as('ann', 'author')), 200)
  t.equal(await statusOf(app, 'PUT', '/content/draft', as('bob', 'author')), 403)
  t.equal(
    await statusOf(app, 'PUT', '/content/none', as('ann', 'author')),
    403,
    'no resource, no owner',
  )
  t.equal(await statusOf(app, 'DELETE', '/content/live', as('eve', 'editor')), 200)
  t.equal(
    await statusOf(app, 'DELETE', '/content/held', as('root', 'admin')),
    403,
    'a deny rule overrides',
  )
})

await t.test('hideAs makes a refusal look as if there were nothing', async (t) => {
  const { app, handled } = await build(t)
  const ask = async (url: string) => app.inject({ url, headers: as('vic', 'viewer') })
  const [hidden, missing, unrouted] = [
    await ask('/content/draft'),
    await ask('/content/none'),
    await ask('/nowhere/x'),
  ]
  for (const reply of [hidden, missing, unrouted]) t.equal(reply.statusCode, 404)
  t.equal(withoutPath(hidden.body), withoutPath(missing.body))
  t.equal(withoutPath(hidden.body), withoutPath(unrouted.body))
  t.same(Object.keys(hidden.headers), Object.keys(unrouted.headers))
  t.same(handled, [])
  t.equal(
    (await app.inject({ url: '/content/live', headers: as('vic', 'viewer') })).statusCode,
    200,
  )
  t.equal(
    (await app.inject({ url: '/content/live', headers: as('no-role') })).statusCode,
    404,
    'before loading, too',
  )
  t.equal((await app.inject('/content/live')).statusCode, 401, 'a login comes first')
})

await t.test('a handler reads the loaded resource, and asks further questions', async (t) => {
  const { app } = await build(t)
  app.get(
    '/inside/:id',
    {
      config: {
        rbac: {
          permission: 'content:read',
          resource: ({ params }) => records[(params as { id: string }).id],
        },
      },
    },
    async ({ rbac: access }) => ({
      resource: access.resource,
      write: access.can('content:write', access.resource),
      bare: access.can('content:write'),
      masked: access.mask('content:read', records['live']!),
    }),
  )
  const ann = await app.inject({ url: '/inside/live', headers: as('ann', 'author') })
  t.same(ann.json(), {
    resource: records['live'],
    write: true,
    bare: false,
    masked: records['live'],
  })
  const vic = await app.inject({ url: '/inside/live', headers: as('vic', 'viewer') })
  t.equal(vic.json<{ write: boolean }>().write, false)
  t.notOk(
    'ownerId' in vic.json<{ masked: object }>().masked,
    'a field with a permission of its own',
  )
})

await t.test('authorize throws what the guard would answer', async (t) => {
  const { app } = await build(t)
  app.get('/ask', { config: { rbac: { public: 'decides by itself' } } }, async (request) => {
    await request.rbac.authorize('content:write', records['live'])
    return 'done'
  })
  t.equal(await statusOf(app, 'GET', '/ask'), 401)
  t.equal((await app.inject('/ask')).headers['www-authenticate'], 'Bearer')
  t.equal(await statusOf(app, 'GET', '/ask', as('bob', 'author')), 403)
  t.equal(await statusOf(app, 'GET', '/ask', as('ann', 'author')), 200)
})

await t.test('mask leaves nothing of a record that may not be seen at all', async (t) => {
  const { app } = await build(t)
  app.get('/mask', { config: { rbac: { public: 'masks' } } }, async ({ rbac: access }) =>
    access.mask('content:read', records['draft']!),
  )
  t.same((await app.inject({ url: '/mask', headers: as('vic', 'viewer') })).json(), {})
  t.same((await app.inject('/mask')).json(), {})
})

await t.test('mask takes one record: the fields of a list would go by unseen', async (t) => {
  const { app } = await build(t)
  const list = Object.values(records)
  app.get('/mask', { config: { rbac: { public: 'masks' } } }, async ({ rbac: access }) =>
    access.mask('content:read', list),
  )
  const reply = await app.inject({ url: '/mask', headers: as('root', 'admin') })
  t.equal(reply.statusCode, 500)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_RBAC_INVALID_ARGUMENT')
})

await t.test('facts are asked for when a condition needs them, and in time', async (t) => {
  const clock = createManualClock()
  const withFacts = definePolicy({
    permissions: ['team:join', 'team:see'],
    resources: { team: { id: 'string' } },
    facts: { invited: 'boolean' },
    roles: {
      guest: {
        grants: ['team:see'],
        when: {
          'team:join': ({ fact, resource }) => or(eq(resource.id, 'open'), eq(fact.invited, true)),
        },
      },
    },
  })
  const asked: unknown[] = []
  let answer: () => unknown = Boolean.bind(null, true)
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, {
    policy: withFacts,
    principal,
    clock,
    factTimeoutMs: 500,
    facts: {
      invited: ({ principal: { id }, resource }) => {
        asked.push([id, resource])
        return answer()
      },
    },
  })
  app.get(
    '/join',
    { config: { rbac: { permission: 'team:join', resource: () => ({ id: 't1' }) } } },
    async () => 'in',
  )
  app.get('/bare', { config: { rbac: 'team:join' } }, async () => 'in')
  app.get('/see', { config: { rbac: 'team:see' } }, async (request) =>
    request.rbac.can('team:join', { id: 't1' }),
  )
  t.equal(await statusOf(app, 'GET', '/join', as('ann', 'guest')), 200)
  t.same(asked, [['ann', { id: 't1' }]])
  t.equal(
    (await app.inject({ url: '/see', headers: as('ann', 'guest') })).body,
    'false',
    'can does not wait for facts',
  )
  t.equal(asked.length, 1, 'and a rule without them does not ask')
  t.equal(await statusOf(app, 'GET', '/bare', as('ann', 'guest')), 200, 'decided before the body')
  for (const bad of [
    () => false,
    () => 'yes',
    () => undefined,
    () => Promise.reject(new Error('down')),
  ]) {
    answer = bad
    t.equal(await statusOf(app, 'GET', '/join', as('ann', 'guest')), 403, String(bad))
  }
  let release: (() => void) | undefined
  const called = new Promise<void>((resolve) => {
    answer = () => {
      resolve()
      return new Promise((late) => (release = () => late(true)))
    }
  })
  const slow = app.inject({ url: '/join', headers: as('ann', 'guest') })
  await called
  clock.advance(500)
  t.equal((await slow).statusCode, 403, 'a fact that comes too late is unknown')
  release?.()
})

await t.test('requirePermission guards a route by itself', async (t) => {
  const { app } = await build(t)
  app.get(
    '/by-hook',
    { preHandler: app.rbac.requirePermission('settings:manage') },
    async () => 'in',
  )
  app.get(
    '/both/:id',
    {
      config: { rbac: { permission: 'content:read_drafts', resource } },
      preHandler: app.rbac.requirePermission('content:write'),
    },
    async () => 'in',
  )
  t.equal(await statusOf(app, 'GET', '/by-hook'), 401)
  t.equal(await statusOf(app, 'GET', '/by-hook', as('ann', 'editor')), 403)
  t.equal(await statusOf(app, 'GET', '/by-hook', as('root', 'admin')), 200)
  t.equal(
    await statusOf(app, 'GET', '/both/draft', as('ann', 'author')),
    200,
    'on the resource that was loaded',
  )
  t.equal(await statusOf(app, 'GET', '/both/draft', as('bob', 'author')), 403)
  t.throws(() => app.rbac.requirePermission('settings:mange'), {
    code: 'PARAPET_RBAC_UNKNOWN_PERMISSION',
    statusCode: 500,
  })
})

await t.test('hasPermission asks roles alone', async (t) => {
  const { app } = await build(t)
  const hasPermission = (roles: string[], name: string) => app.rbac.hasPermission(roles, name)
  t.equal(hasPermission(['admin'], 'settings:manage'), true)
  t.equal(hasPermission(['viewer', 'editor'], 'content:write'), true)
  t.equal(hasPermission(['author'], 'content:write'), false, 'it hangs on the owner')
  t.equal(hasPermission(['admin'], 'content:delete'), false, 'a deny rule may match')
  t.equal(hasPermission([], 'content:read'), false)
  const plain = Fastify()
  t.after(() => plain.close())
  await plain.register(rbac, {
    policy: fromMap({ 'a:read': ['viewer', 'admin'], 'a:write': ['admin'] }),
  })
  t.equal(plain.rbac.hasPermission(['viewer', 'constructor'], 'a:read'), true)
  t.equal(plain.rbac.hasPermission(['viewer'], 'a:write'), false)
})

await t.test('explain tells the way to a grant, and the nearest miss', async (t) => {
  const { app } = await build(t)
  const explain: typeof app.rbac.explain = (...args) => app.rbac.explain(...args)
  const ann = { id: 'ann', roles: ['editor'] }
  const granted = explain(ann, 'content:read', records['draft'])
  t.match(granted, { allowed: true, reason: 'granted' })
  t.match(granted.text, /editor grants "content:\*"/)
  const inherited = explain({ id: 'ann', roles: ['author'] }, 'content:read', records['live'])
  t.same(inherited.grants[0]?.path, ['author', 'viewer'])
  t.match(inherited.text, /resource\.live \(true\) = true/)
  const missed = explain({ id: 'bob', roles: ['author'] }, 'content:write', records['live'])
  t.match(missed, { allowed: false, reason: 'condition_failed' })
  t.match(
    missed.text,
    /the role "author" grants it when resource\.ownerId \("ann"\) = subject\.id \("bob"\)/,
  )
  const none = explain({ id: 'vic', roles: ['viewer'] }, 'settings:manage')
  t.match(none, { reason: 'no_grant', nearestMisses: ['the role "admin" would allow it'] })
  t.match(explain(ann, 'content:delete', records['held']).text, /deny rule "legal-hold" matches/)
  t.match(explain(ann, 'content:delete').text, /resource\.legalHold \(missing\)/)
  t.match(explain({ id: 'x', roles: ['requester', 'approver'] }, 'content:read'), {
    reason: 'separation_of_duty',
  })
  t.match(explain(null, 'content:read'), { allowed: false, reason: 'anonymous' })
  t.match(explain(ann, 'content:raed'), { allowed: false, reason: 'unknown_permission' })
})

await t.test('whoCan names roles, and who has them for a time', async (t) => {
  const clock = createManualClock()
  const { app, events } = await build(t, { clock })
  await app.rbac.grant('admin', 'ann', { until: clock.now() + 1000 })
  t.same(app.rbac.whoCan('content:delete'), [
    { role: 'editor', right: 'conditional', granted: [] },
    { role: 'admin', right: 'conditional', granted: ['ann'] },
  ])
  t.same(app.rbac.whoCan('settings:manage'), [{ role: 'admin', right: 'allow', granted: ['ann'] }])
  t.match(events, [{ type: 'rbac.role_granted', details: { role: 'admin', grantee: 'ann' } }])
})

await t.test('the matrix shows every route against every role, in three forms', async (t) => {
  const { app } = await build(t)
  const matrix = app.rbac.matrix()
  t.same(JSON.parse(JSON.stringify(matrix)), {
    policyDigest: app.rbac.policyDigest,
    roles: ['viewer', 'author', 'editor', 'admin', 'requester', 'approver'],
    rows: matrix.rows,
  })
  const row = matrix.rows.find(({ method, url }) => method === 'PUT' && url === '/content/:id')
  t.match(row, {
    rule: 'content:write',
    anonymous: 'deny',
    roles: {
      viewer: 'deny',
      author: 'conditional',
      editor: 'allow',
      admin: 'allow',
      requester: 'deny',
    },
  })
  t.match(matrix.toMarkdown(), /\| GET \/health \| public: liveness probe \| ● \| ● /)
  t.match(
    matrix.toHtml(),
    /<td>GET \/either<\/td><td>\(settings:manage or \(content:read_drafts and content:write\)\)<\/td>/,
  )
  t.ok(
    matrix.rows.some(({ method }) => method === 'HEAD'),
    'HEAD twins are routes',
  )
})

await t.test('testMatrix asks every route as every role, through the real hooks', async (t) => {
  const { app, handled } = await build(t)
  t.same(
    await testMatrix(app),
    { checked: 12 * 7 },
    '7 routes and 5 HEAD twins, 6 roles and nobody',
  )
  t.same(handled, [], 'no handler ran')
  const broken = await build(t)
  broken.app.addHook('onRoute', (route: RouteOptions) => {
    route.onRequest = async (request, reply) =>
      request.url === '/new' ? reply.code(204).send() : undefined
  })
  broken.app.get('/new', { config: { rbac: 'settings:manage' } }, async () => 'in')
  t.same(
    await testMatrix(broken.app),
    { checked: 14 * 7 },
    'a route hook cannot run before the guard',
  )
  const opened = await build(t)
  opened.app.get('/digits/:id(^\\d+$)', { config: { rbac: 'settings:manage' } }, async () => 'in')
  opened.app.get('/files/*', { config: { rbac: 'settings:manage' } }, async () => 'in')
  opened.app.get('/iso/:id([a-c]{2})', { config: { rbac: 'settings:manage' } }, async () => 'in')
  await t.rejects(testMatrix(opened.app), {
    code: 'PARAPET_RBAC_MATRIX_MISMATCH',
    message: /GET \/iso\/:id\(\[a-c\]\{2\}\): role "admin" should be let in, and got 404/,
  })
  const urls = { 'GET /iso/:id([a-c]{2})': '/iso/ab', 'HEAD /iso/:id([a-c]{2})': '/iso/ab' }
  t.match(await testMatrix(opened.app, { urls }), { checked: 18 * 7 })
})

await t.test('a probe outside testMatrix is nobody', async (t) => {
  const { app } = await build(t)
  await testMatrix(app)
  t.equal(await statusOf(app, 'GET', '/settings', { 'x-parapet-probe': 'admin' }), 401)
})

await t.test('events tell who was refused, what, and why; allowed ones are a sample', async (t) => {
  const { app, events } = await build(t)
  await app.inject({ url: '/settings', headers: as('ann', 'editor') })
  await app.inject({ url: '/settings', headers: as('root', 'admin') })
  await app.inject({ url: '/health' })
  t.equal(events.length, 1)
  t.match(events[0], {
    type: 'rbac.denied',
    severity: 'low',
    outcome: 'failure',
    principalId: 'ann',
    route: 'GET /settings',
    details: {
      permissions: ['settings:manage'],
      roles: ['editor'],
      reason: 'no_grant',
      policyDigest: app.rbac.policyDigest,
    },
  })
  const all = await build(t, { allowedSampleRatio: 1 })
  await all.app.inject({ url: '/settings', headers: as('root', 'admin') })
  await all.app.inject({ method: 'PUT', url: '/content/live', headers: as('ann', 'author') })
  t.same(
    all.events.map(({ type }) => type),
    ['rbac.allowed', 'rbac.allowed'],
  )
  const some = await build(t, { allowedSampleRatio: 0.5 })
  for (let i = 0; i < 64; i++)
    await some.app.inject({ url: '/settings', headers: as('root', 'admin') })
  t.ok(some.events.length > 5 && some.events.length < 59, `${some.events.length} of 64`)
})

await t.test('routes of other plugins are declared by the option routes', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, {
    policy,
    principal,
    routes: {
      'GET /docs/**': { public: 'the documentation' },
      '* /internal/**': 'settings:manage',
      'OPTIONS *': { public: 'CORS preflight' },
    },
  })
  await app.register(async (child) => {
    child.get('/docs', async () => 'docs')
    child.get('/docs/static/*', async () => 'file')
    child.route({ method: ['GET', 'POST'], url: '/internal/jobs', handler: async () => 'jobs' })
    child.options('*', async () => '')
  })
  t.equal(await statusOf(app, 'GET', '/docs'), 200)
  t.equal((await app.inject({ method: 'HEAD', url: '/docs/static/x' })).statusCode, 200)
  t.equal(await statusOf(app, 'GET', '/internal/jobs', as('ann', 'editor')), 403)
  t.equal(await statusOf(app, 'GET', '/internal/jobs', as('root', 'admin')), 200)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/anything' })).statusCode, 200)
  const unused = Fastify()
  t.after(() => unused.close())
  await unused.register(rbac, { policy, routes: { 'GET /gone': { public: 'nothing there' } } })
  await t.rejects(async () => unused.ready(), {
    code: 'PARAPET_RBAC_INVALID_OPTION',
    message: /GET \/gone: names no route/,
  })
})

await t.test(
  'a route that says nothing stops the boot, and the error lists all of them',
  async (t) => {
    const { app } = await build(t)
    app.get('/forgotten', async () => 'open')
    await app.register(
      async (child) => {
        child.post('/forgotten', async () => 'open')
        child.route({ method: ['PUT', 'OPTIONS'], url: '/many', handler: async () => 'open' })
      },
      { prefix: '/v1' },
    )
    const error = await app.ready().then(
      () => t.fail('the app started'),
      (caught: Error & { code: string }) => caught,
    )
    t.match(error, { code: 'PARAPET_RBAC_UNDECLARED_ROUTES', statusCode: 500 })
    for (const route of [
      'GET /forgotten',
      'POST /v1/forgotten',
      'PUT /v1/many',
      'OPTIONS /v1/many',
    ]) {
      t.match((error as Error).message, `\n  ${route}`)
    }
    t.notMatch((error as Error).message, 'HEAD', 'a HEAD twin is its GET')
  },
)

await t.test('a rule that cannot be read stops the boot', async (t) => {
  const refused: readonly [unknown, RegExp][] = [
    ['content:wirte', /names the permission "content:wirte", which the policy does not declare/],
    [{ any: [] }, /"any" must list at least one permission/],
    [{ all: ['content:read', { none: ['x'] }] }, /must name permissions/],
    [{ permission: 'content:read', any: ['content:read'] }, /exactly one of/],
    [{ public: '' }, /needs the reason in words/],
    [{ public: true }, /needs the reason in words/],
    [{ public: 'all of it', hideAs: 404 }, /goes with nothing else/],
    [{ permission: 'content:read', hideAs: 403 }, /can only be 404/],
    [{ permission: 'content:read', resource: 'id' }, /must be a function/],
    [{ permision: 'content:read' }, /unknown key "permision"/],
    [true, /must be a permission/],
    ['', /must name permissions/],
  ]
  for (const [rule, message] of refused) {
    const { app } = await build(t)
    t.throws(() => app.get('/broken', { config: { rbac: rule as never } }, async () => 'never'), {
      code: 'PARAPET_RBAC_INVALID_RULE',
      statusCode: 500,
      message,
    })
  }
})

await t.test('an option that is unknown or out of range stops the boot', async (t) => {
  const refused: readonly [object, RegExp][] = [
    [{ polcy: policy }, /did you mean "policy"/],
    [{ policy: null }, /policy: must be a policy/],
    [{ policy, factTimeoutMs: 0 }, /factTimeoutMs: must be a whole number/],
    [
      { policy, refreshMs: 60_000, maxStalenessMs: 1000 },
      /maxStalenessMs: must be longer than refreshMs/,
    ],
    [{ policy, store: { publish: () => {}, subscribe: () => {} } }, /store: needs a policyStore/],
    [
      { policy, authzen: { rule: 'content:read', baseUrl: 'https://pdp/x' } },
      /authzen\.subject: must be a function/,
    ],
    [{ policy, routes: { '/docs': { public: 'docs' } } }, /routes\.\/docs: must be a method/],
    [{ policy, challenge: 'Bearer\r\nx: y' }, /challenge: must match/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(rbac, options as RbacOptions)
      },
      { code: 'PARAPET_RBAC_INVALID_OPTION', statusCode: 500, message },
    )
  }
})

await t.test('a fact without a finder stops the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const withFact = definePolicy({ permissions: ['a:b'], facts: { known: 'boolean' }, roles: {} })
  await t.rejects(
    async () => {
      await app.register(rbac, { policy: withFact })
    },
    {
      code: 'PARAPET_RBAC_INVALID_OPTION',
      message: /facts\.known: is declared in the policy and has no finder/,
    },
  )
})

await t.test('a context of its own stays on its own', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(async (child) => {
    await child.register(rbac, { policy, principal })
    child.get('/inside', { config: { rbac: 'settings:manage' } }, async () => 'inside')
  })
  app.get('/outside', async () => 'outside')
  t.equal(await statusOf(app, 'GET', '/inside'), 401)
  t.equal(await statusOf(app, 'GET', '/outside'), 200, 'no plugin, no guard')
  t.notOk(app.hasDecorator('rbac'))
})

await t.test('callers at the same time are told apart', async (t) => {
  const { app } = await build(t)
  const roles = Array.from({ length: 30 }, (_, i) => ['admin', 'editor', 'viewer'][i % 3]!)
  const replies = await Promise.all(
    roles.map((role) => app.inject({ url: '/settings', headers: as(`u-${role}`, role) })),
  )
  t.same(
    replies.map(({ statusCode }) => statusCode),
    roles.map((role) => (role === 'admin' ? 200 : 403)),
  )
})
