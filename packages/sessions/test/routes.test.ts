/** The routes, the options, and the description for OpenAPI. */
import type { SecurityEvent } from '@parapet/kit'
import { sessions, type CredentialCheck } from '@parapet/sessions'
import fastifySwagger from '@fastify/swagger'
import Fastify from 'fastify'
import t from 'tap'
import { baseOptions, build, eventsOf, refusalOf, unauthenticated } from './build.ts'

const DAY_MS = 86_400_000
const UNAUTHENTICATED = [401, unauthenticated.code]
const REFRESH_REFUSED = [401, 'PARAPET_SESSIONS_REFRESH_REFUSED']

const credentials: CredentialCheck = async ({ login, password }) =>
  password === 'right' ? { id: login, roles: ['reader'], amr: ['pwd'] } : null

interface TokenBody {
  readonly access_token: string
  readonly refresh_token: string
}

async function buildRoutes(t: Parameters<typeof build>[0]) {
  const built = await build(t, { prefix: '/auth', credentials })
  const post = (url: string, payload: object, headers = {}) =>
    built.app.inject({
      method: 'POST',
      url,
      payload,
      headers: { 'user-agent': 'a browser', ...headers },
    })
  const logIn = async () =>
    (await post('/auth/login', { login: 'ada', password: 'right' })).json<TokenBody>()
  return { ...built, post, logIn }
}

await t.test('log in, refresh, log out', async (t) => {
  const { app, ask, refuses, post } = await buildRoutes(t)
  const login = await post('/auth/login', { login: 'ada', password: 'right' })
  t.equal(login.statusCode, 200)
  t.equal(login.headers['cache-control'], 'no-store')
  const tokens = login.json<TokenBody>()
  t.match(tokens, { token_type: 'Bearer', expires_in: 900 })
  t.equal((await ask(tokens.access_token)).status, 200)

  const next = await post('/auth/refresh', { refreshToken: tokens.refresh_token })
  t.equal(next.statusCode, 200)
  const { access_token, refresh_token } = next.json<TokenBody>()
  t.not(refresh_token, tokens.refresh_token)
  t.same(refusalOf(await post('/auth/refresh', {})), REFRESH_REFUSED, 'without a token')

  const out = await post('/auth/logout', { refreshToken: refresh_token })
  t.equal(out.statusCode, 204)
  t.equal(out.headers['clear-site-data'], undefined, 'other applications keep what they stored')
  await refuses(access_token, 'the access token after the logout')
  const after = await post('/auth/refresh', { refreshToken: refresh_token })
  t.same(refusalOf(after), REFRESH_REFUSED, 'the refresh token after the logout')
  const again = await app.inject({ method: 'POST', url: '/auth/logout' })
  t.equal(again.statusCode, 204, 'a second logout, without a token')
})

await t.test('a logout with only the access token ends its session', async (t) => {
  const { app, logIn, refuses } = await buildRoutes(t)
  const { access_token } = await logIn()
  const headers = { authorization: `Bearer ${access_token}` }
  const out = await app.inject({ method: 'POST', url: '/auth/logout', headers })
  t.equal(out.statusCode, 204)
  await refuses(access_token)
})

await t.test('a logout with an expired access token ends its session', async (t) => {
  const { app, post, logIn, clock, refuses } = await buildRoutes(t)
  const { access_token, refresh_token } = await logIn()
  clock.advance(20 * 60_000)
  await refuses(access_token, 'it has expired')
  const forged = `${access_token.slice(0, -4)}AAAA`
  for (const token of [forged, access_token]) {
    const headers = { authorization: `Bearer ${token}` }
    const out = await app.inject({ method: 'POST', url: '/auth/logout', headers })
    t.equal(out.statusCode, 204)
    const after = await post('/auth/refresh', {
      refresh_token: token === forged ? 'x' : refresh_token,
    })
    t.same(refusalOf(after), REFRESH_REFUSED)
    if (token === forged) t.equal((await app.sessions.list('ada')).length, 1, 'it lives on')
  }
  t.same(await app.sessions.list('ada'), [])
})

await t.test('a failed login is an event that does not name the account', async (t) => {
  const { post, events } = await buildRoutes(t)
  const failed = await post('/auth/login', { login: 'ada', password: 'wrong' })
  t.same(refusalOf(failed), [401, 'PARAPET_SESSIONS_LOGIN_FAILED'])
  t.same(eventsOf(events, 'sessions.login_succeeded'), [], 'no session started')
  const [event] = eventsOf(
    events,
    'sessions.login_failed',
  ) as SecurityEvent<'sessions.login_failed'>[]
  t.match(event, {
    ip: '127.0.0.1',
    userAgent: 'a browser',
    details: { method: 'pwd', loginHash: /^[\w-]{22}$/ },
  })
  t.notMatch(JSON.stringify(event), /ada/)
})

await t.test('a login with a malformed body is 400, before the credential check', async (t) => {
  let checks = 0
  const { app } = await build(t, {
    prefix: '/auth',
    credentials: async () => {
      checks++
      return null
    },
  })
  const post = (payload: object) => app.inject({ method: 'POST', url: '/auth/login', payload })
  for (const payload of [
    {},
    { login: 'a' },
    { login: '', password: 'x' },
    { login: 'a', password: 'x'.repeat(1025) },
  ]) {
    const name = JSON.stringify(payload).slice(0, 40)
    t.same(refusalOf(await post(payload)), [400, 'FST_ERR_VALIDATION'], name)
  }
  t.equal(checks, 0, 'the credential check did not run')
  await post({ login: 'a', password: 'b', admin: true })
  t.equal(checks, 1, 'an unknown member is removed by the default validator')
})

