/** What an operator does to the accounts of others, and what the log says of it. */
import type { FastifyInstance } from 'fastify'
import { generateSecret } from '@parapet/sessions'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { enrol } from './support/enrol.ts'
import { signIn } from './support/sign-in.ts'
import {
  calm,
  createClient,
  createMemoryLog,
  createTestApp,
  denied,
  invalid,
  notFound,
  openDatabase,
  password,
  sessionEnded,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)
const locked = { status: 423, code: 'PARAPET_SESSIONS_ACCOUNT_LOCKED' }
const impersonated = { status: 403, code: 'PARAPET_SESSIONS_IMPERSONATED' }
const reason = 'ticket 7'

await t.test(
  'a lock outlives the secret that sealed it, also if nobody reads it meanwhile',
  async (t) => {
    const [old, next] = [generateSecret(), generateSecret()]
    const pglite = await openDatabase(t)
    const user = { email: 'ada@example.com', displayName: 'Ada', password }
    const start = (SESSION_SECRET: string) =>
      buildApp(readConfig({ ...calm, SESSION_SECRET }), {
        sql: pglite.sql,
        log: createMemoryLog().log,
        sendMail: async () => {},
      })
    const first = await start(old)
    const client = createClient(first, pglite)
    await client.ask({}, 'POST', '/api/v1/users', user)
    await client.verify(user.email)
    const { rows } = await pglite.sql.query<{ id: string }>('SELECT id::text AS id FROM users')
    await first.sessions.lockAccount(rows.at(-1)!.id, { reason })
    await first.close()
    await (await start(`${next},${old}`)).close()
    const last = await start(next)
    t.match(await createClient(last, pglite).logIn(user.email, password), locked)
    await last.close()
  },
)

/** An administrator with a row, because an impersonation looks the operator up. */
async function registerAdmin({ app, register }: Awaited<ReturnType<typeof createTestApp>>) {
  const { id, email } = await register('admin')
  await database.sql.query(`UPDATE users SET roles = '{admin}' WHERE id::text = $1`, [id])
  return { id, email, headers: await signIn(app, 'admin', id) }
}

async function recordsOf(app: FastifyInstance, filters: object) {
  await app.audit.flush()
  const { entries } = await app.audit.query({ filters })
  return entries.map(({ record }) => record)
}

await t.test('a lock has a reason and an end, and the log has both', async (t) => {
  const server = await createTestApp(t, database)
  const { app, ask, refuse, register, logIn, mailbox } = server
  const admin = await registerAdmin(server)
  const user = await register('viewer')
  const path = `/api/v1/users/${user.id}`
  const until = new Date(Date.now() + 3_600_000).toISOString()
  t.equal((await ask(admin.headers, 'PUT', `${path}/lock`, { reason, until })).status, 204)
  await refuse(t, sessionEnded, user.headers, 'GET', '/api/v1/users/me')
  const login = await logIn(user.email, password)
  t.match(login, locked)
  t.match(login.headers['retry-after'], /^3[56]\d\d$/)
  const status = await ask(admin.headers, 'GET', `${path}/account-status`)
  t.match(status.body, {
    locked: { until, reason, by: admin.id },
    passwordResetRequired: false,
    secondFactorForced: false,
  })
  t.match(await mailbox.find(user.email, /Nobody can log in/), { text: /reason: ticket 7/ })
  t.equal((await ask(admin.headers, 'DELETE', `${path}/lock`)).status, 204)
  t.equal((await logIn(user.email, password)).status, 200)
  t.match(await recordsOf(app, { action: 'sessions.account_locked' }), [
    { resourceId: user.id, data: { reason, until: Date.parse(until), by: admin.id } },
  ])
  t.match(await recordsOf(app, { action: 'user.lock' }), [
    { phase: 'outcome', principal: admin.id, resourceId: user.id, result: 'success' },
    { phase: 'attempt', principal: admin.id, resourceId: user.id },
  ])
})

