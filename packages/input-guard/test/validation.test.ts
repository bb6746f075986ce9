import {
  guardedSchemas,
  inputGuard,
  PARAPET_INPUT_GUARD_INVALID_TYPE,
  PersonName,
  SafeEmail,
  SafeHtml,
  SafeJson,
  SafeText,
} from '@parapet/input-guard'
import { problemErrorHandler } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { findGaps } from '../src/validation/audit.ts'
import { compileCoercion } from '../src/validation/coercion.ts'
import { ValidationRun } from '../src/validation/run.ts'
import { createAjv } from '../src/validation/create-ajv.ts'
import { listParameters } from '../src/validation/list-parameters.ts'
import { createResolver } from '../src/validation/schema-tools.ts'
import { build, post } from './helpers.ts'

const text = { type: 'string', maxLength: 10 }
const objectOf = (properties: object, rest: object = {}) => ({
  type: 'object',
  properties,
  additionalProperties: false,
  ...rest,
})

/** A condition that always holds. The linter takes a literal `then` for a promise. */
const always = (schema: object) =>
  Object.fromEntries(['if', 'then'].map((keyword) => [keyword, keyword === 'if' ? {} : schema]))

await t.test('bodies are not converted, surplus members are refused', async (t) => {
  // The guard of bodies would refuse 1e309 before.
  const { app } = await build(t, { json: { refuseInexactNumbers: false } })
  const body = objectOf({
    n: { type: 'integer' },
    s: text,
    d: { type: 'string', maxLength: 5, default: 'x' },
  })
  app.post('/', { schema: { body } }, (request) => request.body)
  for (const [sent, code] of [
    [{ n: '5' }, 'type'],
    [{ n: true }, 'type'],
    [{ s: ['x'] }, 'type'],
    [{ s: 5 }, 'type'],
    [{ x: 1 }, 'additional_properties'],
    ['5', 'type'],
    ['null', 'type'],
    ['{"n":1e309}', 'type'],
  ] as const) {
    const reply = await post(app, '/', sent)
    t.match(
      [reply.statusCode, reply.json()],
      [400, { code: 'FST_ERR_VALIDATION', errors: [{ in: 'body', code }] }],
      JSON.stringify(sent),
    )
  }
  t.same((await post(app, '/', { n: 5 })).json(), { n: 5, d: 'x' })
})

await t.test('texts of the URL are converted only if JSON would write them so', async (t) => {
  const { app } = await build(t)
  const querystring = objectOf({
    n: { type: 'integer' },
    f: { type: 'number' },
    b: { type: 'boolean' },
    s: text,
    u: { anyOf: [{ type: 'integer' }, { const: 'all', type: 'string' }] },
    x: { anyOf: [{ type: 'integer' }, { type: 'boolean' }] },
  })
  const params = objectOf({ id: { type: 'integer' } })
  app.get('/:id', { schema: { querystring, params } }, ({ query, params }) => ({ query, params }))
  t.same((await app.inject('/7?n=-5&f=1.5e2&b=true&s=5&u=5&x=false')).json(), {
    query: { n: -5, f: 150, b: true, s: '5', u: '5', x: false },
    params: { id: 7 },
  })
  const refused = [
    '/7?n=0x5',
    '/7?n=%205',
    '/7?n=',
    '/7?n=05',
    '/7?n=1.5',
    '/7?f=1e999',
    '/7?f=Infinity',
    '/7?f=NaN',
    '/7?b=1',
    '/7?b=TRUE',
    '/7?b=',
    '/x',
    '/7?n=null',
    `/7?f=${'1'.repeat(60)}`,
  ]
  for (const url of refused) {
    const reply = await app.inject(url)
    t.match([reply.statusCode, reply.json()], [400, { code: 'FST_ERR_VALIDATION' }], url)
  }
})

