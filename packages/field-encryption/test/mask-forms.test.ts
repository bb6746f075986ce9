import {
  Encrypted,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
  mask,
} from '@parapet/field-encryption'
import { problemErrorHandler } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { buildFixed, code, keyset } from './fixtures.ts'

const Email = Encrypted(Type.String(), { reveal: ['admin'], mask: { default: mask.email() } })
const User = Type.Object({ id: Type.String(), email: Email })
const user = { id: '1', email: 'jane@example.com' }
const masked = { id: '1', email: 'j****@example.com' }
const Ref = { $ref: 'User#' }
const REFUSED = 'PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED'

const envelope = async (_request: unknown, _reply: unknown, payload: unknown) => ({
  data: payload,
})

const broken = (text: string): string => {
  throw new Error(`no mask for ${text}`)
}

const fail = (_: unknown, payload: unknown) => {
  throw new Error(JSON.stringify(payload))
}

function addSchemas(app: FastifyInstance): void {
  app.addSchema({ ...User, $id: 'User' })
  app.addSchema({ $id: 'Holder', ...Ref })
}

/** Every keyword that holds a schema, and a payload in which it describes the user. */
// oxlint-disable unicorn/no-thenable -- `then` is a keyword of JSON Schema
const forms: Record<string, (schema: object) => [schema: object, payload: unknown]> = {
  properties: (u) => [{ type: 'object', properties: { u } }, { u: user }],
  patternProperties: (u) => [{ type: 'object', patternProperties: { '.': u } }, { a: user }],
  additionalProperties: (u) => [{ type: 'object', additionalProperties: u }, { a: user }],
  unevaluatedProperties: (u) => [{ type: 'object', unevaluatedProperties: u }, { a: user }],
  items: (u) => [{ type: 'array', items: u }, [user]],
  tuple: (u) => [{ type: 'array', items: [u, u] }, [user, user]],
  prefixItems: (u) => [{ type: 'array', prefixItems: [u] }, [user]],
  additionalItems: (u) => [{ type: 'array', items: [{}], additionalItems: u }, [1, user]],
  contains: (u) => [{ type: 'array', contains: u }, [user]],
  anyOf: (u) => [{ anyOf: [u, { type: 'string' }] }, user],
  oneOf: (u) => [{ oneOf: [u, { type: 'string' }] }, user],
  allOf: (u) => [{ allOf: [u] }, user],
  not: (u) => [{ not: { not: u } }, user],
  then: (u) => [{ type: 'object', if: { type: 'object' }, then: u, else: {} }, user],
  else: (u) => [{ type: 'object', if: { type: 'string' }, then: {}, else: u }, user],
  dependentSchemas: (u) => [{ type: 'object', dependentSchemas: { id: u } }, user],
  'a nullable relation': (u) => [
    { type: 'object', properties: { u: { anyOf: [u, { type: 'null' }] } } },
    { u: user },
  ],
  'a nullable item': (u) => [
    { type: 'array', items: { oneOf: [{ type: 'null' }, u] } },
    [user, null],
  ],
  'two unions': (u) => [{ anyOf: [{}], oneOf: [u] }, user],
  'the sibling of a reference': (u) => [{ $ref: 'Open#', properties: { u } }, { u: user }],
}

await t.test(
  'a field is masked or the boot fails, under every keyword and through references',
  async (t) => {
    const maskedForms = new Set(['properties', 'items', 'a nullable relation', 'a nullable item'])
    for (const [name, form] of Object.entries(forms)) {
      for (const part of [User, Ref, { $ref: 'Holder#' }]) {
        const { app } = await buildFixed(t)
        addSchemas(app)
        app.addSchema({ $id: 'Open', type: 'object', additionalProperties: true })
        const [schema, payload] = form(part)
        app.get('/', { schema: { response: { 200: schema } } }, async () => payload)
        const title = `${name}, ${JSON.stringify(part).slice(0, 20)}`
        if (!maskedForms.has(name)) {
          await t.rejects(
            Promise.resolve(app.ready()),
            { code: /INVALID_SCHEMA|FST_ERR_SCH/ },
            title,
          )
          continue
        }
        const { body } = await app.inject('/')
        t.equal(body, JSON.stringify(payload).replaceAll('jane@', 'j****@'), title)
      }
    }
  },
)

await t.test('a reference to an encrypted text is followed', async (t) => {
  const { app } = await buildFixed(t)
  app.addSchema({ ...Email, $id: 'Email' })
  const email = { anyOf: [{ $ref: 'Email#' }, { type: 'null' }] }
  const schema = { type: 'object', properties: { email, other: { $ref: 'Email#' } } }
  const payload = { email: user.email, other: user.email }
  app.get('/', { schema: { response: { 200: schema } } }, async () => payload)
  t.strictSame((await app.inject('/')).json(), { email: masked.email, other: masked.email })
})

