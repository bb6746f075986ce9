/** Users: who reads and changes them, passwords, and the end of an account. */
import { uuidV7 } from '@parapet/kit'
import t from 'tap'
import { enrol } from './support/enrol.ts'
import { signIn } from './support/sign-in.ts'
import {
  createTestApp,
  denied,
  openDatabase,
  password,
  sessionEnded,
  unauthenticated,
  invalid,
} from './support/test-app.ts'

const database = await openDatabase(t)
const loginFailed = { status: 401, code: 'PARAPET_SESSIONS_LOGIN_FAILED' }

await t.test('names in any script are stored unchanged', async (t) => {
  const { ask, register } = await createTestApp(t, database)
  const { id, headers } = await register('viewer')
  const names = [
    'Ñandú',
    '東京 編集部',
    'می‌خواهم',
    'Ἀγορά',
    'हिन्दी',
    "L'été; DROP TABLE users",
    '🦜 Ara',
  ]
  for (const displayName of names) {
    const changed = await ask(headers, 'PATCH', `/users/${id}`, { displayName })
    t.match([changed.status, changed.body], [200, { displayName }])
    t.match((await ask(headers, 'GET', '/users/me')).body, { displayName })
  }
})

await t.test('users read and change their own account, administrators every account', async (t) => {
  const { app, ask, refuse, register } = await createTestApp(t, database)
  const [ann, bob] = [await register('viewer'), await register('editor')]
  const admin = await signIn(app, 'admin')
  const url = `/users/${ann.id}`
  for (const own of [url, `/users/${ann.id.toUpperCase()}`]) {
    t.match(await ask(ann.headers, 'GET', own), { status: 200, body: { roles: ['viewer'] } })
    t.equal((await ask(ann.headers, 'PATCH', own, { displayName: 'Ann' })).status, 200)
  }
  for (const [who, refusal] of [
    [{}, unauthenticated],
    [bob.headers, denied],
  ] as const) {
    await refuse(t, refusal, who, 'GET', url)
    await refuse(t, refusal, who, 'PATCH', url, { displayName: 'B' })
    await refuse(t, refusal, who, 'DELETE', url)
    await refuse(t, refusal, who, 'GET', '/users')
  }
  // The same response as for a user who exists.
  await refuse(t, denied, bob.headers, 'GET', `/users/${uuidV7()}`)
  t.equal((await ask(admin, 'GET', '/users')).status, 200)
  t.equal((await ask(admin, 'PATCH', url, { displayName: 'A' })).status, 200)
})

await t.test('only an administrator deletes an account by its id, and never the own', async (t) => {
  const { app, ask, refuse, register } = await createTestApp(t, database)
  const ann = await register('viewer')
  const url = `/users/${ann.id}`
  // Her own account is deleted by DELETE /users/me.
  await refuse(t, denied, ann.headers, 'DELETE', url)
  const chief = await register('admin')
  for (const id of [chief.id, chief.id.toUpperCase()]) {
    await refuse(t, denied, chief.headers, 'DELETE', `/users/${id}`)
  }
  t.equal((await ask(await signIn(app, 'admin'), 'DELETE', url)).status, 204)
})

await t.test(
  'a change of password requires the current one and revokes all sessions',
  async (t) => {
    const { ask, logIn, refuse, register } = await createTestApp(t, database)
    const { email, headers } = await register('viewer')
    const next = `another ${password}`
    const url = '/users/me/password'
    const wrongPassword = { status: 403, code: 'PARAPET_REFERENCE_WRONG_PASSWORD' }
    await refuse(t, unauthenticated, {}, 'PUT', url, { current: password, next })
    await refuse(t, wrongPassword, headers, 'PUT', url, { current: next, next })
    await refuse(t, invalid, headers, 'PUT', url, { current: password, next: 'short' })

    const change = () => ask(headers, 'PUT', url, { current: password, next })
    const both = await Promise.all([change(), change()])
    const statuses = new Set(both.map(({ status }) => status))
    t.same(statuses, new Set([204, 403]), 'one of two concurrent changes fails')
    const failed = both.find(({ status }) => status === 403)
    t.equal(failed?.code, wrongPassword.code)
    await refuse(t, sessionEnded, headers, 'GET', '/users/me')
    await refuse(t, loginFailed, {}, 'POST', '/auth/login', { login: email, password })
    t.equal((await logIn(email, next)).status, 200)
  },
)

await t.test('a user with a password can log in; deleting the user ends the session', async (t) => {
  const { app, ask, logIn, refuse } = await createTestApp(t, database)
  const admin = await signIn(app, 'admin')
  const user = { email: 'Ada@example.com', displayName: 'A', password }
  t.equal((await ask({}, 'POST', '/users', user)).status, 202)
  const login = 'ada@example.com'
  await refuse(t, loginFailed, admin, 'POST', '/auth/login', { login, password: 'wrong' })
  const { status, body } = await logIn(login, password)
  t.equal(status, 200)
  const bearer = { authorization: `Bearer ${String(body['access_token'])}` }
  const own = await ask(bearer, 'GET', '/users/me')
  t.match([own.status, own.body], [200, { email: 'Ada@example.com', roles: ['viewer'] }])
  t.notMatch(own.text, /password|argon2/)
  const id = String(own.body['id'])
  await refuse(t, unauthenticated, {}, 'GET', '/users/me')

  t.equal((await ask(admin, 'DELETE', `/users/${id}`)).status, 204)
  await refuse(t, sessionEnded, bearer, 'GET', '/users/me')
  const refreshToken = body['refresh_token']
  const refused = { status: 401, code: 'PARAPET_SESSIONS_REFRESH_REFUSED' }
  await refuse(t, refused, admin, 'POST', '/auth/refresh', { refreshToken })
})

await t.test(
  'deleting the own account requires a second factor; enrolling one is enough',
  async (t) => {
    const { ask, logIn, refuse } = await createTestApp(t, database)
    const login = 'ada@example.com'
    await ask({}, 'POST', '/users', { email: login, displayName: 'A', password })
    const { body } = await logIn(login, password)
    const own = { authorization: `Bearer ${String(body['access_token'])}` }
    await refuse(t, unauthenticated, {}, 'DELETE', '/users/me')
    const enrolmentRequired = { status: 403, code: 'PARAPET_MFA_ENROLMENT_REQUIRED' }
    await refuse(t, enrolmentRequired, own, 'DELETE', '/users/me')
    const { headers } = await enrol(ask, own)
    t.match((await ask(headers, 'GET', '/mfa')).body, { enrolled: true, backupCodesLeft: 8 })
    await refuse(t, sessionEnded, own, 'DELETE', '/users/me')
    t.equal((await ask(headers, 'DELETE', '/users/me')).status, 204)
    await refuse(t, sessionEnded, headers, 'GET', '/mfa')
  },
)
