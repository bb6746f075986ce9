import { Readable } from 'node:stream'
import { Encrypted, fieldEncryption, mask } from '@parapet/field-encryption'
import { problemErrorHandler, type Principal } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { buildFixed, code, keyset, usersOf } from './fixtures.ts'

const Reply = Type.Object({
  name: Type.String(),
  email: Encrypted(Type.String(), {
    reveal: ['admin', 'owner'],
    mask: { support: mask.email(), default: mask.redact() },
  }),
  age: Type.Optional(Encrypted(Type.Integer(), { reveal: ['admin'] })),
  secret: Type.Optional(Encrypted(Type.String(), { reveal: 'never' })),
})

async function serve(t: Test, principal: Principal | null, payload: unknown) {
  const { app } = await buildFixed(t, { keyset, principal: () => principal })
  app.setErrorHandler(problemErrorHandler)
  app.addSchema(Type.Object({ ...Reply.properties }, { $id: 'Reply' }))
  const answer = async () => payload
  app.get('/plain', { schema: { response: { 200: Reply } } }, answer)
  app.get('/ref', { schema: { response: { '2xx': { $ref: 'Reply#' } } } }, answer)
  app.get('/items', { schema: { response: { 200: Type.Array(Type.Ref('Reply')) } } }, async () => [
    payload,
  ])
  app.get(
    '/typed',
    { schema: { response: { 200: { content: { 'application/json': { schema: Reply } } } } } },
    answer,
  )
  app.get(
    '/own',
    {
      config: {
        fieldEncryption: {
          roles: (_, value) => ((value as { name: string }).name === 'Jane' ? ['owner'] : []),
        },
      },
      schema: { response: { 200: Reply } },
    },
    answer,
  )
  app.get('/text', { schema: { response: { 200: Reply } } }, async (_, reply) =>
    reply.type('application/json').send(JSON.stringify(payload)),
  )
  app.get('/stream', { schema: { response: { 200: Reply } } }, async (_, reply) =>
    reply.type('application/json').send(Readable.from([JSON.stringify(payload)])),
  )
  return app
}

await t.test('a text that begins like a ciphertext is sent as a text', async (t) => {
  const email = 'pe1.is.a.fine.text'
  const app = await serve(t, { id: '1', roles: ['admin'] }, { name: 'x', email })
  t.strictSame((await app.inject('/plain')).json(), { name: 'x', email })
})

await t.test('a response that cannot be masked is refused', async (t) => {
  const admin = { id: '1', roles: ['admin'] }
  const row = await (await usersOf(t)).users.encryptRecord({ id: 'u-1', email: 'a@b.c' })
  const refused: [url: string, payload: unknown, what: string][] = [
    ['/plain', { name: 'x', email: row['email'] }, 'NOT_DECRYPTED'],
    ['/plain', { name: 'x', email: 'a@b.c', secret: 's3cret' }, 'REVEAL_REFUSED'],
    ['/plain', ['s3cret'], 'REVEAL_REFUSED'],
    ['/text', { name: 'x', email: 's3cret@b.c' }, 'REVEAL_REFUSED'],
    ['/stream', { name: 'x', email: 's3cret@b.c' }, 'REVEAL_REFUSED'],
  ]
  for (const [url, payload, what] of refused) {
    const app = await serve(t, admin, payload)
    const reply = await app.inject(url)
    t.equal(reply.statusCode, 500, url)
    t.equal(reply.json<{ code: string }>().code, `PARAPET_FIELD_ENCRYPTION_${what}`)
    t.notMatch(reply.body, /s3cret|pe1\./)
  }
})

await t.test('a route declared before the plugin is refused, not sent unmasked', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  void app.register(fieldEncryption, { keyset })
  app.get('/late', { schema: { response: { 200: Reply } } }, async () => ({
    name: 'x',
    email: 's3cret@b.c',
  }))
  const config = { fieldEncryption: { roles: () => ['admin'] } }
  app.get('/late-config', { config }, async () => ({ email: 's3cret@b.c' }))
  app.get('/free', async () => ({ free: true }))
  for (const url of ['/late', '/late-config']) {
    const reply = await app.inject(url)
    t.equal(reply.statusCode, 500)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED')
    t.notMatch(reply.body, /s3cret/)
  }
  t.equal((await app.inject('/free')).statusCode, 200)
})

