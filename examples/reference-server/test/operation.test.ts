/** What the routes promise, on a real database in memory. */
import { existsSync } from 'node:fs'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { PGlite } from '@electric-sql/pglite'
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { createSqlClient, uuidV7 } from '@parapet/kit'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify, { type InjectOptions } from 'fastify'
import { URI, type TOTP } from 'otpauth'
import t, { type Test } from 'tap'
import { currencies } from '../src/artists/currencies.ts'
import { buildApp, type Ports } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import type { NewContent } from '../src/content/schemas.ts'
import { createClientErrorHandler } from '../src/errors.ts'
import { createLog } from '../src/logging.ts'
import type { Stored } from '../src/table.ts'
import type { NewUser } from '../src/users/schemas.ts'
import { exchange } from './server-process.ts'
import { signIn } from './sign-in.ts'

// Opening it takes seconds, so the file shares one and every test empties it.
const pglite = await PGlite.create()
const sql = createSqlClient(pglite)
t.teardown(() => pglite.close())

/** A log that is kept instead of written. */
function quietLog() {
  const lines: string[] = []
  const log = createLog({ logLevel: 'info' }, { write: (line: string) => void lines.push(line) })
  return { log, lines }
}

async function build(t: Test, ports: Ports = {}, env: Record<string, string> = {}) {
  const { log, lines } = quietLog()
  const app = await buildApp(readConfig(env), { sql, log, ...ports })
  t.teardown(() => app.close())
  await pglite.exec('TRUNCATE users, content, artists')

  const headers = await signIn(app, 'admin')
  /** As an administrator. */
  async function call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, payload?: object) {
    const body = payload === undefined ? undefined : { payload }
    return app.inject({ method, url, headers, ...body })
  }
  async function makeUser(email = 'a@example.com'): Promise<Record<string, string>> {
    return (await call('POST', '/users', { email, displayName: 'A' })).json()
  }
  return { app, call, headers, makeUser, log: () => lines.join('') }
}

/** A second service on the rows of the first. */
async function buildLater(t: Test) {
  const app = await buildApp(readConfig({}), { sql, log: quietLog().log })
  t.teardown(() => app.close())
  return { app }
}

const artist = { name: 'A', genres: ['jazz'], hourlyRateMinor: 1, currency: 'EUR' }

await t.test('names of any script are kept as they are', async (t) => {
  const { call } = await build(t)
  const names = [
    'Ñandú',
    '東京 編集部',
    'می‌خواهم',
    'Ἀγορά',
    'हिन्दी',
    "L'été; DROP TABLE users",
    '🦜 Ara',
  ]
  for (const [index, displayName] of names.entries()) {
    const made = await call('POST', '/users', { email: `u${index}@example.com`, displayName })
    t.equal(made.statusCode, 201, displayName)
    t.equal(made.json<NewUser>().displayName, displayName)
  }
})

await t.test('a telephone number is kept encrypted, for its own row, and masked', async (t) => {
  const { app, call } = await build(t, {}, { FIELD_KEYSET: exportKeyset(generateKeyset()) })
  const made = await call('POST', '/artists', { ...artist, phone: '+493012345678' })
  t.equal(made.statusCode, 201)
  const { id, phone } = made.json<{ id: string; phone: string }>()
  t.equal(phone, '+493012345678', 'an administrator sees it')
  t.match((await app.inject(`/artists/${id}`)).json(), { phone: '****5678' }, 'nobody else does')
  const stored = async () =>
    (await sql.query<{ phone: string }>('SELECT phone FROM artists WHERE id = $1', [id])).rows[0]!
  const first = (await stored()).phone
  t.match(first, /^pe1\./)
  const other = await call('POST', '/artists', artist)
  t.notOk('phone' in other.json<object>(), 'none is none')
  const changed = await call('PATCH', `/artists/${id}`, { phone: '+493087654321' })
  t.match(changed.json(), { phone: '+493087654321' })
  t.match((await app.inject('/artists')).json(), { items: [{ phone: '****4321' }, {}] })
  t.equal((await call('PATCH', `/artists/${id}`, { phone: 'call me' })).statusCode, 400)

  const otherId = other.json<{ id: string }>().id
  await sql.query('UPDATE artists SET phone = $1 WHERE id = $2', [first, otherId])
  const moved = await call('GET', `/artists/${otherId}`)
  t.equal(moved.statusCode, 500, 'a number that was moved is not told')
  t.match(moved.json(), { code: 'PARAPET_FIELD_ENCRYPTION_OPEN_FAILED' })
  await app.close()
  const { app: later } = await buildLater(t)
  const read = await later.inject(`/artists/${id}`)
  t.equal(read.statusCode, 200)
  t.notOk('phone' in read.json<object>(), 'without a keyset numbers end with their process')
})

