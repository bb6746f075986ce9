/** AuthZEN 1.0 with its published decisions, OpenAPI, and the inventory of NIST RBAC. */
import swagger from '@fastify/swagger'
import { createManualClock, problemErrorHandler } from '@parapet/kit'
import {
  definePolicy,
  eq,
  gt,
  rbac,
  testMatrix,
  type AuthzenOptions,
  type AuthzenSubject,
} from '@parapet/rbac'
import { readVectors } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'

interface Decisions {
  readonly evaluation: readonly { readonly request: object; readonly expected: boolean }[]
  readonly evaluations?: readonly {
    readonly request: object
    readonly expected: readonly object[]
  }[]
}

/** The attribute table of the interop scenario: the third letter of the id tells who it is. */
const people: Readonly<Record<string, readonly [string, ...string[]]>> = {
  A: ['rick@the-citadel.com', 'admin', 'evil_genius'],
  E: ['morty@the-citadel.com', 'editor'],
  I: ['summer@the-smiths.com', 'editor'],
  M: ['beth@the-smiths.com', 'viewer'],
  Q: ['jerry@the-smiths.com', 'viewer'],
}

function subject({ id }: AuthzenSubject) {
  const user = /^CiRmZD([A-Z])2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs$/.exec(id)
  const person = user === null ? undefined : people[user[1]!]
  return person === undefined ? null : { id: person[0], roles: person.slice(1) }
}

const todo = definePolicy({
  permissions: [
    'user:can_read_user',
    'todo:can_read_todos',
    'todo:can_create_todo',
    'todo:can_update_todo',
    'todo:can_delete_todo',
  ],
  resources: { todo: { ownerID: 'string' } },
  roles: {
    viewer: { grants: ['user:can_read_user', 'todo:can_read_todos'] },
    editor: {
      inherits: ['viewer'],
      grants: ['todo:can_create_todo'],
      when: {
        'todo:can_update_todo': (scope) => eq(scope.resource.ownerID, scope.subject.id),
        'todo:can_delete_todo': (scope) => eq(scope.resource.ownerID, scope.subject.id),
      },
    },
    admin: { inherits: ['editor'], grants: ['todo:can_delete_todo'] },
    evil_genius: { inherits: ['editor'], grants: ['todo:can_update_todo'] },
  },
})

const resource = (): null => null

async function build(
  t: Test,
  options: Partial<AuthzenOptions> = {},
  app: FastifyInstance = Fastify(),
): Promise<FastifyInstance> {
  t.after(() => app.close())
  await app.register(rbac, {
    policy: todo,
    authzen: {
      subject,
      rule: { public: 'a test' },
      baseUrl: 'https://pdp.example.com',
      ...options,
    },
  })
  app.get('/users/:userId', { config: { rbac: 'user:can_read_user' } }, async () => null)
  app.get('/todos', { config: { rbac: 'todo:can_read_todos' } }, async () => null)
  app.post('/todos', { config: { rbac: 'todo:can_create_todo' } }, async () => null)
  app.put(
    '/todos/:todoId',
    { config: { rbac: { permission: 'todo:can_update_todo', resource } } },
    async () => null,
  )
  app.delete(
    '/todos/:todoId',
    { config: { rbac: { any: ['todo:can_delete_todo'], resource } } },
    async () => null,
  )
  return app
}

const ask = async (app: FastifyInstance, body: object, path = 'evaluation') => {
  const reply = await app.inject({ method: 'POST', url: `/access/v1/${path}`, body })
  return {
    status: reply.statusCode,
    body: reply.json<{ decision?: boolean; evaluations?: object[]; code?: string }>(),
  }
}

await t.test(
  'all decisions of the AuthZEN Todo interop are right, one by one and in batches',
  async (t) => {
    const vectors = readVectors<Decisions>(t, 'authz/authzen-todo-decisions.json')
    if (vectors === null) return
    const app = await build(t)
    t.equal(vectors.evaluation.length, 40)
    for (const { request, expected } of vectors.evaluation) {
      t.same(await ask(app, request), { status: 200, body: { decision: expected } })
    }
    t.equal(vectors.evaluations?.length, 3)
    for (const { request, expected } of vectors.evaluations ?? []) {
      t.same(await ask(app, request, 'evaluations'), {
        status: 200,
        body: { evaluations: expected },
      })
    }
  },
)