await t.test(
  'only another administrator acts, on users there are, with right values',
  async (t) => {
    const server = await createTestApp(t, database)
    const { refuse, register, ask } = server
    const admin = await registerAdmin(server)
    const user = await register('viewer')
    const booker = await register('booker')
    const routes = [
      ['GET', 'account-status'],
      ['PUT', 'lock', { reason }],
      ['DELETE', 'lock'],
      ['POST', 'password-reset', { reason }],
      ['PUT', 'second-factor-requirement', { reason }],
      ['DELETE', 'second-factor-requirement'],
      ['POST', 'impersonation', { reason }],
      ['DELETE', 'impersonation'],
    ] as const
    const nobody = '01a20061-e1c7-7383-8b27-46b6978cb4a4'
    for (const [method, name, body] of routes) {
      const at = (id: string) => `/api/v1/users/${id}/${name}`
      for (const who of [user.headers, booker.headers]) {
        await refuse(t, denied, who, method, at(user.id), body)
      }
      await refuse(t, denied, admin.headers, method, at(admin.id), body)
      await refuse(t, notFound, admin.headers, method, at(nobody), body)
    }
    const lock = `/api/v1/users/${user.id}/lock`
    const passed = { status: 400, code: 'PARAPET_REFERENCE_UNTIL_PASSED' }
    await refuse(t, passed, admin.headers, 'PUT', lock, { reason, until: '2020-01-01T00:00:00Z' })
    for (const body of [
      {},
      { reason: '' },
      { reason: 'a\nb' },
      { reason, until: 'tomorrow' },
      { reason, untill: '2099-01-01T00:00:00Z' },
      { reason: 'x'.repeat(301) },
    ]) {
      await refuse(t, invalid, admin.headers, 'PUT', lock, body)
    }
    t.equal((await ask(user.headers, 'GET', '/api/v1/users/me')).status, 200)
  },
)

await t.test('two administrators who lock each other at once leave one', async (t) => {
  const server = await createTestApp(t, database)
  const [ann, bob] = [await registerAdmin(server), await registerAdmin(server)]
  const lock = (who: Headers, id: string) =>
    server.ask(who, 'PUT', `/api/v1/users/${id}/lock`, { reason })
  await Promise.all([lock(ann.headers, bob.id), lock(bob.headers, ann.id)])
  const states = await Promise.all(
    [ann, bob].map(({ id }) => server.app.sessions.accountStatus(id)),
  )
  t.ok(
    states.some((state) => state.locked === null),
    'somebody can log in',
  )
  // As if the other lock had come between: the last one is taken back.
  await server.app.sessions.lockAccount(ann.id)
  await server.app.sessions.unlockAccount(bob.id)
  const last = { status: 409, code: 'PARAPET_REFERENCE_LAST_ADMIN' }
  const other = await signIn(server.app, 'admin')
  t.match(await lock(other, bob.id), last)
  t.equal((await server.app.sessions.accountStatus(bob.id)).locked, null)
})

await t.test('a required reset and a forced second factor hold until they are met', async (t) => {
  const server = await createTestApp(t, database)
  const { ask, refuse, register, logIn, mailbox } = server
  const admin = await registerAdmin(server)
  const user = await register('viewer')
  const path = `/api/v1/users/${user.id}`
  t.equal((await ask(admin.headers, 'POST', `${path}/password-reset`, { reason })).status, 204)
  await refuse(t, sessionEnded, user.headers, 'GET', '/api/v1/users/me')
  t.match(await logIn(user.email, password), {
    status: 403,
    code: 'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED',
  })
  const token = await mailbox.tokenTo(user.email, /Set a new password within/)
  const next = 'seven purple tandem otters'
  const reset = await ask({}, 'POST', '/api/v1/auth/password/reset', { token, password: next })
  t.equal(reset.status, 204)

  const rule = `${path}/second-factor-requirement`
  t.equal((await ask(admin.headers, 'PUT', rule, { reason })).status, 204)
  const { body } = await logIn(user.email, next)
  const bare = { authorization: `Bearer ${String(body['access_token'])}` }
  const due = { status: 403, code: 'PARAPET_SESSIONS_SECOND_FACTOR_REQUIRED' }
  await refuse(t, due, bare, 'GET', '/api/v1/users/me')
  const { headers } = await enrol(ask, bare)
  t.equal((await ask(headers, 'GET', '/api/v1/users/me')).status, 200)
  t.equal((await ask(admin.headers, 'DELETE', rule)).status, 204)
  t.match((await ask(admin.headers, 'GET', `${path}/account-status`)).body, {
    secondFactorForced: false,
  })
})

