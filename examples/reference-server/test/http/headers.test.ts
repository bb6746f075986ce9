/** What every answer says to browsers, whatever became of the request. */
import type { AddressInfo } from 'node:net'
import { PGlite } from '@electric-sql/pglite'
import { createSqlClient, uuidV7, type SqlClient } from '@parapet/kit'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import { exchange } from './server-process.ts'
import { signIn } from './sign-in.ts'

const pglite = await PGlite.create()
const sql = createSqlClient(pglite)
t.teardown(() => pglite.close())
const log = pino({ level: 'silent' })

async function build(t: Test, env: Record<string, string> = {}, database: SqlClient = sql) {
  const app = await buildApp(readConfig(env), { sql: database, log })
  t.teardown(() => app.close())
  return app
}

type Headers = Readonly<Record<string, unknown>>

/** The whole block; a header of one's own is stricter or nothing. */
function checkBlock(t: Test, app: FastifyInstance, headers: Headers, name: string) {
  const { 'cache-control': caching, ...block } = app.securityHeaders.headers
  const sent = Object.fromEntries(Object.keys(block).map((key) => [key, headers[key]]))
  t.same(sent, block, name)
  t.match(headers['cache-control'], /^no-store/, `${name}: ${caching}`)
}

await t.test('every answer carries the block', async (t) => {
  const app = await build(t)
  const user = { email: `${uuidV7()}@example.com`, displayName: 'A' }
  const made = await app.inject({ method: 'POST', url: '/users', payload: user })
  const { id } = made.json<{ id: string }>()
  const url = `/users/${id}`
  const login = await signIn(app, 'admin')
  const json = { 'content-type': 'application/json' }
  const report = { type: 'csp-violation', body: {} }
  const walk: [number, InjectOptions & { readonly url: string }][] = [
    [200, { url: '/users', headers: login }],
    [200, { url: '/openapi.json' }],
    [200, { url: '/ready' }],
    [200, { method: 'HEAD', url, headers: login }],
    [204, { method: 'OPTIONS', url }],
    [405, { method: 'POST', url }],
    [400, { url: '/users?limit=0', headers: login }],
    [400, { method: 'POST', url: '/users', payload: '{', headers: json }],
    [401, { url: '/users/me' }],
    [403, { url, headers: await signIn(app, 'editor') }],
    [403, { method: 'DELETE', url, headers: { 'sec-fetch-site': 'cross-site' } }],
    [404, { url: '/nowhere' }],
    [400, { url: '/%zz' }],
    [414, { url: `/users/${'a'.repeat(65)}` }],
    [404, { url: `/users/${uuidV7()}`, headers: login }],
    [409, { method: 'POST', url: '/users', payload: user }],
    [412, { method: 'DELETE', url, headers: { ...login, 'if-match': '"7"' } }],
    [413, { method: 'POST', url: '/users', payload: 'x'.repeat(300_000), headers: json }],
    [
      415,
      { method: 'POST', url: '/users', payload: 'x', headers: { 'content-type': 'text/plain' } },
    ],
    [
      429,
      {
        method: 'POST',
        url: '/_reports',
        payload: JSON.stringify(Array.from({ length: 61 }, () => report)),
        headers: { 'content-type': 'application/reports+json' },
      },
    ],
    [204, { method: 'DELETE', url, headers: login }],
  ]
  checkBlock(t, app, made.headers, '201')
  for (const [status, request] of walk) {
    const answer = await app.inject(request)
    const name = `${request.method ?? 'GET'} ${request.url}`
    t.equal(answer.statusCode, status, name)
    checkBlock(t, app, answer.headers, name)
  }
})

await t.test('so do an answer that was not modified, and one that is streamed', async (t) => {
  const app = await build(t)
  const keys = await app.inject('/.well-known/jwks.json')
  const again = { 'if-none-match': String(keys.headers.etag) }
  const unmodified = await app.inject({ url: '/.well-known/jwks.json', headers: again })
  t.equal(unmodified.statusCode, 304)
  // The keys are public, and the route says how long they may be kept.
  const kept = { ...unmodified.headers, 'cache-control': 'no-store' }
  checkBlock(t, app, kept, '304')
  const login = await signIn(app, 'admin')
  const stream = await app.inject({ url: '/audit/export', headers: login })
  t.equal(stream.statusCode, 200)
  checkBlock(t, app, stream.headers, 'a stream')
})

async function refuseQuery(): Promise<never> {
  throw new Error('disk full')
}

await t.test('so do failures, and what no hook sees', async (t) => {
  const app = await build(t, {}, { ...sql, query: refuseQuery })
  for (const [status, url] of [
    [500, '/artists'],
    [503, '/ready'],
  ] as const) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, status)
    checkBlock(t, app, answer.headers, url)
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const raw: [number, string][] = [
    [400, 'GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    [414, `GET /users/${'x'.repeat(65)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`],
    [400, 'GET / HTTP/9.9\r\n\r\n'],
    [400, 'NONSENSE\r\n\r\n'],
    [417, 'GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nConnection: close\r\n\r\n'],
    [400, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'],
    [400, 'GET /a;%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
  ]
  for (const [status, bytes] of raw) {
    const answer = await exchange(port, bytes)
    t.equal(answer.status, status, bytes.slice(0, 40))
    checkBlock(t, app, answer.headers, bytes.slice(0, 40))
  }
})

await t.test('pages of the origins that are named may read, and no others', async (t) => {
  const app = await build(t, { CORS_ORIGINS: 'https://app.example, https://*.shop.example' })
  const ask = (origin: string) => app.inject({ url: '/artists', headers: { origin } })
  for (const origin of ['https://app.example', 'https://a.shop.example']) {
    t.equal((await ask(origin)).headers['access-control-allow-origin'], origin)
  }
  t.notOk('access-control-allow-origin' in (await ask('https://evil.example')).headers)
  await t.rejects(build(t, { CORS_ORIGINS: 'https://app.example/' }), {
    message: 'CORS-ORIGIN-FORM',
  })
})
