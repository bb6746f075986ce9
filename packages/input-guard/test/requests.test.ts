import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import formbody from '@fastify/formbody'
import multipart from '@fastify/multipart'
import { inputGuard } from '@parapet/input-guard'
import { Type } from '@sinclair/typebox'
import { parse } from 'node:querystring'
import Fastify from 'fastify'
import t from 'tap'
import { findParameterFault } from '../src/request/query.ts'
import { build, clock, post } from './helpers.ts'

await t.test('parameters are refused before the schema and the handler', async (t) => {
  const { app, events } = await build(t, { json: { refuseOperators: true }, maxParameters: 5 })
  let handled = 0
  app.get('/', () => ++handled)
  const refused: [string, string][] = [
    ['/?a=1&a=2', 'duplicate_parameter'],
    ['/?__proto__=1', 'prototype_key'],
    ['/?a[__proto__][b]=1', 'prototype_key'],
    ['/?constructor.prototype.x=1', 'prototype_key'],
    ['/?a[constructor][prototype]=1', 'prototype_key'],
    ['/?a%00b=1', 'nul'],
    ['/?a=%00', 'nul'],
    ['/%00', 'nul'],
    ['/?user[$ne]=1', 'operator_key'],
    ['/?$where=1', 'operator_key'],
    ['/?_method=DELETE', 'method_override'],
    ['/?_METHOD=DELETE', 'method_override'],
    ['/?_method[]=DELETE', 'method_override'],
    ['/?a=1&b=1&c=1&d=1&e=1&f=1', 'parameter_count'],
  ]
  for (const [url, reason] of refused) {
    const reply = await app.inject(url)
    const code = reason === 'method_override' ? 'METHOD_OVERRIDE' : 'QUERY_REFUSED'
    t.match([reply.statusCode, reply.json()], [400, { code: `PARAPET_INPUT_GUARD_${code}` }], url)
    clock.advance(60_000)
  }
  t.same(
    events.map(({ details }) => (details as { code: string }).code),
    refused.map(([, reason]) => reason),
  )
  t.equal(handled, 0)
  for (const url of ['/?a=1&b=%2500', '/?constructor=Ferrari', '/?prototype=1', '/?a[b]=1', '/']) {
    t.equal((await app.inject(url)).statusCode, 200, url)
  }
})

await t.test('a parameter may be repeated where its schema is an array', async (t) => {
  const { app } = await build(t)
  app.addSchema({ $id: 'tags', type: 'array', maxItems: 5, items: { type: 'integer' } })
  const querystring = Type.Object({
    id: Type.Optional(Type.Array(Type.Integer(), { maxItems: 3 })),
    tag: Type.Optional(Type.Unsafe({ $ref: 'tags#' })),
    either: Type.Optional(
      Type.Union([
        Type.Array(Type.String({ maxLength: 5 }), { maxItems: 3 }),
        Type.String({ maxLength: 5 }),
      ]),
    ),
    one: Type.Optional(Type.Integer()),
  })
  app.get('/', { schema: { querystring } }, ({ query }) => query)
  t.same((await app.inject('/?id=1&id=2&tag=3&tag=4&one=5&either=a&either=b')).json(), {
    id: [1, 2],
    tag: [3, 4],
    one: 5,
    either: ['a', 'b'],
  })
  t.same((await app.inject('/?id=1&tag=3&either=a')).json(), { id: [1], tag: [3], either: 'a' })
  t.match((await app.inject('/?one=1&one=2')).json(), { code: 'PARAPET_INPUT_GUARD_QUERY_REFUSED' })
  t.match((await app.inject('/?id=1&id=2&id=3&id=4')).json(), { code: 'FST_ERR_VALIDATION' })
  const open = await build(t, { duplicateParameters: 'allow', methodOverride: 'ignore' })
  open.app.get('/', ({ query }) => query)
  t.same(
    (
      await open.app.inject({
        url: '/?a=1&a=2&_method=PUT',
        headers: { 'x-http-method-override': 'PUT' },
      })
    ).json(),
    { a: ['1', '2'], _method: 'PUT' },
  )
})