await t.test('every record of an impersonated session names the operator', async (t) => {
  const server = await createTestApp(t, database)
  const { app, ask, refuse, register, mailbox } = server
  const admin = await registerAdmin(server)
  const user = await register('viewer')
  const path = `/api/v1/users/${user.id}/impersonation`
  const begun = await ask(admin.headers, 'POST', path, { reason, minutes: 5 })
  t.match(begun, { status: 201, body: { token_type: 'Bearer', expires_in: Number } })
  t.match(await mailbox.find(user.email, /acts in your account/), { text: /reason: ticket 7/ })
  const acting = { authorization: `Bearer ${String(begun.body['access_token'])}` }
  t.match((await ask(acting, 'GET', '/api/v1/users/me')).body, { id: user.id })
  const change = { displayName: 'Corrected by support' }
  t.equal((await ask(acting, 'PATCH', `/api/v1/users/${user.id}`, change)).status, 200)
  // The rights are those of the user, and some things are left to the person.
  await refuse(t, denied, acting, 'GET', '/api/v1/users')
  await refuse(t, denied, acting, 'POST', path, { reason })
  const consent = { state: 'granted', noticeVersion: '2026-11' }
  const consents = '/api/v1/privacy/consents/data_sharing'
  await refuse(t, impersonated, acting, 'PUT', consents, consent)
  t.equal((await ask(user.headers, 'PUT', consents, consent)).status < 300, true)
  await refuse(t, impersonated, acting, 'DELETE', consents)
  await refuse(t, impersonated, acting, 'POST', '/api/v1/privacy/requests', { type: 'access' })
  await refuse(t, impersonated, acting, 'POST', '/api/v1/auth/password', {
    current: password,
    password: 'seven purple tandem otters',
  })
  const factors = { status: 403, code: 'PARAPET_MFA_IMPERSONATED' }
  await refuse(t, factors, acting, 'POST', '/api/v1/mfa/totp')
  await refuse(t, factors, acting, 'DELETE', '/api/v1/mfa/devices')

  t.equal((await ask(admin.headers, 'DELETE', path)).status, 204)
  await refuse(t, sessionEnded, acting, 'GET', '/api/v1/users/me')
  t.equal((await ask(user.headers, 'GET', '/api/v1/users/me')).status, 200)

  const [started] = await recordsOf(app, { action: 'sessions.impersonation_started' })
  t.match(started, {
    principal: admin.id,
    resourceId: user.id,
    session: /./,
    data: { reason, endsAt: Number },
  })
  const records = await recordsOf(app, { session: started!.session, principal: user.id })
  const actions = new Set(records.map(({ action }) => action))
  for (const action of ['user.update', 'rbac.denied']) t.ok(actions.has(action), action)
  t.same(
    records.filter(({ actor }) => actor !== admin.id).map(({ action }) => action),
    ['sessions.revoked'],
    'the end is what the operator did, and not in that session',
  )
  const own = await recordsOf(app, { principal: user.id, action: 'user.register' })
  for (const record of own) t.notOk('actor' in record)
})

await t.test(
  'an operator in a browser gets the session of the user instead of the own',
  async (t) => {
    const server = await createTestApp(t, database)
    const { app, ask, refuse, register } = server
    const admin = await registerAdmin(server)
    const user = await register('viewer')
    const browser = {
      ...admin.headers,
      origin: 'http://127.0.0.1:3000',
      'sec-fetch-site': 'same-origin',
    }
    const path = `/api/v1/users/${user.id}/impersonation`
    const { status, body, headers } = await ask(browser, 'POST', path, { reason })
    t.match({ status, body }, { status: 201, body: { token_type: 'Bearer' } })
    t.notOk('access_token' in body)
    t.match(headers['set-cookie'], [/^__Host-/, /^__Host-/])
    await refuse(t, sessionEnded, admin.headers, 'GET', '/api/v1/users/me')
    t.match(await app.sessions.list(user.id), [{ actorId: admin.id }, {}])
  },
)