await t.test('what a schema does not allow is refused and nothing is written', async (t) => {
  const { call } = await build(t)
  const refused: [string, object | string][] = [
    ['/users', {}],
    ['/users', { email: 'no address', displayName: 'A' }],
    ['/users', { email: 'a@example.com', displayName: '' }],
    ['/users', { email: 'a@example.com', displayName: ' A' }],
    ['/users', { email: 'a@example.com', displayName: 'A\nB' }],
    ['/users', { email: 'a@example.com', displayName: 'A\0' }],
    ['/users', { email: 'a@example.com', displayName: '\ud800' }],
    ['/users', { email: 'a@example.com', displayName: 'x'.repeat(101) }],
    ['/users', { email: 'a@example.com', displayName: 5 }],
    ['/users', { email: 'a@example.com', displayName: 'A', id: uuidV7() }],
    ['/users', { email: 'a@example.com', displayName: 'A', version: 7 }],
    ['/content', { authorId: 'me', title: 'T', body: '' }],
    ['/content', { authorId: uuidV7(), title: 'T', body: '\0' }],
    ['/content', { authorId: uuidV7(), title: 'T', body: '', status: 'secret' }],
    ['/artists', { ...artist, genres: [] }],
    ['/artists', { ...artist, genres: ['jazz', 'jazz'] }],
    ['/artists', { ...artist, hourlyRateMinor: 1.5 }],
    ['/artists', { ...artist, hourlyRateMinor: '1' }],
    ['/artists', { ...artist, hourlyRateMinor: -1 }],
    ['/artists', { ...artist, currency: 'XXX' }],
    ['/artists', { ...artist, available: 'true' }],
    ['/artists', { ...artist, available: null }],
  ]
  for (const [url, body] of refused) {
    const answer = await call('POST', url, body as object)
    t.match(
      { status: answer.statusCode, body: answer.json<object>() },
      { status: 400, body: { status: 400, code: 'FST_ERR_VALIDATION', errors: [{ in: 'body' }] } },
      JSON.stringify(body),
    )
  }
  for (const url of ['/users', '/content', '/artists']) {
    t.same((await call('GET', url)).json(), { items: [] })
  }
})

await t.test('a user with a password logs in, and a deleted one is out at once', async (t) => {
  const { app, call } = await build(t)
  const password = 'correct horse battery staple'
  const made = await call('POST', '/users', {
    email: 'Ada@example.com',
    displayName: 'A',
    password,
  })
  t.equal(made.statusCode, 201)
  t.notMatch(made.body, /password|argon2/)
  const { id } = made.json<Stored>()
  const wrong = await call('POST', '/auth/login', { login: 'ada@example.com', password: 'wrong' })
  t.match([wrong.statusCode, wrong.json()], [401, { code: 'PARAPET_SESSIONS_LOGIN_FAILED' }])
  const right = await call('POST', '/auth/login', { login: 'ada@example.com', password })
  t.equal(right.statusCode, 200)
  const tokens = right.json<{ access_token: string; refresh_token: string }>()
  const me = () =>
    app.inject({ url: '/users/me', headers: { authorization: `Bearer ${tokens.access_token}` } })
  t.match([(await me()).statusCode, (await me()).json()], [200, { id, email: 'Ada@example.com' }])
  t.match((await app.inject('/users/me')).json(), { code: 'PARAPET_RBAC_UNAUTHENTICATED' })

  t.equal((await call('DELETE', `/users/${id}`)).statusCode, 204)
  t.equal((await me()).statusCode, 401)
  const refreshed = await call('POST', '/auth/refresh', { refreshToken: tokens.refresh_token })
  t.equal(refreshed.statusCode, 401)
})

