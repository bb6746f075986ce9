/** Clients of every kind at one service: browsers, native apps, and tokens of other issuers. */
import { sessions, type SessionsOptions } from '@parapet/sessions'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { baseOptions, build, eventsOf, refusalOf, unauthenticated } from './build.ts'

const REFRESH_REFUSED = [401, 'PARAPET_SESSIONS_REFRESH_REFUSED']

interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

const down = async () => Promise.reject(new Error('password of the database'))
const credentials = async () => null

async function routes(t: Test, more: Partial<SessionsOptions> = {}) {
  const asked: string[] = []
  const built = await build(t, {
    prefix: '/auth',
    credentials: async ({ login }) => {
      asked.push(login)
      return { id: 'user-1', roles: [] }
    },
    ...more,
  })
  const post = (url: string, payload?: object, headers: Record<string, string> = {}) =>
    built.app.inject({ method: 'POST', url, headers, ...(payload && { payload }) })
  return { ...built, post, asked }
}

await t.test('with cookies, a client that is no browser gets its tokens in the body', async (t) => {
  const { app, post, ask } = await routes(t, { cookies: {} })
  const login = { login: 'ada', password: 'right' }
  const native = await post('/auth/login', login)
  t.same(native.cookies, [])
  const tokens = native.json<Tokens>()
  t.equal((await ask(tokens.access_token)).status, 200)
  const refreshed = await post('/auth/refresh', { refresh_token: tokens.refresh_token })
  t.same([refreshed.statusCode, refreshed.cookies], [200, []])
  const next = refreshed.json<Tokens>()
  const out = await post('/auth/logout', { refresh_token: next.refresh_token })
  t.equal(out.statusCode, 204)
  const after = await post('/auth/refresh', { refresh_token: next.refresh_token })
  t.same(refusalOf(after), REFRESH_REFUSED)

  const browser = await post('/auth/login', login, { 'sec-fetch-site': 'same-origin' })
  t.same(Object.keys(browser.json<object>()), ['token_type', 'expires_in'], 'never in a browser')
  const cookies = Object.fromEntries(browser.cookies.map(({ name, value }) => [name, value]))
  const bearer = { authorization: `Bearer ${tokens.access_token}` }
  const headers = { ...bearer, origin: 'http://localhost:80', host: 'localhost:80' }
  const injected = await app.inject({ method: 'POST', url: '/auth/refresh', cookies, headers })
  t.notOk(injected.body.includes('refresh_token'), 'nor for code that was injected into a page')
  const stripped = await app.inject({ method: 'POST', url: '/auth/refresh', cookies })
  t.same(refusalOf(stripped), [403, 'PARAPET_SESSIONS_CROSS_SITE'], 'a cookie without an origin')
})

await t.test(
  'a client that lost the answer to a refresh asks again, until it is used',
  async (t) => {
    const { app, start, ask, clock } = await build(t)
    const first = await start()
    const lost = await app.sessions.refresh(first.refreshToken)
    clock.advance(3 * 86_400_000)
    const again = await app.sessions.refresh(first.refreshToken)
    t.equal(again.refreshToken, lost.refreshToken, 'three days later, the same successor')
    t.equal((await ask(again.accessToken)).status, 200, 'the new access token is used')
    const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }
    await t.rejects(app.sessions.refresh(first.refreshToken), refused, 'now it can only be stolen')
    await t.rejects(app.sessions.refresh(again.refreshToken), refused, 'so the session has ended')
  },
)

await t.test('a refresh takes both spellings, and an empty JSON body is no error', async (t) => {
  const { app, post, start } = await routes(t)
  const login = { login: 'ada', password: 'right' }
  const { refresh_token } = (await post('/auth/login', login)).json<Tokens>()
  const snake = await post('/auth/refresh', { refresh_token })
  t.equal(snake.statusCode, 200)
  const camel = { refreshToken: snake.json<Tokens>().refresh_token }
  t.equal((await post('/auth/refresh', camel)).statusCode, 200)
  const json = { 'content-type': 'application/json', 'content-length': '0' }
  t.same(refusalOf(await post('/auth/refresh', undefined, json)), REFRESH_REFUSED)
  t.equal((await post('/auth/logout', undefined, json)).statusCode, 204)
  // Without a length, as with DELETE.
  const bare = { 'content-type': 'application/json' }
  t.same(refusalOf(await post('/auth/refresh', undefined, bare)), REFRESH_REFUSED)
  t.equal((await post('/auth/logout', undefined, bare)).statusCode, 204)
  const { accessToken, sessionId } = await start()
  const headers = { ...bare, authorization: `Bearer ${accessToken}` }
  for (const url of ['/auth/sessions', `/auth/sessions/${sessionId}`]) {
    t.equal((await app.inject({ method: 'DELETE', url, headers })).statusCode, 204, url)
  }
})