await t.test('one response lists the faults of all parts, without a value', async (t) => {
  const { app, events } = await build(t)
  let handled = 0
  const schema = {
    params: objectOf({ id: { type: 'string', format: 'uuid' } }),
    body: objectOf(
      {
        email: SafeEmail(),
        name: PersonName(),
        deep: objectOf({ a: text }, { required: ['a/b~c'] }),
      },
      { required: ['email', 'missing'] },
    ),
    querystring: objectOf({ n: { type: 'integer' } }),
    headers: {
      type: 'object',
      properties: { 'X-Key': { type: 'string', maxLength: 3 } },
      required: ['X-Token'],
    },
  }
  app.post('/:id', { schema }, () => ++handled)
  const secret = 'hunter2secret'
  const reply = await post(
    app,
    `/${secret}?n=${secret}`,
    { email: secret, name: `${secret}9`, deep: {} },
    { 'x-key': secret },
  )
  t.equal(reply.statusCode, 400)
  t.equal(handled, 0)
  const { errors, detail } = reply.json<{ errors: object[]; detail: string }>()
  t.same(errors, [
    { in: 'params', pointer: '/id', code: 'format', detail: 'must match format "uuid"' },
    { in: 'body', pointer: '/missing', code: 'required', detail: 'is required' },
    { in: 'body', pointer: '/email', code: 'email', detail: 'must be an e-mail address' },
    {
      in: 'body',
      pointer: '/name',
      code: 'person_name',
      detail: 'must have letters only, with spaces, apostrophes, hyphens and full stops',
    },
    { in: 'body', pointer: '/deep/a~1b~0c', code: 'required', detail: 'is required' },
    { in: 'querystring', pointer: '/n', code: 'type', detail: 'must be integer' },
    { in: 'headers', pointer: '/x-token', code: 'required', detail: 'is required' },
    {
      in: 'headers',
      pointer: '/x-key',
      code: 'max_length',
      detail: 'must NOT have more than 3 characters',
    },
  ])
  t.match(detail, /^params\/id must match format "uuid", body\/missing is required/)
  t.notMatch(reply.body, /hunter/)
  t.match(events, [
    {
      type: 'input_guard.rejected',
      route: 'POST /:id',
      details: { in: 'params', field: '/id', code: 'format', count: 8 },
    },
  ])
})

await t.test('the error formatter and attachValidation of an app still work', async (t) => {
  const { app } = await build(t)
  app.post(
    '/attached',
    { attachValidation: true, schema: { body: objectOf({ n: { type: 'integer' } }) } },
    (request) => ({ message: request.validationError?.message }),
  )
  app.post(
    '/formatted',
    {
      schemaErrorFormatter: (errors) => new Error(`${errors.length} own`),
      schema: { body: objectOf({ n: { type: 'integer' } }) },
    },
    () => 'never',
  )
  t.same((await post(app, '/attached', { n: 'x' })).json(), { message: 'body/n must be integer' })
  t.match((await post(app, '/formatted', { n: 'x' })).json(), { detail: '1 own' })
})

await t.test(
  'references, discriminators, nullable, readOnly and writeOnly are honoured',
  async (t) => {
    const { app } = await build(t)
    app.addSchema({
      $id: 'user',
      ...objectOf(
        {
          id: { ...text, readOnly: true },
          email: SafeEmail(),
          password: { ...text, writeOnly: true },
        },
        { required: ['id', 'email'] },
      ),
    })
    const body = objectOf({
      user: { $ref: 'user#' },
      note: { type: 'string', maxLength: 5, nullable: true },
      shape: {
        type: 'object',
        discriminator: { propertyName: 'kind' },
        required: ['kind'],
        oneOf: [
          objectOf({ kind: { const: 'circle' }, r: { type: 'number' } }, { required: ['r'] }),
          objectOf({ kind: { const: 'square' }, a: { type: 'number' } }, { required: ['a'] }),
        ],
      },
    })
    const response = {
      200: objectOf({
        user: { $ref: 'user#' },
        users: { type: 'array', items: { $ref: 'user#' } },
      }),
    }
    const saved = { id: '1', email: 'a@b.com', password: 'secret' }
    app.post('/', { schema: { body, response } }, () => ({ user: saved, users: [saved] }))
    const good = {
      user: { email: 'a@EXAMPLE.com', password: 'x' },
      note: null,
      shape: { kind: 'circle', r: 1 },
    }
    const reply = await post(app, '/', good)
    t.equal(reply.statusCode, 200, reply.body)
    t.same(reply.json(), {
      user: { id: '1', email: 'a@b.com' },
      users: [{ id: '1', email: 'a@b.com' }],
    })
    t.equal(saved.password, 'secret', 'the value of the handler is not changed')
    for (const [part, pointer, code] of [
      [{ user: { id: '1', email: 'a@b.com' } }, '/user/id', 'read_only'],
      [{ shape: { kind: 'circle', a: 1 } }, '/shape/r', 'required'],
      [{ shape: { kind: 'line' } }, '/shape', 'discriminator'],
      [{ note: 'too long' }, '/note', 'max_length'],
    ] as const) {
      const refused = await post(app, '/', { ...good, ...part })
      const { errors } = refused.json<{ errors: { pointer: string; code: string }[] }>()
      t.ok(
        errors.some((each) => each.pointer === pointer && each.code === code),
        refused.body,
      )
    }
  },
)

