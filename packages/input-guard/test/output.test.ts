import { encodeFor, inputGuard } from '@parapet/input-guard'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import Fastify, { type FastifyReply } from 'fastify'
import { get } from 'node:http'
import { Readable, Stream } from 'node:stream'
import { runInNewContext } from 'node:vm'
import { gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { build, clock } from './helpers.ts'

await t.test('each encoder writes what cannot leave its place', async (t) => {
  const hostile = `"><script>alert('1')</script>&\u2028\\`
  t.equal(
    encodeFor.html(hostile),
    '&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\u2028\\',
  )
  t.notMatch(encodeFor.attribute(hostile), /[<>"'`=]/)
  t.equal(encodeFor.attribute('a b\n='), 'a b&#xA;&#x3D;')
  t.equal(encodeFor.url("a b/?&'é\ud800"), 'a%20b%2F%3F%26%27%C3%A9%EF%BF%BD')
  t.equal(encodeFor.header('a\r\nset-cookie: x\u00e9%'), 'a%0D%0Aset-cookie: x%C3%A9%25')
  t.notMatch(encodeFor.js(`</script>"'\u2028`), /[<>"'/\u2028]/)
})

await t.test('a field of CSV is no formula', async (t) => {
  const formulas = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =1', '＝1', '\0=1']
  for (const text of formulas) t.match(encodeFor.csv(text), /^"'/, JSON.stringify(text))
  t.equal(encodeFor.csv('a "quoted", text'), '"a ""quoted"", text"')
  t.equal(encodeFor.csv('a=1'), '"a=1"')
})

await t.test('what was encoded for a script or a URL decodes to the same text', async (t) => {
  const text = fc.string({ unit: 'grapheme', maxLength: 40 })
  fc.assert(
    fc.property(
      text,
      (each) =>
        runInNewContext(`"${encodeFor.js(each)}"`) === each &&
        decodeURIComponent(encodeFor.url(each)) === each,
    ),
    { numRuns: 300 },
  )
  const units = fc.string({ unit: 'binary', maxLength: 40 })
  fc.assert(
    fc.property(units, (each) => {
      const field = encodeFor.csv(each).slice(1, -1).replaceAll('""', '"')
      return (
        !field.replaceAll("'", '').includes('\0') && /^[\x20-\x7e]*$/.test(encodeFor.header(each))
      )
    }),
    { numRuns: 300 },
  )
  t.pass('300 texts each')
})

const row = () => ({
  id: 1,
  passwordHash: 'secret',
  tags: [{ t: 'x', secret: 1 }],
  person: { name: 'a', secret: 1, boss: { name: 'b', secret: 2 } },
  when: new Date(0),
  map: { x: 1 },
  free: { y: 1 },
  either: { b: 1 },
  missing: undefined,
})

await t.test(
  'members that a response schema does not declare are removed and reported once',
  async (t) => {
    const { app, events } = await build(t)
    app.addSchema({
      $id: 'person',
      type: 'object',
      properties: { name: { type: 'string' }, boss: { $ref: 'person#' } },
    })
    const user = Type.Object({
      id: Type.Integer(),
      tags: Type.Array(Type.Object({ t: Type.String() })),
      person: Type.Optional(Type.Unsafe({ $ref: 'person#' })),
      when: Type.Optional(Type.String()),
      map: Type.Optional(Type.Record(Type.String(), Type.Integer())),
      free: Type.Optional(Type.Object({}, { additionalProperties: true })),
      either: Type.Optional(
        Type.Union([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Integer() })]),
      ),
    })
    app.get('/one', { schema: { response: { 200: user } } }, row)
    app.get('/list', { schema: { response: { '2xx': Type.Array(user) } } }, () => [row(), row()])
    app.get(
      '/typed',
      {
        schema: {
          response: {
            200: {
              content: { 'application/json': { schema: Type.Object({ a: Type.Integer() }) } },
            },
          },
        },
      },
      () => ({ a: 1, b: 2 }),
    )
    app.get('/text', { schema: { response: { 200: Type.String() } } }, () => 'text')
    app.get('/error', { schema: { response: { 200: user } } }, (_request, reply) =>
      reply.code(404 as 200).send({ secret: 1 }),
    )
    const one = await app.inject('/one')
    t.notMatch(one.body, /secret|passwordHash/)
    t.match(one.json(), {
      id: 1,
      tags: [{ t: 'x' }],
      map: { x: 1 },
      free: { y: 1 },
      either: { b: 1 },
    })
    const reported = () =>
      events.map(({ details, route }) => [
        route,
        (details as { field: string }).field,
        (details as { suppressed: number }).suppressed,
      ])
    const fields = ['/passwordHash', '/tags/*/secret', '/person/secret', '/person/boss/secret']
    t.same(
      reported(),
      fields.map((field) => ['GET /one', field, 0]),
    )
    await app.inject('/one')
    t.equal(events.length, fields.length, 'once in a minute')
    clock.advance(60_000)
    await app.inject('/one')
    t.same(
      reported().slice(4),
      fields.map((field) => ['GET /one', field, 1]),
      'with the number of repetitions',
    )
    events.length = 0
    t.notMatch((await app.inject('/list')).body, /secret/)
    t.same(
      reported().map(([, field]) => field),
      fields.map((field) => `/*${field}`),
    )
    events.length = 0
    t.same((await app.inject('/typed')).json(), { a: 1 })
    t.same(reported(), [['GET /typed', '/b', 0]])
    events.length = 0
    t.equal((await app.inject('/text')).body, 'text')
    t.same(
      (await app.inject('/error')).json(),
      { secret: 1 },
      'a status without a schema is not compared',
    )
    t.same(events, [])
  },
)

await t.test('the comparison can be switched off', async (t) => {
  const { app, events } = await build(t, { responses: 'off' })
  app.get('/', { schema: { response: { 200: Type.Object({ a: Type.Integer() }) } } }, () => ({
    a: 1,
    b: 2,
  }))
  t.same((await app.inject('/')).json(), { a: 1 })
  t.same(events, [])
})

const plain = () => ({ name: 'n', password: 'SECRET' })
const secret = { type: 'string', writeOnly: true }
const object = (password: object) => ({
  type: 'object',
  properties: { name: { type: 'string' }, password },
})

/** A document of an ORM. */
class Doc {
  readonly #data: object
  constructor(data: object) {
    this.#data = data
  }
  toJSON() {
    return this.#data
  }
}
/** An entity whose members are getters of its class. */
class Entity {
  readonly #name = 'n'
  get name() {
    return this.#name
  }
  get password() {
    return `SECRET of ${this.#name}`
  }
}

await t.test(
  'a member with writeOnly is never sent, however schema and value are built',
  async (t) => {
    const user = Type.Object({
      name: Type.String(),
      password: Type.Optional(Type.String({ writeOnly: true })),
    })
    const node = { $id: 'node', ...object(secret) }
    Object.assign(node.properties, { next: { $ref: 'node#' } })
    let chain: object = plain()
    for (let depth = 0; depth < 50; depth++) chain = { ...plain(), next: chain }
    const cases: Record<string, [schema: object, value: object]> = {
      plain: [user, plain()],
      list: [Type.Array(user), [plain()]],
      toJSON: [user, new Doc(plain())],
      'a list of toJSON': [Type.Array(user), [new Doc(plain())]],
      getters: [user, new Entity()],
      inherited: [user, Object.create(plain()) as object],
      additionalProperties: [{ type: 'object', additionalProperties: user }, { a: plain() }],
      'hidden additionalProperties': [
        { type: 'object', properties: { name: { type: 'string' } }, additionalProperties: secret },
        plain(),
      ],
      patternProperties: [{ type: 'object', patternProperties: { '^a': user } }, { a: plain() }],
      'hidden patternProperties': [
        { type: 'object', properties: { name: {} }, patternProperties: { '^p': secret } },
        plain(),
      ],
      '$ref to a hidden schema': [object({ $ref: 'secret#' }), plain()],
      'allOf of a hidden schema': [object({ allOf: [secret] }), plain()],
      $ref: [{ $ref: 'user#' }, plain()],
      anyOf: [{ anyOf: [user, { type: 'null' }] }, plain()],
      open: [{ ...user, additionalProperties: true }, plain()],
      tuple: [{ type: 'array', items: [user] }, [plain()]],
      condition: [
        {
          type: 'object',
          if: { properties: { name: { const: 'n' } } },
          // oxlint-disable-next-line no-thenable -- a keyword of JSON Schema
          then: user,
          else: { type: 'object', properties: {} },
        },
        plain(),
      ],
      deep: [{ $ref: 'node#' }, chain],
    }
    for (const responses of ['report', 'off'] as const) {
      const { app } = await build(t, { responses })
      app.addSchema({ $id: 'secret', ...secret })
      app.addSchema({ ...user, $id: 'user' })
      app.addSchema(node)
      for (const [name, [schema, value]] of Object.entries(cases)) {
        const url = `/${name.replaceAll(/\W/g, '_')}`
        app.get(url, { schema: { response: { 200: schema } } }, async () => value)
      }
      for (const name of Object.keys(cases)) {
        const reply = await app.inject(`/${name.replaceAll(/\W/g, '_')}`)
        t.equal(reply.statusCode, 200, `${name}: ${reply.body}`)
        t.notMatch(reply.body, /SECRET/, name)
        t.match(reply.body, /"n"/, `${name}: the rest is sent`)
      }
    }
  },
)

await t.test('names that clients invent make no more than 21 events', async (t) => {
  const { app, events } = await build(t)
  const invented = Object.fromEntries(Array.from({ length: 900 }, (_, at) => [`k${at}`, 1]))
  const schema = { response: { 200: Type.Object({ a: Type.Optional(Type.Integer()) }) } }
  app.get('/', { schema }, async () => ({ ...invented, ['x'.repeat(200_000)]: 1 }))
  await app.inject('/')
  await app.inject('/')
  t.equal(events.length, 21)
  t.match(events.at(-1)?.details, { field: '/*' })
})

/** A stream from before `Readable`. */
class OldStream extends Stream {
  constructor(text: string) {
    super()
    setImmediate(() => {
      this.emit('data', Buffer.from(text))
      this.emit('end')
    })
  }
}

await t.test(
  'JSON that a handler sends by itself is filtered by the response schema',
  async (t) => {
    const { app, events } = await build(t)
    const user = Type.Object({
      id: Type.Integer(),
      password: Type.Optional(Type.String({ writeOnly: true })),
    })
    const leak = JSON.stringify({ id: 1, password: 'SECRET', hash: 'SECRET' })
    const schema = { response: { 200: user, '4xx': user } }
    const json = 'application/json'
    const routes: Record<string, (reply: FastifyReply) => unknown> = {
      text: (reply) => reply.type(json).send(leak),
      returned: (reply) => (reply.type(json), leak),
      buffer: (reply) => reply.type(json).send(Buffer.from(leak)),
      bytes: (reply) => reply.type('application/hal+json').send(new Uint8Array(Buffer.from(leak))),
      mark: (reply) => reply.type(json).send(`\uFEFF${leak}`),
      untyped: () => leak,
      'untyped bytes': (reply) => reply.send(Buffer.from(`\uFEFF ${leak}`)),
      spaces: () => `${' '.repeat(300)}${leak}`,
      html: (reply) => reply.type('text/html').send(leak),
      lines: (reply) => reply.type('application/x-ndjson').send(leak),
      'with length': (reply) => reply.type(json).header('content-length', leak.length).send(leak),
      status: (reply) => reply.code(404).type(json).send(leak),
      serializer: (reply) => reply.type(json).serializer(JSON.stringify).send(JSON.parse(leak)),
      stream: (reply) => reply.type(json).send(Readable.from([leak.slice(0, 9), leak.slice(9)])),
      'stream without a type': () => Readable.from([' ', Buffer.from(leak)], { objectMode: false }),
      'stream of bytes': (reply) =>
        reply.type('application/octet-stream').send(Readable.from([Buffer.from(leak)])),
      'stream with length': (reply) =>
        reply
          .type(json)
          .header('content-length', leak.length)
          .send(Readable.from([leak])),
      'old stream': (reply) => reply.type(json).send(new OldStream(leak)),
      'web stream': (reply) => reply.type(json).send(new Blob([leak]).stream()),
      response: () => Response.json(JSON.parse(leak)),
      'response of text': () => new Response(leak),
      'response of fetch': () =>
        new Response(leak, {
          headers: { 'content-type': json, 'content-length': '43', 'content-encoding': 'gzip' },
        }),
      'response of another status': (reply) =>
        reply.send(Response.json(JSON.parse(leak), { status: 404 })),
    }
    for (const [name, handler] of Object.entries(routes)) {
      app.get(`/${name.replaceAll(' ', '-')}`, { schema }, async (_request, reply) =>
        handler(reply),
      )
    }
    app.get('/list', { schema: { response: { 200: Type.Array(user) } } }, (_request, reply) =>
      reply.type(json).send(`[${leak}]` as never),
    )
    for (const name of [...Object.keys(routes), 'list']) {
      events.length = 0
      const url = `/${name.replaceAll(' ', '-')}`
      const reply = await app.inject(url)
      t.equal(reply.body, name === 'list' ? '[{"id":1}]' : '{"id":1}', name)
      t.equal(reply.headers['content-length'], String(reply.body.length), name)
      t.notOk(reply.headers['content-encoding'])
      const field = name === 'list' ? '/*/hash' : '/hash'
      t.match(events, [{ type: 'input_guard.field_removed', details: { field } }], name)
      t.notMatch((await app.inject({ method: 'HEAD', url })).headers, { 'content-length': '48' })
    }
  },
)

await t.test(
  'text that is no JSON object is sent as it is, and what cannot be checked is not',
  async (t) => {
    const { app } = await build(t, { maxTextResponseBytes: 1000 })
    const json = 'application/json'
    const object = Type.Object({ id: Type.Integer() })
    const send = (name: string, response: object, type: string | undefined, payload: unknown) => {
      app.get(`/${name}`, { schema: { response } }, (_request, reply) => {
        if (type !== undefined) void reply.type(type)
        return reply.send(payload)
      })
    }
    const leak = '{"id":1,"hash":"SECRET"}'
    const large = JSON.stringify({ id: 1, hash: 'SECRET'.repeat(200) })
    const sent: [payload: string, response: object, type: string | undefined][] = [
      ['done', { 200: object }, undefined],
      ['{not JSON', { 200: object }, undefined],
      [`${leak}\n${leak}`, { 200: object }, 'application/x-ndjson'],
      ['{}'.slice(1), { 200: object }, 'text/html'],
      [leak, { 200: Type.String() }, json],
      [leak, { 200: Type.Any() }, json],
      [large, { 200: Type.Object({}, { additionalProperties: true }) }, json],
      [leak, { 201: object }, json],
      ['"text"', { 200: object }, json],
      ['', { 200: object }, json],
    ]
    for (const [at, [payload, response, type]] of sent.entries()) {
      send(`sent-${at}`, response, type, payload)
    }
    const refused = { large, broken: '{"id":1', 'other-type': '{"hash":1}' }
    for (const [name, payload] of Object.entries(refused))
      send(name, { '2xx': object }, json, payload)
    send('large-text', { 200: object }, undefined, large)
    send('compressed', { 200: object }, json, gzipSync(leak))
    for (const [at, [payload]] of sent.entries()) {
      t.equal((await app.inject(`/sent-${at}`)).body, payload, `${at}`)
    }
    for (const name of ['large', 'broken', 'large-text', 'compressed']) {
      const reply = await app.inject(`/${name}`)
      t.equal(reply.statusCode, 500, name)
      t.match(reply.json(), { code: 'PARAPET_INPUT_GUARD_RESPONSE_REFUSED' }, name)
      t.notMatch(reply.body, /SECRET/, name)
    }
    t.equal((await app.inject('/other-type')).statusCode, 500, 'a required member is missing')
  },
)

const leakyValue = () => ({ id: 1, hash: 'SECRET' })

await t.test('a serializer of the app gets what the response schema leaves', async (t) => {
  const { app, events } = await build(t)
  const schema = { response: { 200: Type.Object({ id: Type.Integer() }) } }
  app.get('/csv', { schema }, (_request, reply) =>
    reply
      .type('text/csv')
      .serializer((value: object) => Object.values(value).join())
      .send(leakyValue()),
  )
  await app.register(async (child) => {
    child.setReplySerializer((data) => JSON.stringify({ data }))
    child.get('/envelope', { schema }, leakyValue)
    child.get('/free', { schema: { response: { 200: Type.Any() } } }, leakyValue)
  })
  t.equal((await app.inject('/csv')).body, '1')
  t.equal((await app.inject('/envelope')).body, '{"data":{"id":1}}')
  t.equal(events.length, 2)
  t.equal((await app.inject('/free')).body, '{"data":{"id":1,"hash":"SECRET"}}')
})

await t.test('a JSON type that a route does not declare has the schema of its JSON', async (t) => {
  const { app } = await build(t)
  const content = { 'application/json': { schema: Type.Object({ id: Type.Integer() }) } }
  const leak = { id: 1, hash: 'SECRET' }
  const send = (url: string, type: string | undefined, payload: unknown) =>
    app.get(url, { schema: { response: { 200: { content } } } }, (_request, reply) => {
      if (type !== undefined) void reply.type(type)
      return reply.send(payload)
    })
  send('/object', 'application/hal+json', leak)
  send('/case', 'Application/JSON', leak)
  send('/text', undefined, JSON.stringify(leak))
  for (const url of ['/object', '/case', '/text']) {
    t.equal((await app.inject(url)).body, '{"id":1}', url)
  }
})

await t.test(
  'what an earlier plugin has compressed is refused, unless it was filtered',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    app.addHook('onSend', async (_request, reply, payload) => {
      if (reply.statusCode !== 200) return payload
      reply.header('content-encoding', 'gzip')
      return Readable.from([gzipSync(payload as string)])
    })
    await app.register(inputGuard, { audit: 'off' })
    const schema = { response: { 200: Type.Object({ id: Type.Integer() }) } }
    app.get('/value', { schema }, leakyValue)
    app.get('/text', { schema }, () => JSON.stringify(leakyValue()))
    app.get('/json', { schema }, (_request, reply) =>
      reply.type('application/json').send(JSON.stringify(leakyValue()) as never),
    )
    app.get('/page', { schema }, (_request, reply) => reply.type('text/html').send('<p>'))
    for (const [url, body] of [
      ['/value', '{"id":1}'],
      ['/page', '<p>'],
    ] as const) {
      t.equal(gunzipSync((await app.inject(url)).rawPayload).toString(), body)
    }
    for (const url of ['/text', '/json']) {
      const reply = await app.inject(url)
      t.match([reply.statusCode, reply.json()], [500, { message: /compressed/ }], url)
      t.notOk(reply.headers['content-encoding'])
    }
  },
)

await t.test(
  'streams that are no JSON are sent whole, and what cannot be checked is not',
  async (t) => {
    const { app } = await build(t, { maxTextResponseBytes: 1000 })
    const schema = { response: { '2xx': Type.Object({ id: Type.Integer() }) } }
    const large = ['{"id":1,"hash":"', 'SECRET'.repeat(200), '"}']
    const streams: Record<string, [send: (reply: FastifyReply) => unknown, body: string]> = {
      lines: [
        (reply) => reply.type('application/x-ndjson').send(Readable.from(large)),
        large.join(''),
      ],
      text: [() => Readable.from(['  ', 'a', 'b'.repeat(2000)]), `  a${'b'.repeat(2000)}`],
      encoded: [() => Readable.from([Buffer.from('é'), 'x']).setEncoding('utf8'), 'éx'],
      web: [() => new Blob(['plain', 'text']).stream(), 'plaintext'],
      response: [() => new Response('<p>'), '<p>'],
      'no-body': [() => new Response(null, { status: 204 }), ''],
      empty: [() => Readable.from([]), ''],
    }
    const cookies = new Headers([
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ])
    app.get('/cookies', { schema }, () => Response.json({ id: 1 }, { headers: cookies }))
    for (const [name, [send]] of Object.entries(streams)) {
      app.get(`/${name}`, { schema }, (_request, reply) => send(reply))
    }
    const destroyed = Readable.from(large)
    const refused: Record<string, () => unknown> = {
      'too-long': () => destroyed,
      'long-response': () => new Response(large.join(''), { headers: { 'x-own': '1' } }),
      broken: () => new Response('{"id":', { headers: { 'content-type': 'text/json' } }),
      failed: () =>
        new Readable({
          read() {
            this.destroy(new Error('lost'))
          },
        }),
    }
    for (const [name, send] of Object.entries(refused)) app.get(`/${name}`, { schema }, send)
    for (const [name, [, body]] of Object.entries(streams)) {
      const reply = await app.inject(`/${name}`)
      t.match([reply.statusCode, reply.body], [name === 'no-body' ? 204 : 200, body], name)
    }
    t.same((await app.inject('/cookies')).headers['set-cookie'], ['a=1', 'b=2'])
    for (const name of Object.keys(refused)) {
      const reply = await app.inject(`/${name}`)
      t.equal(reply.statusCode, 500, name)
      t.notMatch(reply.body, /SECRET/, name)
    }
    t.ok(destroyed.destroyed)
  },
)

await t.test('a client that leaves ends a stream that is being read', async (t) => {
  const { app } = await build(t)
  const schema = { response: { 200: Type.Object({ id: Type.Integer() }) } }
  const stream = new Readable({ read() {} })
  const read = new Promise((resolve) => stream.once('newListener', resolve))
  stream.push('{"id"')
  app.get('/', { schema }, (_request, reply) => reply.type('application/json').send(stream))
  const client = get(await app.listen({ host: '127.0.0.1', port: 0 }))
  client.on('error', () => {})
  await read
  const closed = new Promise((resolve) => stream.once('close', resolve))
  client.destroy()
  await closed
  t.ok(stream.destroyed)
})

await t.test('an error handler that sends text itself is filtered, and ends', async (t) => {
  const { app } = await build(t)
  const problem = Type.Object({ code: Type.String() })
  app.setErrorHandler((_error, { query }, reply) =>
    reply
      .code(500)
      .type('application/json')
      .send(
        (query as { bad?: string }).bad === undefined
          ? JSON.stringify({ code: 'own', stack: 'SECRET' })
          : '{"SECRET',
      ),
  )
  const response = { 200: Type.Object({ id: Type.Integer() }), 500: problem }
  app.get('/', { schema: { response } }, async () => ({ id: undefined }))
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 500)
  t.same(reply.json(), { code: 'own' })
  const bad = await app.inject('/?bad=1')
  t.equal(bad.statusCode, 500)
  t.notMatch(bad.body, /SECRET/)
})