await t.test(
  'all decisions of the AuthZEN gateway interop come from the route declarations',
  async (t) => {
    const vectors = readVectors<Decisions>(t, 'authz/authzen-gateway-decisions.json')
    if (vectors === null) return
    const app = Fastify()
    t.after(() => app.close())
    // At the gateway the owner is not known yet, so an editor may come in.
    const gate = definePolicy({
      ...todo,
      roles: { ...todo.roles, editor: { inherits: ['viewer'], grants: ['todo:*'] } },
    } as never)
    await app.register(rbac, {
      policy: gate,
      authzen: { subject, rule: { public: 'a test' }, baseUrl: 'https://pdp.example.com' },
    })
    app.get('/users/:userId', { config: { rbac: 'user:can_read_user' } }, async () => null)
    app.get('/todos', { config: { rbac: 'todo:can_read_todos' } }, async () => null)
    app.post('/todos', { config: { rbac: 'todo:can_create_todo' } }, async () => null)
    app.put('/todos/:todoId', { config: { rbac: 'todo:can_update_todo' } }, async () => null)
    app.delete('/todos/:todoId', { config: { rbac: 'todo:can_delete_todo' } }, async () => null)
    t.equal(vectors.evaluation.length, 25)
    for (const { request, expected } of vectors.evaluation) {
      t.same(await ask(app, request), { status: 200, body: { decision: expected } })
    }
    await testMatrix(app)
  },
)

const rick = { type: 'user', id: 'CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs' }
const beth = { ...rick, id: rick.id.replace('ZDA2', 'ZDM2') }
const read = {
  subject: rick,
  action: { name: 'can_read_todos' },
  resource: { type: 'todo', id: '1' },
}

await t.test('whom or what the policy does not know is a plain no', async (t) => {
  const app = await build(t)
  for (const change of [
    { subject: { type: 'user', id: 'nobody' } },
    { action: { name: 'can_fly' } },
    { action: { name: '__proto__' } },
    { resource: { type: 'spaceship', id: '1' } },
    { resource: { type: 'route', id: '/nowhere' }, action: { name: 'GET' } },
  ]) {
    t.same(await ask(app, { ...read, ...change }), { status: 200, body: { decision: false } })
  }
  t.same(await ask(app, { ...read, unknown: 1, subject: { ...rick, extra: true } }), {
    status: 200,
    body: { decision: true },
  })
})

await t.test('a request that cannot be read is 400, an item of a batch is a no', async (t) => {
  const app = await build(t)
  const malformed: object[] = [
    {},
    [],
    { ...read, subject: undefined },
    { ...read, subject: 'rick' },
    { ...read, subject: { type: 'user' } },
    { ...read, subject: { ...rick, id: 7 } },
    { ...read, action: {} },
    { ...read, resource: { id: '1' } },
    { ...read, resource: { ...read.resource, properties: [] } },
    { ...read, context: 'now' },
  ]
  for (const body of malformed) {
    const { status, body: answer } = await ask(app, body)
    t.equal(status, 400, JSON.stringify(body))
    t.equal(answer.code, 'PARAPET_RBAC_MALFORMED_EVALUATION')
  }
  t.same(
    await ask(
      app,
      { ...read, evaluations: [{}, { subject: 'x' }, 7, { action: {} }, { resource: null }] },
      'evaluations',
    ),
    {
      status: 200,
      body: { evaluations: [true, false, false, false, false].map((decision) => ({ decision })) },
    },
  )
  for (const body of [
    { ...read, evaluations: {} },
    { ...read, evaluations: [{}], options: { evaluations_semantic: 'guess' } },
    { ...read, evaluations: Array.from({ length: 101 }, () => ({})) },
  ]) {
    t.equal((await ask(app, body, 'evaluations')).status, 400)
  }
})

