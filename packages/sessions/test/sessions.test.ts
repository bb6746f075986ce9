import { createManualClock, createMemoryStore, type SecurityEvent } from '@parapet/kit'
import {
  allowRsa2048,
  generateKey,
  sessions,
  type SessionsOptions,
  type SessionUser,
} from '@parapet/sessions'
import { runs } from '@parapet/testing'
import fastifySwagger from '@fastify/swagger'
import fc from 'fast-check'
import Fastify from 'fastify'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { baseOptions, build, key, passphrase, reader, told } from './build.ts'

const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

await t.test('a session opens the route, and says who is asking', async (t) => {
  const { ask, start, clock } = await build(t)
  const grant = await start({ ...reader, permissions: ['a:read'], tenantId: 'acme' })
  const { status, body } = await ask(grant.accessToken)
  t.equal(status, 200)
  t.match(JSON.parse(body), {
    principal: {
      id: 'user-1',
      roles: ['reader'],
      permissions: ['a:read'],
      tenantId: 'acme',
      sessionId: grant.sessionId,
      authenticatedAt: clock.now(),
      amr: ['pwd'],
    },
    token: { sessionId: grant.sessionId, expiresAt: clock.now() + 900_000 },
  })
})

await t.test('RS256 from an encrypted PEM, ES256 and EdDSA all sign', async (t) => {
  for (const algorithm of ['RS256', 'ES256', 'EdDSA'] as const) {
    const keys = { current: generateKey(passphrase, algorithm) }
    t.match(keys.current.pem, /BEGIN ENCRYPTED PRIVATE KEY/)
    const { ask, start, app } = await build(t, { keys })
    const { accessToken } = await start()
    t.equal((await ask(accessToken)).status, 200, algorithm)
    const [header] = accessToken.split('.')
    const [published] = app.sessions.jwks().keys
    t.same(JSON.parse(Buffer.from(header!, 'base64url').toString()), {
      alg: algorithm,
      typ: 'at+jwt',
      kid: published!.kid,
    })
    t.notOk(JSON.stringify(app.sessions.jwks()).match(/"(?:d|p|q|dp|dq|qi)":/), 'no private member')
  }
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const pem = rsa.export({ type: 'pkcs8', format: 'pem' }).toString()
  const { ask, start } = await build(t, { keys: { current: { pem } }, [allowRsa2048]: true })
  t.equal((await ask((await start()).accessToken)).status, 200, 'RSA of 2048 bits, said aloud')
})

await t.test('without a login a route is closed, unless it says otherwise', async (t) => {
  const { app, ask, handled, start } = await build(t)
  const reply = await app.inject('/private')
  t.same(
    [reply.statusCode, reply.json<{ code: string }>().code],
    [401, 'PARAPET_SESSIONS_UNAUTHENTICATED'],
  )
  t.equal(reply.headers['www-authenticate'], 'Bearer')
  t.same(handled, [], 'the handler did not run')
  t.equal((await app.inject('/open')).statusCode, 200)
  t.equal((await app.inject('/nothing-here')).statusCode, 404, 'what is not there is not there')
  t.equal((await ask((await start()).accessToken)).status, 200)

  const lenient = await build(t, { requireByDefault: false })
  t.equal((await lenient.app.inject('/private')).statusCode, 200)
})

await t.test('another login is enough, and a token of ours goes before it', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    if (request.headers['x-robot'] === 'yes') request.principal = { id: 'robot', roles: [] }
  })
  await app.register(sessions, baseOptions)
  app.get('/', async (request) => request.principal?.id)
  t.equal((await app.inject({ url: '/', headers: { 'x-robot': 'yes' } })).body, 'robot')
  t.equal((await app.inject('/')).statusCode, 401)
  const { accessToken } = await app.sessions.start(reader)
  const headers = { 'x-robot': 'yes', authorization: `Bearer ${accessToken}` }
  t.equal((await app.inject({ url: '/', headers })).body, 'user-1')
})