await t.test('headers, media types and charsets are refused before the body is read', async (t) => {
  const { app } = await build(t, {
    maxHeaders: 20,
    maxHeaderBytes: 256,
    contentTypes: ['application/json'],
  })
  let handled = 0
  app.post('/', () => ++handled)
  const send = (headers: Record<string, string>, payload = '{}') =>
    app.inject({ method: 'POST', url: '/', headers, payload })
  const json = 'application/json'
  const refused: [Record<string, string>, number, string][] = [
    [{ 'content-type': json, 'x-a': 'x'.repeat(257) }, 431, 'HEADERS_REFUSED'],
    [
      {
        'content-type': json,
        ...Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`x-${i}`, '1'])),
      },
      431,
      'HEADERS_REFUSED',
    ],
    [{ 'content-type': `${json}; charset=utf-16` }, 415, 'MEDIA_TYPE'],
    [{ 'content-type': `${json}; charset=utf-8; charset="latin1"` }, 415, 'MEDIA_TYPE'],
    [{ 'content-type': 'text/plain' }, 415, 'MEDIA_TYPE'],
    [{ 'content-type': `${json}; a="${'x'.repeat(600)}"` }, 431, 'HEADERS_REFUSED'],
    [{ 'content-type': json, 'x-http-method-override': 'DELETE' }, 400, 'METHOD_OVERRIDE'],
    [{ 'content-type': json, 'x-method-override': 'DELETE' }, 400, 'METHOD_OVERRIDE'],
    [{ 'content-type': json, 'x-http-method': 'DELETE' }, 400, 'METHOD_OVERRIDE'],
    [{ 'content-type': json, 'x-original-method': 'DELETE' }, 400, 'METHOD_OVERRIDE'],
    [{ 'content-type': json, x_http_method_override: 'DELETE' }, 400, 'METHOD_OVERRIDE'],
    [{ 'content-type': json, ['x'.repeat(257)]: '1' }, 431, 'HEADERS_REFUSED'],
  ]
  for (const [headers, status, code] of refused) {
    const reply = await send(headers)
    t.match([reply.statusCode, reply.json()], [status, { code: `PARAPET_INPUT_GUARD_${code}` }])
  }
  t.equal(handled, 0)
  for (const charset of ['', '; charset=utf-8', '; charset="UTF-8"', ';charset=us-ascii']) {
    t.equal((await send({ 'content-type': `${json}${charset}` })).statusCode, 200, charset)
  }
  for (let i = 0; i < 300; i++) await send({ 'content-type': `${json}; v=${i}` })
  t.equal((await send({ 'content-type': json })).statusCode, 200, 'a full cache still decides')
})

const listSchema = {
  type: 'object',
  properties: { a: { type: 'array', maxItems: 2, items: { type: 'string', maxLength: 5 } } },
}

