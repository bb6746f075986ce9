/** What operators do to accounts: locks, required resets and factors, impersonation. */
import { createMemoryStore, createSqlClient } from '@parapet/kit'
import { generateSecret } from '@parapet/sessions'
import { openPglite } from '@parapet/testing'
import t from 'tap'
import { buildAccounts, newPassword, password } from './accounts.ts'
import { eventsOf, refusalOf, secret } from './build.ts'

const findAnyone = async (id: string) => ({ id, roles: [id] })

const locked = [423, 'PARAPET_SESSIONS_ACCOUNT_LOCKED']
const failed = [401, 'PARAPET_SESSIONS_LOGIN_FAILED']
const body = { login: 'ada@example.com', password }

await t.test('a lock ends all access, and only right credentials learn of it', async (t) => {
  const { app, post, logIn, refuses, mailbox, events } = await buildAccounts(t)
  const reply = await post('/login', body)
  const { access_token: token, refresh_token: refresh } = reply.json<Record<string, string>>()
  const key = await app.sessions.apiKeys.create({ ownerId: 'ada', name: 'ci', scopes: [] })
  await app.sessions.lockAccount('ada', { reason: 'card fraud', by: 'op-1' })
  await refuses(token!)
  await refuses(key.text, 'the API key')
  const refreshed = await post('/refresh', { refresh_token: refresh })
  t.same(refusalOf(refreshed), [401, 'PARAPET_SESSIONS_REFRESH_REFUSED'])
  const login = await post('/login', body)
  t.same(refusalOf(login), locked)
  t.equal(login.headers['retry-after'], undefined)
  const wrong = await post('/login', { ...body, password: 'a wrong password' })
  const unknown = await post('/login', { login: 'nobody', password: 'a wrong password' })
  t.same(refusalOf(wrong), failed)
  t.equal(wrong.body, unknown.body)
  t.match(await mailbox.next('account_locked'), {
    kind: 'account_locked',
    details: { reason: 'card fraud' },
  })
  t.match(eventsOf(events, 'sessions.account_locked'), [
    { principalId: 'ada', details: { reason: 'card fraud', until: null, by: 'op-1' } },
  ])
  t.match(await app.sessions.accountStatus('ada'), { locked: { reason: 'card fraud', by: 'op-1' } })
  await app.sessions.unlockAccount('ada', { by: 'op-1' })
  t.ok(await logIn())
  const answer = await app.inject({
    url: '/private',
    headers: { authorization: `Bearer ${key.text}` },
  })
  t.equal(answer.statusCode, 200, 'the API key works again')
  t.same((await app.sessions.accountStatus('ada')).locked, null)
})

for (const kind of ['memory', 'PGlite']) {
  await t.test(
    `a lock outlives the secret that sealed it, once it was read: ${kind}`,
    async (t) => {
      const pglite = kind === 'memory' ? null : await openPglite()
      if (pglite !== null) t.after(() => pglite.close())
      const storage = {
        store: createMemoryStore(),
        ...(pglite === null ? undefined : { sql: createSqlClient(pglite) }),
      }
      const next = generateSecret()
      const under = (...secrets: string[]) => buildAccounts(t, { ...storage, secrets })
      const first = await under(secret)
      await first.app.sessions.lockAccount('ada', { reason: 'fraud' })
      await first.app.sessions.lockAccount('eve', { reason: 'a debt' })
      const both = await under(next, secret)
      t.same(refusalOf(await both.post('/login', body)), locked, 'a login reads it')
      const last = await under(next)
      t.same(refusalOf(await last.post('/login', body)), locked, 'under the newest secret alone')
      t.match(await last.app.sessions.accountStatus('ada'), { locked: { reason: 'fraud' } })
      t.same(eventsOf(last.events, 'sessions.record_refused'), [])

      const unread = { ...body, login: 'eve@example.com' }
      const unreadable = [503, 'PARAPET_SESSIONS_ACCOUNT_UNREADABLE']
      t.same(refusalOf(await last.post('/login', unread)), unreadable, 'one that nobody has read')
      t.match(eventsOf(last.events, 'sessions.record_refused')[0], {
        resourceId: 'eve',
        details: { record: 'account', reason: 'forged' },
      })
      const code = { code: unreadable[1] as string }
      await t.rejects(last.app.sessions.accountStatus('eve'), code)
      for (const operation of [
        'unlockAccount',
        'requirePasswordReset',
        'liftSecondFactor',
      ] as const) {
        await t.rejects(last.app.sessions[operation]('eve'), code, `${operation} opens nothing`)
      }
      t.same(
        refusalOf(await (await under(next, secret)).post('/login', unread)),
        locked,
        'way out 1',
      )

      const lost = await under(generateSecret())
      t.same(refusalOf(await lost.post('/login', unread)), unreadable)
      await lost.app.sessions.lockAccount('eve', { reason: 'its record was lost', by: 'op-1' })
      t.same(
        refusalOf(await lost.post('/login', unread)),
        locked,
        'way out 2 opens nothing by itself',
      )
      await lost.app.sessions.unlockAccount('eve', { by: 'op-1' })
      t.equal((await lost.post('/login', unread)).statusCode, 200)
    },
  )
}