await t.test(
  'deleting oneself asks for a second factor, and enrolling one answers it',
  async (t) => {
    const { app, call } = await build(t)
    const password = 'correct horse battery staple'
    const login = 'ada@example.com'
    await call('POST', '/users', { email: login, displayName: 'A', password })
    const { access_token } = (await call('POST', '/auth/login', { login, password })).json<{
      access_token: string
    }>()
    const own = (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) =>
      app.inject({
        method,
        url,
        headers: { authorization: `Bearer ${access_token}` },
        ...(payload === undefined ? undefined : { payload }),
      })
    t.equal((await app.inject({ method: 'DELETE', url: '/users/me' })).statusCode, 401, 'nobody')
    const refused = await own('DELETE', '/users/me')
    t.match([refused.statusCode, refused.json()], [403, { code: 'PARAPET_MFA_ENROLMENT_REQUIRED' }])
    const begun = await own('POST', '/mfa/totp')
    t.equal(begun.statusCode, 201)
    const { ticket, uri } = begun.json<{ ticket: string; uri: string }>()
    const code = (URI.parse(uri) as TOTP).generate()
    t.equal((await own('POST', '/mfa/totp/confirm', { ticket, code })).statusCode, 200)
    t.match((await own('GET', '/mfa')).json(), { enrolled: true, backupCodesLeft: 8 })
    t.equal((await own('DELETE', '/users/me')).statusCode, 204)
    t.equal((await own('GET', '/mfa')).statusCode, 401, 'the login ended with the user')
  },
)

await t.test('only JSON that is JSON comes in', async (t) => {
  const { app } = await build(t)
  const post = (payload: string, type?: string) =>
    app.inject({
      method: 'POST',
      url: '/users',
      payload,
      headers: type === undefined ? {} : { 'content-type': type },
    })
  const user = '{"email":"a@example.com","displayName":"A"}'
  t.equal((await post(user, 'text/plain')).statusCode, 415)
  t.equal((await post(user, 'application/x-www-form-urlencoded')).statusCode, 415)
  t.equal((await post('{', 'application/json')).statusCode, 400)
  t.equal((await post(`{"__proto__":{"a":1},${user.slice(1)}`, 'application/json')).statusCode, 400)
  const huge = await post(`{"email":"${'a'.repeat(262_144)}"}`, 'application/json')
  t.match([huge.statusCode, huge.json()], [413, { code: 'FST_ERR_CTP_BODY_TOO_LARGE' }])
})

await t.test('the longest content fits, however it is written', async (t) => {
  const { app, headers, makeUser } = await build(t)
  const { id } = await makeUser()
  const escaped = String.raw`\ud83e\udd9c`.repeat(20_000)
  const made = await app.inject({
    method: 'POST',
    url: '/content',
    headers: { ...headers, 'content-type': 'application/json' },
    payload: `{"authorId":"${id}","title":"T","body":"${escaped}"}`,
  })
  t.equal(made.statusCode, 201)
  t.equal(made.json<NewContent>().body, '🦜'.repeat(20_000))
})

await t.test('a page at a time shows every row once, also while rows are added', async (t) => {
  const { call, makeUser } = await build(t)
  const made: string[] = []
  for (let index = 0; index < 5; index++)
    made.push((await makeUser(`u${index}@example.com`))['id']!)
  const seen: string[] = []
  let url = '/users?limit=2'
  for (let turn = 0; turn < 3; turn++) {
    const page = (await call('GET', url)).json<{ items: { id: string }[]; nextCursor?: string }>()
    seen.push(...page.items.map(({ id }) => id))
    if (turn === 1) made.push((await makeUser('late@example.com'))['id']!)
    url = `/users?limit=2&cursor=${page.nextCursor}`
  }
  t.same(seen, made)
})