await t.test('a batch without evaluations is one question; semantics end it early', async (t) => {
  const app = await build(t)
  t.same((await ask(app, read, 'evaluations')).body, { decision: true })
  t.same((await ask(app, { ...read, evaluations: [] }, 'evaluations')).body, { decision: true })
  const create = { action: { name: 'can_create_todo' } }
  const evaluations = [{}, create, { ...create, subject: rick }, {}]
  const batch = { ...read, subject: beth, evaluations }
  const run = async (semantic?: string) => {
    const options = semantic === undefined ? {} : { options: { evaluations_semantic: semantic } }
    const { body } = await ask(app, { ...batch, ...options }, 'evaluations')
    return (body.evaluations as { decision: boolean }[]).map(({ decision }) => decision)
  }
  t.same(await run(), [true, false, true, true])
  t.same(await run('execute_all'), [true, false, true, true])
  t.same(await run('deny_on_first_deny'), [true, false])
  t.same(await run('permit_on_first_permit'), [true])
})

await t.test(
  'the routes are guarded, the request id comes back, and discovery names the addresses',
  async (t) => {
    const app = await build(t, { rule: 'user:can_read_user', prefix: '/pdp' })
    const post = (headers = {}) =>
      app.inject({ method: 'POST', url: '/pdp/evaluation', body: read, headers })
    t.equal((await post()).statusCode, 401)
    const open = await build(t)
    const reply = await open.inject({
      method: 'POST',
      url: '/access/v1/evaluation',
      body: read,
      headers: { 'x-request-id': 'bfe9eb29-ab87' },
    })
    t.equal(reply.statusCode, 200)
    t.equal(reply.headers['x-request-id'], 'bfe9eb29-ab87')
    t.match(reply.headers['content-type'], /^application\/json/)
    const discovery = await app.inject('/.well-known/authzen-configuration')
    t.equal(discovery.statusCode, 200)
    t.same(discovery.json(), {
      policy_decision_point: 'https://pdp.example.com',
      access_evaluation_endpoint: 'https://pdp.example.com/pdp/evaluation',
      access_evaluations_endpoint: 'https://pdp.example.com/pdp/evaluations',
    })
  },
)

const send = (to: FastifyInstance, payload: string | object, id: string) =>
  to.inject({
    method: 'POST',
    url: '/access/v1/evaluations',
    headers: { 'x-request-id': id, 'content-type': 'application/json' },
    payload,
  })

await t.test('every reply names the request it answers, a refusal too', async (t) => {
  const app = await build(t)
  const guarded = await build(t, { rule: 'user:can_read_user' })
  for (const [to, payload, status] of [
    [app, read, 200],
    [app, {}, 400],
    [app, '{', 400],
    [app, '', 400],
    [guarded, read, 401],
  ] as const) {
    for (const id of ['bfe9eb29-ab87', 'x'.repeat(1000)]) {
      const reply = await send(to, payload, id)
      t.equal(reply.statusCode, status)
      t.equal(reply.headers['x-request-id'], id)
    }
  }
})

await t.test('a body of another type is malformed, in the words of the app', async (t) => {
  const bare = Fastify()
  bare.setErrorHandler(problemErrorHandler)
  const app = await build(t, {}, bare)
  for (const type of ['application/xml', 'application/x-www-form-urlencoded', 'nonsense', '']) {
    for (const path of ['evaluation', 'evaluations']) {
      const reply = await app.inject({
        method: 'POST',
        url: `/access/v1/${path}`,
        headers: { 'content-type': type },
        payload: JSON.stringify(read),
      })
      t.equal(reply.statusCode, 400, type)
      t.match(reply.headers['content-type'], 'application/problem+json')
      t.equal(reply.json<{ code: string }>().code, 'PARAPET_RBAC_MALFORMED_EVALUATION')
    }
  }
})

