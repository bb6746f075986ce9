/** Cookies: their attributes, cross-site requests, duplicates and look-alikes. */
import fastifyCookie from '@fastify/cookie'
import { createMemoryStore } from '@parapet/kit'
import { sessions } from '@parapet/sessions'
import Fastify from 'fastify'
import t from 'tap'
import { baseOptions, build, eventsOf, refusalOf, unauthenticated } from './build.ts'

const UNAUTHENTICATED = [401, unauthenticated.code]
const CROSS_SITE = [403, 'PARAPET_SESSIONS_CROSS_SITE']
const REFRESH_REFUSED = [401, 'PARAPET_SESSIONS_REFRESH_REFUSED']
const cookies = { sameSite: 'strict', trustedOrigins: ['https://app.example.com'] } as const
const login = {
  method: 'POST',
  url: '/auth/login',
  payload: { login: 'reader', password: 'pw' },
} as const

/** An app with cookies, and the cookies of a user who has logged in. */
async function cookieApp(t: Parameters<typeof build>[0]) {
  const checks = { count: 0 }
  const built = await build(t, {
    cookies,
    prefix: '/auth',
    credentials: async () => {
      checks.count++
      return { id: 'user-1', roles: [] }
    },
  })
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const reply = await built.app.inject({ ...login, headers })
  const jar = Object.fromEntries(reply.cookies.map(({ name, value }) => [name, value]))
  return { ...built, reply, jar, checks }
}