await t.test(
  'an access token dies after its lifetime, a session when it idles or is old',
  async (t) => {
    const { app, ask, start, clock } = await build(t)
    let { accessToken, refreshToken } = await start()
    clock.advance(899_000)
    t.equal((await ask(accessToken)).status, 200)
    clock.advance(1000)
    t.equal((await ask(accessToken)).status, 401)
    for (let day = 0; day < 28; day += 6) {
      clock.advance(5 * DAY_MS)
      ;({ accessToken, refreshToken } = await app.sessions.refresh(refreshToken))
    }
    t.equal((await ask(accessToken)).status, 200)
    clock.advance(5 * DAY_MS)
    await t.rejects(app.sessions.refresh(refreshToken), refused, 'thirty days are over')
    const idle = await start()
    clock.advance(7 * DAY_MS)
    await t.rejects(app.sessions.refresh(idle.refreshToken), refused, 'seven days without a word')
  },
)

await t.test(
  'a refresh token works once; within the grace its successor comes again',
  async (t) => {
    const { app, start, ask, clock, events } = await build(t)
    const first = await start()
    const second = await app.sessions.refresh(first.refreshToken)
    clock.advance(10_000)
    const same = await app.sessions.refresh(first.refreshToken)
    t.equal(same.refreshToken, second.refreshToken, 'the same successor')
    clock.advance(1)
    await t.rejects(app.sessions.refresh(first.refreshToken), refused)
    await t.rejects(app.sessions.refresh(second.refreshToken), refused, 'the family is dead')
    t.equal((await ask(second.accessToken)).status, 401, 'and so are its access tokens')
    t.match(told(events, 'sessions.reuse_detected'), [
      {
        severity: 'high',
        principalId: 'user-1',
        sessionId: first.sessionId,
        details: { presentedGeneration: 0, currentGeneration: 1, storeRolledBack: false },
      },
    ])
    t.match(told(events, 'sessions.refreshed'), [
      { details: { generation: 1, repeated: false } },
      { details: { generation: 1, repeated: true } },
    ])
  },
)

await t.test('a store that was set back is noticed', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const store = createMemoryStore({ clock })
  const { app, start, events } = await build(t, { store, clock })
  const first = await start()
  const name = `sessions:session:${first.sessionId}`
  const backup = (await store.get(name))!
  const second = await app.sessions.refresh(first.refreshToken)
  await store.set(name, backup, DAY_MS)
  await t.rejects(app.sessions.refresh(second.refreshToken), refused)
  t.match(told(events, 'sessions.reuse_detected'), [{ details: { storeRolledBack: true } }])
})

await t.test('a restart that forgets what was revoked believes no token of before', async (t) => {
  const { app, clock, start } = await build(t)
  const { accessToken, sessionId } = await start()
  const kept = await start()
  await app.sessions.revoke({ sessionId })
  await app.close()
  clock.advance(1)
  const again = await build(t, { clock, store: createMemoryStore({ clock }) })
  t.equal((await again.ask(accessToken)).status, 401)
  t.equal((await again.ask(kept.accessToken)).status, 401, 'nobody can tell it from the other')
  t.equal((await again.ask((await again.start()).accessToken)).status, 200)
})