await t.test('responses are revealed, masked or withheld by the roles of the caller', async (t) => {
  const payload = Object.freeze({ name: 'Jane', email: 'jane@example.com', age: 41 })
  const seen = {
    admin: payload,
    support: { name: 'Jane', email: 'j****@example.com' },
    other: { name: 'Jane', email: '[redacted]' },
  }
  for (const [role, expected] of Object.entries(seen)) {
    const app = await serve(t, { id: '1', roles: [role] }, payload)
    for (const url of ['/plain', '/ref', '/typed']) {
      const reply = await app.inject(url)
      t.equal(reply.statusCode, 200, url)
      t.strictSame(reply.json(), expected, `${role} ${url}`)
    }
    t.strictSame((await app.inject('/items')).json(), [expected])
  }
  const app = await serve(t, null, payload)
  t.strictSame((await app.inject('/plain')).json(), seen.other, 'anonymous')
  t.strictSame((await app.inject('/own')).json(), { name: 'Jane', email: 'jane@example.com' })
})

await t.test('a payload with toJSON is masked in its JSON form', async (t) => {
  class Doc {
    readonly name = 'Jane'
    readonly email = 'jane@example.com'
    /** An own property, so that a spread copy would keep it. */
    readonly toJSON = () => ({ name: this.name, email: this.email, age: 41 })
  }
  const app = await serve(t, { id: '1', roles: ['support'] }, new Doc())
  for (const url of ['/plain', '/items']) {
    const shown = (await app.inject(url)).json<unknown>()
    t.strictSame([shown].flat(), [{ name: 'Jane', email: 'j****@example.com' }], url)
  }
})

await t.test(
  'a response schema that requires a field that may be withheld stops the boot',
  async (t) => {
    const bare = Type.Object({ x: Encrypted(Type.String(), { reveal: ['admin'] }) })
    const schema = code('INVALID_SCHEMA')
    const declare = async (response: object, config: object = {}) => {
      const { app } = await buildFixed(t)
      app.get('/', { config, schema: { response } }, async () => ({}))
      await app.ready()
    }
    await t.rejects(declare({ 200: bare }), schema)
    await t.rejects(declare({ 200: Type.Object({ list: Type.Array(bare) }) }), schema)
    await t.rejects(declare({ 200: Type.Union([Reply, Type.String()]) }), schema)
    await t.rejects(declare({ 200: Reply }, { fieldEncryption: { role: () => [] } }), schema)
    await t.rejects(declare({ 200: { $ref: 'Unknown#' } }), { code: /SCH|INVALID_SCHEMA/ })
    const Tree = Type.Recursive((This) => Type.Object({ kids: Type.Array(This) }))
    await t.resolves(
      declare({ 200: Tree }),
      'a recursive schema without encrypted fields is accepted',
    )
    const Bad = Type.Recursive((This) =>
      Type.Object({ kids: Type.Array(This), x: Type.Optional(Encrypted(Type.String())) }),
    )
    await t.rejects(declare({ 200: Bad }), schema)
  },
)

await t.test('a request body with an encrypted member is validated as usual', async (t) => {
  const { app } = await buildFixed(t)
  const Body = Type.Object({ email: Encrypted(Type.String({ minLength: 3 })) })
  let calls = 0
  app.post('/', { schema: { body: Body } }, async (request) => {
    calls++
    return request.body
  })
  const post = (email: string) => app.inject({ method: 'POST', url: '/', payload: { email } })
  t.equal((await post('a@b.c')).statusCode, 200)
  const refused = await post('a')
  t.equal(refused.statusCode, 400)
  t.match(refused.json(), { code: 'FST_ERR_VALIDATION' })
  t.equal(calls, 1, 'the handler did not run for the invalid body')
})