await t.test('a table refuses Encrypted behind a reference or in a union', async (t) => {
  const { app } = await buildFixed(t)
  const id = Type.String()
  const unknown = { anyOf: [{ $ref: 'Elsewhere#' }, { type: 'null' }] }
  const refused: object[] = [unknown, { allOf: [{ $ref: '#/properties/u' }] }]
  for (const u of Object.values(forms).map((form) => form(Ref)[0])) refused.push(u)
  for (const x of refused) {
    const schema = { type: 'object', properties: { id, u: User, x } } as never
    t.throws(() => app.fieldEncryption.table('x', schema), code('INVALID_SCHEMA'))
  }
  const Nullable = Type.Object({ id, u: Type.Union([User, Type.Null()]) })
  const table = app.fieldEncryption.table('nullable', Nullable)
  const row = await table.encryptRecord({ id: '1', u: user })
  t.match(row, { u: { email: /^pe1\./ } })
  t.strictSame(await table.decryptRecord(row), { id: '1', u: user })
  t.strictSame(await table.encryptRecord({ id: '2', u: null }), { id: '2', u: null })
})

/** Refused, with a handler that has run: only its answer is withheld. */
async function assertRefused(t: Test, app: FastifyInstance, title: string, url = '/') {
  const reply = await app.inject(url)
  t.equal(reply.statusCode, 500, title)
  t.match(reply.json(), { code: REFUSED }, title)
  t.notMatch(reply.body, /jane/, title)
}

await t.test('a route that is older than the plugin is refused', async (t) => {
  const Nested = { type: 'object', properties: { u: Ref } }
  const Nullable = { anyOf: [Ref, { type: 'null' }] }
  for (const schema of [User, Ref, { $ref: 'Holder#' }, Nested, Nullable]) {
    const declare = (app: FastifyInstance) =>
      app.get('/', { schema: { response: { 200: schema } } }, async () => ({ ...user, u: user }))
    const orders: Record<string, (app: FastifyInstance) => unknown> = {
      'register without await': (app) => {
        void app.register(fieldEncryption, { keyset })
        declare(app)
      },
      'route first': (app) => {
        declare(app)
        return app.register(fieldEncryption, { keyset })
      },
      'child context first': (app) => {
        void app.register(async (child) => void declare(child))
        return app.register(fieldEncryption, { keyset })
      },
      'schemas of the child': (app) => {
        void app.register(async (child) => {
          child.addSchema({ ...User, $id: 'Own' })
          child.get('/', { schema: { response: { 200: { $ref: 'Own#' } } } }, async () => user)
        })
        return app.register(fieldEncryption, { keyset })
      },
    }
    for (const [title, order] of Object.entries(orders)) {
      const app = Fastify()
      t.after(() => app.close())
      addSchemas(app)
      await order(app)
      await assertRefused(t, app, `${title}, ${JSON.stringify(schema).slice(0, 30)}`)
    }
  }
})

await t.test('no later hook escapes the mask', async (t) => {
  const Envelope = Type.Object({ data: User })
  const response = { 200: Envelope }
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fieldEncryption, { keyset: exportKeyset(generateKeyset()) })
  const owner = {
    fieldEncryption: { roles: (_: unknown, u: unknown) => [(u as { id: string }).id] },
  }
  app.get('/own', { schema: { response }, preSerialization: envelope }, async () => user)
  app.get(
    '/roles',
    { config: owner, schema: { response }, preSerialization: envelope },
    async () => ({
      ...user,
      id: 'admin',
    }),
  )
  await app.register(async (child) => {
    child.addHook('preSerialization', envelope)
    child.get('/later', { schema: { response } }, async () => user)
  })
  await app.register(async (child) => {
    child.addHook('onRoute', (route) => {
      route.preSerialization = [route.preSerialization ?? [], envelope].flat()
    })
    child.get('/replaced', { schema: { response } }, async () => user)
  })
  await app.register(async (child) => {
    child.addHook('onRoute', (route) => {
      if (Array.isArray(route.preSerialization)) route.preSerialization.push(envelope)
    })
    child.get('/pushed', { schema: { response } }, async () => user)
  })
  const mutate = async (_request: unknown, _reply: unknown, payload: unknown) =>
    Object.assign(payload as object, { data: user })
  app.get('/mutated', { schema: { response }, preSerialization: mutate }, async () => ({
    data: { id: '2', email: 'x@y.z' },
  }))
  app.get('/serializer', { schema: { response }, preSerialization: envelope }, async (_, reply) => {
    reply.serializer((payload) => JSON.stringify(payload))
    return user
  })
  for (const url of ['/own', '/later', '/replaced', '/pushed', '/mutated', '/serializer']) {
    t.strictSame((await app.inject(url)).json(), { data: masked }, url)
  }
  const revealed = { data: { ...user, id: 'admin' } }
  t.strictSame((await app.inject('/roles')).json(), revealed, 'roles see what the handler returned')
  t.equal((await app.inject({ method: 'HEAD', url: '/own' })).statusCode, 200)
})

