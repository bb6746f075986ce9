/** AuthZEN 1.0: the published decisions of its interop scenarios, and malformed requests. */
import { createManualClock, problemErrorHandler } from '@parapet/kit'
import { definePolicy, eq, gt, rbac, testMatrix, type AuthzenOptions } from '@parapet/rbac'
import { readVectors } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { checkRefusal, createSignal } from './refusals.ts'
import { subject, todo } from './todo-policy.ts'

interface Decisions {
  readonly evaluation: readonly { readonly request: object; readonly expected: boolean }[]
  readonly evaluations?: readonly {
    readonly request: object
    readonly expected: readonly object[]
  }[]
}

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
      ...(options.resource === undefined ? { trustedResourceProperties: ['ownerID'] } : {}),
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
    body: reply.json<{
      decision?: boolean
      evaluations?: object[]
      code?: string
      message?: string
    }>(),
  }
}

await t.test(
  'all decisions of the AuthZEN Todo scenario are correct, single and in batches',
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
  'all decisions of the AuthZEN gateway scenario follow from the rules of the routes',
  async (t) => {
    const vectors = readVectors<Decisions>(t, 'authz/authzen-gateway-decisions.json')
    if (vectors === null) return
    const app = Fastify()
    t.after(() => app.close())
    // A gateway does not know the owner, so it allows every editor.
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

await t.test('unknown subjects, actions and resources are denied', async (t) => {
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

await t.test(
  'a malformed request gets 400, a malformed evaluation of a batch is denied',
  async (t) => {
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
      const { status, body: answer } = await ask(app, body, 'evaluations')
      t.equal(status, 400)
      t.equal(answer.code, 'PARAPET_RBAC_MALFORMED_EVALUATION')
    }
  },
)

await t.test(
  'a body without evaluations is a single one, and semantics end a batch early',
  async (t) => {
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
  },
)

await t.test(
  'the routes are guarded, repeat the request id and are listed in the discovery document',
  async (t) => {
    const app = await build(t, { rule: 'user:can_read_user', prefix: '/pdp' })
    const post = (headers = {}) =>
      app.inject({ method: 'POST', url: '/pdp/evaluation', body: read, headers })
    checkRefusal(t, await post(), 401)
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
      search_resource_endpoint: 'https://pdp.example.com/pdp/search/resource',
      search_action_endpoint: 'https://pdp.example.com/pdp/search/action',
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

await t.test('every reply repeats the request id, even a refusal', async (t) => {
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

await t.test(
  'a body of another media type gets 400 from the error handler of the app',
  async (t) => {
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
  },
)

await t.test('a failing evaluation of a batch is denied and the others are decided', async (t) => {
  const app = await build(t, {
    subject: (asked) => {
      if (asked.id === 'broken') throw new Error('the directory is down')
      return subject(asked)
    },
  })
  const broken = { subject: { type: 'user', id: 'broken' } }
  t.match(await ask(app, { ...read, ...broken }), {
    status: 500,
    body: { message: 'the directory is down' },
  })
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

await t.test('a route that needs no permission is allowed for every known subject', async (t) => {
  const app = await build(t)
  app.get('/open', { config: { rbac: { public: 'a test' } } }, async () => null)
  app.get('/me', { config: { rbac: { authenticated: 'a test' } } }, async () => null)
  for (const id of ['/open', '/me']) {
    const route = { action: { name: 'GET' }, resource: { type: 'route', id } }
    t.same((await ask(app, { ...route, subject: beth })).body, { decision: true }, id)
    const unknown = { type: 'user', id: 'nobody' }
    t.same((await ask(app, { ...route, subject: unknown })).body, { decision: false }, id)
  }
})

await t.test(
  'only properties and context that the policy declares are used as attributes',
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
        trustedProperties: ['department', 'roles'],
        trustedResourceProperties: ['department', 'id'],
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
    t.equal((await edit(sales, sales)).body.decision, false, 'an unknown deny rule applies')
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
    t.equal(
      await remove({ soft: true }),
      true,
      'properties of the action are attributes of the environment',
    )
    t.equal(await remove({ soft: false }), false)
    t.equal(await remove({ soft: 'true' }), false)
    t.equal(await remove(), false)
    t.equal(await remove({ soft: false }, { soft: true }), false, 'they override the context')
    const see = { subject: { type: 'user', id: 'ann' }, action: { name: 'see' } }
    t.equal(
      (await ask(app, { ...see, resource: { type: 'record', id: 'r2', properties: { id: 'r1' } } }))
        .body.decision,
      false,
    )
  },
)

const department = definePolicy({
  permissions: ['record:edit'],
  resources: { record: { department: 'string' } },
  subject: { department: 'string' },
  roles: {
    user: {
      when: { 'record:edit': (scope) => eq(scope.resource.department, scope.subject.department) },
    },
  },
})
const invented = {
  subject: { type: 'user', id: 'ann', properties: { department: 'HR' } },
  action: { name: 'edit' },
  resource: { type: 'record', id: 'r1', properties: { department: 'HR' } },
}
const own = { ...invented, resource: { ...invented.resource, properties: { department: 'Sales' } } }

const departmentOf = ({ id }: { readonly id: string }) =>
  id === 'ann' ? { department: 'Sales' } : {}
const reading = (_principal: unknown, { headers }: { headers: object }) => ({ ...headers })

await t.test(
  'AuthZEN decides with the attributes of the guard, not with invented ones',
  async (t) => {
    const authzen = {
      subject: ({ id }: { readonly id: string }) => ({ id, roles: ['user'] }),
      rule: { public: 'a test' },
      baseUrl: 'https://pdp.example.com',
      trustedResourceProperties: ['department'],
    }
    for (const options of [
      { subject: departmentOf, authzen },
      { authzen: { ...authzen, attributes: async (ann: { id: string }) => departmentOf(ann) } },
    ]) {
      const app = Fastify()
      t.after(() => app.close())
      await app.register(rbac, { policy: department, ...options })
      t.same((await ask(app, invented)).body, { decision: false }, 'the department is not stated')
      t.same((await ask(app, own)).body, { decision: true })
      const other = {
        ...own,
        subject: { type: 'user', id: 'eve', properties: own.resource.properties },
      }
      t.same((await ask(app, other)).body, { decision: false })
    }
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(rbac, { policy: department, subject: reading, authzen })
      },
      {
        code: 'PARAPET_RBAC_INVALID_OPTION',
        statusCode: 500,
        message: /"authzen.attributes" is required/,
      },
    )
  },
)

await t.test('a caller states no attribute of a resource, and no other type', async (t) => {
  const authzen = {
    subject: ({ id }: { readonly id: string }) => ({ id, roles: ['user'] }),
    rule: { public: 'a test' },
    baseUrl: 'https://pdp.example.com',
  }
  const decide = async (options: Partial<AuthzenOptions>, resource: object, name = 'edit') => {
    const app = Fastify()
    t.after(() => app.close())
    const policy = department
    await app.register(rbac, { policy, subject: departmentOf, authzen: { ...authzen, ...options } })
    return (await ask(app, { ...own, action: { name }, resource })).body.decision
  }
  const trusted = { trustedResourceProperties: ['department'] }
  const { resource } = own
  t.equal(await decide({}, resource), false, 'the default')
  t.equal(await decide({ trustedProperties: ['department'] }, resource), false, 'of a subject')
  t.equal(await decide(trusted, resource), true)
  t.equal(await decide({ resource: () => ({ department: 'HR' }) }, resource), false, 'a loader')
  t.equal(await decide(trusted, resource, 'record:edit'), true, 'the full name of the permission')
  const invoice = { ...resource, type: 'invoice' }
  t.equal(await decide(trusted, invoice, 'record:edit'), false, 'the types contradict each other')
  await t.rejects(() => decide({ ...trusted, resource: () => null }, resource), {
    code: 'PARAPET_RBAC_INVALID_OPTION',
    statusCode: 500,
    message: /"authzen.trustedResourceProperties" must be empty if "authzen.resource" is set/,
  })
})

await t.test('a lookup for AuthZEN that never ends gets 503', async (t) => {
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  const called = createSignal()
  await app.register(rbac, {
    policy: department,
    clock,
    authzen: {
      subject: ({ id }) => ({ id, roles: ['user'] }),
      attributes: () => {
        called.send()
        return new Promise(() => {})
      },
      rule: { public: 'a test' },
      baseUrl: 'https://pdp.example.com',
    },
  })
  const reply = ask(app, own)
  await called.received
  clock.advance(1000)
  t.match(await reply, { status: 503, body: { code: 'PARAPET_RBAC_LOOKUP_TIMEOUT' } })
})