await t.test('a read-only member is never required, whichever schema says so', async (t) => {
  const { app } = await build(t)
  app.addSchema({ $id: 'ro', ...text, readOnly: true })
  app.addSchema({ $id: 'entity', ...objectOf({ id: { $ref: 'ro#' } }, { required: ['id'] }) })
  const id = { type: 'object', properties: { id: { ...text, readOnly: true } } }
  const bodies = {
    'a reference': { type: 'object', required: ['id'], properties: { id: { $ref: 'ro#' } } },
    'a shared schema': { $ref: 'entity#' },
    'another branch': { allOf: [id, { type: 'object', required: ['id'] }] },
    'the schema around': { required: ['id'], allOf: [{ $ref: 'entity#' }] },
    'a condition': { ...id, ...always({ required: ['id'] }) },
  }
  for (const [name, body] of Object.entries(bodies)) {
    const url = `/${name.replaceAll(' ', '-')}`
    app.post(url, { schema: { body } }, (request) => request.body)
  }
  for (const name of Object.keys(bodies)) {
    const url = `/${name.replaceAll(' ', '-')}`
    t.match([(await post(app, url, {})).statusCode], [200], name)
    const refused = await post(app, url, { id: 'x' })
    t.match([refused.statusCode, refused.json()], [400, { errors: [{ code: 'read_only' }] }], name)
  }
})