await t.test(
  'a success status without a schema is refused on a route with a masked one',
  async (t) => {
    const { app } = await buildFixed(t)
    app.setErrorHandler(problemErrorHandler)
    const route = (url: string, response: object, answer: (reply: FastifyReply) => unknown) =>
      app.get(url, { schema: { response } }, async (_, reply) => answer(reply))
    route('/created', { 200: User }, (reply) => reply.code(201).send(user))
    route('/text', { 200: User }, (reply) =>
      reply.code(201).type('application/json').send(JSON.stringify(user)),
    )
    route('/class', { '2xx': User }, (reply) => reply.code(201).send(user))
    route('/empty', { 200: User }, (reply) => reply.code(204).send())
    route('/error', { 200: User }, (reply) => reply.code(404).send({ error: 'none' }))
    route('/unmasked', { 200: Type.Object({}) }, (reply) => reply.code(201).send(user))
    await assertRefused(t, app, 'an object', '/created')
    await assertRefused(t, app, 'a text', '/text')
    t.strictSame((await app.inject('/class')).json(), masked)
    t.equal((await app.inject('/empty')).statusCode, 204)
    t.strictSame((await app.inject('/error')).json(), { error: 'none' })
    t.equal((await app.inject('/unmasked')).statusCode, 201)
  },
)

await t.test('an entity of a class is masked like a plain object', async (t) => {
  class Entity {
    readonly #email = 'jane@example.com'
    readonly id = '1'
    get email() {
      return this.#email
    }
  }
  const twice = { toJSON: () => ({ ...user, toJSON: () => user }) }
  for (const entity of [new Entity(), twice]) {
    const { app } = await buildFixed(t)
    app.get('/', { schema: { response: { 200: User } } }, async () => entity)
    t.strictSame((await app.inject('/')).json(), masked)
  }
})

await t.test('a mask or a role function that fails does not reveal the value', async (t) => {
  const Broken = Type.Object({ email: Encrypted(Type.String(), { mask: { default: broken } }) })
  const silent = Encrypted(Type.String(), { mask: { default: (() => undefined) as never } })
  const cases: [schema: object, config: object][] = [
    [Broken, {}],
    [Type.Object({ email: silent }), {}],
    [User, { fieldEncryption: { roles: fail } }],
  ]
  for (const [schema, config] of cases) {
    const { app } = await buildFixed(t)
    app.get('/', { config, schema: { response: { 200: schema } } }, async () => user)
    await assertRefused(t, app, JSON.stringify(config))
  }
  const { app } = await buildFixed(t, {
    keyset,
    principal: () => {
      throw new Error('jane')
    },
  })
  app.get('/', { schema: { response: { 200: User } } }, async () => user)
  await assertRefused(t, app, 'principal')
  const table = app.fieldEncryption.table(
    'b',
    Type.Object({ id: Type.String(), ...Broken.properties }),
  )
  const row = await table.encryptRecord({ id: '1', email: 'jane@example.com' })
  await t.rejects(table.decryptRecord(row, { roles: [] }), code('REVEAL_REFUSED'))
  const forgotten = { mask: { default: mask.email as never } }
  t.throws(() => Encrypted(Type.String(), forgotten), code('INVALID_SCHEMA'))
  t.throws(() => Encrypted(Email), code('INVALID_SCHEMA'), 'options would be lost')
})

await t.test('a plugin that is registered in a child context warns', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  for (const isChild of [true, false]) {
    const app = Fastify({ logger: { level: 'warn', stream } })
    t.after(() => app.close())
    if (isChild)
      await app.register(async (child) => void child.register(fieldEncryption, { keyset }))
    else await app.register(fieldEncryption, { keyset })
    await app.ready()
    t.equal(lines.length, 1, isChild ? 'in a child' : 'not at the root')
    t.match(lines[0], /registered in a child context/)
  }
})

await t.test('after a failed boot a response is refused for that reason', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.addHook('onReady', async () => {
    throw new Error('no database')
  })
  await app.register(fieldEncryption, { keyset })
  app.get('/', { schema: { response: { 200: User } } }, async () => user)
  await t.rejects(Promise.resolve(app.ready()), /no database/)
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 500)
  t.match(reply.json<{ message: string }>().message, /the boot of the app has failed/)
})