await t.test('tokens die when told to: one, a session, a user, everyone', async (t) => {
  const { app, start, ask, events } = await build(t)
  const other = await start({ id: 'user-2', roles: [] })
  const one = await start()
  const { tokenId } = await app.sessions.verify(one.accessToken)
  await app.sessions.revoke({ tokenId })
  t.equal((await ask(one.accessToken)).status, 401, 'a token')
  t.ok(await app.sessions.refresh(one.refreshToken), 'whose session goes on')

  const two = await start()
  await app.sessions.revoke({ sessionId: two.sessionId }, 'stolen phone')
  t.equal((await ask(two.accessToken)).status, 401, 'a session')
  await t.rejects(app.sessions.refresh(two.refreshToken), refused)

  const three = await start()
  const kept = await start()
  await app.sessions.revoke({ userId: 'user-1', exceptSessionId: kept.sessionId })
  t.equal((await ask(three.accessToken)).status, 401, 'all but one')
  t.equal((await ask(kept.accessToken)).status, 200)
  await app.sessions.revoke({ userId: 'user-1' })
  t.equal((await ask(kept.accessToken)).status, 401, 'a user')
  await t.rejects(app.sessions.refresh(kept.refreshToken), refused)
  t.equal((await ask((await start()).accessToken)).status, 200, 'who may log in again')

  t.equal((await ask(other.accessToken)).status, 200)
  await app.sessions.revoke('everyone')
  t.equal((await ask(other.accessToken)).status, 401, 'everyone')
  await t.rejects(app.sessions.refresh(other.refreshToken), refused)
  t.match(told(events, 'sessions.revoked')[1], {
    details: { scope: 'session', reason: 'stolen phone' },
  })
  await t.rejects(app.sessions.revoke({ tokenId: 'x' }), {
    code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
  })
  await t.rejects(app.sessions.revoke({ userId: '' }), {
    code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
  })
})

await t.test('a change of roles ends access tokens, not sessions', async (t) => {
  const users = new Map<string, SessionUser>([['user-1', reader]])
  const { app, start, ask } = await build(t, { findUser: async (id) => users.get(id) ?? null })
  const { accessToken, refreshToken } = await start()
  users.set('user-1', { id: 'user-1', roles: ['editor'] })
  await app.sessions.userChanged('user-1')
  t.equal((await ask(accessToken)).status, 401)
  const next = await app.sessions.refresh(refreshToken)
  t.same((await app.sessions.verify(next.accessToken)).user.roles, ['editor'])
  users.set('user-1', { id: 'someone-else', roles: ['admin'] })
  await t.rejects(app.sessions.refresh(next.refreshToken), refused, 'another user is nobody')
})

await t.test('an instance whose clock is behind renews what was just begun', async (t) => {
  const store = createMemoryStore()
  const [ahead, behind] = [await build(t, { store }), await build(t, { store })]
  ahead.clock.advance(4000)
  const { accessToken, refreshToken } = await ahead.start()
  t.equal((await behind.ask(accessToken)).status, 200)
  const renewed = await behind.app.sessions.refresh(refreshToken)
  t.equal((await behind.ask(renewed.accessToken)).status, 200)
  t.equal((await ahead.ask(renewed.accessToken)).status, 200)
})

await t.test('a user lookup that fails lets nobody in and ends nothing', async (t) => {
  let down = true
  const findUser = async () => {
    if (down) throw new Error('the database is down')
    return reader
  }
  const { app, start } = await build(t, { findUser })
  const { refreshToken } = await start()
  await t.rejects(app.sessions.refresh(refreshToken), {
    code: 'PARAPET_SESSIONS_UNAVAILABLE',
    statusCode: 503,
  })
  down = false
  t.ok(await app.sessions.refresh(refreshToken))
})

await t.test('a user has so many sessions and no more', async (t) => {
  const { app, start, clock } = await build(t, { maxSessionsPerUser: 2 })
  const grants = []
  for (let n = 0; n < 4; n++) {
    clock.advance(1000)
    grants.push(await start())
  }
  t.same(
    (await app.sessions.list('user-1')).map(({ id }) => id),
    [grants[3]!.sessionId, grants[2]!.sessionId],
  )
  await t.rejects(app.sessions.refresh(grants[1]!.refreshToken), refused)
})

