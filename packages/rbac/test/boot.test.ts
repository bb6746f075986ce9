/** What stops the start of an app: undeclared routes, invalid rules and invalid options. */
import { definePolicy, rbac, type RbacOptions } from '@parapet/rbac'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { as, build, policy, principal } from './content-app.ts'
import { allows, recordHandlers, refuses } from './refusals.ts'

await t.test('routes without a rule stop the boot, and the error lists all of them', async (t) => {
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
  t.notMatch((error as Error).message, 'HEAD', 'the HEAD route of a GET route is not listed')
})

await t.test('an entry of the option routes that matches no route stops the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy, routes: { 'GET /gone': { public: 'no such route' } } })
  await t.rejects(async () => app.ready(), {
    code: 'PARAPET_RBAC_INVALID_OPTION',
    statusCode: 500,
    message: /"routes" has the entry "GET \/gone", but no such route exists/,
  })
})

await t.test('an invalid rule stops the boot', async (t) => {
  const refused: readonly [unknown, RegExp][] = [
    ['content:wirte', /uses the permission "content:wirte", which the policy does not declare/],
    [{ any: [] }, /"any": it must list at least one permission/],
    [{ all: ['content:read', { none: ['x'] }] }, /must consist of permissions.*the keys none/],
    [{ permission: 'content:read', any: ['content:read'] }, /exactly one of.*got any, permission/],
    [{ hideAs: 404 }, /exactly one of.*got none/],
    [{ public: '' }, /it must be the reason, a text of 3 to 200 characters, got ""/],
    [{ public: true }, /it must be the reason, a text of 3 to 200 characters, got true/],
    [{ public: 'all of it', hideAs: 404 }, /must have no other key beside "public"/],
    [{ permission: 'content:read', hideAs: 403 }, /"hideAs": it must be 404, got 403/],
    [{ permission: 'content:read', resource: 'id' }, /it must be a function, got "id"/],
    [{ permision: 'content:read' }, /unknown key "permision"/],
    [true, /must be a permission or an object.*got true/],
    ['', /must consist of permissions.*got ""/],
  ]
  for (const [rule, message] of refused) {
    const { app } = await build(t)
    t.throws(
      () => app.get('/broken', { config: { rbac: rule as never } }, async () => 'never'),
      { code: 'PARAPET_RBAC_INVALID_RULE', statusCode: 500, message },
      JSON.stringify(rule),
    )
  }
})

await t.test('an invalid option stops the boot', async (t) => {
  const refused: readonly [object, RegExp][] = [
    [{ polcy: policy }, /did you mean "policy"/],
    [{ policy: null }, /"policy" must be a policy made by definePolicy or fromMap, got null/],
    [{ policy, factTimeoutMs: 0 }, /"factTimeoutMs" must be an integer from 1 to 60000.*got 0/],
    [
      { policy, refreshMs: 60_000, maxStalenessMs: 1000 },
      /"maxStalenessMs" must be greater than "refreshMs" \(60000\), got 1000/,
    ],
    [
      { policy, store: { publish: () => {}, subscribe: () => {} } },
      /"store" requires "policyStore"/,
    ],
    [
      { policy, authzen: { rule: 'content:read', baseUrl: 'https://pdp/x' } },
      /"authzen\.subject" .*function/,
    ],
    [
      { policy, routes: { '/docs': { public: 'docs' } } },
      /"routes" must have keys such as 'GET \/docs\/\*\*', got "\/docs"/,
    ],
    [{ policy, challenge: 'Bearer\r\nx: y' }, /"challenge" /],
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
      statusCode: 500,
      message: /facts\.known: is declared in the policy but has no finder/,
    },
  )
})

const tomorrow = () => new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)

const inner = (options: Partial<RbacOptions> = {}, url = '/inside') =>
  async function inContext(child: FastifyInstance) {
    await child.register(rbac, { policy, principal, ...options })
    child.get(url, { config: { rbac: 'settings:manage' } }, async () => 'inside')
  }

await t.test('a route outside of the context of rbac stops the boot', async (t) => {
  const rule = { config: { rbac: 'settings:manage' } } as const
  const cases: readonly [string, (app: FastifyInstance) => void, Partial<RbacOptions>, RegExp][] = [
    [
      'a sibling',
      (app) => void app.register(async (c) => void c.get('/open', () => '')),
      {},
      /GET \/open$/,
    ],
    ['the root', (app) => void app.get('/open', () => ''), {}, /GET \/open$/],
    [
      'with a rule',
      (app) => void app.get('/ruled', rule, () => ''),
      {},
      /GET \/ruled \(has a rule\)/,
    ],
    [
      'with a rule, and the option',
      (app) => void app.get('/ruled', rule, () => ''),
      { outside: 'a test' },
      /GET \/ruled \(has a rule\)/,
    ],
    [
      'in the mode report',
      (app) => void app.get('/open', () => ''),
      { mode: 'report', report: { reason: 'adoption', until: tomorrow() } },
      /GET \/open$/,
    ],
  ]
  for (const [name, declare, options, message] of cases) {
    for (const isFirst of [true, false]) {
      const app = Fastify()
      t.after(() => app.close())
      if (isFirst) declare(app)
      void app.register(inner(options))
      if (!isFirst) declare(app)
      await t.rejects(
        async () => app.ready(),
        { code: 'PARAPET_RBAC_OUTSIDE_ROUTES', statusCode: 500, message },
        name,
      )
    }
  }
})

await t.test(
  'contexts with an rbac of their own, and routes that "outside" explains',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    const handled = recordHandlers(app)
    void app.register(inner({}, '/one'))
    void app.register(inner({}, '/two'))
    await app.ready()
    for (const url of ['/one', '/two']) {
      await refuses(t, { app, handled }, 403, { url, headers: as('ann', 'viewer') })
      await allows(t, { app }, { url, headers: as('root', 'admin') })
    }
    const mixed = Fastify()
    t.after(() => mixed.close())
    const mixedHandled = recordHandlers(mixed)
    mixed.get('/site', async () => 'site')
    void mixed.register(inner({ outside: 'the site has no accounts' }))
    await allows(t, { app: mixed }, { url: '/site' })
    await refuses(t, { app: mixed, handled: mixedHandled }, 401, { url: '/inside' })
  },
)

await t.test('a public rule cannot cover every route, but the files of a site', async (t) => {
  for (const name of ['GET /**', '* /**']) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(rbac, { policy, routes: { [name]: { public: 'a site' } } })
      },
      {
        code: 'PARAPET_RBAC_INVALID_OPTION',
        statusCode: 500,
        message: /makes every forgotten route public; name single routes, such as "(GET|\*) \/\*"/,
      },
      name,
    )
  }
  const site = {
    policy,
    routes: { 'GET /*': { public: 'a site' }, 'PUT /**': 'content:write' },
  } as const
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, site)
  app.get('/*', async () => 'file')
  app.put('/*', async () => 'file')
  await allows(t, { app }, { url: '/index.html' })
  const forgetful = Fastify()
  t.after(() => forgetful.close())
  await forgetful.register(rbac, { policy, routes: { 'GET /*': { public: 'a site' } } })
  forgetful.get('/*', async () => 'file')
  forgetful.get('/a/secret', async () => 'secret')
  await t.rejects(async () => forgetful.ready(), {
    code: 'PARAPET_RBAC_UNDECLARED_ROUTES',
    message: /GET \/a\/secret$/,
  })
})