await t.test('an item of a batch that fails is a no of its own', async (t) => {
  const app = await build(t, {
    subject: (asked) => {
      if (asked.id === 'broken') throw new Error('the directory is down')
      return subject(asked)
    },
  })
  const broken = { subject: { type: 'user', id: 'broken' } }
  t.equal((await ask(app, { ...read, ...broken })).status, 500, 'alone it is an error')
  for (const [semantic, decisions] of [
    ['execute_all', [true, false, true]],
    ['deny_on_first_deny', [true, false]],
    ['permit_on_first_permit', [true]],
  ] as const) {
    const options = { evaluations_semantic: semantic }
    const { status, body } = await ask(
      app,
      { ...read, options, evaluations: [{}, broken, {}] },
      'evaluations',
    )
    t.equal(status, 200)
    t.same(
      body.evaluations,
      decisions.map((decision) => ({ decision })),
      semantic,
    )
  }
})

await t.test('a route that needs no permission is open to everybody who is known', async (t) => {
  const app = await build(t)
  app.get('/open', { config: { rbac: { public: 'a test' } } }, async () => null)
  app.get('/me', { config: { rbac: { authenticated: 'a test' } } }, async () => null)
  for (const id of ['/open', '/me']) {
    const route = { action: { name: 'GET' }, resource: { type: 'route', id } }
    t.same((await ask(app, { ...route, subject: beth })).body, { decision: true }, id)
    const nobody = { type: 'user', id: 'nobody' }
    t.same((await ask(app, { ...route, subject: nobody })).body, { decision: false }, id)
  }
})

await t.test(
  'properties and context are attributes that the policy declares, and nothing else is',
  async (t) => {
    const clock = createManualClock()
    const policy = definePolicy({
      permissions: ['record:edit', 'record:see', 'record:delete'],
      resources: { record: { id: 'string', department: 'string' } },
      subject: { department: 'string' },
      environment: { risk: 'number', soft: 'boolean' },
      roles: {
        user: {
          when: {
            'record:edit': (scope) => eq(scope.resource.department, scope.subject.department),
            'record:see': (scope) => eq(scope.resource.id, 'r1'),
            'record:delete': ({ environment }) => eq(environment.soft, true),
          },
        },
      },
      deny: [
        {
          id: 'risk',
          permissions: ['record:edit'],
          when: ({ environment }) => gt(environment.risk, 0.5),
        },
      ],
    })
    const app = Fastify()
    t.after(() => app.close())
    await app.register(rbac, {
      policy,
      clock,
      authzen: {
        subject: ({ id }) => ({ id, roles: ['user'] }),
        rule: { public: 'a test' },
        baseUrl: 'https://pdp.example.com',
      },
    })
    const edit = (subjectProperties: object, properties: object, context?: object) =>
      ask(app, {
        subject: { type: 'user', id: 'ann', properties: subjectProperties },
        action: { name: 'edit' },
        resource: { type: 'record', id: 'r1', properties },
        ...(context === undefined ? {} : { context }),
      })
    const sales = { department: 'Sales' }
    t.equal((await edit(sales, sales, { risk: 0.1 })).body.decision, true)
    t.equal((await edit(sales, sales, { risk: 0.9 })).body.decision, false)
    t.equal((await edit(sales, sales)).body.decision, false, 'a deny rule that cannot tell denies')
    t.equal((await edit(sales, {}, { risk: 0.1 })).body.decision, false)
    t.equal(
      (await edit({ department: 'Sales', roles: ['admin'] }, { department: 'HR' }, { risk: 0 }))
        .body.decision,
      false,
    )
    const remove = async (properties?: object, context = {}) => {
      const action = { name: 'delete', properties }
      const resource = { type: 'record', id: 'r1' }
      return (await ask(app, { subject: { type: 'user', id: 'ann' }, action, resource, context }))
        .body.decision
    }
    t.equal(await remove({ soft: true }), true, 'properties of the action are surroundings')
    t.equal(await remove({ soft: false }), false)
    t.equal(await remove({ soft: 'true' }), false)
    t.equal(await remove(), false)
    t.equal(await remove({ soft: false }, { soft: true }), false, 'the action speaks for itself')
    const see = { subject: { type: 'user', id: 'ann' }, action: { name: 'see' } }
    t.equal(
      (await ask(app, { ...see, resource: { type: 'record', id: 'r2', properties: { id: 'r1' } } }))
        .body.decision,
      false,
    )
  },
)