await t.test('the faults, their paths, the message and the log are bounded', async (t) => {
  let logged = 0
  const stream = { write: (line: string) => void (logged += line.length) }
  const app = Fastify({ logger: { stream } })
  t.after(() => app.close())
  await app.register(inputGuard, { audit: 'off', json: { maxStringBytes: 500_000 } })
  const numbers = { type: 'array', items: { type: 'number' } }
  const body = { type: 'object', additionalProperties: numbers }
  app.post('/', { schema: { body } }, () => 'never')
  const query = objectOf({}, { additionalProperties: { type: 'integer' } })
  app.post('/both', { schema: { body, querystring: query } }, () => 'never')
  const values = Array<string>(1000).fill('x')
  for (const key of ['k'.repeat(1000), '\u{1f600}'.repeat(200), '~/'.repeat(300)]) {
    const name = encodeURIComponent(key).slice(0, 300)
    for (const url of ['/', `/both?${name}=x`]) {
      logged = 0
      const reply = await post(app, url, { [key]: values })
      t.equal(reply.statusCode, 400)
      t.ok(reply.rawPayload.length < 5000, `${reply.rawPayload.length} bytes`)
      t.ok(logged < 20_000, `${logged} bytes in the log`)
      t.notMatch(reply.body, /\ufffd/)
    }
  }
  const long = await post(app, '/', { ['k'.repeat(1025)]: 1 })
  t.match(long.json(), { code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' })
})

await t.test('nothing beyond a bound is visited', async (t) => {
  let visits = 0
  const { app } = await build(t, {
    configureAjv: (ajv) =>
      void ajv.addKeyword({ keyword: 'x-count', validate: () => ++visits > 0 }),
  })
  const counted = { type: 'integer', 'x-count': true }
  const list = { type: 'array', maxItems: 10 }
  const map = { type: 'object', maxProperties: 10 }
  const bodies = [
    { ...list, items: counted, uniqueItems: true },
    { ...list, items: [counted], additionalItems: counted },
    { ...list, items: counted, contains: counted },
    { ...map, additionalProperties: counted },
    { ...map, patternProperties: { '^k': counted } },
    { ...map, propertyNames: { 'x-count': true } },
  ]
  for (const [at, body] of bodies.entries()) {
    app.post(`/${at}`, { schema: { body } }, ({ body }) => body)
  }
  for (const [at, { type }] of bodies.entries()) {
    visits = 0
    const items = Array.from({ length: 2000 }, (_, i) => i)
    const members = Object.fromEntries(items.map((i) => [`k${i}`, i]))
    const reply = await post(app, `/${at}`, type === 'array' ? items : members)
    const code = type === 'array' ? 'max_items' : 'max_properties'
    t.match([reply.statusCode, reply.json()], [400, { errors: [{ code }] }], String(at))
    t.equal(reply.json<{ errors: unknown[] }>().errors.length, 1)
    t.equal(visits, 0)
    const few = type === 'array' ? [1, 2] : { k1: 1 }
    t.equal((await post(app, `/${at}`, few)).statusCode, 200)
    t.ok(visits > 0)
  }
})

await t.test('uniqueItems reads each item once', async (t) => {
  const ajv = createAjv(
    { tools: {} as never, run: new ValidationRun(), externals: {}, configure: undefined },
    true,
  )
  const validate = ajv.compile({ type: 'array', uniqueItems: true })
  let reads = 0
  const items = Array.from(
    { length: 2000 },
    (_, i) => new Proxy({ a: i }, { ownKeys: (item) => (reads++, Reflect.ownKeys(item)) }),
  )
  t.equal(validate(items), true)
  t.equal(reads, 2000)
  for (const same of [
    [1, 2, 1],
    ['a', 'a'],
    [null, null],
    [
      { a: 1, b: [2] },
      { b: [2], a: 1 },
    ],
    [0, -0],
  ]) {
    t.equal(validate(same), false, JSON.stringify(same))
    t.match(validate.errors, [{ keyword: 'uniqueItems' }])
  }
  for (const other of [
    [1, '1'],
    [
      [1, 2],
      [2, 1],
    ],
    [{}, []],
    [{ a: 1 }, { a: '1' }],
    ['1,2', 1, 2],
    [false, 0, null, ''],
  ]) {
    t.equal(validate(other), true, JSON.stringify(other))
  }
})

await t.test('a time that Date cannot read is no time, whatever ajv-formats says', async (t) => {
  const { app } = await build(t)
  const formats = ['date-time', 'time', 'iso-date-time', 'iso-time']
  for (const format of formats) {
    const schema = { body: Type.Object({ v: Type.String({ format, maxLength: 40 }) }) }
    app.post(`/${format}`, { schema }, async () => 'ok')
  }
  const verdicts = {
    '23:59:59Z': 200,
    '00:00:00.123456789+23:59': 200,
    '23:59:60Z': 400,
    '23:60:00+00:01': 400,
    '24:59:00+01:00': 400,
    '12:00:00+0100': 400,
    '12:00:00+01': 400,
  }
  for (const format of formats) {
    const date = format.includes('date') ? '2016-12-31T' : ''
    const send = async (time: string) => post(app, `/${format}`, { v: `${date}${time}` })
    for (const [time, status] of Object.entries(verdicts)) {
      t.equal((await send(time)).statusCode, status, `${format}: ${time}`)
    }
    t.equal((await send('12:00:00')).statusCode, format.startsWith('iso') ? 200 : 400, format)
  }
})

await t.test('lengths are counted in characters, with and without a check', async (t) => {
  const { app } = await build(t)
  const plain = Type.String({ minLength: 2, maxLength: 3 })
  const text = SafeText({ minLength: 2, maxLength: 3 })
  app.post('/', { schema: { body: Type.Object({ plain, text }) } }, async () => ({}))
  const verdicts = {
    '': 400,
    'a😀': 200,
    '😀': 400,
    ab: 200,
    '😀a': 200,
    '😀😀😀': 200,
    'abc😀': 400,
    abcd: 400,
  }
  for (const [value, status] of Object.entries(verdicts)) {
    const reply = await post(app, '/', { plain: value, text: value })
    const code = value.length < 3 ? 'min_length' : 'max_length'
    const errors = ['/plain', '/text'].map((pointer) => ({ pointer, code }))
    t.match([reply.statusCode, reply.json()], [status, status === 200 ? {} : { errors }], value)
  }
})

await t.test('a type at the root of a body is checked, changed and reported', async (t) => {
  const { app, events } = await build(t)
  app.post('/', { schema: { body: SafeHtml() } }, ({ body, inputGuard: { sanitized } }) => ({
    body,
    sanitized,
  }))
  t.same((await post(app, '/', '"a<script>x</script>"')).json(), { body: 'a', sanitized: ['body'] })
  t.match(events, [{ type: 'input_guard.sanitized', details: { field: 'body' } }])
})

await t.test('a pattern never runs on a text beyond its maxLength', async (t) => {
  const { app } = await build(t)
  // Exponential for a text that ends in another character.
  app.post(
    '/',
    {
      schema: {
        body: objectOf({
          a: { type: 'string', maxLength: 20, pattern: '^(a+)+$', format: 'email' },
        }),
      },
    },
    () => 'never',
  )
  const reply = await post(app, '/', { a: `${'a'.repeat(5000)}!` })
  t.same(
    reply.json<{ errors: { code: string }[] }>().errors.map(({ code }) => code),
    ['max_length'],
  )
})

const declare = (app: FastifyInstance) => {
  app.addSchema({ $id: 'tag', type: 'string' })
  const body = {
    type: 'object',
    properties: {
      s: { type: 'string' },
      list: { type: 'array', items: { type: 'object', properties: { deep: { $ref: 'tag#' } } } },
      ok: { type: 'string', format: 'uuid' },
      e: { type: 'string', enum: ['a'] },
      any: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    },
    additionalProperties: { type: 'string' },
  }
  app.post('/open', { schema: { body } }, () => 'x')
  app.post('/none', () => 'x')
  app.post('/empty', { schema: { body: { type: 'null' } } }, () => 'x')
  app.post(
    '/types',
    { schema: { body: { content: { 'application/json': { schema: { type: 'string' } } } } } },
    () => 'x',
  )
  app.get('/query', { schema: { querystring: objectOf({ q: { type: 'string' } }) } }, () => 'x')
  app.post('/hook', () => 'x')
  app.post('/signed', { config: { inputGuard: { unguarded: 'signed by the sender' } } }, () => 'x')
}

await t.test('the audit lists input without bounds; strict mode stops the boot', async (t) => {
  const { app } = await build(t, { unguarded: { 'POST /hook': 'signed by the sender' } })
  declare(app)
  await app.ready()
  const none = 'body: there is no schema; use { type: "null" } if the route has no body'
  const expected = [
    'POST /open body/*: "maxLength" is missing',
    'POST /open body: "maxProperties" is missing',
    'POST /open body/any: "maxLength" is missing',
    'POST /open body/list/*/deep: "maxLength" is missing',
    'POST /open body/list/*: "additionalProperties": false is missing',
    'POST /open body/list: "maxItems" is missing',
    'POST /open body/s: "maxLength" is missing',
    `POST /none ${none}`,
    'POST /types body (application/json): "maxLength" is missing',
    'GET /query querystring/q: "maxLength" is missing',
  ].map((each) => `  ${each}`)
  t.same(app.inputGuard.audit().toSorted(), expected.toSorted())

  const strict = await build(t, { audit: 'error' })
  declare(strict.app)
  await t.rejects(
    async () => {
      await strict.app.ready()
    },
    { code: 'PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES', statusCode: 500, message: /POST \/hook body/ },
  )

  const lines: string[] = []
  const warned = Fastify({ logger: { stream: { write: (line: string) => void lines.push(line) } } })
  t.after(() => warned.close())
  await warned.register(inputGuard)
  declare(warned)
  await warned.ready()
  t.match(lines.join(''), /input-guard found input that is not bounded/)
})

await t.test('the audit finds every way to leave input open', async (t) => {
  const closed = (d: unknown) => objectOf({ d })
  const any = '"type" is missing, so that any value is accepted'
  const length = '"maxLength" is missing'
  const items = '"items" is missing, so that any item is accepted'
  const cases: [name: string, body: unknown, gaps: readonly string[]][] = [
    ['unknown', closed(Type.Unknown()), [`body/d: ${any}`]],
    ['any', Type.Any(), [`body: ${any}`]],
    ['true', closed(true), [`body/d: ${any}`]],
    ['never', closed(false), []],
    [
      'record',
      closed(Type.Record(Type.String(), Type.String())),
      ['body/d: "maxProperties" is missing', `body/d/{^(.*)$}: ${length}`],
    ],
    [
      'bounded record',
      closed(Type.Record(Type.String(), Type.Integer(), { maxProperties: 5 })),
      [],
    ],
    ['tuple', closed(Type.Tuple([Type.String(), Type.Integer()])), [`body/d/0: ${length}`]],
    [
      'open tuple',
      closed({ type: 'array', maxItems: 3, items: [{ type: 'null' }] }),
      [`body/d: ${items}`],
    ],
    [
      'more items',
      closed({ type: 'array', items: [], additionalItems: text }),
      ['body/d: "maxItems" is missing'],
    ],
    ['array', closed({ type: 'array', maxItems: 5 }), [`body/d: ${items}`]],
    ['untyped', closed({ minLength: 1 }), [`body/d: ${any}`]],
    ['untyped object', { properties: { d: text } }, [`body: ${any}`]],
    [
      'few members of any kind',
      { type: 'object', maxProperties: 5 },
      ['body: "additionalProperties": false is missing'],
    ],
    [
      'then',
      { ...closed({}), ...always({ properties: { d: { type: 'string' } } }) },
      [`body/d: ${length}`, `body/d: ${any}`],
    ],
    ['then and else', { ...closed({}), ...always(closed(text)), else: closed({ const: 1 }) }, []],
    [
      'alternatives of one type',
      closed({ ...text, oneOf: [{ pattern: 'a' }, { pattern: 'b' }] }),
      [],
    ],
    ['joined', { allOf: [closed(text), { required: ['d'] }] }, []],
    ['JSON', closed(SafeJson()), []],
    ['recursive', { $id: 'tree', ...objectOf({ left: { $ref: '#' } }) }, []],
    [
      'bottomless',
      { anyOf: Array.from({ length: 40 }, () => ({ anyOf: [{}, {}] })) },
      [`body: ${any}`],
    ],
  ]
  for (const [name, body, gaps] of cases) {
    for (const method of ['POST', 'DELETE']) {
      t.same(findGaps({ method, schema: { body } }, createResolver({})), gaps, `${method} ${name}`)
    }
  }
  const none = ['body: there is no schema; use { type: "null" } if the route has no body']
  t.same(findGaps({ method: 'DELETE', schema: undefined }, createResolver({})), none)
  t.same(findGaps({ method: 'GET', schema: undefined }, createResolver({})), [])
})

await t.test('a route that is declared before the plugin stops a strict boot', async (t) => {
  const list = { type: 'object', properties: { tag: { type: 'array', items: { type: 'string' } } } }
  const app = Fastify()
  t.after(() => app.close())
  // Not awaited.
  void app.register(inputGuard, { audit: 'error' })
  app.post('/open', () => 'never')
  app.post('/hook', { config: { inputGuard: { unguarded: 'signed' } } }, () => 'never')
  app.get('/list', { schema: { querystring: list } }, () => 'never')
  app.get('/plain', () => 'never')
  await t.rejects(
    async () => {
      await app.ready()
    },
    {
      code: 'PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES',
      message:
        /"unguarded":\n {2}POST \/open is declared before .+\n {2}GET \/list is declared before [^\n]+$/,
    },
  )
  const lax = Fastify()
  t.after(() => lax.close())
  lax.get('/list', { schema: { querystring: list } }, ({ query }) => query)
  await lax.register(inputGuard, { audit: 'warn' })
  t.same((await lax.inject('/list?tag=a&tag=b')).json(), { tag: ['a', 'b'] }, 'its list is a list')
  const strict = Fastify({ schemaController: guardedSchemas() })
  t.after(() => strict.close())
  strict.post('/early', { schema: { body: { type: 'string' } } }, () => 'never')
  strict.post('/closed', { schema: { body: text } }, ({ body }) => body)
  await strict.register(inputGuard, { audit: 'warn' })
  await strict.ready()
  t.same(strict.inputGuard.audit(), ['  POST /early body: "maxLength" is missing'])
})

await t.test('a compiler that the app has chosen is kept', async (t) => {
  const { app } = await build(t)
  const body = Type.Object({ n: Type.Integer() })
  app.post(
    '/own',
    { validatorCompiler: () => () => ({ error: new Error('own') }), schema: { body } },
    ({ body }) => body as object,
  )
  t.equal((await post(app, '/own', { n: 'x' })).statusCode, 400)
  const whole = Fastify().setValidatorCompiler(() => (value: unknown) => ({ value }))
  t.after(() => whole.close())
  await whole.register(inputGuard, { audit: 'off' })
  whole.post('/', { schema: { body: { type: 'string' } } }, ({ body }) => body as object)
  t.same((await post(whole, '/', { n: 1 })).json(), { n: 1 })
})

await t.test('guardedSchemas covers routes that are declared before the plugin', async (t) => {
  const app = Fastify({ schemaController: guardedSchemas({ mailDomain: async () => true }) })
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  app.post(
    '/early',
    { schema: { body: objectOf({ html: SafeHtml(), email: SafeEmail({ mx: true }) }) } },
    ({ body }) => body as object,
  )
  await app.register(async (child) => {
    child.addSchema({ $id: 'own', ...objectOf({ email: SafeEmail({ disposable: 'reject' }) }) })
    child.post('/child', { schema: { body: { $ref: 'own#' } } }, ({ body }) => body as object)
  })
  const sent = { html: 'a<script>', email: 'a@EXAMPLE.com' }
  const [first, bad, child] = await Promise.all([
    post(app, '/early', sent),
    post(app, '/early', { html: 5, email: 'x' }),
    post(app, '/child', { email: 'a@mailinator.com' }),
  ])
  t.match(
    [first.statusCode, first.json()],
    [200, { html: 'a', email: 'a@example.com' }],
    'libraries are loaded by the first request',
  )
  t.match(
    [bad.statusCode, bad.json()],
    [400, { errors: [{ pointer: '/html' }, { pointer: '/email' }] }],
  )
  t.match([child.statusCode, child.json()], [400, { errors: [{ code: 'email_disposable' }] }])
})

await t.test('keywords and formats of the app, and an own HTML engine, are used', async (t) => {
  const { app } = await build(t, {
    configureAjv: (ajv) =>
      void ajv
        .addFormat('even', { type: 'number', validate: (n: number) => n % 2 === 0 })
        .addFormat('shout', /^[A-Z]+$/)
        .addFormat('any', true)
        .addFormat('text', '^t'),
    htmlEngine: { sanitize: (html) => ({ html: html.toUpperCase(), isChanged: false }) },
  })
  const body = objectOf({
    n: { type: 'number', format: 'even' },
    s: { ...text, format: 'shout' },
    a: { ...text, format: 'any' },
    x: { ...text, format: 'text' },
    i: { type: 'integer', format: 'int32' },
    h: SafeHtml(),
  })
  app.post('/', { schema: { body } }, ({ body }) => body as object)
  t.same((await post(app, '/', { n: 2, s: 'AB', a: '?', x: 't', i: 5, h: '<b>x' })).json(), {
    n: 2,
    s: 'AB',
    a: '?',
    x: 't',
    i: 5,
    h: '<B>X',
  })
  const reply = await post(app, '/', { n: 1, s: 'a', x: 'x', i: 2 ** 40 })
  t.same(
    reply.json<{ errors: { pointer: string }[] }>().errors.map(({ pointer }) => pointer),
    ['/n', '/s', '/x', '/i'],
  )
})

await t.test('an unknown type, or one without a bound, stops the boot', async (t) => {
  const { code } = new PARAPET_INPUT_GUARD_INVALID_TYPE('', '')
  for (const [schema, message] of [
    [{ type: 'string', maxLength: 5, 'x-guard': { type: 'emial' } }, /"type" must be one of/],
    [{ type: 'string', 'x-guard': { type: 'email' } }, /"maxLength"/],
    [{ type: 'string', maxLength: 5, format: 'nope' }, /the format "nope" is unknown/],
  ] as const) {
    const { app } = await build(t)
    app.post('/', { schema: { body: objectOf({ a: schema }) } }, () => 'never')
    await t.rejects(
      async () => {
        await app.ready()
      },
      { message, code: /FST_ERR_SCH_VALIDATION_BUILD|PARAPET/ },
      code,
    )
  }
})

await t.test('options that are unknown or out of range stop the boot', async (t) => {
  for (const [options, message] of [
    [{ strict: true }, /"strict" is unknown/],
    [{ json: { maxDepth: 5000 } }, /"json.maxDepth" must be an integer from 1 to 1000/],
    [{ fetch: { allowHosts: ['http://a.com'] } }, /"fetch.allowHosts\[0\]" must be a host name/],
    [{ contentTypes: ['json'] }, /a type such as "application\/json"/],
  ] as const) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(inputGuard, options as never)
      },
      { code: 'PARAPET_INPUT_GUARD_INVALID_OPTION', statusCode: 500, message },
    )
  }
})

