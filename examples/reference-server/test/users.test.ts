/** Users: who reads and changes them, passwords, and the end of an account. */
import { uuidV7 } from '@parapet/kit'
import { can, type RightsPack } from '@parapet/rbac/client'
import t from 'tap'
import { purgeUnverified } from '../src/users/unverified.ts'
import { enrol } from './support/enrol.ts'
import { signIn } from './support/sign-in.ts'
import {
  createTestApp,
  denied,
  openDatabase,
  shareTestApp,
  password,
  sessionEnded,
  unauthenticated,
} from './support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)
const loginFailed = { status: 401, code: 'PARAPET_SESSIONS_LOGIN_FAILED' }

await t.test('names in any script are stored unchanged', async (t) => {
  const { ask, register } = await useApp(t)
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
    const changed = await ask(headers, 'PATCH', `/api/v1/users/${id}`, { displayName })
    t.match([changed.status, changed.body], [200, { displayName }])
    t.match((await ask(headers, 'GET', '/api/v1/users/me')).body, { displayName })
  }
})

await t.test('a page learns the rights of its user', async (t) => {
  const { ask, refuse, register } = await useApp(t)
  const { id, headers } = await register('editor')
  await refuse(t, unauthenticated, {}, 'GET', '/api/v1/users/me/rights')
  const { status, body } = await ask(headers, 'GET', '/api/v1/users/me/rights')
  t.equal(status, 200)
  const rights = body as unknown as RightsPack
  t.equal(can(rights, 'content:write', { authorId: id }, 0), true)
  t.equal(can(rights, 'content:write', { authorId: 'another' }, 0), false)
  t.equal(can(rights, 'users:delete', { id: 'another' }, 0), false)
})

await t.test('users read and change their own account, administrators every account', async (t) => {
  const { app, ask, refuse, register } = await useApp(t)
  const [ann, bob] = [await register('viewer'), await register('editor')]
  const admin = await signIn(app, 'admin')
  const url = `/api/v1/users/${ann.id}`
  for (const own of [url, `/api/v1/users/${ann.id.toUpperCase()}`]) {
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
    await refuse(t, refusal, who, 'GET', '/api/v1/users')
  }
  // The same response as for a user who exists.
  await refuse(t, denied, bob.headers, 'GET', `/api/v1/users/${uuidV7()}`)
  t.equal((await ask(admin, 'GET', '/api/v1/users')).status, 200)
  t.equal((await ask(admin, 'PATCH', url, { displayName: 'A' })).status, 200)
})

await t.test('only an administrator deletes an account by its id, and never the own', async (t) => {
  const { app, ask, refuse, register } = await useApp(t)
  const ann = await register('viewer')
  const url = `/api/v1/users/${ann.id}`
  // Her own account is deleted by DELETE /api/v1/users/me.
  await refuse(t, denied, ann.headers, 'DELETE', url)
  const chief = await register('admin')
  for (const id of [chief.id, chief.id.toUpperCase()]) {
    await refuse(t, denied, chief.headers, 'DELETE', `/api/v1/users/${id}`)
  }
  t.equal((await ask(await signIn(app, 'admin'), 'DELETE', url)).status, 204)
})

await t.test(
  'a change of password requires the current one and ends the other sessions',
  async (t) => {
    const { app, ask, logIn, refuse, register } = await useApp(t)
    const { id, email, headers } = await register('viewer')
    const other = await signIn(app, 'viewer', id)
    const next = `another ${password}`
    const url = '/api/v1/auth/password'
    const proofRequired = { status: 403, code: 'PARAPET_SESSIONS_PROOF_REQUIRED' }
    const weak = { status: 400, code: 'PARAPET_SESSIONS_PASSWORD_REFUSED' }
    const change = { current: password, password: next }
    await refuse(t, sessionEnded, {}, 'POST', url, change)
    await refuse(t, proofRequired, headers, 'POST', url, { ...change, current: next })
    await refuse(t, weak, headers, 'POST', url, { ...change, password: 'short' })

    const send = () => ask(headers, 'POST', url, change)
    const both = await Promise.all([send(), send()])
    const statuses = new Set(both.map(({ status }) => status))
    t.same(statuses, new Set([204, 403]), 'one of two concurrent changes fails')
    await refuse(t, sessionEnded, other, 'GET', '/api/v1/users/me')
    t.equal((await ask(headers, 'GET', '/api/v1/users/me')).status, 200, 'this session continues')
    await refuse(t, loginFailed, {}, 'POST', '/api/v1/auth/login', { login: email, password })
    t.equal((await logIn(email, next)).status, 200)
  },
)