await t.test('every record is sealed again before a secret is removed', async (t) => {
  const pglite = await openPglite()
  t.after(() => pglite.close())
  const sql = createSqlClient(pglite)
  const next = generateSecret()
  const under = (...secrets: string[]) => buildAccounts(t, { sql, secrets })
  const first = await under(secret)
  const ids = Array.from({ length: 250 }, (_, index) => `user-${index}`)
  for (const id of ids) await first.app.sessions.lockAccount(id)
  await (await under(generateSecret())).app.sessions.lockAccount('user-x')
  const both = await under(next, secret)
  const result = await both.app.sessions.resealAccounts()
  t.same(result, { accounts: 251, resealed: 250, unreadable: 1 })
  const again = await both.app.sessions.resealAccounts()
  t.same(again, { accounts: 251, resealed: 0, unreadable: 1 }, 'it can be repeated')
  const last = await under(next)
  for (const id of ids.slice(-3)) t.ok((await last.app.sessions.accountStatus(id)).locked)

  const { app } = await buildAccounts(t)
  const code = { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT' }
  await t.rejects(app.sessions.resealAccounts(), code, 'a store cannot list')
})

await t.test(
  'a required reset can leave the session in which the password is replaced',
  async (t) => {
    const { app, post, logIn, ask, refuses, events } = await buildAccounts(t)
    const [kept, other] = [await logIn(), await logIn()]
    const { sessionId } = await app.sessions.verify(kept)
    await app.sessions.requirePasswordReset('ada', { exceptSessionId: sessionId })
    await refuses(other, 'every other session has ended')
    t.equal((await ask(kept)).status, 200)
    const required = [403, 'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED']
    t.same(refusalOf(await post('/login', body)), required)
    const change = { current: password, password: newPassword }
    t.equal((await post('/password', change, kept)).statusCode, 204)
    t.equal((await post('/login', { ...body, password: newPassword })).statusCode, 200)

    await app.sessions.requirePasswordReset('eve')
    const login = { login: 'eve@example.com', password }
    t.same(refusalOf(await post('/login', login)), required)
    await app.sessions.liftPasswordReset('eve', { reason: 'a mistake', by: 'op-1' })
    t.equal((await post('/login', login)).statusCode, 200)
    t.match(eventsOf(events, 'sessions.password_reset_lifted'), [
      { principalId: 'eve', details: { reason: 'a mistake', by: 'op-1' } },
    ])
    await t.rejects(app.sessions.requirePasswordReset('ada', { exceptSessionId: '' }), {
      code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
    })
  },
)

await t.test('a lock with an end says when, and ends then', async (t) => {
  const { app, post, clock, logIn } = await buildAccounts(t)
  await app.sessions.lockAccount('ada', { until: clock.now() + 60_000, reason: 'pause' })
  const login = await post('/login', body)
  t.same(refusalOf(login), locked)
  t.equal(login.headers['retry-after'], '60')
  clock.advance(60_000)
  t.ok(await logIn())
})

await t.test('an operation with a wrong argument changes nothing', async (t) => {
  const { app, clock, mailbox, ask, logIn } = await buildAccounts(t)
  const token = await logIn()
  const seconds = Math.floor(clock.now() / 1000) + 3600
  const { sessions: operator } = app
  const wrong: Record<string, () => Promise<unknown>> = {
    'a time in seconds': () => operator.lockAccount('ada', { until: seconds }),
    'a time that is over': () => operator.lockAccount('ada', { until: clock.now() }),
    'no time': () => operator.lockAccount('ada', { until: Number.NaN }),
    'a misspelt member': () => operator.lockAccount('ada', { untill: seconds } as never),
    'a time where none fits': () =>
      operator.requirePasswordReset('ada', { until: seconds } as never),
    'an empty reason': () => operator.unlockAccount('ada', { reason: '' }),
    'no id': () => operator.lockAccount(undefined as never),
    'an empty id': () => operator.forceSecondFactor(''),
    'NUL in the id': () => operator.requirePasswordReset('a\u0000b'),
    'a lone surrogate': () => operator.liftSecondFactor('a\ud800'),
    'a long id': () => operator.accountStatus('x'.repeat(301)),
  }
  for (const [name, call] of Object.entries(wrong)) {
    await t.rejects(call(), { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT' }, name)
  }
  t.equal((await ask(token)).status, 200)
  t.match(await operator.accountStatus('ada'), { locked: null, passwordResetRequired: false })
  t.same(mailbox.sent, [])
})

await t.test('a password that the user replaces ends a required reset', async (t) => {
  const { app, post, logIn, mailbox } = await buildAccounts(t)
  await app.sessions.requirePasswordReset('ada', { reason: 'found in a leak' })
  await post('/login/magic-link', { email: 'ada@example.com' })
  const { token } = await mailbox.next('magic')
  const login = await post('/login/magic-link/finish', { token })
  const { access_token: session } = login.json<{ access_token: string }>()
  const change = await post('/password', { current: password, password: newPassword }, session)
  t.equal(change.statusCode, 204)
  t.equal((await app.sessions.accountStatus('ada')).passwordResetRequired, false)
  t.ok(await logIn('ada@example.com', newPassword))
})

await t.test('a login at the moment of a lock leaves no session', async (t) => {
  const { app, ask } = await buildAccounts(t)
  const user = { id: 'ada', roles: ['reader'] }
  const starts = Array.from({ length: 30 }, () =>
    app.sessions.start(user).then(
      ({ accessToken }) => accessToken,
      () => null,
    ),
  )
  await Promise.all([...starts, app.sessions.lockAccount('ada')])
  const tokens = (await Promise.all(starts)).filter((token) => token !== null)
  for (const token of tokens) t.equal((await ask(token)).status, 401)
  t.same(await app.sessions.list('ada'), [])
})

await t.test('a required reset refuses the old password until a new one is set', async (t) => {
  const { app, post, logIn, refuses, mailbox, ask } = await buildAccounts(t)
  const token = await logIn()
  await app.sessions.requirePasswordReset('ada', { reason: 'found in a leak', by: 'op-1' })
  await refuses(token)
  t.same(refusalOf(await post('/login', body)), [403, 'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED'])
  t.match(await mailbox.next('password_reset_required'), {
    kind: 'password_reset_required',
    details: { reason: 'found in a leak' },
  })
  const passkey = await app.sessions.start(
    { id: 'ada', roles: ['reader'] },
    { amr: ['swk', 'user'] },
  )
  t.equal((await ask(passkey.accessToken)).status, 200, 'a login without the password works')
  const { token: link } = await mailbox.next('reset')
  t.equal((await post('/password/reset', { token: link, password: newPassword })).statusCode, 204)
  t.ok(await logIn('ada@example.com', newPassword))
})

await t.test('a forced second factor leaves the session nothing but enrolment', async (t) => {
  const { app, post, logIn, ask, refuses, mailbox } = await buildAccounts(t)
  const before = await logIn()
  await app.sessions.forceSecondFactor('ada', { by: 'op-1' })
  await refuses(before)
  t.match(await mailbox.next('second_factor_forced'), { kind: 'second_factor_forced' })
  const token = await logIn()
  t.same(await ask(token).then(({ status, code, handlerRan }) => ({ status, code, handlerRan })), {
    status: 403,
    code: 'PARAPET_SESSIONS_SECOND_FACTOR_REQUIRED',
    handlerRan: false,
  })
  const sessions = await app.inject({
    url: '/auth/sessions',
    headers: { authorization: `Bearer ${token}` },
  })
  t.equal(sessions.statusCode, 403)
  const { sessionId } = await app.sessions.verify(token)
  const grant = await app.sessions.elevate(sessionId, { amr: ['otp'], acr: 'aal2' })
  t.equal((await ask(grant.accessToken)).status, 200, 'after a factor was shown')
  const refreshed = await post('/refresh', { refresh_token: grant.refreshToken })
  t.equal((await ask(refreshed.json<{ access_token: string }>().access_token)).status, 200)
  const again = await post('/login', body)
  const due = again.json<{ access_token: string; refresh_token: string }>()
  const later = await post('/refresh', { refresh_token: due.refresh_token })
  t.equal(
    (await ask(later.json<{ access_token: string }>().access_token)).status,
    403,
    'a refresh is no factor',
  )
  await app.sessions.liftSecondFactor('ada')
  t.equal((await ask(await logIn())).status, 200)
})

await t.test(
  'an operator acts as a user: for a time, with a banner, never with more rights',
  async (t) => {
    const roles: Record<string, string[]> = {
      op: ['reader', 'support'],
      ada: ['reader'],
      root: ['admin'],
    }
    const find = async (id: string) => (roles[id] === undefined ? null : { id, roles: roles[id] })
    const { app, post, clock, events, mailbox, refuses } = await buildAccounts(t, {
      findUser: find,
    })
    const operator = await app.sessions.verify(
      (await app.sessions.start((await find('op'))!)).accessToken,
    )
    const grant = await app.sessions.impersonate(operator, 'ada', { reason: 'ticket 7' })
    const token = await app.sessions.verify(grant.accessToken)
    t.match(token, {
      user: { id: 'ada', roles: ['reader'] },
      amr: ['imp'],
      actorId: 'op',
      authenticatedAt: 0,
    })
    const shown = await app.inject({
      url: '/private',
      headers: { authorization: `Bearer ${grant.accessToken}` },
    })
    t.match(shown.json(), { principal: { id: 'ada', actorId: 'op' } })
    t.match(await app.sessions.list('ada'), [{ actorId: 'op', amr: ['imp'] }])
    t.match(eventsOf(events, 'sessions.impersonation_started'), [
      {
        principalId: 'op',
        resourceId: 'ada',
        sessionId: grant.sessionId,
        details: { reason: 'ticket 7' },
      },
    ])
    t.match(await mailbox.next('impersonated'), { kind: 'impersonated', email: 'ada@example.com' })

    for (const [path, method, payload] of [
      ['/password', 'POST', { current: password, password: newPassword }],
      ['/email', 'POST', { current: password, email: 'op@example.com' }],
      ['/sessions', 'DELETE', {}],
      [`/sessions/${grant.sessionId}`, 'DELETE', {}],
      [`/sessions/${grant.sessionId}`, 'PATCH', { name: 'mine' }],
    ] as const) {
      const reply = await post(path, payload, grant.accessToken, method)
      t.same(refusalOf(reply), [403, 'PARAPET_SESSIONS_IMPERSONATED'], `${method} ${path}`)
    }
    const no = { code: 'PARAPET_SESSIONS_IMPERSONATION_REFUSED' }
    await t.rejects(app.sessions.impersonate(token, 'op', { reason: 'a chain' }), no)
    await t.rejects(app.sessions.impersonate(operator, 'root', { reason: 'more rights' }), no)
    await t.rejects(app.sessions.impersonate(operator, 'op', { reason: 'oneself' }), no)
    await t.rejects(app.sessions.impersonate(operator, 'nobody', { reason: 'nobody' }), no)
    await t.rejects(app.sessions.elevate(grant.sessionId, { amr: ['otp'], acr: 'aal2' }), {
      code: 'PARAPET_SESSIONS_UNAUTHENTICATED',
    })
    const bad = { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT' }
    await t.rejects(app.sessions.impersonate(operator, 'ada', { reason: '' }), bad)
    await t.rejects(app.sessions.impersonate(operator, 'ada', { reason: 'x', maxAgeMs: 4e6 }), bad)

    clock.advance(899_000)
    const refreshed = await app.sessions.refresh(grant.refreshToken)
    t.equal(refreshed.accessExpiresAt, clock.now() + 1000, 'no token is valid beyond the end')
    clock.advance(1000)
    await refuses(refreshed.accessToken)
    await t.rejects(app.sessions.refresh(refreshed.refreshToken), {
      code: 'PARAPET_SESSIONS_REFRESH_REFUSED',
    })
  },
)

await t.test('an impersonation ends with the access of the operator', async (t) => {
  const roles: Record<string, string[]> = { op: ['reader', 'support'], ada: ['reader'] }
  const find = async (id: string) => (roles[id] === undefined ? null : { id, roles: roles[id] })
  const { app, refuses, ask } = await buildAccounts(t, { findUser: find })
  const start = async () => {
    const { accessToken } = await app.sessions.start((await find('op'))!)
    return app.sessions.impersonate(await app.sessions.verify(accessToken), 'ada', {
      reason: 'ticket',
    })
  }
  const own = await app.sessions.start((await find('op'))!)
  const stolen = await start()
  await app.sessions.revoke({ userId: 'op', exceptSessionId: own.sessionId })
  await refuses(stolen.accessToken, 'the operator ended all other sessions')
  t.equal((await ask(own.accessToken)).status, 200)
  const first = await start()
  await app.sessions.lockAccount('op')
  await refuses(first.accessToken, 'the operator was locked')
  await app.sessions.unlockAccount('op')
  const second = await start()
  t.equal((await ask(second.accessToken)).status, 200)
  roles['op'] = ['support']
  await t.rejects(app.sessions.refresh(second.refreshToken), {
    code: 'PARAPET_SESSIONS_REFRESH_REFUSED',
  })
  await refuses(second.accessToken, 'the operator has fewer rights than the user')
})

await t.test('the application decides who is within reach', async (t) => {
  const asked: string[] = []
  const allows = (operator: { id: string }, user: { id: string }) => {
    asked.push(`${operator.id} ${user.id}`)
    return user.id === 'ada'
  }
  const { app } = await buildAccounts(t, { findUser: findAnyone, impersonation: { allows } })
  const operator = await app.sessions.verify(
    (await app.sessions.start(await findAnyone('op'))).accessToken,
  )
  t.ok(await app.sessions.impersonate(operator, 'ada', { reason: 'ticket' }))
  await t.rejects(app.sessions.impersonate(operator, 'eve', { reason: 'ticket' }), {
    code: 'PARAPET_SESSIONS_IMPERSONATION_REFUSED',
  })
  t.same(asked, ['op ada', 'op eve'])
})

await t.test(
  'in SQL, a lock survives the loss of the store, and a forged one is no freedom',
  async (t) => {
    const pglite = await openPglite()
    t.after(() => pglite.close())
    const sql = createSqlClient(pglite)
    const first = await buildAccounts(t, { sql })
    await first.app.sessions.lockAccount('ada', { reason: 'for good' })
    const second = await buildAccounts(t, { sql })
    t.same(refusalOf(await second.post('/login', body)), locked)
    await Promise.all([
      first.app.sessions.requirePasswordReset('ada'),
      second.app.sessions.forceSecondFactor('ada'),
    ])
    t.match(await second.app.sessions.accountStatus('ada'), {
      locked: { reason: 'for good' },
      passwordResetRequired: true,
      secondFactorForced: true,
    })
    await sql.query(`UPDATE sessions_accounts SET state = replace(state, 'for good', 'for fun')`)
    t.equal((await second.post('/login', body)).statusCode, 503)
    t.match(eventsOf(second.events, 'sessions.record_refused'), [
      { details: { record: 'account' } },
    ])
  },
)