await t.test('concurrent requests get their own faults and reports', async (t) => {
  const { app } = await build(t, { mailDomain: async (domain) => domain.startsWith('good') })
  const body = objectOf({
    html: SafeHtml(),
    email: SafeEmail({ mx: true }),
    text: SafeText({ maxLength: 5 }),
  })
  app.post('/', { schema: { body } }, ({ inputGuard: { sanitized } }) => ({ sanitized }))
  const replies = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      post(app, '/', {
        html: i % 2 === 0 ? '<script>' : 'ok',
        email: i % 4 < 2 ? 'a@good.com' : 'a@bad.com',
      }),
    ),
  )
  for (const [i, reply] of replies.entries()) {
    if (i % 4 < 2) t.same(reply.json(), { sanitized: i % 2 === 0 ? ['body/html'] : [] })
    else
      t.match(
        [reply.statusCode, reply.json()],
        [400, { errors: [{ pointer: '/email', code: 'email_domain' }] }],
      )
  }
})

await t.test('a rule of a route that cannot be read stops the boot', async (t) => {
  const { app } = await build(t)
  for (const rule of [true, {}, { unguarded: '' }, { unguarded: 'x', other: 1 }]) {
    t.throws(() => app.get('/', { config: { inputGuard: rule as never } }, () => 'never'), {
      code: 'PARAPET_INPUT_GUARD_INVALID_RULE',
      statusCode: 500,
    })
  }
})