await t.test('a login hands over a user and a proof, or nothing starts', async (t) => {
  const { app, clock } = await build(t)
  const broken: [object, object?][] = [
    [{ id: '', roles: [] }],
    [{ id: 'a', roles: 'admin' }],
    [{ id: 'a', roles: [''] }],
    [{ id: 'a', roles: [], permissions: [1] }],
    [{ id: 'a', roles: [], tenantId: '' }],
    [{ id: 'a', roles: [] }, { amr: [] }],
    [{ id: 'a', roles: [] }, { authenticatedAt: -1 }],
  ]
  for (const [user, proof] of broken) {
    await t.rejects(app.sessions.start(user as never, proof), {
      code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
    })
  }
  const many = Array.from({ length: 200 }, (_, n) => `a-long-name-for-a-role-${n}`)
  await t.rejects(app.sessions.start({ id: 'a', roles: many }), {
    code: 'PARAPET_SESSIONS_TOKEN_TOO_LARGE',
  })
  t.same(await app.sessions.list('a'), [], 'and it left no session behind')
  const proof = { amr: ['hwk'], authenticatedAt: clock.now() + DAY_MS }
  const token = await app.sessions.verify((await app.sessions.start(reader, proof)).accessToken)
  t.equal(token.authenticatedAt, clock.now(), 'nobody logs in tomorrow')
})

await t.test('keys rotate with no request refused', async (t) => {
  const [next, third] = [generateKey(passphrase), generateKey(passphrase, 'EdDSA')]
  const { app, start, ask, clock, events } = await build(t, {
    keys: { current: key, next },
    prefix: '/auth',
  })
  const before = await start()
  const tag = (await app.inject('/.well-known/jwks.json')).headers.etag
  t.throws(() => app.sessions.rotateKeys({ current: third }), {
    code: 'PARAPET_SESSIONS_KEY_NOT_PUBLISHED',
  })
  const [oldId, newId] = app.sessions.jwks().keys.map(({ kid }) => kid)

  app.sessions.rotateKeys({ current: next, next: third })
  const after = await start()
  t.equal((await ask(before.accessToken)).status, 200, 'signed before')
  t.equal((await ask(after.accessToken)).status, 200, 'signed after')
  t.equal(app.sessions.jwks().keys.length, 3)
  t.match(told(events, 'sessions.key_rotated'), [
    { details: { keyId: newId, retiredKeyIds: [oldId] } },
  ])
  t.not((await app.inject('/.well-known/jwks.json')).headers.etag, tag)

  clock.advance(900_000 + 60_000)
  t.same(
    app.sessions
      .jwks()
      .keys.map(({ kid }) => kid)
      .includes(oldId!),
    false,
    'gone with its last token',
  )
  t.throws(() => app.sessions.rotateKeys({ current: key }), {
    code: 'PARAPET_SESSIONS_KEY_NOT_PUBLISHED',
  })
  app.sessions.rotateKeys({ current: next, next: key })
  t.equal(told(events, 'sessions.key_rotated').length, 1, 'the same key signs: nothing to tell')
})

await t.test('a retired public key still verifies, and cannot sign', async (t) => {
  const old = await build(t)
  const { accessToken } = await old.start()
  const { createPublicKey } = await import('node:crypto')
  const pem = createPublicKey(createPrivateKey({ key: key.pem, passphrase })).export({
    type: 'spki',
    format: 'pem',
  })
  const next = generateKey(passphrase)
  const { ask } = await build(t, { keys: { current: next, retired: [{ pem: String(pem) }] } })
  t.equal((await ask(accessToken)).status, 200)
  await t.rejects(build(t, { keys: { current: { pem: String(pem) } } }), {
    code: 'PARAPET_SESSIONS_INVALID_KEY',
  })
})

await t.test('the key set answers If-None-Match, and others can verify with it', async (t) => {
  const { app, start } = await build(t, { prefix: '/auth' })
  const reply = await app.inject('/.well-known/jwks.json')
  t.equal(reply.statusCode, 200)
  t.equal(reply.headers['cache-control'], 'public, max-age=300')
  t.match(reply.json(), {
    keys: [{ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: /^[\w-]{43}$/ }],
  })
  const tag = String(reply.headers.etag)
  for (const known of [tag, `W/${tag}`, `"x", ${tag}`, '*']) {
    const again = await app.inject({
      url: '/.well-known/jwks.json',
      headers: { 'if-none-match': known },
    })
    t.same([again.statusCode, again.body], [304, ''], known)
  }
  const { accessToken } = await start()
  const { createJwsGate } = await import('@parapet/sessions')
  const found = createJwsGate(reply.json<{ keys: never[] }>().keys)(accessToken)
  t.match(JSON.parse(String(found?.payload)), { sub: 'user-1', roles: ['reader'] })
})