await t.test('a list takes only what it knows', async (t) => {
  const { call } = await build(t)
  for (const query of [
    'limit=0',
    'limit=101',
    'limit=1e309',
    'limit=ten',
    'limit=1&limit=2',
    'order=id',
  ]) {
    const answer = await call('GET', `/users?${query}`)
    t.match([answer.statusCode, answer.json()], [400, { errors: [{ in: 'querystring' }] }], query)
  }
  for (const cursor of ['x', uuidV7(), 'AAAAAAAAAAAAAAAAAAAAAB', 'AAAAAAAAAAAAAAAAAAAAAA==', '']) {
    const answer = await call('GET', `/users?cursor=${cursor}`)
    const code = 'PARAPET_REFERENCE_INVALID_CURSOR'
    t.match([answer.statusCode, answer.json()], [400, { code }], cursor)
  }
})

await t.test('a change needs something to change, and something that is there', async (t) => {
  const { call, makeUser } = await build(t)
  const { id } = await makeUser()
  t.equal((await call('PATCH', `/users/${id}`, {})).statusCode, 400)
  t.equal((await call('PATCH', `/users/${id}`, { id: uuidV7() })).statusCode, 400)
  t.equal((await call('PATCH', `/users/${uuidV7()}`, { displayName: 'B' })).statusCode, 404)
  t.equal((await call('PATCH', '/users/7', { displayName: 'B' })).statusCode, 400)
  await makeUser('b@example.com')
  const taken = await call('PATCH', `/users/${id}`, { email: 'B@EXAMPLE.COM' })
  t.match([taken.statusCode, taken.json()], [409, { code: 'PARAPET_REFERENCE_EMAIL_TAKEN' }])
})

await t.test('of two changes to one version the second is refused', async (t) => {
  const { app, headers, makeUser } = await build(t)
  const { id } = await makeUser()
  const change = (method: 'PATCH' | 'DELETE', match: string) => {
    const given = { ...headers, 'if-match': match }
    const request: InjectOptions = { method, url: `/users/${id}`, headers: given }
    return app.inject(
      method === 'PATCH' ? { ...request, payload: { displayName: match } } : request,
    )
  }
  const [first, second] = await Promise.all([change('PATCH', '"1"'), change('PATCH', '"1"')])
  t.same(
    [first.statusCode, second.statusCode].toSorted((a, b) => a - b),
    [200, 412],
  )
  for (const match of ['"1"', 'W/"2"', '2', '"x"', '']) {
    const refused = await change('DELETE', match)
    const code = 'PARAPET_REFERENCE_VERSION_MISMATCH'
    t.match([refused.statusCode, refused.json()], [412, { code }], match)
  }
  t.equal((await change('PATCH', '"7", "2"')).statusCode, 200)
  t.equal((await change('PATCH', '*')).statusCode, 200)
  t.equal((await change('DELETE', '"4"')).statusCode, 204)
})

await t.test('content moves only to an author who is there', async (t) => {
  const { call, makeUser } = await build(t)
  const { id: authorId } = await makeUser()
  const made = await call('POST', '/content', { authorId, title: 'T', body: '' })
  const { id } = made.json<Stored>()
  const moved = await call('PATCH', `/content/${id}`, { authorId: uuidV7() })
  t.match([moved.statusCode, moved.json()], [409, { code: 'PARAPET_REFERENCE_AUTHOR_UNKNOWN' }])
  t.equal((await call('DELETE', `/content/${id}`)).statusCode, 204)
  t.equal((await call('DELETE', `/users/${authorId}`)).statusCode, 204)
})

await t.test('what fails inside stays inside', async (t) => {
  const { call, log } = await build(t, {
    sql: {
      ...sql,
      query: async () => {
        const detail = 'Key (email)=(a@example.com) already exists.'
        throw Object.assign(new Error('disk full'), { code: '53100', detail, params: ['hunter2'] })
      },
    },
  })
  const answer = await call('GET', '/users')
  t.equal(answer.statusCode, 500)
  t.same(Object.keys(answer.json()), ['type', 'title', 'status', 'requestId'])
  t.match(log(), /"message":"disk full","code":"53100"/)
  t.notMatch(log(), /a@example\.com|hunter2/)
})

