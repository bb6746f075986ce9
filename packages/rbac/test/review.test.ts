/** Reviewing a policy: hasPermission, explain, whoCan, matrix and testMatrix. */
import { createManualClock } from '@parapet/kit'
import { definePolicy, eq, fromMap, or, rbac, testMatrix } from '@parapet/rbac'
import Fastify, { type RouteOptions } from 'fastify'
import t from 'tap'
import { as, build, records } from './content-app.ts'
import { refuses } from './refusals.ts'

await t.test('hasPermission decides by roles alone', async (t) => {
  const { app } = await build(t)
  const hasPermission = (roles: string[], name: string) => app.rbac.hasPermission(roles, name)
  t.equal(hasPermission(['admin'], 'settings:manage'), true)
  t.equal(hasPermission(['viewer', 'editor'], 'content:write'), true)
  t.equal(hasPermission(['author'], 'content:write'), false, 'a condition decides')
  t.equal(hasPermission(['admin'], 'content:delete'), false, 'a deny rule may apply')
  t.equal(hasPermission([], 'content:read'), false)
  const plain = Fastify()
  t.after(() => plain.close())
  await plain.register(rbac, {
    policy: fromMap({ 'a:read': ['viewer', 'admin'], 'a:write': ['admin'] }),
  })
  t.equal(plain.rbac.hasPermission(['viewer', 'constructor'], 'a:read'), true)
  t.equal(plain.rbac.hasPermission(['viewer'], 'a:write'), false)
})

await t.test(
  'explain shows which role grants a permission, and under which condition',
  async (t) => {
    const { app } = await build(t)
    const granted = app.rbac.explain(
      { id: 'ann', roles: ['editor'] },
      'content:read',
      records['draft'],
    )
    t.match(granted, { allowed: true, reason: 'granted' })
    t.match(granted.text, /editor grants "content:\*"/)
    const inherited = app.rbac.explain(
      { id: 'ann', roles: ['author'] },
      'content:read',
      records['live'],
    )
    t.same(inherited.grants[0]?.path, ['author', 'viewer'])
    t.match(inherited.text, /resource\.live \(true\) = true/)
  },
)

await t.test('explain shows what would have allowed a permission', async (t) => {
  const { app } = await build(t)
  const explain: typeof app.rbac.explain = (...args) => app.rbac.explain(...args)
  const ann = { id: 'ann', roles: ['editor'] }
  const missed = explain({ id: 'bob', roles: ['author'] }, 'content:write', records['live'])
  t.match(missed, { allowed: false, reason: 'condition_failed' })
  t.match(
    missed.text,
    /the role "author" grants it when resource\.ownerId \("ann"\) = subject\.id \("bob"\)/,
  )
  const none = explain({ id: 'vic', roles: ['viewer'] }, 'settings:manage')
  t.match(none, { reason: 'no_grant', nearestMisses: ['the role "admin" would allow it'] })
  t.match(explain(ann, 'content:delete', records['held']).text, /deny rule "legal-hold" applies/)
  t.match(explain(ann, 'content:delete').text, /resource\.legalHold \(missing\)/)
  t.match(explain({ id: 'x', roles: ['requester', 'approver'] }, 'content:read'), {
    reason: 'separation_of_duty',
  })
  t.match(explain(null, 'content:read'), { allowed: false, reason: 'anonymous' })
  t.match(explain(ann, 'content:raed'), { allowed: false, reason: 'unknown_permission' })
})

await t.test('explain agrees with a decision that does not read a failing accessor', async (t) => {
  const lazy = definePolicy({
    permissions: ['doc:read'],
    resources: { doc: { ownerId: 'string' } },
    roles: {
      user: {
        when: {
          'doc:read': ({ subject, resource }) =>
            or(eq(subject.id, 'ann'), eq(resource.ownerId, 'ann')),
        },
      },
    },
  })
  const app = Fastify()
  t.after(() => app.close())
  const ann = { id: 'ann', roles: ['user'] }
  const record = {
    get ownerId(): string {
      throw new Error('lazy loading failed')
    },
  }
  await app.register(rbac, { policy: lazy, principal: () => ann })
  app.get('/', { config: { rbac: { public: 'decides by itself' } } }, async (request) =>
    request.rbac.can('doc:read', record),
  )
  t.equal((await app.inject('/')).body, 'true')
  t.match(app.rbac.explain(ann, 'doc:read', record), {
    allowed: true,
    text: /\(reading an attribute failed\)/,
  })
})

await t.test(
  'whoCan returns roles, and principals that have them for a limited time',
  async (t) => {
    const clock = createManualClock()
    const { app, events } = await build(t, { clock })
    await app.rbac.grant('admin', 'ann', { until: clock.now() + 1000 })
    t.same(app.rbac.whoCan('content:delete'), [
      { role: 'editor', right: 'conditional', granted: [] },
      { role: 'admin', right: 'conditional', granted: ['ann'] },
    ])
    t.same(app.rbac.whoCan('settings:manage'), [
      { role: 'admin', right: 'allow', granted: ['ann'] },
    ])
    t.match(events, [{ type: 'rbac.role_granted', details: { role: 'admin', grantee: 'ann' } }])
  },
)

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
    'the HEAD routes that Fastify adds are included',
  )
})

await t.test('testMatrix calls every route as every role without running a handler', async (t) => {
  const { app, handled } = await build(t)
  t.same(await testMatrix(app), { checked: 12 * 7 }, '12 routes, 6 roles and no principal')
  t.same(handled, [], 'no handler runs')
  const hooked = await build(t)
  hooked.app.addHook('onRoute', (route: RouteOptions) => {
    route.onRequest = async (request, reply) =>
      request.url === '/new' ? reply.code(204).send() : undefined
  })
  hooked.app.get('/new', { config: { rbac: 'settings:manage' } }, async () => 'in')
  t.same(await testMatrix(hooked.app), { checked: 14 * 7 }, 'a hook of the route runs later')
})

await t.test('testMatrix fails if a route replies differently from the matrix', async (t) => {
  const { app } = await build(t)
  app.get('/digits/:id(^\\d+$)', { config: { rbac: 'settings:manage' } }, async () => 'in')
  app.get('/files/*', { config: { rbac: 'settings:manage' } }, async () => 'in')
  app.get('/iso/:id([a-c]{2})', { config: { rbac: 'settings:manage' } }, async () => 'in')
  await t.rejects(testMatrix(app), {
    code: 'PARAPET_RBAC_MATRIX_MISMATCH',
    message: /GET \/iso\/:id\(\[a-c\]\{2\}\): role "admin" should be admitted, got status 404/,
  })
  const urls = { 'GET /iso/:id([a-c]{2})': '/iso/ab', 'HEAD /iso/:id([a-c]{2})': '/iso/ab' }
  t.match(await testMatrix(app, { urls }), { checked: 18 * 7 })
})

await t.test('a request with a probe header is an ordinary request', async (t) => {
  const built = await build(t)
  const forged = { url: '/settings', headers: { 'x-parapet-probe': 'admin' } }
  const running = Promise.all([testMatrix(built.app), testMatrix(built.app)])
  await refuses(t, built, 401, forged, 'while matrices run')
  t.same(await running, [{ checked: 12 * 7 }, { checked: 12 * 7 }], 'two can run at once')
  await refuses(t, built, 401, forged, 'after they have run')
  const allowed = await built.app.inject({ url: '/settings', headers: as('root', 'admin') })
  t.equal(allowed.statusCode, 200, 'the guard is the regular one again')
})