await t.test('a user lists and ends own sessions, and no others', async (t) => {
  const { app, start, ask, refuses } = await build(t, { prefix: '/auth' })
  const [mine, phone, tablet] = [await start(), await start(), await start()]
  const other = await start({ id: 'user-2', roles: [] })
  const call = (method: 'GET' | 'DELETE', url: string, token = mine.accessToken) =>
    app.inject({ method, url, headers: { authorization: `Bearer ${token}` } })
  const { sessions: views } = (await call('GET', '/auth/sessions')).json<{
    sessions: { id: string; current: boolean }[]
  }>()
  t.same(
    views.map(({ id }) => id).toSorted(),
    [mine, phone, tablet].map(({ sessionId }) => sessionId).toSorted(),
  )
  t.same(
    views.filter(({ current }) => current).map(({ id }) => id),
    [mine.sessionId],
  )

  t.equal((await call('DELETE', `/auth/sessions/${phone.sessionId}`)).statusCode, 204)
  await refuses(phone.accessToken)
  for (const id of [other.sessionId, phone.sessionId, 'A'.repeat(22)]) {
    const reply = await call('DELETE', `/auth/sessions/${id}`)
    t.same(refusalOf(reply), [404, 'PARAPET_SESSIONS_NOT_FOUND'])
  }
  t.equal((await ask(other.accessToken)).status, 200)
  t.equal((await call('DELETE', '/auth/sessions')).statusCode, 204)
  await refuses(tablet.accessToken)
  t.equal((await ask(mine.accessToken)).status, 200, 'the current session continues')
  t.same(refusalOf(await app.inject('/auth/sessions')), UNAUTHENTICATED)
  const { text } = await app.sessions.apiKeys.create({ ownerId: 'user-1', name: 'ci', scopes: [] })
  const byKey = await call('GET', '/auth/sessions', text)
  t.same(refusalOf(byKey), UNAUTHENTICATED, 'an API key has no sessions')
})

await t.test('an invalid option stops the boot', async (t) => {
  const provider = { issuer: 'https://a.example', clientId: 'a', clientSecret: 'b' }
  const broken: readonly [object, RegExp][] = [
    [{ issuer: undefined }, /"issuer" must be a URL .*, got nothing/],
    [{ secrets: ['short'] }, /"secrets\[0\]" must be base64url of at least 32 random bytes/],
    [{ secrets: [] }, /"secrets" must be an array of 1 to 8 items/],
    [{ acessLifetimeMs: 1 }, /did you mean "accessLifetimeMs"/],
    [
      { accessLifetimeMs: DAY_MS },
      /"accessLifetimeMs" must be an integer from 1000 to 3600000 \(milliseconds\), got 86400000/,
    ],
    [
      { refreshIdleMs: 31 * DAY_MS },
      /"refreshIdleMs" must be at most "refreshAbsoluteMs" \(2592000000\), got 2678400000/,
    ],
    [{ credentials }, /"prefix" must be a path such as "\/auth" for the login routes, got nothing/],
    [{ prefix: 'auth' }, /"prefix" must be a path such as "\/auth"/],
    [{ cookies: { trustedOrigins: ['https://a.example/'] } }, /must be an origin/],
    [
      { prefix: '/auth', oidc: { 'A B': { ...provider, redirectUri: 'https://b.example' } } },
      /"oidc" must have names of 1 to 32 lower-case letters, digits and hyphens, got "A B"/,
    ],
    [
      { prefix: '/auth', oidc: { a: { ...provider, issuer: 'file:///etc', redirectUri: 'x' } } },
      /"oidc\.a\.issuer" must be a URL that begins with "https:/,
    ],
    [{ store: {} }, /"store" must have the methods/],
  ]
  for (const [options, message] of broken) {
    await t.rejects(build(t, options), {
      code: 'PARAPET_SESSIONS_INVALID_OPTION',
      statusCode: 500,
      message,
    })
  }
})

await t.test('an invalid route rule stops the boot', async (t) => {
  const { app } = await build(t)
  t.throws(() => app.get('/x', { config: { sessions: 'open' as never } }, async () => null), {
    code: 'PARAPET_SESSIONS_INVALID_RULE',
    statusCode: 500,
    message:
      'Invalid "config.sessions" of the route GET /x: ' +
      'expected "required", "optional", "ignored" or "enrolment", got "open"',
  })
})

await t.test('the routes are described for OpenAPI', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fastifySwagger, {
    openapi: { openapi: '3.1.0', info: { title: 't', version: '1' } },
  })
  await app.register(sessions, { ...baseOptions, prefix: '/auth', credentials })
  await app.ready()
  const { paths } = app.swagger() as {
    paths: Record<string, Record<string, { operationId?: string; summary?: string }>>
  }
  t.same(Object.keys(paths).toSorted(), [
    '/.well-known/jwks.json',
    '/auth/login',
    '/auth/logout',
    '/auth/refresh',
    '/auth/sessions',
    '/auth/sessions/{id}',
  ])
  for (const operations of Object.values(paths)) {
    for (const operation of Object.values(operations))
      t.ok(operation.operationId && operation.summary)
  }
})
