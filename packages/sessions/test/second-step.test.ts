/** The second step of a login, and new tokens after another factor. */
import { createMemoryStore } from '@parapet/kit'
import type { SecondFactor, SecondFactorContext, SessionUser } from '@parapet/sessions'
import t, { type Test } from 'tap'
import { build, eventsOf, reader, refusalOf, unauthenticated } from './build.ts'

const TICKET_REFUSED = [401, 'PARAPET_SESSIONS_TICKET_REFUSED']

interface Pending {
  readonly ticket: string
  readonly methods: string[]
  readonly expires_in: number
}

const down = async () => Promise.reject(new Error('password of the database'))
const notBound = async () => Promise.reject(new Error('not bound'))
const wrong = () => Object.assign(new Error('wrong code'), { statusCode: 403, code: 'WRONG' })

/** An app whose user `ada` has a factor with the code 123456, and whose user `bob` has none. */
async function twoSteps(t: Test, more: Partial<SecondFactor> = {}) {
  const bound: string[] = []
  const noteBound = async (id: string) => void bound.push(id)
  const seen: SecondFactorContext[] = []
  const users = new Map<string, SessionUser>([['ada', { id: 'ada', roles: ['reader'] }]])
  const secondFactor: SecondFactor = {
    methodsOf: async (id) => (id === 'ada' ? ['totp', 'passkey'] : []),
    passkeyOptions: async (id) => ({ challenge: `for ${id}` }),
    verify: async (_id, { code, passkey }, context) => {
      seen.push(context)
      if (code !== '123456' && passkey === undefined) throw wrong()
      return {
        amr: ['otp', 'mfa'],
        acr: 'aal2',
        authenticatedAt: built.clock.now(),
        bind: noteBound,
      }
    },
    ...more,
  }
  const built = await build(t, {
    prefix: '/auth',
    secondFactor,
    credentials: async ({ login, password }) =>
      password === 'right' ? { id: login, roles: ['reader'] } : null,
    findUser: async (id) => users.get(id) ?? null,
  })
  const post = (url: string, payload: object) =>
    built.app.inject({ method: 'POST', url: `/auth/login${url}`, payload })
  const begin = async () =>
    (await post('', { login: 'ada', password: 'right' })).json<Pending>().ticket
  return { ...built, post, begin, bound, seen, users }
}

await t.test('with a factor, the password alone gives a ticket and no token', async (t) => {
  const { app, post, ask, bound, events, seen } = await twoSteps(t)
  const first = await post('', { login: 'ada', password: 'right' })
  t.equal(first.statusCode, 202)
  t.equal(first.headers['cache-control'], 'no-store')
  const body = first.json<Pending>()
  t.same(Object.keys(body).toSorted(), ['expires_in', 'methods', 'ticket'])
  t.match(body, { methods: ['totp', 'passkey'], expires_in: 300, ticket: /^[\w-]{43}$/ })
  t.same(await app.sessions.list('ada'), [], 'no session has started')
  t.match(eventsOf(events, 'sessions.second_factor_requested'), [{ principalId: 'ada' }])
  const options = await post('/second-factor/options', { ticket: body.ticket })
  t.same(options.json(), { methods: ['totp', 'passkey'], passkey: { challenge: 'for ada' } })

  const second = await post('/second-factor', { ticket: body.ticket, code: '123456' })
  t.equal(second.statusCode, 200, second.body)
  const { access_token } = second.json<{ access_token: string }>()
  t.equal((await ask(access_token)).status, 200)
  const token = await app.sessions.verify(access_token)
  t.match(token, { amr: ['pwd', 'otp', 'mfa'], acr: 'aal2' })
  t.same(bound, [token.sessionId])
  t.same([seen[0]!.amr, seen[0]!.request.principal], [['pwd'], null])

  const without = await post('', { login: 'bob', password: 'right' })
  t.match([without.statusCode, without.json()], [200, { access_token: /^ey/ }], 'no factor')
})

await t.test('a ticket works once, for five minutes, and for ten tries', async (t) => {
  const { post, begin, clock, events } = await twoSteps(t)
  const send = async (ticket: string, code = '123456') =>
    refusalOf(await post('/second-factor', { ticket, code }))
  const used = await begin()
  t.equal((await send(used))[0], 200)
  t.same(await send(used), TICKET_REFUSED, 'used')
  const raced = await begin()
  const race = await Promise.all(Array.from({ length: 5 }, () => send(raced)))
  t.equal(race.filter(([status]) => status === 200).length, 1, 'one of concurrent requests')
  const guessed = await begin()
  for (let tries = 0; tries < 10; tries++) t.same(await send(guessed, '0'), [403, 'WRONG'])
  t.same(await send(guessed), TICKET_REFUSED, 'after ten wrong codes, the right one is too late')
  t.equal(eventsOf(events, 'sessions.login_failed').length, 11)
  const late = await begin()
  clock.advance(300_000)
  t.same(await send(late), TICKET_REFUSED, 'expired')
  for (const ticket of ['x', 'A'.repeat(43)]) t.same(await send(ticket), TICKET_REFUSED)
  t.same(refusalOf(await post('/second-factor', { code: '1' })), TICKET_REFUSED, 'no ticket')
  const both = await post('/second-factor', { ticket: late, code: '1', passkey: {} })
  t.same(refusalOf(both), [400, 'FST_ERR_VALIDATION'], 'a code and a passkey')
})

