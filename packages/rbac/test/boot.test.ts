/** What stops the start of an app: undeclared routes, invalid rules and invalid options. */
import { definePolicy, rbac, type RbacOptions } from '@parapet/rbac'
import Fastify from 'fastify'
import t from 'tap'
import { build, policy } from './content-app.ts'

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
