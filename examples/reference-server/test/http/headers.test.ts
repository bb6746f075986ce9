/** Every response carries the security headers, whatever its status. */
import type { AddressInfo } from 'node:net'
import { uuidV7 } from '@parapet/kit'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { exchange } from '../support/server-process.ts'
import { signIn } from '../support/sign-in.ts'
import {
  artist,
  createTestApp,
  denied,
  invalid,
  notFound,
  openDatabase,
  shareTestApp,
  password,
  unauthenticated,
  type Refusal,
} from '../support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)

type HeaderValues = Readonly<Record<string, unknown>>

/** Compares the headers with the app's. A route may send a stricter `Cache-Control` only. */
function checkHeaders(t: Test, app: FastifyInstance, headers: HeaderValues, name: string) {
  const { 'cache-control': caching, ...expected } = app.securityHeaders.headers
  const sent = Object.fromEntries(Object.keys(expected).map((key) => [key, headers[key]]))
  t.same(sent, expected, name)
  t.match(headers['cache-control'], /^no-store/, `${name}: ${caching}`)
}

await t.test('successful responses carry the security headers', async (t) => {
  const { app, ask, send } = await useApp(t)
  const admin = await signIn(app, 'admin')
  const created = await ask(admin, 'POST', '/api/v1/artists', artist)
  checkHeaders(t, app, created.headers, '201')
  const url = `/api/v1/artists/${String(created.body['id'])}`
  const walk: [number, InjectOptions & { readonly url: string }][] = [
    [200, { url: '/api/v1/users', headers: admin }],
    [200, { url: '/openapi.json' }],
    [200, { url: '/ready' }],
    [200, { method: 'HEAD', url, headers: admin }],
    [204, { method: 'OPTIONS', url }],
    [204, { method: 'DELETE', url, headers: admin }],
  ]
  for (const [status, request] of walk) {
    const answer = await send(request)
    const name = `${request.method ?? 'GET'} ${request.url}`
    t.equal(answer.status, status, name)
    checkHeaders(t, app, answer.headers, name)
  }
})

const postUser = (payload: string, type = 'application/json') =>
  ({ method: 'POST', url: '/api/v1/users', payload, headers: { 'content-type': type } }) as const