await t.test(
  'a ticket ends with the sessions of its user, and the user is looked up',
  async (t) => {
    const { app, post, begin, users, clock } = await twoSteps(t)
    const ticket = await begin()
    clock.advance(1)
    await app.sessions.revoke({ userId: 'ada' }, 'the password was changed')
    const revoked = await post('/second-factor', { ticket, code: '123456' })
    t.same(refusalOf(revoked), TICKET_REFUSED)
    const gone = await begin()
    users.clear()
    const refused = await post('/second-factor', { ticket: gone, code: '123456' })
    t.same(refusalOf(refused), [401, 'PARAPET_SESSIONS_LOGIN_FAILED'])
    t.same(await app.sessions.list('ada'), [], 'no session has started')
  },
)

await t.test('if the port fails, no session starts', async (t) => {
  const UNAVAILABLE = [503, 'PARAPET_SESSIONS_UNAVAILABLE']
  const first = await twoSteps(t, { methodsOf: down })
  const reply = await first.post('', { login: 'bob', password: 'right' })
  t.same(refusalOf(reply), UNAVAILABLE, 'it is unknown whether there is a factor')
  t.notMatch(reply.body, 'password of the database')
  const second = await twoSteps(t, { verify: down })
  const body = { ticket: await second.begin(), code: '123456' }
  t.same(refusalOf(await second.post('/second-factor', body)), UNAVAILABLE)
  const third = await twoSteps(t, { verify: async () => ({ amr: ['otp'], bind: down }) })
  const bound = { ticket: await third.begin(), code: '123456' }
  t.equal((await third.post('/second-factor', bound)).statusCode, 500)
  for (const { app } of [first, second, third]) t.same(await app.sessions.list('ada'), [])
})

await t.test(
  'at an elevation the session changes its id, and every old token is refused',
  async (t) => {
    const { app, start, ask, refuses, events, clock } = await build(t)
    const stolen = await start()
    clock.advance(60_000)
    const bound: string[] = []
    const grant = await app.sessions.elevate(stolen.sessionId, {
      amr: ['otp', 'mfa'],
      acr: 'aal2',
      bind: async (id) => void bound.push(id),
    })
    t.not(grant.sessionId, stolen.sessionId)
    t.same(bound, [grant.sessionId])
    await refuses(stolen.accessToken, 'the access token from before the proof')
    const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }
    await t.rejects(app.sessions.refresh(stolen.refreshToken), refused)
    t.equal((await ask(grant.accessToken)).status, 200)
    const token = await app.sessions.verify(grant.accessToken)
    t.match(token, { amr: ['pwd', 'otp', 'mfa'], acr: 'aal2', authenticatedAt: clock.now() })
    const [view, ...others] = await app.sessions.list('user-1')
    t.match(view, { id: grant.sessionId, startedAt: clock.now() - 60_000 })
    t.same(others, [], 'the user has one session, as before')
    t.match(eventsOf(events, 'sessions.elevated'), [
      { sessionId: grant.sessionId, details: { previousSessionId: stolen.sessionId } },
    ])
    const next = await app.sessions.refresh(grant.refreshToken)
    t.same((await app.sessions.verify(next.accessToken)).acr, 'aal2', 'a refresh keeps the level')
  },
)

await t.test(
  'a session that has ended, or whose proof is not bound, is not elevated',
  async (t) => {
    const store = createMemoryStore()
    const { app, start, ask } = await build(t, { store })
    const ended = await start()
    await app.sessions.revoke({ sessionId: ended.sessionId })
    const shown = { amr: ['otp'] }
    const error = { code: unauthenticated.code, statusCode: 401 }
    await t.rejects(app.sessions.elevate(ended.sessionId, shown), error)
    const kept = await start()
    await t.rejects(app.sessions.elevate(kept.sessionId, { ...shown, bind: notBound }), /not bound/)
    t.equal((await ask(kept.accessToken)).status, 200, 'the session is unchanged')
    t.equal((await app.sessions.list(reader.id)).length, 1)
    const races = await Promise.allSettled([
      app.sessions.elevate(kept.sessionId, shown),
      app.sessions.elevate(kept.sessionId, shown),
      app.sessions.refresh(kept.refreshToken),
    ])
    t.equal(races.filter(({ status }) => status === 'fulfilled').length >= 1, true)
    t.equal((await app.sessions.list(reader.id)).length, 1, 'concurrent calls leave one session')
  },
)