await t.test(
  'libraries of guardedSchemas are loaded at boot if the plugin is registered',
  async (t) => {
    const app = Fastify({ schemaController: guardedSchemas() })
    t.after(() => app.close())
    app.post('/', { schema: { body: SafeHtml() } }, ({ body }) => ({ body }))
    await app.register(inputGuard, { audit: 'off' })
    await app.ready()
    // Without a tick between: a validator that still had to load a library would return a promise.
    t.same((await post(app, '/', '"<i>x</i><script>"')).json(), { body: '<i>x</i>' })
  },
)

await t.test(
  'references within a schema are followed, for conversion, lists and the audit',
  async (t) => {
    const { app } = await build(t)
    app.addSchema({
      $id: 'shared',
      $defs: {
        'a/b': { type: 'integer' },
        page: { $id: '#page', type: 'object', properties: { page: { type: 'integer' } } },
        ids: { type: 'array', items: { $ref: '#/$defs/a~1b' }, maxItems: 3 },
      },
    })
    const querystring = {
      type: 'object',
      definitions: { size: { type: 'integer' } },
      allOf: [{ type: 'object', properties: { size: { $ref: '#/definitions/size' } } }],
      properties: {
        one: { $ref: 'shared#/$defs/a~1b' },
        ids: { $ref: 'shared#/$defs/ids' },
        any: { type: 'array', maxItems: 2 },
        mixed: { type: ['string', 'array'], maxLength: 5, maxItems: 2 },
      },
    }
    app.get('/', { schema: { querystring } }, ({ query }) => query)
    t.same((await app.inject('/?size=2&one=3&ids=4&ids=5&any=x&mixed=y')).json(), {
      size: 2,
      one: 3,
      ids: [4, 5],
      any: ['x'],
      mixed: 'y',
    })
    t.same((await app.inject('/?mixed=a&mixed=b&ids=1')).json(), { mixed: ['a', 'b'], ids: [1] })
    t.equal((await app.inject('/?size=x')).statusCode, 400)
    const anything = '"items" is missing, so that any item is accepted'
    t.same(app.inputGuard.audit(), [
      `  GET / querystring/any: ${anything}`,
      `  GET / querystring/mixed: ${anything}`,
    ])
  },
)