await t.test('the own login route of an app sets no cookies for another site', async (t) => {
  const { app } = await build(t, { cookies })
  app.post('/own', { config: { sessions: 'ignored' } }, async (_request, reply) =>
    app.sessions.hand(reply, await app.sessions.start({ id: 'user-7', roles: [] })),
  )
  const post = (headers: Record<string, string>) =>
    app.inject({ method: 'POST', url: '/own', headers })
  const evil = await post({ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' })
  t.same([refusalOf(evil), evil.cookies], [CROSS_SITE, []])
  const own = await post({ 'sec-fetch-site': 'same-origin' })
  t.equal(own.cookies.length, 2)
  const native = await post({})
  t.match(native.json(), { access_token: /./ }, 'a client that is no browser')
})

await t.test('a logout deletes the cookies even while the store is down', async (t) => {
  const store = createMemoryStore()
  const { app } = await build(t, { cookies, store, prefix: '/auth' })
  const { accessToken, refreshToken } = await app.sessions.start({ id: 'user-1', roles: [] })
  await store.close()
  const cookie = `__Host-session=${accessToken}; __Host-refresh=${refreshToken}`
  const headers = { cookie, host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const reply = await app.inject({ method: 'POST', url: '/auth/logout', headers })
  t.equal(reply.statusCode, 503)
  const ended = reply.cookies.map(({ name, maxAge, value }) => [name, maxAge, value])
  t.same(ended, [
    ['__Host-session', 0, ''],
    ['__Host-refresh', 0, ''],
  ])
})

await t.test('only a page load with a refused token deletes the cookie', async (t) => {
  const { app, jar } = await cookieApp(t)
  await app.sessions.revoke({ userId: 'user-1' })
  const cookie = `__Host-session=${jar['__Host-session']}`
  const load = async (mode: string) => {
    const headers = { cookie, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': mode }
    const reply = await app.inject({ url: '/open', headers })
    return [...refusalOf(reply), reply.cookies.map(({ name, value }) => `${name}=${value}`)]
  }
  // The response may arrive after a refresh has set another cookie.
  t.same(await load('cors'), [...UNAUTHENTICATED, []])
  t.same(await load('navigate'), [...UNAUTHENTICATED, ['__Host-session=']])
})

await t.test('cookies are HttpOnly, Secure, SameSite=Strict and bound to the host', async (t) => {
  const { reply } = await cookieApp(t)
  t.equal(reply.statusCode, 200)
  t.same(reply.json(), { token_type: 'Bearer', expires_in: 900 }, 'no token is in the body')
  t.match(reply.cookies, [
    {
      name: '__Host-session',
      path: '/',
      httpOnly: true,
      secure: true,
      sameSite: 'Strict',
      maxAge: 900,
    },
    {
      name: '__Host-refresh',
      path: '/',
      httpOnly: true,
      secure: true,
      sameSite: 'Strict',
      maxAge: 604_800,
    },
  ])
  t.ok(String(reply.headers['set-cookie']).length < 4096)
  t.notMatch(String(reply.headers['set-cookie']), /domain/i)
})

await t.test(
  'a request with a cookie must come from the same origin or a trusted one',
  async (t) => {
    const { app, jar, handled, checks } = await cookieApp(t)
    const cases: [name: string, headers: Record<string, string>, status: number][] = [
      ['the same origin', { 'sec-fetch-site': 'same-origin' }, 200],
      [
        'a trusted origin',
        { 'sec-fetch-site': 'same-site', origin: 'https://app.example.com' },
        200,
      ],
      ['an older browser', { origin: 'http://api.example.com' }, 200],
      ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, 403],
      [
        'another host of the same site',
        { 'sec-fetch-site': 'same-site', origin: 'https://blog.example.com' },
        403,
      ],
      ['another site, from an older browser', { origin: 'https://evil.example' }, 403],
      ['another port', { origin: 'http://api.example.com:8080' }, 403],
      ['a sandboxed frame', { origin: 'null' }, 403],
      [
        'an Origin that contradicts Sec-Fetch-Site',
        { 'sec-fetch-site': 'cross-site', origin: 'http://api.example.com' },
        403,
      ],
      ['no header about the origin', {}, 403],
    ]
    for (const [name, headers, status] of cases) {
      handled.length = 0
      checks.count = 0
      const host = { host: 'api.example.com', ...headers }
      const reply = await app.inject({
        method: 'POST',
        url: '/private',
        headers: host,
        cookies: jar,
      })
      t.equal(reply.statusCode, status, name)
      if (status === 403) t.same(refusalOf(reply), CROSS_SITE, name)
      t.equal(handled.length, status === 200 ? 1 : 0, `${name}: whether the handler ran`)
      for (const url of ['/auth/refresh', '/auth/logout', '/auth/login']) {
        if (status === 200) continue
        const forged = await app.inject({ ...login, url, headers: host, cookies: jar })
        t.same(refusalOf(forged), CROSS_SITE, `${name}: ${url}`)
        t.equal(checks.count, 0, `${name}: ${url}: the credential check did not run`)
      }
    }
    const read = await app.inject({
      url: '/private',
      cookies: jar,
      headers: { host: 'api.example.com' },
    })
    t.equal(read.statusCode, 200, 'a GET needs no proof of origin')
  },
)

await t.test('another site cannot open a WebSocket', async (t) => {
  const { app, jar, handled } = await cookieApp(t)
  const open = async (headers: Record<string, string>) => {
    const upgrade = { host: 'api.example.com', connection: 'Upgrade', upgrade: 'WebSocket' }
    const reply = await app.inject({
      url: '/private',
      cookies: jar,
      headers: { ...upgrade, ...headers },
    })
    return refusalOf(reply)
  }
  t.same(await open({ origin: 'https://evil.example' }), CROSS_SITE)
  const sameSite = { 'sec-fetch-site': 'same-site', origin: 'https://blog.example.com' }
  t.same(await open(sameSite), CROSS_SITE)
  t.same(await open({}), CROSS_SITE)
  t.same(handled, [], 'the handler did not run')
  t.equal((await open({ origin: 'http://api.example.com' }))[0], 200)
  t.equal((await open({ 'sec-fetch-site': 'same-origin' }))[0], 200)
})

await t.test('a cookie that is sent twice is refused', async (t) => {
  const { app, jar, start, handled } = await cookieApp(t)
  const [session, refresh] = [jar['__Host-session']!, jar['__Host-refresh']!]
  const attacker = await start({ id: 'mallory', roles: [] })
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const doubles = [
    `__Host-session=${attacker.accessToken}; __Host-session=${session}`,
    `__Host-session=${session}; __Host-session=${attacker.accessToken}`,
    `a=b;__Host-session=${session};__Host-session=`,
  ]
  for (const cookie of doubles) {
    const reply = await app.inject({ url: '/private', headers: { ...headers, cookie } })
    t.same(refusalOf(reply), UNAUTHENTICATED, cookie.slice(0, 40))
  }
  t.same(handled, [], 'the handler did not run')
  for (const other of [refresh, attacker.refreshToken, '']) {
    const cookie = `__Host-refresh=${other}; __Host-refresh=${refresh}`
    const reply = await app.inject({
      method: 'POST',
      url: '/auth/refresh',
      headers: { ...headers, cookie },
    })
    t.same(refusalOf(reply), REFRESH_REFUSED)
  }
  const lookalikes = `x__Host-session=${session}; __host-session=${session}; __Host-session2=${session}`
  const reply = await app.inject({ url: '/open', headers: { ...headers, cookie: lookalikes } })
  t.equal(
    reply.json<{ principal: unknown }>().principal,
    null,
    'a cookie of another name is ignored',
  )
  t.equal((await app.inject({ url: '/private', headers, cookies: jar })).statusCode, 200)
})

await t.test('the cookie defaults of the application do not change these cookies', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fastifyCookie, {
    secret: 'a secret of the app',
    hook: 'preHandler',
    parseOptions: { domain: 'example.com', signed: true, path: '/app', secure: false },
  })
  await app.register(sessions, {
    ...baseOptions,
    cookies,
    prefix: '/auth',
    credentials: async ({ login: id }) => ({ id, roles: [] }),
  })
  app.get('/private', async (request) => request.principal?.id)
  const headers = { 'sec-fetch-site': 'same-origin' }
  const reply = await app.inject({ ...login, headers })
  const lines = [reply.headers['set-cookie']].flat()
  t.equal(lines.length, 2)
  for (const line of lines) {
    t.match(
      line,
      /^__Host-(session|refresh)=[\w.-]+; Max-Age=\d+; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    )
  }
  const jar = Object.fromEntries(reply.cookies.map(({ name, value }) => [name, value]))
  t.equal((await app.inject({ url: '/private', cookies: jar })).body, 'reader')
})

await t.test('a logout with only one of the two cookies ends the session', async (t) => {
  const { app, jar, events, handled } = await cookieApp(t)
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const { '__Host-session': session } = jar
  const out = await app.inject({
    method: 'POST',
    url: '/auth/logout',
    headers,
    cookies: { '__Host-session': session! },
  })
  t.equal(out.statusCode, 204)
  const after = await app.inject({ url: '/private', headers, cookies: jar })
  t.same([refusalOf(after), handled], [UNAUTHENTICATED, []], 'and the handler did not run')
  const again = await app.inject({ method: 'POST', url: '/auth/refresh', headers, cookies: jar })
  t.same(refusalOf(again), REFRESH_REFUSED, 'the refresh token is invalid as well')
  t.match(eventsOf(events, 'sessions.revoked'), [
    { details: { scope: 'session', reason: 'logout' } },
  ])
})

await t.test('the session that a login replaces is ended with an event', async (t) => {
  const { app, jar, events } = await cookieApp(t)
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  t.equal((await app.inject({ ...login, headers, cookies: jar })).statusCode, 200)
  t.match(eventsOf(events, 'sessions.revoked'), [
    { principalId: 'user-1', details: { scope: 'session', reason: 'another login' } },
  ])
})

await t.test('a cookie name after the byte 0xA0 is another name', async (t) => {
  const { app, jar, handled } = await cookieApp(t)
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const session = jar['__Host-session']!
  const planted = `\xa0__Host-session=${session}`
  const reply = await app.inject({ url: '/private', headers: { ...headers, cookie: planted } })
  t.same([refusalOf(reply), handled], [UNAUTHENTICATED, []], 'and the handler did not run')

  const cookie = `\xa0__Host-session=x; __Host-session=${session}`
  const both = await app.inject({ url: '/private', headers: { ...headers, cookie } })
  t.equal(both.statusCode, 200, 'and does not hide the real cookie')

  const refresh = `\xa0__Host-refresh=${jar['__Host-refresh']!}`
  const refreshed = await app.inject({
    method: 'POST',
    url: '/auth/refresh',
    headers: { ...headers, cookie: refresh },
  })
  t.same(refusalOf(refreshed), REFRESH_REFUSED)
})

await t.test('with cookies, a login, a refresh and a logout replace the cookies', async (t) => {
  const { app, handled } = await cookieApp(t)
  handled.length = 0
  const headers = { 'sec-fetch-site': 'same-origin' }
  const post = (url: string, jar: Record<string, string>, payload?: object) =>
    app.inject({ method: 'POST', url, headers, cookies: jar, ...(payload && { payload }) })
  const jarOf = (reply: Awaited<ReturnType<typeof post>>) =>
    Object.fromEntries(reply.cookies.map(({ name, value }) => [name, value]))
  const first = jarOf(await post('/auth/login', {}, { login: 'ada', password: 'right' }))
  const second = jarOf(await post('/auth/login', first, { login: 'ada', password: 'right' }))
  const load = { 'sec-fetch-mode': 'navigate' }
  const replaced = await app.inject({ url: '/private', cookies: first, headers: load })
  t.same([refusalOf(replaced), handled], [UNAUTHENTICATED, []], 'the first session has ended')
  t.match(replaced.cookies, [{ name: '__Host-session', value: '', secure: true, path: '/' }])
  const third = jarOf(await post('/auth/refresh', second))
  t.equal((await app.inject({ url: '/private', cookies: third })).statusCode, 200)
  const out = await post('/auth/logout', third)
  t.same(jarOf(out), { '__Host-session': '', '__Host-refresh': '' })
  const after = await app.inject({ url: '/private', cookies: third })
  t.same(refusalOf(after), UNAUTHENTICATED)
  t.equal(handled.length, 1, 'the handler did not run after the logout')
})