await t.test('OpenAPI tells who may call, and how a refusal looks', async (t) => {
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
    async () => null,
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
    responses: { 200: {}, 401: { description: 'Nobody is signed in' }, 404: {} },
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
    'the reply is whole',
  )
})

await t.test(
  'a description made through app.rbac.openapi knows older routes, and problems',
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
      app.get('/forgotten', async () => null)
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
          403: { description: 'The caller lacks the permission', ...refusal },
        },
      })
      t.match(paths['/login']?.['get'], { summary: 'In', security: [] })
      if (version === 'openapi') {
        const bearerAuth = { type: 'http', scheme: 'bearer' }
        t.match(components, { securitySchemes: { bearerAuth } }, 'one that nobody declared')
      }
      t.notOk('security' in paths['/forgotten']!['get']!, 'it is refused to everybody')
      const { responses } = paths['/todos']!['post']!
      t.match(responses, { 401: { description: 'my own' }, 403: refusal })
      t.notMatch(JSON.stringify(responses['401']), 'problem', 'what a route says itself stays')
    }
  },
)

/** NIST RBAC, function by function: how it is done here, or `null` where it is left to others. */
const nist: Readonly<Record<string, string | null>> = {
  AddUser: null, // users live in the login, which hands over a principal
  DeleteUser: null,
  AddRole: 'publish',
  DeleteRole: 'publish',
  AssignUser: 'grant',
  DeassignUser: 'revoke',
  GrantPermission: 'publish',
  RevokePermission: 'publish',
  CreateSession: 'principal',
  DeleteSession: null, // sessions
  AddActiveRole: null, // dynamic separation of duty is not built yet
  DropActiveRole: null,
  CheckAccess: 'can',
  AssignedUsers: 'whoCan',
  AssignedRoles: 'principal',
  RolePermissions: 'policy',
  UserPermissions: 'explain',
  SessionRoles: 'principal',
  SessionPermissions: 'explain',
  RoleOperationsOnObject: 'matrix',
  UserOperationsOnObject: 'explain',
  AddInheritance: 'publish',
  DeleteInheritance: 'publish',
  AddAscendant: 'publish',
  AddDescendant: 'publish',
  AuthorizedUsers: 'whoCan',
  AuthorizedRoles: 'explain',
  CreateSsdSet: 'publish',
  AddSsdRoleMember: 'publish',
  DeleteSsdRoleMember: 'publish',
  DeleteSsdSet: 'publish',
  SetSsdSetCardinality: 'publish',
  SsdRoleSets: 'policy',
  SsdRoleSetRoles: 'policy',
  SsdRoleSetCardinality: 'policy',
  CreateDsdSet: null,
  AddDsdRoleMember: null,
  DeleteDsdRoleMember: null,
  DeleteDsdSet: null,
  SetDsdSetCardinality: null,
  DsdRoleSets: null,
  DsdRoleSetRoles: null,
  DsdRoleSetCardinality: null,
}

await t.test('every function of NIST RBAC is done, or said not to be', async (t) => {
  const inventory = readVectors<{ total: number } & Record<string, Record<string, string[]>>>(
    t,
    'authz/incits359-functions.json',
  )
  if (inventory === null) return
  const names = ['core', 'hierarchical', 'ssd', 'dsd'].flatMap((part) =>
    Object.values(inventory[part]!).flat(),
  )
  t.equal(names.length, inventory.total)
  t.same(names.toSorted(), Object.keys(nist).toSorted())
  const app = await build(t)
  const surface = [...Object.keys(app.rbac), 'principal', 'can']
  t.ok(Object.values(nist).every((how) => how === null || surface.includes(how)))
  t.comment(`${Object.values(nist).filter((how) => how !== null).length} of ${names.length} done`)
})