const credentials: SessionsOptions['credentials'] = async ({ login, password }) =>
  password === 'right' ? { id: login, roles: ['reader'], amr: ['pwd'] } : null

await t.test('log in, refresh, log out', async (t) => {
  const { app, ask, events } = await build(t, { prefix: '/auth', credentials })
  const post = (url: string, payload: object, headers = {}) =>
    app.inject({ method: 'POST', url, payload, headers: { 'user-agent': 'a browser', ...headers } })
  const login = await post('/auth/login', { login: 'ada', password: 'right' })
  t.equal(login.statusCode, 200)
  t.equal(login.headers['cache-control'], 'no-store')
  const tokens = login.json<{ access_token: string; refresh_token: string }>()
  t.match(tokens, { token_type: 'Bearer', expires_in: 900 })
  t.equal((await ask(tokens.access_token)).status, 200)

  const next = await post('/auth/refresh', { refreshToken: tokens.refresh_token })
  t.equal(next.statusCode, 200)
  const { access_token, refresh_token } = next.json<typeof tokens>()
  t.not(refresh_token, tokens.refresh_token)
  const none = await post('/auth/refresh', {})
  t.same(
    [none.statusCode, none.json<{ code: string }>().code],
    [401, 'PARAPET_SESSIONS_REFRESH_REFUSED'],
  )

  const out = await post('/auth/logout', { refreshToken: refresh_token })
  t.equal(out.statusCode, 204)
  t.equal(out.headers['clear-site-data'], '"cache", "cookies", "storage"')
  t.equal((await ask(access_token)).status, 401)
  t.equal((await post('/auth/refresh', { refreshToken: refresh_token })).statusCode, 401)
  t.equal(
    (await app.inject({ method: 'POST', url: '/auth/logout' })).statusCode,
    204,
    'once more, with nothing',
  )

  const bearer = (await post('/auth/login', { login: 'ada', password: 'right' })).json<
    typeof tokens
  >()
  const authorization = `Bearer ${bearer.access_token}`
  t.equal(
    (await app.inject({ method: 'POST', url: '/auth/logout', headers: { authorization } }))
      .statusCode,
    204,
  )
  t.equal((await ask(bearer.access_token)).status, 401, 'an access token says which session, too')

  const failed = await post('/auth/login', { login: 'ada', password: 'wrong' })
  t.same(
    [failed.statusCode, failed.json<{ code: string }>().code],
    [401, 'PARAPET_SESSIONS_LOGIN_FAILED'],
  )
  const [event] = told(events, 'sessions.login_failed') as SecurityEvent<'sessions.login_failed'>[]
  t.match(event, {
    ip: '127.0.0.1',
    userAgent: 'a browser',
    details: { method: 'pwd', loginHash: /^[\w-]{22}$/ },
  })
  t.notMatch(JSON.stringify(event), /ada/)
  for (const payload of [
    {},
    { login: 'a' },
    { login: '', password: 'x' },
    { login: 'a', password: 'x'.repeat(1025) },
    { login: 'a', password: 'b', admin: true },
  ]) {
    const { statusCode } = await post('/auth/login', payload)
    t.equal(statusCode, 'admin' in payload ? statusCode : 400, JSON.stringify(payload).slice(0, 40))
  }
})

