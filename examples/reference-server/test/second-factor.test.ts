/** The second factor: at the login, in sessions that are older than it, and in the tokens. */
import t from 'tap'
import { enrol } from './support/enrol.ts'
import { signIn } from './support/sign-in.ts'
import {
  createTestApp,
  openDatabase,
  shareTestApp,
  password,
  sessionEnded,
  type Answer,
} from './support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)
const stepUp = { status: 401, code: 'PARAPET_MFA_STEP_UP_REQUIRED' }
const ticketRefused = { status: 401, code: 'PARAPET_SESSIONS_TICKET_REFUSED' }
const secondStep = '/api/v1/auth/login/second-factor'

const bearer = ({ body }: Answer) => ({ authorization: `Bearer ${String(body['access_token'])}` })
/** The claims of an access token; the server has verified it in the request before. */
function claimsOf({ authorization }: { readonly authorization: string }) {
  const payload = Buffer.from(authorization.split('.')[1]!, 'base64url').toString()
  return JSON.parse(payload) as Readonly<Record<string, unknown>>
}

await t.test('a password alone gives no tokens where the account has a factor', async (t) => {
  const { ask, logIn, refuse, register } = await useApp(t)
  const { email } = await register('viewer')
  const first = bearer(await logIn(email, password))
  const { nextCode } = await enrol(ask, first)

  const login = await logIn(email, password)
  t.equal(login.status, 202)
  t.same(Object.keys(login.body).toSorted(), ['expires_in', 'methods', 'ticket'])
  t.same(login.body['methods'], ['totp', 'backup-code'])
  t.notOk('set-cookie' in login.headers)
  const { ticket } = login.body
  const wrong = { status: 403, code: 'PARAPET_MFA_CODE_REFUSED' }
  await refuse(t, wrong, {}, 'POST', secondStep, { ticket, code: '000000' })

  const finished = await ask({}, 'POST', secondStep, { ticket, code: nextCode() })
  t.equal(finished.status, 200)
  const own = bearer(finished)
  t.equal((await ask(own, 'GET', '/api/v1/users/me')).status, 200)
  t.match(claimsOf(own), { acr: 'aal2', amr: ['pwd', 'otp', 'mfa'] })
  await refuse(t, ticketRefused, {}, 'POST', secondStep, { ticket, code: nextCode() })
})

await t.test('a wrong password gives no ticket, and does not reveal the factor', async (t) => {
  const { ask, logIn, register } = await useApp(t)
  const [ann, bob] = [await register('viewer'), await register('viewer')]
  await enrol(ask, bearer(await logIn(ann.email, password)))
  const answers = [await logIn(ann.email, 'wrong'), await logIn(bob.email, 'wrong')]
  for (const { status, code } of answers) {
    t.same([status, code], [401, 'PARAPET_SESSIONS_LOGIN_FAILED'])
  }
})

await t.test(
  'a session that is older than the factor has to show it, on every route',
  async (t) => {
    const { ask, logIn, refuse, register } = await useApp(t)
    const { id, email } = await register('viewer')
    const older = bearer(await logIn(email, password))
    const { headers, nextCode } = await enrol(ask, bearer(await logIn(email, password)))
    const session = (await ask(headers, 'GET', '/api/v1/auth/sessions')).body['sessions'] as {
      id: string
    }[]
    const next = `another ${password}`
    const account: [Parameters<typeof ask>[1], string, object?][] = [
      ['GET', '/api/v1/users/me'],
      ['GET', `/api/v1/users/${id}`],
      ['PATCH', `/api/v1/users/${id}`, { displayName: 'B' }],
      ['POST', '/api/v1/auth/email', { email: 'b@example.com', current: password }],
      ['POST', '/api/v1/auth/password', { current: password, password: next }],
      ['DELETE', '/api/v1/users/me'],
      ['GET', '/api/v1/auth/sessions'],
      ['DELETE', '/api/v1/auth/sessions'],
      ['DELETE', `/api/v1/auth/sessions/${session[0]!.id}`],
      ['DELETE', '/api/v1/mfa/totp'],
      ['POST', '/api/v1/mfa/backup-codes'],
      ['GET', '/api/v1/content'],
    ]
    for (const [method, url, body] of account) await refuse(t, stepUp, older, method, url, body)
    t.equal((await ask(headers, 'GET', '/api/v1/users/me')).status, 200, 'no session was ended')

    const proved = await ask(older, 'POST', '/api/v1/mfa/verify', { code: nextCode() })
    t.equal(proved.status, 200)
    t.equal((await ask(bearer(proved), 'GET', '/api/v1/users/me')).status, 200)
  },
)

await t.test('a proof does not lift a token that was stolen before it', async (t) => {
  const { ask, logIn, refuse, register } = await useApp(t)
  const { email } = await register('viewer')
  const stolen = await logIn(email, password)
  const { headers } = await enrol(ask, bearer(stolen))
  t.equal((await ask(headers, 'GET', '/api/v1/users/me')).status, 200)
  t.match(claimsOf(headers as { authorization: string }), {
    acr: 'aal2',
    amr: ['pwd', 'otp', 'mfa'],
  })
  await refuse(t, sessionEnded, bearer(stolen), 'GET', '/api/v1/users/me')
  const refreshToken = stolen.body['refresh_token']
  const refused = { status: 401, code: 'PARAPET_SESSIONS_REFRESH_REFUSED' }
  await refuse(t, refused, {}, 'POST', '/api/v1/auth/refresh', { refreshToken })
})

await t.test('a user without a factor logs in with the password alone', async (t) => {
  const { ask, logIn, register } = await useApp(t)
  const { email } = await register('viewer')
  const login = await logIn(email, password)
  t.equal(login.status, 200)
  t.equal((await ask(bearer(login), 'GET', '/api/v1/users/me')).status, 200)
})

await t.test('authenticator apps and passkey pickers show the e-mail address', async (t) => {
  const { app, ask, register } = await useApp(t)
  const { email, headers, id } = await register('viewer')
  const { body } = await ask(headers, 'POST', '/api/v1/mfa/passkeys/options')
  t.match(body, { user: { name: email } })
  const { uri } = await enrol(ask, await signIn(app, 'viewer', id))
  t.match(decodeURIComponent(uri), email)
})

await t.test('a user whom the anomaly guard suspects shows a factor anew', async (t) => {
  const { app, ask, logIn, refuse, register } = await createTestApp(t, database)
  const [{ id, email }, other] = [await register('viewer'), await register('viewer')]
  const { headers, nextCode } = await enrol(ask, bearer(await logIn(email, password)))
  const me = '/api/v1/users/me'
  t.equal((await ask(headers, 'GET', me)).status, 200)
  const order = { reason: 'a stolen session', by: 'admin' }
  await app.anomaly.contain.stepUp(id, order)
  await refuse(t, stepUp, headers, 'GET', me)
  t.equal((await ask(other.headers, 'GET', me)).status, 200, 'another user')
  const proved = await ask(headers, 'POST', '/api/v1/mfa/verify', { code: nextCode() })
  t.equal(proved.status, 200)
  t.equal((await ask(bearer(proved), 'GET', me)).status, 200)
  await app.anomaly.contain.stepUp(other.id, order)
  const refused = await ask(other.headers, 'GET', me)
  t.same([refused.status, refused.code], [403, 'PARAPET_MFA_ENROLMENT_REQUIRED'])
  const open = app.anomaly.contain.list().find(({ target }) => target.value === other.id)
  await app.anomaly.contain.lift(open!.id, { by: 'admin' })
  t.equal((await ask(other.headers, 'GET', me)).status, 200, 'lifted')
})