await t.test('refusals carry the security headers', async (t) => {
  const { app, refuseRequest, register } = await useApp(t)
  const admin = await signIn(app, 'admin')
  const editor = await signIn(app, 'editor')
  const { id, headers: own } = await register('viewer')
  const url = `/api/v1/users/${id}`
  await register('viewer', 'taken@example.com')
  const reports = Array.from({ length: 61 }, () => ({ type: 'csp-violation', body: {} }))
  const walk: [Refusal, InjectOptions & { readonly url: string }][] = [
    [
      { status: 405, code: 'PARAPET_REFERENCE_METHOD_NOT_ALLOWED' },
      { method: 'POST', url },
    ],
    [invalid, { url: '/api/v1/users?limit=0', headers: admin }],
    [{ status: 400, code: 'FST_ERR_CTP_INVALID_JSON_BODY' }, postUser('{')],
    [unauthenticated, { url: '/api/v1/users/me' }],
    [denied, { url, headers: editor }],
    [
      { status: 403, code: 'PARAPET_SECURITY_HEADERS_CROSS_SITE' },
      { method: 'DELETE', url, headers: { 'sec-fetch-site': 'cross-site' } },
    ],
    [{ status: 404, code: undefined }, { url: '/nowhere' }],
    [{ status: 400, code: 'FST_ERR_BAD_URL' }, { url: '/%zz' }],
    [{ status: 414, code: 'FST_ERR_MAX_PARAM_LENGTH' }, { url: `/api/v1/users/${'a'.repeat(65)}` }],
    [notFound, { url: `/api/v1/users/${uuidV7()}`, headers: admin }],
    [
      { status: 403, code: 'PARAPET_SESSIONS_PROOF_REQUIRED' },
      {
        method: 'POST',
        url: '/api/v1/auth/email',
        headers: own,
        payload: { email: 'other@example.com', current: `not ${password}` },
      },
    ],
    [
      { status: 412, code: 'PARAPET_REFERENCE_VERSION_MISMATCH' },
      { method: 'DELETE', url, headers: { ...admin, 'if-match': '"7"' } },
    ],
    [{ status: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE' }, postUser('x'.repeat(300_000))],
    [{ status: 415, code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' }, postUser('x', 'text/plain')],
    [
      { status: 429, code: 'PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS' },
      {
        method: 'POST',
        url: '/_reports',
        payload: JSON.stringify(reports),
        headers: { 'content-type': 'application/reports+json' },
      },
    ],
  ]
  for (const [refusal, request] of walk) {
    const name = `${request.method ?? 'GET'} ${request.url} ${refusal.status}`
    const answer = await refuseRequest(t, refusal, request, name)
    checkHeaders(t, app, answer.headers, name)
  }
})

await t.test('a 304 and a streamed response carry the security headers', async (t) => {
  const { app } = await useApp(t)
  const keys = await app.inject('/.well-known/jwks.json')
  const condition = { 'if-none-match': String(keys.headers.etag) }
  const unmodified = await app.inject({ url: '/.well-known/jwks.json', headers: condition })
  t.equal(unmodified.statusCode, 304)
  // The keys are public, so the route allows caching.
  const headers = { ...unmodified.headers, 'cache-control': 'no-store' }
  checkHeaders(t, app, headers, '304')
  const admin = await signIn(app, 'admin')
  const stream = await app.inject({ url: '/api/v1/audit/export', headers: admin })
  t.equal(stream.statusCode, 200)
  checkHeaders(t, app, stream.headers, 'a stream')
})

const diskFull = () => Promise.reject(new Error('disk full'))

await t.test('server errors carry the security headers', async (t) => {
  let isFull = false
  const { sql } = database
  const failing: typeof sql = {
    query: (text, values) => (isFull ? diskFull() : sql.query(text, values)),
    transaction: (work) => (isFull ? diskFull() : sql.transaction(work)),
  }
  const { app, send, refuseRequest } = await createTestApp(t, database, {}, { sql: failing })
  isFull = true
  const failed = { status: 503, code: 'PARAPET_REFERENCE_DATABASE_UNAVAILABLE' }
  checkHeaders(
    t,
    app,
    (await refuseRequest(t, failed, { url: '/api/v1/artists' })).headers,
    '/api/v1/artists',
  )
  const ready = await send({ url: '/ready' })
  t.match([ready.status, ready.body], [503, { ready: false }])
  checkHeaders(t, app, ready.headers, '/ready')
})

await t.test('responses to requests that no hook sees carry the security headers', async (t) => {
  const { app } = await createTestApp(t, database)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const rows = await database.rows()
  const raw: [number, string | undefined, string][] = [
    [400, 'FST_ERR_BAD_URL', 'GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    [
      414,
      'FST_ERR_MAX_PARAM_LENGTH',
      `GET /api/v1/users/${'x'.repeat(65)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    ],
    [400, undefined, 'GET / HTTP/9.9\r\n\r\n'],
    [400, undefined, 'NONSENSE\r\n\r\n'],
    // Node would answer these two; here they pass the hooks.
    [404, undefined, 'GET /a HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nConnection: close\r\n\r\n'],
    [400, 'PARAPET_REFERENCE_INVALID_HOST', 'GET /a HTTP/1.1\r\nConnection: close\r\n\r\n'],
    [400, 'FST_ERR_BAD_URL', 'GET /a;%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    [431, undefined, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
  ]
  for (const [status, code, bytes] of raw) {
    const name = bytes.slice(0, 40)
    const answer = await exchange(port, bytes)
    t.equal(answer.status, status, name)
    const body = answer.body === '' ? {} : (JSON.parse(answer.body) as { code?: string })
    t.equal(body.code, code, name)
    checkHeaders(t, app, answer.headers, name)
  }
  t.same(await database.rows(), rows, 'nothing changed')
})

await t.test('only pages of the configured origins may read responses', async (t) => {
  const env = { CORS_ORIGINS: 'https://app.example, https://*.shop.example' }
  const { app } = await createTestApp(t, database, env)
  const ask = (origin: string) => app.inject({ url: '/api/v1/artists', headers: { origin } })
  for (const origin of ['https://app.example', 'https://a.shop.example']) {
    t.equal((await ask(origin)).headers['access-control-allow-origin'], origin)
  }
  t.notOk('access-control-allow-origin' in (await ask('https://evil.example')).headers)
  await t.rejects(createTestApp(t, database, { CORS_ORIGINS: 'https://app.example/' }), {
    message: 'CORS-ORIGIN-FORM',
  })
})