await t.test('references that lead nowhere, or to themselves, end', async (t) => {
  const resolve = createResolver({ own: { $id: 'own', $defs: { a: { $id: '#a', type: 'null' } } } })
  const root = { $ref: '#' }
  t.equal(resolve('#', root)?.[0], root)
  t.match(resolve('own#a', root)?.[0], { type: 'null' })
  for (const ref of ['missing', 'own#/nope/x', 'own#nope', '#/$ref/x']) {
    t.equal(resolve(ref, root), undefined, ref)
  }
  t.equal(compileCoercion(root, resolve), undefined)
  t.same([...listParameters(root, resolve)], [])
  t.same([...listParameters({ properties: { a: root } }, resolve)], [])
})

await t.test('an integer that would become another number is refused', async (t) => {
  const { app } = await build(t)
  const handled: unknown[] = []
  const params = objectOf({ id: Type.Integer() })
  app.get('/:id', { schema: { params } }, async (request) => {
    handled.push((request.params as { id: number }).id)
  })
  for (const id of ['9007199254740993', '-9007199254740993', '9007199254740993.0']) {
    const reply = await app.inject(`/${id}`)
    t.match([reply.statusCode, reply.json()], [400, { errors: [{ code: 'type' }] }], id)
  }
  t.equal((await app.inject('/9007199254740991')).statusCode, 200)
  t.same(handled, [9_007_199_254_740_991])
})

await t.test('an empty list of media types stops the boot', async (t) => {
  await t.rejects(build(t, { contentTypes: [] }), {
    code: 'PARAPET_INPUT_GUARD_INVALID_OPTION',
  })
})

await t.test('a route in "unguarded" that does not exist stops the boot', async (t) => {
  const { app } = await build(t, { unguarded: { 'POST /nope': 'does not exist' } })
  await t.rejects(Promise.resolve(app.ready()), {
    code: 'PARAPET_INPUT_GUARD_INVALID_OPTION',
    message: /POST \/nope/,
  })
})

await t.test('a body that may be absent is absent', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(inputGuard, { audit: 'off' })
  const body = Type.Union([Type.Object({ a: SafeText({ maxLength: 5 }) }), Type.Null()])
  const bodies: unknown[] = []
  app.post('/', { schema: { body } }, async (request) => {
    bodies.push(request.body)
    return {}
  })
  const send = (payload?: object) =>
    app.inject({ method: 'POST', url: '/', ...(payload === undefined ? {} : { payload }) })
  t.equal((await send()).statusCode, 200)
  t.equal((await send({ a: 'x' })).statusCode, 200)
  t.equal((await send({ a: 'too long' })).statusCode, 400)
  t.equal(bodies.length, 2)
})