await t.test('a user sees and ends their own sessions, and nobody else’s', async (t) => {
  const { app, start, ask } = await build(t, { prefix: '/auth' })
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
  t.equal((await ask(phone.accessToken)).status, 401)
  for (const id of [other.sessionId, phone.sessionId, 'A'.repeat(22)]) {
    const reply = await call('DELETE', `/auth/sessions/${id}`)
    t.same(
      [reply.statusCode, reply.json<{ code: string }>().code],
      [404, 'PARAPET_SESSIONS_NOT_FOUND'],
    )
  }
  t.equal((await ask(other.accessToken)).status, 200)
  t.equal((await call('DELETE', '/auth/sessions')).statusCode, 204)
  t.equal((await ask(tablet.accessToken)).status, 401)
  t.equal((await ask(mine.accessToken)).status, 200, 'this one goes on')
  t.equal((await app.inject('/auth/sessions')).statusCode, 401)
  const { text } = await app.sessions.apiKeys.create({ ownerId: 'user-1', name: 'ci', scopes: [] })
  t.equal((await call('GET', '/auth/sessions', text)).statusCode, 401, 'a machine has no sessions')
})

await t.test(
  'with cookies a login replaces the session, and a refresh and a logout need no body',
  async (t) => {
    const { app } = await build(t, { prefix: '/auth', credentials, cookies: {} })
    const headers = { 'sec-fetch-site': 'same-origin' }
    const post = (url: string, jar: Record<string, string>, payload?: object) =>
      app.inject({ method: 'POST', url, headers, cookies: jar, ...(payload && { payload }) })
    const jarOf = (reply: Awaited<ReturnType<typeof post>>) =>
      Object.fromEntries(reply.cookies.map(({ name, value }) => [name, value]))
    const first = jarOf(await post('/auth/login', {}, { login: 'ada', password: 'right' }))
    const second = jarOf(await post('/auth/login', first, { login: 'ada', password: 'right' }))
    const replaced = await app.inject({ url: '/private', cookies: first })
    t.equal(replaced.statusCode, 401)
    t.match(replaced.cookies, [{ name: '__Host-session', value: '', secure: true, path: '/' }])
    const third = jarOf(await post('/auth/refresh', second))
    t.equal((await app.inject({ url: '/private', cookies: third })).statusCode, 200)
    const out = await post('/auth/logout', third)
    t.same(jarOf(out), { '__Host-session': '', '__Host-refresh': '' })
    t.equal((await app.inject({ url: '/private', cookies: third })).statusCode, 401)
  },
)

await t.test('an option that is unknown or makes no sense stops the boot', async (t) => {
  const broken: readonly [object, RegExp][] = [
    [{ issuer: undefined }, /issuer: must be a string/],
    [{ secrets: ['short'] }, /secrets\[0\]: must match/],
    [{ secrets: [] }, /secrets: must be an array/],
    [{ acessLifetimeMs: 1 }, /did you mean "accessLifetimeMs"/],
    [{ accessLifetimeMs: DAY_MS }, /accessLifetimeMs: must be a whole number/],
    [{ refreshIdleMs: 31 * DAY_MS }, /refreshIdleMs: must not be longer/],
    [{ credentials }, /prefix: must say where/],
    [{ prefix: 'auth' }, /prefix: must match/],
    [{ cookies: { trustedOrigins: ['https://a.example/'] } }, /must be an origin/],
    [
      {
        prefix: '/auth',
        oidc: {
          'A B': {
            issuer: 'https://a.example',
            clientId: 'a',
            clientSecret: 'b',
            redirectUri: 'https://b.example',
          },
        },
      },
      /is no name for a route/,
    ],
    [
      {
        prefix: '/auth',
        oidc: { a: { issuer: 'file:///etc', clientId: 'a', clientSecret: 'b', redirectUri: 'x' } },
      },
      /must be an http/,
    ],
    [{ store: {} }, /store: must have the methods/],
  ]
  for (const [options, message] of broken) {
    await t.rejects(build(t, options), {
      code: 'PARAPET_SESSIONS_INVALID_OPTION',
      statusCode: 500,
      message,
    })
  }
  const { app } = await build(t)
  t.throws(() => app.get('/x', { config: { sessions: 'open' as never } }, async () => null), {
    code: 'PARAPET_SESSIONS_INVALID_RULE',
    message: /GET \/x/,
  })
})

