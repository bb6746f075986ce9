/** Sessions: start, authenticate, revoke, list, and the limits of their lifetime. */
import { createMemoryStore } from '@parapet/kit'
import { sessions, type SessionUser } from '@parapet/sessions'
import Fastify from 'fastify'
import t from 'tap'
import {
  baseOptions,
  build,
  codeOf,
  eventsOf,
  reader,
  refusalOf,
  unauthenticated,
} from './build.ts'

const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }
const invalidArgument = { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT', statusCode: 500 }
const DAY_MS = 86_400_000

await t.test('a valid token reaches the handler and sets the principal', async (t) => {
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

await t.test('a route without a rule needs a login, unless the default is changed', async (t) => {
  const { app, ask, refuses, handled, start } = await build(t)
  await refuses(null)
  const reply = await app.inject('/private')
  t.same(refusalOf(reply), [401, 'PARAPET_SESSIONS_UNAUTHENTICATED'])
  t.equal(reply.headers['www-authenticate'], 'Bearer')
  t.same(handled, [], 'the handler did not run')
  t.equal((await app.inject('/open')).statusCode, 200, 'an optional route is open')
  t.equal((await app.inject('/nothing-here')).statusCode, 404, 'an unknown route is 404')
  t.equal((await ask((await start()).accessToken)).status, 200)

  const lenient = await build(t, { requireByDefault: false })
  t.equal((await lenient.app.inject('/private')).statusCode, 200, 'with requireByDefault: false')
})

await t.test('a principal of another plugin is accepted, and a token replaces it', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    if (request.headers['x-robot'] === 'yes') request.principal = { id: 'robot', roles: [] }
  })
  await app.register(sessions, baseOptions)
  let handled = 0
  app.get('/', async (request) => {
    handled++
    return request.principal?.id
  })
  t.equal((await app.inject({ url: '/', headers: { 'x-robot': 'yes' } })).body, 'robot')
  const anonymous = await app.inject('/')
  t.same(refusalOf(anonymous), [401, unauthenticated.code])
  t.equal(handled, 1, 'the handler did not run for the anonymous request')
  const { accessToken } = await app.sessions.start(reader)
  const headers = { 'x-robot': 'yes', authorization: `Bearer ${accessToken}` }
  t.equal((await app.inject({ url: '/', headers })).body, 'user-1')
})

await t.test(
  'an access token expires after 15 minutes, a session after 7 or 30 days',
  async (t) => {
    const { app, ask, refuses, start, clock } = await build(t)
    let { accessToken, refreshToken } = await start()
    clock.advance(899_000)
    t.equal((await ask(accessToken)).status, 200)
    clock.advance(1000)
    await refuses(accessToken, 'the access token has expired')
    for (let day = 0; day < 28; day += 6) {
      clock.advance(5 * DAY_MS)
      ;({ accessToken, refreshToken } = await app.sessions.refresh(refreshToken))
    }
    t.equal((await ask(accessToken)).status, 200)
    clock.advance(5 * DAY_MS)
    await t.rejects(app.sessions.refresh(refreshToken), refused, 'after 30 days in total')
    const idle = await start()
    clock.advance(7 * DAY_MS)
    await t.rejects(
      app.sessions.refresh(idle.refreshToken),
      refused,
      'after 7 days without refresh',
    )
  },
)

await t.test('after a restart that lost the revocations, no older token is accepted', async (t) => {
  const { app, clock, start } = await build(t)
  const { accessToken, sessionId } = await start()
  const kept = await start()
  await app.sessions.revoke({ sessionId })
  await app.close()
  clock.advance(1)
  const again = await build(t, { clock, store: createMemoryStore({ clock }) })
  await again.refuses(accessToken, 'the revoked token')
  await again.refuses(kept.accessToken, 'a token that cannot be told apart from a revoked one')
  t.equal((await again.ask((await again.start()).accessToken)).status, 200)
})