await t.test('a form is refused like a query string, however its type is written', async (t) => {
  const { app } = await build(t, { json: { refuseOperators: true } })
  await app.register(formbody, {
    parser: (text: string) => ({
      ...parse(text),
      nested: text.includes('deep') ? { $gt: '' } : {},
    }),
  })
  let handled = 0
  app.post('/', () => ++handled)
  const content = { 'application/x-www-form-urlencoded': { schema: listSchema } }
  app.post('/list', { schema: { body: { content } } }, ({ body }) => body)
  const send = (payload: string, type = 'application/x-www-form-urlencoded', url = '/') =>
    app.inject({ method: 'POST', url, headers: { 'content-type': type }, payload })
  for (const type of [
    'application/x-www-form-urlencoded',
    'Application/X-WWW-Form-Urlencoded',
    ' application/x-www-form-urlencoded',
    'APPLICATION/x-www-form-urlencoded ; charset=utf-8',
  ]) {
    for (const body of ['__proto__[x]=1', 'a=%00', '_method=PUT', 'x=deep', '$ne=1', 'a=1&a=2']) {
      const reply = await send(body, type)
      t.match(
        [reply.statusCode, reply.json()],
        [400, { code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' }],
        `${type} ${body}`,
      )
    }
  }
  t.equal(handled, 0)
  t.equal((await send('a=1&b=2')).statusCode, 200)
  t.match((await send('a=1&a=2', undefined, '/list')).json(), { a: ['1', '2'] }, 'a list')
})

/** A multipart form of text fields and files. */
function multipartOf(parts: readonly (readonly [name: string, text: string, file?: string])[]) {
  const lines = parts.map(([name, text, file]) => {
    const disposition = `content-disposition: form-data; name="${name}"`
    const rest = file === undefined ? '' : `; filename="${file}"\r\ncontent-type: text/plain`
    return `--b\r\n${disposition}${rest}\r\n\r\n${text}\r\n`
  })
  const headers = { 'content-type': 'Multipart/Form-Data; boundary=b' }
  return { method: 'POST', url: '/', headers, payload: `${lines.join('')}--b--\r\n` } as const
}

await t.test('the fields of a multipart form are refused like those of other forms', async (t) => {
  const refused: (readonly [name: string, text: string])[][] = [
    [['a', 'x\0y']],
    [
      ['a', '1'],
      ['a', '2'],
    ],
    [['_method', 'DELETE']],
    [['$ne', '1']],
  ]
  const upload = (attach: false | true | 'keyValues', isFirst: boolean) =>
    t.test(`attachFieldsToBody: ${attach}, registered ${isFirst ? 'first' : 'last'}`, async (t) => {
      const app = Fastify()
      t.after(() => app.close())
      const options = attach === false ? {} : { attachFieldsToBody: attach }
      if (isFirst) await app.register(multipart, options)
      await app.register(inputGuard, { audit: 'off', json: { refuseOperators: true } })
      if (!isFirst) await app.register(multipart, options)
      let handled = 0
      app.post('/', async (request) => {
        const rules = { types: ['text/plain'], maxFiles: 2 }
        if (attach === false) await app.inputGuard.receiveUpload(request, rules)
        return ++handled
      })
      for (const parts of refused) {
        const reply = await app.inject(multipartOf(parts))
        t.match(
          [reply.statusCode, reply.json()],
          [400, { code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' }],
          JSON.stringify(parts),
        )
      }
      t.equal(handled, 0)
      const files = multipartOf([
        ['f', 'one', 'a.txt'],
        ['f', 'two', 'b.txt'],
        ['a', 'x'],
      ])
      t.equal((await app.inject(files)).statusCode, 200, 'several files of one field')
    })
  for (const attach of [false, true, 'keyValues'] as const) {
    await upload(attach, true)
    await upload(attach, false)
  }
})

await t.test('a text body with NUL is refused', async (t) => {
  const { app } = await build(t)
  let handled = 0
  app.post('/', () => ++handled)
  const reply = await post(app, '/', 'a\0b', { 'content-type': 'text/plain' })
  t.match([reply.statusCode, reply.json()], [400, { code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' }])
  t.equal(handled, 0)
  t.equal((await post(app, '/', 'ab', { 'content-type': 'text/plain' })).statusCode, 200)
})

await t.test('two Host lines are a bad request', async (t) => {
  const { app } = await build(t)
  let handled = 0
  app.get('/', () => ++handled)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.after(() => void socket.destroy())
  socket.setEncoding('latin1').write('GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n')
  const [head] = (await once(socket, 'data')) as [string]
  t.match(head, /^HTTP\/1\.1 400 [\s\S]+PARAPET_INPUT_GUARD_HEADERS_REFUSED/)
  t.equal(handled, 0)
})

await t.test('depth and names of nested parsers are limited', async (t) => {
  const rules = { maxParameters: 100, refuseOperators: false, refuseOverride: true, lists: null }
  let deep: object = {}
  for (let i = 0; i < 50; i++) deep = { a: deep }
  t.equal(findParameterFault(deep, rules), 'parameter_count')
  t.equal(findParameterFault({ a: ['\ud800'] }, rules), 'lone_surrogate')
  t.equal(findParameterFault({ constructor: { prototype: { a: '1' } } }, rules), 'prototype_key')
  t.equal(findParameterFault({ 'a\0': '1' }, rules), 'nul')
  t.equal(findParameterFault({ a: [{ b: 5, c: null }] }, rules), undefined)
})

await t.test('a neighbour keeps its routes, parsers and replies', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const body = { type: 'object', properties: { n: { type: 'integer' } } }
  app.post('/before', { schema: { body } }, (request) => request.body)
  await app.register(async (child) => {
    await child.register(inputGuard, { audit: 'off' })
    child.post('/inside', { schema: { body } }, (request) => request.body)
  })
  app.post('/after', { schema: { body } }, (request) => request.body)
  const results = []
  for (const url of ['/before', '/inside', '/after'])
    results.push((await post(app, url, { n: '5' })).statusCode)
  t.same(results, [200, 400, 200], 'only routes in the context of the plugin are strict')
  t.equal((await post(app, '/after', '{"n":1,"n":2}')).statusCode, 200)
  t.equal((await post(app, '/inside', '{"n":1,"n":2}')).statusCode, 400)
})

await t.test(
  'a media type that a route does not declare is refused, since nothing would validate it',
  async (t) => {
    const { app } = await build(t)
    const schema = Type.Object({ a: Type.Integer() }, { additionalProperties: false })
    let handled = 0
    const content = { 'application/json': { schema } }
    app.post('/', { schema: { body: { content } } }, async () => ++handled)
    const send = async (type: string | undefined, payload: string | undefined) => {
      const headers = type === undefined ? {} : { 'content-type': type }
      const options = payload === undefined ? {} : { payload }
      const reply = await app.inject({ method: 'POST', url: '/', headers, ...options })
      return [reply.statusCode, reply.json<{ code?: string }>().code]
    }
    const refused = [415, 'PARAPET_INPUT_GUARD_MEDIA_TYPE']
    t.same(await send('text/plain', '{"a":"x"}'), refused)
    t.same(await send('text/plain; x=application/json', '{"a":"x"}'), refused)
    t.same(await send(undefined, undefined), refused)
    t.equal((await send('application/json', '{"a":"x"}'))[0], 400)
    t.equal(handled, 0)
    t.equal((await send('application/json', '{"a":1}'))[0], 200)
    t.equal((await send('Application/JSON ; charset=utf-8', '{"a":1}'))[0], 200)
  },
)