await t.test('the routes describe themselves to OpenAPI', async (t) => {
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

await t.test('a context of its own stays on its own', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(async (child) => {
    await child.register(sessions, baseOptions)
    child.get('/inside', async () => 'inside')
  })
  app.get('/outside', async () => 'outside')
  t.equal((await app.inject('/inside')).statusCode, 401)
  t.equal((await app.inject('/outside')).statusCode, 200)
})

// One session, as it should be: which generation is the newest, when it came, and whether all ended.
interface Model {
  readonly tokens: string[]
  newest: number
  rotatedAt: number
  startedAt: number
  dead: boolean
}

await t.test(
  'whatever is done in whatever order, refresh tokens do what the model says',
  async (t) => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          kind: fc.constant('refresh' as const),
          back: fc.integer({ min: 0, max: 4 }),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('wait' as const),
          ms: fc.constantFrom(1, 5000, 9999, 10_001, HOUR_MS, 3 * DAY_MS, 6.9 * DAY_MS),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constantFrom('revoke' as const, 'all' as const, 'change' as const),
        }),
      },
    )
    const clock = createManualClock(Date.UTC(2026, 0, 15))
    const { app } = await build(t, {
      clock,
      store: createMemoryStore({ clock, maxBytes: 2 ** 30 }),
    })
    let user = 0
    let steps = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (script) => {
        const userId = `user-${user++}`
        const first = await app.sessions.start({ id: userId, roles: [] })
        const model: Model = {
          tokens: [first.refreshToken],
          newest: 0,
          rotatedAt: clock.now(),
          startedAt: clock.now(),
          dead: false,
        }
        for (const each of script) {
          steps++
          if (each.kind === 'wait') clock.advance(each.ms)
          else if (each.kind === 'change') await app.sessions.userChanged(userId)
          else if (each.kind !== 'refresh') {
            await app.sessions.revoke(
              each.kind === 'all' ? { userId } : { sessionId: first.sessionId },
            )
            model.dead = true
          } else await compare(model, Math.max(0, model.newest - each.back))
        }
      }),
      { numRuns: runs(300, 20_000) },
    )
    t.pass(`${steps} steps, no difference`)

    async function compare(model: Model, generation: number): Promise<void> {
      const now = clock.now()
      if (now >= model.rotatedAt + 7 * DAY_MS || now >= model.startedAt + 30 * DAY_MS)
        model.dead = true
      const isNewest = generation === model.newest
      const inGrace = generation === model.newest - 1 && now - model.rotatedAt <= 10_000
      const allowed = !model.dead && (isNewest || inGrace)
      const answer = await app.sessions.refresh(model.tokens[generation]!).then(
        (grant) => grant,
        (error: { code: string }) => error.code,
      )
      if ((typeof answer === 'object') !== allowed)
        throw new Error(`generation ${generation}: ${JSON.stringify(answer)}`)
      if (typeof answer === 'string') {
        if (answer !== refused.code) throw new Error(answer)
        model.dead = true
        return
      }
      await app.sessions.verify(answer.accessToken)
      if (isNewest) {
        model.newest++
        model.rotatedAt = now
        model.tokens.push(answer.refreshToken)
      } else if (answer.refreshToken !== model.tokens[model.newest])
        throw new Error('another successor')
    }
  },
)

await t.test(
  '100 at once with one refresh token: one rotation, and one user agent for each',
  async (t) => {
    const { app, start, events } = await build(t)
    const { refreshToken } = await start()
    const grants = await Promise.all(
      Array.from({ length: 100 }, () => app.sessions.refresh(refreshToken)),
    )
    t.equal(new Set(grants.map((grant) => grant.refreshToken)).size, 1)
    const rotations = told(events, 'sessions.refreshed').filter(
      (event) => event.details && !('repeated' in event.details && event.details.repeated),
    )
    t.equal(rotations.length, 1)
  },
)