await t.test('a user with a password can log in; deleting the user ends the session', async (t) => {
  const { app, ask, logIn, refuse, verify } = await useApp(t)
  const admin = await signIn(app, 'admin')
  const user = { email: 'Ada@example.com', displayName: 'A', password }
  t.equal((await ask({}, 'POST', '/api/v1/users', user)).status, 202)
  const login = 'ada@example.com'
  await refuse(t, loginFailed, {}, 'POST', '/api/v1/auth/login', { login, password })
  await verify(user.email)
  await refuse(t, loginFailed, admin, 'POST', '/api/v1/auth/login', { login, password: 'wrong' })
  const { status, body } = await logIn(login, password)
  t.equal(status, 200)
  const bearer = { authorization: `Bearer ${String(body['access_token'])}` }
  const own = await ask(bearer, 'GET', '/api/v1/users/me')
  t.match([own.status, own.body], [200, { email: 'Ada@example.com', roles: ['viewer'] }])
  t.notMatch(own.text, /password|argon2/)
  const id = String(own.body['id'])
  await refuse(t, unauthenticated, {}, 'GET', '/api/v1/users/me')

  t.equal((await ask(admin, 'DELETE', `/api/v1/users/${id}`)).status, 204)
  await refuse(t, sessionEnded, bearer, 'GET', '/api/v1/users/me')
  const refreshToken = body['refresh_token']
  const refused = { status: 401, code: 'PARAPET_SESSIONS_REFRESH_REFUSED' }
  await refuse(t, refused, admin, 'POST', '/api/v1/auth/refresh', { refreshToken })
})

await t.test(
  'deleting the own account requires a second factor; enrolling one is enough',
  async (t) => {
    const { ask, logIn, refuse, verify } = await useApp(t)
    const login = 'ada@example.com'
    await ask({}, 'POST', '/api/v1/users', { email: login, displayName: 'A', password })
    await verify(login)
    const { body } = await logIn(login, password)
    const own = { authorization: `Bearer ${String(body['access_token'])}` }
    await refuse(t, unauthenticated, {}, 'DELETE', '/api/v1/users/me')
    const enrolmentRequired = { status: 403, code: 'PARAPET_MFA_ENROLMENT_REQUIRED' }
    await refuse(t, enrolmentRequired, own, 'DELETE', '/api/v1/users/me')
    const { headers } = await enrol(ask, own)
    t.match((await ask(headers, 'GET', '/api/v1/mfa')).body, { enrolled: true, backupCodesLeft: 8 })
    await refuse(t, sessionEnded, own, 'DELETE', '/api/v1/users/me')
    t.equal((await ask(headers, 'DELETE', '/api/v1/users/me')).status, 204)
    await refuse(t, sessionEnded, headers, 'GET', '/api/v1/mfa')
  },
)

await t.test('an account that nobody verified is deleted after seven days', async (t) => {
  const { app, ask, register, mailbox } = await createTestApp(t, database)
  const verified = await register('viewer')
  const author = 'author@example.com'
  for (const name of ['old', 'again', 'new', 'author']) {
    const user = { email: `${name}@example.com`, displayName: name, password }
    await ask({}, 'POST', '/api/v1/users', user)
  }
  await mailbox.tokenTo(author)
  await database.sql.query(
    `UPDATE users SET created_at = now() - interval '8 days', updated_at = now() - interval '8 days'
      WHERE email <> 'new@example.com'`,
  )
  await database.sql.query(
    `INSERT INTO content (id, author_id, title, body)
     SELECT gen_random_uuid(), id, 'T', 'B' FROM users WHERE email = $1`,
    [author],
  )
  const again = { email: 'again@example.com', displayName: 'again', password }
  await ask({}, 'POST', '/api/v1/users', again)
  const { rows: old } = await database.sql.query<{ id: string }>(
    `SELECT id::text AS id FROM users WHERE email = 'old@example.com'`,
  )
  await app.sessions.lockAccount(old[0]!.id, { reason: 'spam' })
  t.equal(await purgeUnverified(app), 1)
  t.equal(await purgeUnverified(app), 0)
  const { rows } = await database.sql.query<{ email: string }>('SELECT email FROM users')
  t.same(
    new Set(rows.map(({ email }) => email)),
    new Set([verified.email, author, again.email, 'new@example.com']),
  )
  t.equal((await app.sessions.accountStatus(old[0]!.id)).locked, null)
  await app.audit.flush()
  const { entries } = await app.audit.query({ filters: { action: 'user.purge' } })
  t.match(entries, [{ record: { resource: 'user', resourceId: old[0]!.id } }])
  t.ok(app.jobNames.includes('users.purge_unverified'))
})
