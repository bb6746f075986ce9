/** The OpenAPI description of guarded routes. */
import swagger, { type SwaggerOptions } from '@fastify/swagger'
import { rbac, type DescribedRoute } from '@parapet/rbac'
import Fastify from 'fastify'
import t from 'tap'
import { subject, todo } from './todo-policy.ts'

await t.test('the OpenAPI description has the rules and the refusals of routes', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(swagger, {
    openapi: {
      components: { securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer' } } },
    },
  })
  await app.register(rbac, {
    policy: todo,
    authzen: { subject, rule: 'user:can_read_user', baseUrl: 'https://pdp.example.com' },
  })
  app.get('/health', { config: { rbac: { public: 'liveness' } } }, async () => null)
  app.get('/me', { config: { rbac: { authenticated: 'own data' } } }, async () => null)
  app.get(
    '/todos/:id',
    {
      config: { rbac: { any: ['todo:can_read_todos', 'user:can_read_user'], hideAs: 404 } },
      schema: { summary: 'One', response: { 200: { type: 'object' } } },
    },
    async () => null,
  )
  app.post(
    '/todos',
    {
      config: { rbac: 'todo:can_create_todo' },
      schema: { response: { 403: { description: 'my own' } } },
    },
    async () => t.fail('the handler ran'),
  )
  await app.ready()
  const paths = app.swagger().paths as Record<
    string,
    Record<string, { responses: Record<string, { description: string }> }>
  >
  t.match(paths['/health']?.['get'], { security: [] })
  t.match(paths['/me']?.['get'], { security: [{ bearerAuth: [] }], responses: { 401: {} } })
  t.notOk('403' in paths['/me']!['get']!.responses)
  t.match(paths['/todos/{id}']?.['get'], {
    summary: 'One',
    security: [{ bearerAuth: [] }],
    'x-permissions': '(todo:can_read_todos or user:can_read_user)',
    responses: { 200: {}, 401: { description: 'The request is not authenticated' }, 404: {} },
  })
  t.match(paths['/todos']?.['post'], {
    'x-permissions': 'todo:can_create_todo',
    responses: { 401: {}, 403: { description: 'my own' } },
  })
  t.match(paths['/access/v1/evaluation']?.['post'], {
    requestBody: {},
    responses: { 200: {}, 403: {} },
  })
  const refused = await app.inject({ method: 'POST', url: '/todos' })
  t.equal(refused.statusCode, 401)
  t.same(Object.keys(refused.json<object>()), ['statusCode', 'code', 'error', 'message'])
  t.equal(
    refused.json<{ code: string }>().code,
    'PARAPET_RBAC_UNAUTHENTICATED',
    'the serializer removes no member',
  )
})

await t.test(
  'app.rbac.openapi describes routes declared before the plugin, and problem details',
  async (t) => {
    const token = { type: 'apiKey', name: 'authorization', in: 'header' }
    for (const version of ['openapi', 'swagger'] as const) {
      const app = Fastify()
      t.after(() => app.close())
      await app.register(swagger, {
        [version]: version === 'openapi' ? {} : { securityDefinitions: { bearerAuth: token } },
        transform: (route) => app.rbac.openapi(route),
      })
      app.get('/older', async () => null)
      app.get('/login', { schema: { summary: 'In' } }, async () => null)
      await app.register(rbac, {
        policy: todo,
        routes: { 'GET /older': 'todo:can_read_todos', 'GET /login': { public: 'the login' } },
      })
      const own = { description: 'my own', type: 'object' }
      app.post(
        '/todos',
        { config: { rbac: 'todo:can_create_todo' }, schema: { response: { 401: own } } },
        async () => null,
      )
      await app.ready()
      const { paths, components } = app.swagger() as unknown as {
        components?: object
        paths: Record<string, Record<string, { responses: Record<string, object> }>>
      }
      const refusal =
        version === 'openapi'
          ? { content: { 'application/problem+json': {}, 'application/json': { schema: {} } } }
          : { schema: { type: 'object' } }
      t.match(paths['/older']?.['get'], {
        security: [{ bearerAuth: [] }],
        'x-permissions': 'todo:can_read_todos',
        responses: {
          401: refusal,
          403: { description: 'The principal does not have the permission', ...refusal },
        },
      })
      t.match(paths['/login']?.['get'], { summary: 'In', security: [] })
      if (version === 'openapi') {
        const bearerAuth = { type: 'http', scheme: 'bearer' }
        t.match(components, { securitySchemes: { bearerAuth } }, 'an undeclared scheme is added')
      }
      const { responses } = paths['/todos']!['post']!
      t.match(responses, { 401: { description: 'my own' }, 403: refusal })
      t.notMatch(
        JSON.stringify(responses['401']),
        'problem',
        'responses of the route itself are kept',
      )
    }
  },
)

await t.test('a security scheme is named only if the document declares it', async (t) => {
  const token = { type: 'apiKey', name: 'authorization', in: 'header' }
  const bearer = { bearerAuth: { type: 'http', scheme: 'bearer' } }
  for (const [options, isDeclared] of [
    [{ openapi: {} }, false],
    [{ openapi: { components: { securitySchemes: bearer } } }, true],
    [{ swagger: {} }, false],
    [{ swagger: { securityDefinitions: { other: token } } }, false],
    [{ swagger: { securityDefinitions: { bearerAuth: token } } }, true],
    [{ swagger: {}, transform: 'rbac' }, false],
  ] as const) {
    const app = Fastify()
    t.after(() => app.close())
    const transform = (route: DescribedRoute) => app.rbac.openapi(route)
    await app.register(swagger, {
      ...options,
      ...('transform' in options ? { transform } : {}),
    } as SwaggerOptions)
    await app.register(rbac, { policy: todo })
    app.get('/docs/json', { config: { rbac: { public: 'the docs' } } }, async () => app.swagger())
    app.get('/todos', { config: { rbac: 'todo:can_read_todos' } }, async () => null)
    const reply = await app.inject('/docs/json')
    t.equal(reply.statusCode, 200, JSON.stringify(options))
    const { paths } = reply.json<{ paths: Record<string, { get: object }> }>()
    const { get } = paths['/todos']!
    t.match(get, { 'x-permissions': 'todo:can_read_todos', responses: { 401: {}, 403: {} } })
    t.equal('security' in get, isDeclared, 'security')
    if (isDeclared) t.match(get, { security: [{ bearerAuth: [] }] })
  }
})
