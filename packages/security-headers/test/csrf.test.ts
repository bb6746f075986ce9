import fastifyCookie from '@fastify/cookie'
import type { Principal } from '@parapet/kit'
import { securityHeaders } from '@parapet/security-headers'
import Fastify, { type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import { buildSite } from './helpers.ts'

const alice: Principal = { id: 'alice', roles: [] }
const bob: Principal = { id: 'bob', roles: [], sessionId: 'b-1' }
const CSRF_TOKEN = 'PARAPET_SECURITY_HEADERS_CSRF_TOKEN'
const SECRET = 'a secret of at least 32 characters'

async function buildCsrf(t: Test, formField?: string) {
  const built = await buildSite(t, {
    csrf: {
      secret: SECRET,
      ...(formField === undefined ? {} : { formField }),
    },
    cookies: { mode: 'strict' },
    principal: ({ headers }) =>
      headers['x-test-user'] === 'alice' ? alice : headers['x-test-user'] === 'bob' ? bob : null,
  })
  built.app.get('/token', async (_request, reply) => reply.csrfToken)
  async function draw(user: string): Promise<{ cookie: string; token: string }> {
    const reply = await built.app.inject({ url: '/token', headers: { 'x-test-user': user } })
    const set = String(reply.headers['set-cookie'])
    t.match(set, /^__Host-csrf=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Strict$/)
    return { cookie: set.split(';')[0]!, token: reply.body }
  }
  return { ...built, draw }
}

await t.test('a request with a cookie needs a token of its user', async (t) => {
  const { ask, draw, handled, events } = await buildCsrf(t)
  const { cookie, token } = await draw('alice')
  const post = (headers: Record<string, string>) =>
    ask('POST', '/data', { 'x-test-user': 'alice', ...headers })
  t.equal((await post({ cookie, 'csrf-token': token })).status, 200)
  t.equal((await post({})).status, 200, 'a request without a cookie needs no token')
  t.equal((await ask('GET', '/data', { cookie })).status, 200)
  t.equal((await ask('POST', '/hook', { cookie })).status, 200, 'an exempt route needs no token')
  handled.length = 0
  const other = await draw('bob')
  handled.length = 0
  const refused: [string, Record<string, string>][] = [
    ['missing', { cookie }],
    ['invalid', { cookie, 'csrf-token': '' }],
    ['invalid', { cookie, 'csrf-token': `${token}x` }],
    ['invalid', { cookie, 'csrf-token': other.token }],
    ['invalid', { cookie: other.cookie, 'csrf-token': token }],
    ['invalid', { cookie: other.cookie, 'csrf-token': other.token }],
    ['missing', { cookie: 'sid=1', 'csrf-token': token }],
  ]
  for (const [, headers] of refused) {
    const { status, code } = await post(headers)
    t.same([status, code], [403, CSRF_TOKEN], JSON.stringify(headers))
  }
  t.same(handled, [], 'no handler ran')
  t.match(
    events.map(({ details }) => details),
    [
      { reason: 'missing', suppressed: 0 },
      { reason: 'invalid', suppressed: 0 },
    ],
    'one for each reason: the rest is folded',
  )
  t.notMatch(JSON.stringify(events), token.slice(0, 20))
})

await t.test('a token is bound to one user or session, whatever the ids are', async (t) => {
  const { app, ask, handled } = await buildSite(t, {
    csrf: { secret: SECRET },
    principal: ({ headers }) =>
      headers['x-test-user'] === undefined
        ? null
        : (JSON.parse(String(headers['x-test-user'])) as Principal),
  })
  app.get('/token', async (_request, reply) => reply.csrfToken)
  const anonymous = await app.inject('/token')
  const cookie = String(anonymous.headers['set-cookie']).split(';')[0]!
  const post = (user: object | null) => {
    const login = user === null ? {} : { 'x-test-user': JSON.stringify({ roles: [], ...user }) }
    return ask('POST', '/data', { cookie, 'csrf-token': anonymous.body, ...login })
  }
  t.equal((await post(null)).status, 200)
  handled.length = 0
  for (const user of [{ id: 'anonymous' }, { id: 'u', sessionId: 'anonymous' }]) {
    const { status, code } = await post(user)
    t.same([status, code, handled], [403, CSRF_TOKEN, []], JSON.stringify(user))
  }
})

await t.test('reading the token without the option csrf fails', async (t) => {
  const { app, ask } = await buildSite(t)
  let isSent = false
  app.get('/token', async (_request, reply) => {
    const token = reply.csrfToken
    isSent = true
    return token
  })
  const { status, code } = await ask('GET', '/token')
  t.same([status, code], [500, 'PARAPET_SECURITY_HEADERS_NO_TOKEN'])
  t.notOk(isSent, 'the handler did not continue')
})

await t.test('a form field may carry the token', async (t) => {
  const { app, draw, handled } = await buildCsrf(t, '_csrf')
  const { cookie, token } = await draw('alice')
  handled.length = 0
  const submit = (payload: string) =>
    app.inject({
      method: 'POST',
      url: '/data',
      headers: {
        cookie,
        'x-test-user': 'alice',
        'content-type': 'application/x-www-form-urlencoded',
      },
      payload,
    })
  t.equal((await submit(`_csrf=${encodeURIComponent(token)}&a=1`)).statusCode, 200)
  for (const payload of ['a=1', '_csrf=x']) {
    const reply = await submit(payload)
    t.same([reply.statusCode, reply.json<{ code: string }>().code], [403, CSRF_TOKEN], payload)
  }
  t.same(handled, ['POST /data'])
})

/** Like @fastify/multipart with `attachFieldsToBody`, which reads the fields in `preValidation`. */
function readMultipart(fieldsOf: (text: string) => unknown) {
  return fp(async (app) => {
    app.addContentTypeParser('multipart/form-data', { parseAs: 'string' }, (_, text, done) =>
      done(null, text),
    )
    app.addHook('preValidation', async (request) => {
      request.body = { _csrf: fieldsOf(String(request.body)) }
    })
  })
}

await t.test('a field of a multipart form may carry the token', async (t) => {
  const forms: [name: string, fieldsOf: (text: string) => unknown, status: number][] = [
    ['true', (value) => ({ type: 'field', fieldname: '_csrf', value }), 200],
    ['keyValues', (value) => value, 200],
    ['a field that is sent twice', (value) => [{ value }, { value }], 403],
    ['a file', () => ({ type: 'file', file: {} }), 403],
  ]
  for (const [name, fieldsOf, status] of forms) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(fastifyCookie)
    await app.register(readMultipart(fieldsOf))
    await app.register(securityHeaders, { csrf: { secret: SECRET, formField: '_csrf' } })
    let handled = 0
    app.get('/token', async (_request, reply) => reply.csrfToken)
    app.post('/', async () => ++handled)
    const page = await app.inject('/token')
    const cookie = String(page.headers['set-cookie']).split(';')[0]!
    const submit = (payload: string) =>
      app.inject({
        method: 'POST',
        url: '/',
        headers: { cookie, 'content-type': 'multipart/form-data; boundary=b' },
        payload,
      })
    t.equal((await submit(page.body)).statusCode, status, name)
    const refused = await submit('x')
    t.same([refused.statusCode, refused.json<{ code: string }>().code], [403, CSRF_TOKEN], name)
    t.equal(handled, status === 200 ? 1 : 0)
  }
})