await t.test('the log has the path and the route, and no query and no secret', async (t) => {
  const { app, log } = await build(t)
  await app.inject({ url: '/users?token=hunter2', headers: { authorization: 'Bearer hunter2' } })
  await app.inject({ url: '/%zz?token=hunter2' })
  await app.inject({ url: '/nowhere?token=hunter2' })
  app.log.info({ a: [{ newPassword: 'hunter2' }], 'set-cookie': 'hunter2', apiKey: 'hunter2' }, 'x')
  t.match(log(), /"path":"\/users","route":"\/users"/)
  t.match(log(), /"newPassword":"\[redacted\]"/)
  t.notMatch(log(), /hunter2/)
})

await t.test('a client cannot choose the id of its request', async (t) => {
  const { app } = await build(t)
  const headers = { 'x-request-id': 'mine', 'request-id': 'mine' }
  const answer = await app.inject({ url: '/nowhere', headers })
  t.match(
    answer.json<{ requestId: string }>().requestId,
    /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
})

await t.test('security events reach the log', async (t) => {
  const { app, log } = await build(t)
  app.securityEvents.emit('kit.store_lost', { severity: 'high', details: { reason: 'a test' } })
  t.match(log(), /"level":50.*"type":"kit.store_lost".*"msg":"security event"/)
})

async function refuseQuery(): Promise<never> {
  throw new Error('connect ECONNREFUSED 10.1.2.3')
}

await t.test('readiness says which dependency is down, and nothing more', async (t) => {
  await t.test('one that fails', async (t) => {
    const { call, app, log } = await build(t, { sql: { ...sql, query: refuseQuery } })
    const answer = await call('GET', '/ready')
    t.equal(answer.statusCode, 503)
    t.same(answer.json(), { ready: false, closing: false, database: 'down', store: 'up' })
    t.match(log(), /ECONNREFUSED.*"dependency":"database"/)
    await app.store.close()
    t.match((await app.inject('/ready')).json(), { database: 'down', store: 'down' })
    t.equal((await app.inject('/health')).statusCode, 200)
  })
  await t.test('one that does not answer in time, and is asked once for all who ask', async (t) => {
    let asked = 0
    const deadlines: (() => void)[] = []
    const { call } = await build(t, {
      clock: {
        now: Date.now,
        schedule: (delayMs, task) => {
          t.equal(delayMs, 1000)
          deadlines.push(task)
          return () => {}
        },
      },
      sql: { ...sql, query: () => (asked++, new Promise(() => {})) },
    })
    const answers = Promise.all([call('GET', '/ready'), call('GET', '/ready')])
    await new Promise(setImmediate)
    for (const expire of deadlines) expire()
    for (const answer of await answers) {
      t.match([answer.statusCode, answer.json()], [503, { database: 'down', store: 'up' }])
    }
    t.equal(asked, 1)
  })
})

await t.test('bytes that are no HTTP get a problem with their own status', async (t) => {
  const { app } = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const refused: [number, string][] = [
    [400, 'GET / HTTP/9.9\r\n\r\n'],
    [400, 'POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'],
    [
      400,
      'POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`],
    [431, `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
  ]
  for (const [status, bytes] of refused) {
    const reply = await exchange(port, bytes)
    t.equal(reply.status, status, bytes.slice(0, 60))
    t.match(reply.headers, { 'content-type': 'application/problem+json', connection: 'close' })
    t.equal(reply.headers['content-length'], String(Buffer.byteLength(reply.body)))
    t.match(JSON.parse(reply.body), { status, type: 'about:blank' })
  }
  const long = await exchange(port, `GET /users/${'x'.repeat(65)} HTTP/1.0\r\n\r\n`)
  t.match([long.status, JSON.parse(long.body)], [414, { code: 'FST_ERR_MAX_PARAM_LENGTH' }])
})

await t.test('a request that does not arrive in time is told so', async (t) => {
  const { log } = quietLog()
  const http = { headersTimeout: 20, connectionsCheckingInterval: 10 }
  const app = Fastify({ clientErrorHandler: createClientErrorHandler(log), http })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const reply = await exchange(port, 'GET / HTTP/1.1\r\n')
  t.match([reply.status, JSON.parse(reply.body)], [408, { status: 408 }])
})

await t.test('no problem is written into the middle of a reply', async (t) => {
  const { log } = quietLog()
  const app = Fastify({ clientErrorHandler: createClientErrorHandler(log) })
  t.teardown(() => app.close())
  app.get('/', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-length': 8 }).write('half')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(async () => void socket.destroy())
  let text = ''
  socket.on('error', () => {})
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
    if (text.endsWith('half')) socket.write('junk\r\n\r\n')
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(socket, 'close')
  t.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*half$/)
})

await t.test('a forwarded address is believed of a trusted proxy only', async (t) => {
  const headers = { 'x-forwarded-for': '203.0.113.7' }
  const direct = await build(t)
  await direct.app.inject({ url: '/health', headers })
  t.match(direct.log(), '"ip":"127.0.0.1"')
  const proxied = await build(t, {}, { TRUST_PROXY: '127.0.0.0/8' })
  await proxied.app.inject({ url: '/health', headers })
  t.match(proxied.log(), '"ip":"203.0.113.7"')
})

await t.test('every route is described, and the description is valid OpenAPI 3.1', async (t) => {
  const { app, call } = await build(t)
  const answer = await call('GET', '/openapi.json')
  t.equal(answer.statusCode, 200)
  const { valid, errors } = await new Validator().validate(answer.json())
  t.ok(valid, JSON.stringify(errors))

  const { openapi, paths } = answer.json<{
    openapi: string
    paths: Record<string, Record<string, Operation>>
  }>()
  t.match(openapi, /^3\.1\./)
  const ids = new Set<string>()
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      t.match(operation, { operationId: /\w/, summary: /\w/, tags: [/\w/] }, `${method} ${path}`)
      t.ok('4XX' in operation.responses && '5XX' in operation.responses, `${method} ${path}`)
      ids.add(operation.operationId)
    }
  }
  // 3 resources of 5 routes, roles, 3 of the own user, 7 of sessions, 18 of mfa, 5 of the audit log, health, readiness, reports and
  // the description.
  t.equal(ids.size, 53)
  const routes = app.printRoutes({ commonPrefix: false }).match(/\((?!HEAD)[A-Z, ]+\)/g) ?? []
  const methods = routes
    .flatMap((list) => list.slice(1, -1).split(', '))
    .filter((m) => m !== 'HEAD')
  t.equal(methods.length, ids.size, 'no route is missing from the description')
})

interface Operation {
  readonly operationId: string
  readonly responses: Readonly<Record<string, unknown>>
}

await t.test('the currencies are those that the runtime knows', async (t) => {
  const known = new Set(Intl.supportedValuesOf('currency'))
  // Two of 2024 and 2025 that older runtimes lack.
  t.same(
    currencies.filter((code) => !known.has(code) && !['XCG', 'ZWG'].includes(code)),
    [],
  )
})

await t.test('a part that fails at the start closes what was opened before it', async (t) => {
  const dataDir = t.testdir()
  const { log } = quietLog()
  // The database opens, and then the store turns out not to be there.
  const config = readConfig({ DATA_DIR: dataDir, REDIS_URL: 'redis://127.0.0.1:1' })
  await t.rejects(buildApp(config, { log }), { message: 'Connection is closed.' })
  t.notOk(existsSync(`${dataDir}/lock`), 'the folder is free again')
})

await t.test('a path says which methods it has, to whoever asks for another', async (t) => {
  const { app } = await build(t)
  const allowed = 'DELETE, GET, HEAD, PATCH, OPTIONS'
  const refused = await app.inject({ method: 'POST', url: `/users/${uuidV7()}`, payload: '{' })
  t.equal(refused.statusCode, 405)
  t.equal(refused.headers.allow, allowed)
  t.match(refused.json(), { code: 'PARAPET_REFERENCE_METHOD_NOT_ALLOWED' })
  const asked = await app.inject({ method: 'OPTIONS', url: `/users/${uuidV7()}` })
  t.match([asked.statusCode, asked.headers.allow, asked.body], [204, allowed, ''])
  t.equal((await app.inject({ method: 'PUT', url: '/nowhere' })).statusCode, 404)
})