await t.test('a revoked token or session is refused', async (t) => {
  const { app, start, refuses, events } = await build(t)
  const one = await start()
  const { tokenId } = await app.sessions.verify(one.accessToken)
  await app.sessions.revoke({ tokenId })
  await refuses(one.accessToken, 'a token')
  t.ok(await app.sessions.refresh(one.refreshToken), 'the session of a revoked token continues')

  const two = await start()
  await app.sessions.revoke({ sessionId: two.sessionId }, 'stolen phone')
  await refuses(two.accessToken, 'a session')
  await t.rejects(app.sessions.refresh(two.refreshToken), refused)
  t.match(eventsOf(events, 'sessions.revoked')[1], {
    details: { scope: 'session', reason: 'stolen phone' },
  })
  await t.rejects(app.sessions.revoke({ tokenId: 'x' }), {
    ...invalidArgument,
    message: 'Invalid argument "tokenId": expected an id of 22 base64url characters, got "x"',
  })
  await t.rejects(app.sessions.revoke({ userId: '' }), {
    ...invalidArgument,
    message: 'Invalid argument "userId": expected a string of 1 to 300 characters, got ""',
  })
})

await t.test('the sessions of a user, or of everyone, are revoked at once', async (t) => {
  const { app, start, ask, refuses } = await build(t)
  const other = await start({ id: 'user-2', roles: [] })
  const three = await start()
  const kept = await start()
  await app.sessions.revoke({ userId: 'user-1', exceptSessionId: kept.sessionId })
  await refuses(three.accessToken, 'all sessions but one')
  t.equal((await ask(kept.accessToken)).status, 200)
  await app.sessions.revoke({ userId: 'user-1' })
  await refuses(kept.accessToken, 'all sessions of a user')
  await t.rejects(app.sessions.refresh(kept.refreshToken), refused)
  t.equal((await ask((await start()).accessToken)).status, 200, 'the user can log in again')

  t.equal((await ask(other.accessToken)).status, 200, 'other users are not affected')
  await app.sessions.revoke('everyone')
  await refuses(other.accessToken, 'everyone')
  await t.rejects(app.sessions.refresh(other.refreshToken), refused)
})

await t.test('a change of roles revokes access tokens, but not sessions', async (t) => {
  const users = new Map<string, SessionUser>([['user-1', reader]])
  const { app, start, refuses } = await build(t, { findUser: async (id) => users.get(id) ?? null })
  const { accessToken, refreshToken } = await start()
  users.set('user-1', { id: 'user-1', roles: ['editor'] })
  await app.sessions.userChanged('user-1')
  await refuses(accessToken)
  const next = await app.sessions.refresh(refreshToken)
  t.same((await app.sessions.verify(next.accessToken)).user.roles, ['editor'])
  users.set('user-1', { id: 'someone-else', roles: ['admin'] })
  const lookup = app.sessions.refresh(next.refreshToken)
  await t.rejects(lookup, refused, 'a lookup that returns another user')
})

await t.test('a user can have a limited number of sessions', async (t) => {
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

await t.test('an invalid user or proof starts no session', async (t) => {
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
    await t.rejects(app.sessions.start(user as never, proof), invalidArgument)
  }
  const many = Array.from({ length: 200 }, (_, n) => `a-long-name-for-a-role-${n}`)
  await t.rejects(app.sessions.start({ id: 'a', roles: many }), {
    code: 'PARAPET_SESSIONS_TOKEN_TOO_LARGE',
    statusCode: 500,
  })
  t.same(await app.sessions.list('a'), [], 'no session was stored')
  const proof = { amr: ['hwk'], authenticatedAt: clock.now() + DAY_MS }
  const token = await app.sessions.verify((await app.sessions.start(reader, proof)).accessToken)
  t.equal(token.authenticatedAt, clock.now(), 'a time in the future is replaced by now')
})

await t.test('the plugin protects only the context in which it is registered', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  let handled = 0
  await app.register(async (child) => {
    await child.register(sessions, baseOptions)
    child.get('/inside', async () => {
      handled++
      return 'inside'
    })
  })
  app.get('/outside', async () => 'outside')
  const inside = await app.inject('/inside')
  t.same([inside.statusCode, codeOf(inside), handled], [401, unauthenticated.code, 0])
  t.equal((await app.inject('/outside')).statusCode, 200)
})