await t.test('two tokens of one response share a secret', async (t) => {
  const { app, ask, handled } = await buildCsrf(t)
  app.get('/two', async (_request, reply) => [reply.csrfToken, reply.csrfToken])
  const reply = await app.inject('/two')
  const cookies = [reply.headers['set-cookie']].flat()
  t.equal(cookies.length, 1)
  const cookie = String(cookies[0]).split(';')[0]!
  const tokens = reply.json<string[]>()
  t.not(tokens[0], tokens[1])
  handled.length = 0
  for (const token of tokens) {
    t.equal((await ask('POST', '/data', { cookie, 'csrf-token': token })).status, 200)
  }
  t.equal(handled.length, 2)
})

await t.test('a secret in a cookie that another host may have set is ignored', async (t) => {
  const { ask, draw, handled } = await buildCsrf(t)
  const { cookie, token } = await draw('alice')
  const post = (header: string) =>
    ask('POST', '/data', { 'x-test-user': 'alice', cookie: header, 'csrf-token': token })
  t.equal((await post(`a=1; ${cookie}`)).status, 200)
  handled.length = 0
  // Browsers check the prefix __Host- only at the start of the name.
  for (const header of [`\u00a0${cookie}`, `${cookie}; ${cookie}`, '__Host-csrf=']) {
    const { status, code } = await post(header)
    t.same([status, code, handled], [403, CSRF_TOKEN, []], JSON.stringify(header))
  }
})

/** Sessions in memory, by the header `x-session`, with the interface of each session plugin. */
function createSessions(plugin: '@fastify/session' | '@fastify/secure-session') {
  const sessions = new Map<string, Record<string, unknown>>()
  const sessionOf = (request: FastifyRequest) => {
    const id = String(request.headers['x-session'])
    const data = sessions.get(id) ?? {}
    sessions.set(id, data)
    return plugin === '@fastify/session'
      ? data
      : {
          get: (key: string) => data[key],
          set: (key: string, value: unknown) => void (data[key] = value),
        }
  }
  return fp(async (app) => {
    app.decorateRequest('session', {
      getter(this: FastifyRequest) {
        return sessionOf(this)
      },
    } as never)
  })
}

for (const sessionPlugin of ['@fastify/session', '@fastify/secure-session'] as const) {
  await t.test(`the secret may be stored by ${sessionPlugin}`, async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(createSessions(sessionPlugin))
    await app.register(securityHeaders, { csrf: { secret: SECRET, sessionPlugin } })
    let handled = 0
    app.get('/token', async (_request, reply) => reply.csrfToken)
    app.post('/data', async () => ++handled)
    const { body: token } = await app.inject({ url: '/token', headers: { 'x-session': 'a' } })
    const post = (session: string) =>
      app.inject({
        method: 'POST',
        url: '/data',
        headers: { cookie: 'sid=1', 'x-session': session, 'csrf-token': token },
      })
    t.equal((await post('a')).statusCode, 200)
    const refused = await post('b')
    t.same([refused.statusCode, refused.json<{ code: string }>().code], [403, CSRF_TOKEN])
    t.equal(handled, 1)
  })
}