await t.test('odd login names are refused, and a database that is down is 503', async (t) => {
  const { post, asked, events } = await routes(t)
  const nul = await post('/auth/login', { login: 'a\0b', password: 'x' })
  t.same([refusalOf(nul), asked], [[400, 'FST_ERR_VALIDATION'], []])
  const surrogate = await post('/auth/login', { login: '\ud800', password: 'x' })
  t.same([refusalOf(surrogate), asked], [[401, 'PARAPET_SESSIONS_LOGIN_FAILED'], []])
  const failing = await routes(t, { credentials: down })
  const reply = await failing.post('/auth/login', { login: 'a', password: 'x' })
  t.same(refusalOf(reply), [503, 'PARAPET_SESSIONS_UNAVAILABLE'])
  t.notMatch(reply.body, 'password of the database')
  t.same(eventsOf(events, 'sessions.login_succeeded'), [])
  const refusing = await routes(t, { credentials: async () => null })
  for (const login of ['Ada@example.com', 'ada@EXAMPLE.com ', 'ada@example.com']) {
    await refusing.post('/auth/login', { login, password: 'x' })
  }
  const hashes = eventsOf(refusing.events, 'sessions.login_failed').map(({ details }) => details)
  t.equal(new Set(hashes.map((each) => JSON.stringify(each))).size, 1, 'one hash for one address')
})

await t.test('tokens of other issuers are left alone where that is asked for', async (t) => {
  const own = await build(t, { requireByDefault: false, foreignTokens: 'ignored' })
  const other = await build(t, { secrets: baseOptions.secrets })
  const strict = await build(t, { requireByDefault: false })
  const payload = Buffer.from('{"iss":"https://old.example"}').toString('base64url')
  const foreign = ['an-opaque-token', `eyJhbGciOiJIUzI1NiJ9.${payload}.c2ln`]
  for (const token of foreign) {
    const { status, body } = await own.ask(token)
    t.match([status, JSON.parse(body)], [200, { principal: null }], token)
    await strict.refuses(token)
  }
  const { accessToken, sessionId } = await own.start()
  await own.refuses(`${accessToken.slice(0, -4)}AAAA`, 'an own token with a wrong signature')
  await own.app.sessions.revoke({ sessionId })
  await own.refuses(accessToken, 'an own token that is revoked')
  await other.refuses(foreign[0]!)

  const required = await build(t, { foreignTokens: 'ignored' })
  await required.refuses(foreign[0]!, 'a route that needs a login')
})

await t.test('the routes declare themselves public or own, for other plugins', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const declared = new Map<string, unknown>()
  app.addHook('onRoute', ({ method, url, config }) => {
    declared.set(`${String(method)} ${url}`, (config as { rbac?: unknown } | undefined)?.rbac)
  })
  const secondFactor = { methodsOf: async () => [], verify: async () => ({ amr: ['otp'] }) }
  await app.register(sessions, { ...baseOptions, prefix: '/auth', credentials, secondFactor })
  const open = [...declared].filter(([, rule]) => Object.hasOwn(rule as object, 'public'))
  const own = [...declared].filter(([, rule]) => Object.hasOwn(rule as object, 'authenticated'))
  t.match(new Set(open.map(([name]) => name)), new Set(['GET /.well-known/jwks.json']))
  for (const name of ['login', 'refresh', 'logout', 'login/second-factor']) {
    t.ok(
      open.some(([each]) => each === `POST /auth/${name}`),
      name,
    )
  }
  t.equal(open.length + own.length, declared.size, 'every route has declared itself')
  t.ok(own.every(([name]) => name.includes('/auth/sessions')))
  t.equal((await app.inject('/.well-known/jwks.json')).statusCode, 200)
  t.same(refusalOf(await app.inject('/auth/sessions')), [401, unauthenticated.code])
})
