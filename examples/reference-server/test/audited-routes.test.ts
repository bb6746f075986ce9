/** Every route that changes something records who did what to which. */
import t from 'tap'
import { enrol } from './support/enrol.ts'
import { signIn } from './support/sign-in.ts'
import { artist, createTestApp, openDatabase, password, type Answer } from './support/test-app.ts'

const database = await openDatabase(t)
const { app, ask, register } = await createTestApp(t, database)

/** What a route has done, and what its records must say. */
interface Done {
  readonly answer: Answer
  /** The principal; absent if the request has no session. */
  readonly by?: string
  /** The id of the resource. */
  readonly id?: string
  /** The names of the members that changed. */
  readonly members?: readonly string[]
}

/** Routes whose records need an authenticator; `packages/mfa` tests that they emit these events. */
const needAuthenticator: Readonly<Record<string, string>> = {
  'POST /mfa/passkeys': 'mfa.enrolled',
  'DELETE /mfa/passkeys/:id': 'mfa.removed',
  'POST /mfa/passkeys/verify': 'mfa.verified',
  'POST /mfa/passkeys/login': 'mfa.verified',
}
/** Routes that calculate something, or create a challenge of the caller, and change nothing that lasts. */
const challenges = new Set([
  'POST /artists/quotes',
  'POST /challenge/answer',
  'POST /mfa/totp',
  'POST /mfa/passkeys/options',
  'POST /mfa/passkeys/verify/options',
  'POST /mfa/passkeys/login/options',
  'POST /auth/login/second-factor/options',
])

const text = (value: unknown) => String(value)
const admin = await register('admin')
const chief = admin.headers

async function createContent() {
  const { id } = await register('viewer')
  return ask(chief, 'POST', '/content', { authorId: id, title: 'T', body: 'secret body' })
}
const createArtist = () => ask(chief, 'POST', '/artists', { ...artist, phone: '+493012345678' })

const resources: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /content': async () => {
    const answer = await createContent()
    const members = ['authorId', 'title', 'body', 'status']
    return { answer, by: admin.id, id: text(answer.body['id']), members }
  },
  'PATCH /content/:id': async () => {
    const id = text((await createContent()).body['id'])
    const changed = { title: 'U', body: 'secret too' }
    const answer = await ask(chief, 'PATCH', `/content/${id}`, changed)
    return { answer, by: admin.id, id, members: ['title', 'body'] }
  },
  'DELETE /content/:id': async () => {
    const id = text((await createContent()).body['id'])
    return { answer: await ask(chief, 'DELETE', `/content/${id}`), by: admin.id, id }
  },
  'POST /artists': async () => {
    const answer = await createArtist()
    const members = ['name', 'genres', 'hourlyRateMinor', 'currency', 'bio', 'available', 'phone']
    return { answer, by: admin.id, id: text(answer.body['id']), members }
  },
  'PATCH /artists/:id': async () => {
    const id = text((await createArtist()).body['id'])
    const changed = { available: false, phone: '+493087654321', currency: 'EUR' }
    const answer = await ask(chief, 'PATCH', `/artists/${id}`, changed)
    // The currency is the same as before.
    return { answer, by: admin.id, id, members: ['available', 'phone'] }
  },
  'DELETE /artists/:id': async () => {
    const id = text((await createArtist()).body['id'])
    return { answer: await ask(chief, 'DELETE', `/artists/${id}`), by: admin.id, id }
  },
}

const accounts: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /users': async () => {
    const user = { email: 'press@example.com', displayName: 'Press', password }
    const answer = await ask({}, 'POST', '/users', user)
    const find = 'SELECT id::text AS id FROM users WHERE email = $1'
    const { rows } = await database.sql.query<{ id: string }>(find, [user.email])
    return { answer, id: rows[0]!.id }
  },
  'PATCH /users/:id': async () => {
    const { id, headers } = await register('viewer')
    const answer = await ask(headers, 'PATCH', `/users/${id}`, { displayName: 'Other' })
    return { answer, by: id, id, members: ['displayName'] }
  },
  'PUT /users/:id/roles': async () => {
    const { id } = await register('viewer')
    const answer = await ask(chief, 'PUT', `/users/${id}/roles`, { roles: ['editor'] })
    return { answer, by: admin.id, id, members: ['roles'] }
  },
  'DELETE /users/:id': async () => {
    const { id } = await register('viewer')
    return { answer: await ask(chief, 'DELETE', `/users/${id}`), by: admin.id, id }
  },
  'PUT /users/me/email': async () => {
    const { id, headers } = await register('viewer')
    const { headers: strong } = await enrol(ask, headers)
    const change = { email: 'new@example.com', current: password }
    const answer = await ask(strong, 'PUT', '/users/me/email', change)
    return { answer, by: id, id, members: ['email'] }
  },
  'PUT /users/me/password': async () => {
    const { id, headers } = await register('viewer')
    const { headers: strong } = await enrol(ask, headers)
    const change = { current: password, next: `${password}!` }
    return { answer: await ask(strong, 'PUT', '/users/me/password', change), by: id }
  },
  'DELETE /users/me': async () => {
    const { id, headers } = await register('viewer')
    const { headers: strong } = await enrol(ask, headers)
    return { answer: await ask(strong, 'DELETE', '/users/me'), by: id, id }
  },
}

/** A user with an address and a password, in a session that can be refreshed. */
async function logInAnew() {
  const { id, email } = await register('viewer')
  const { body } = await ask({}, 'POST', '/auth/login', { login: email, password })
  const headers = { authorization: `Bearer ${text(body['access_token'])}` }
  return { id, headers, refreshToken: text(body['refresh_token']) }
}

const sessionRoutes: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /auth/login': async () => {
    const { id, email } = await register('viewer')
    return { answer: await ask({}, 'POST', '/auth/login', { login: email, password }), by: id }
  },
  'POST /auth/login/second-factor': async () => {
    const { id, email, headers } = await register('viewer')
    const { nextCode } = await enrol(ask, headers)
    const { body } = await ask({}, 'POST', '/auth/login', { login: email, password })
    const proof = { ticket: body['ticket'], code: nextCode() }
    return { answer: await ask({}, 'POST', '/auth/login/second-factor', proof), by: id }
  },
  'POST /auth/refresh': async () => {
    const { id, refreshToken } = await logInAnew()
    const answer = await ask({}, 'POST', '/auth/refresh', { refresh_token: refreshToken })
    return { answer, by: id }
  },
  'POST /auth/logout': async () => {
    const { id, headers } = await logInAnew()
    return { answer: await ask(headers, 'POST', '/auth/logout'), by: id }
  },
  'DELETE /auth/sessions': async () => {
    const { id, headers } = await logInAnew()
    await signIn(app, 'viewer', id)
    return { answer: await ask(headers, 'DELETE', '/auth/sessions'), by: id }
  },
  'DELETE /auth/sessions/:id': async () => {
    const { id, headers } = await logInAnew()
    const { sessionId } = await app.sessions.start({ id, roles: ['viewer'] })
    return { answer: await ask(headers, 'DELETE', `/auth/sessions/${sessionId}`), by: id }
  },
}

/** A user with an authenticator app. */
async function enrolAnew() {
  const { id, headers } = await register('viewer')
  return { id, ...(await enrol(ask, headers)) }
}

/** Verifies a code, and remembers the device. */
async function rememberDevice() {
  const { id, headers, nextCode } = await enrolAnew()
  const proof = { code: nextCode(), rememberDevice: true }
  const answer = await ask(headers, 'POST', '/mfa/verify', proof)
  const strong = { authorization: `Bearer ${text(answer.body['access_token'])}` }
  const { body } = await ask(strong, 'GET', '/mfa')
  return { id, answer, headers: strong, devices: body['devices'] as readonly { id: string }[] }
}

const factorRoutes: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /mfa/totp/confirm': async () => {
    const { id, headers } = await register('viewer')
    const { headers: strong } = await enrol(ask, headers)
    return { answer: await ask(strong, 'GET', '/mfa'), by: id }
  },
  'POST /mfa/verify': async () => {
    const { id, answer } = await rememberDevice()
    return { answer, by: id }
  },
  'POST /mfa/backup-codes': async () => {
    const { id, headers } = await enrolAnew()
    return { answer: await ask(headers, 'POST', '/mfa/backup-codes'), by: id }
  },
  'DELETE /mfa/devices': async () => {
    const { id, headers } = await rememberDevice()
    return { answer: await ask(headers, 'DELETE', '/mfa/devices'), by: id }
  },
  'DELETE /mfa/devices/:id': async () => {
    const { id, headers, devices } = await rememberDevice()
    return { answer: await ask(headers, 'DELETE', `/mfa/devices/${devices[0]?.id}`), by: id }
  },
  'DELETE /mfa/totp': async () => {
    const { id, headers } = await enrolAnew()
    return { answer: await ask(headers, 'DELETE', '/mfa/totp'), by: id }
  },
  'POST /mfa/recover': async () => {
    const { id, backupCodes } = await enrolAnew()
    const headers = await signIn(app, 'viewer', id)
    const codes = backupCodes.slice(0, 2)
    return { answer: await ask(headers, 'POST', '/mfa/recover', { codes }), by: id }
  },
  'DELETE /mfa/users/:id': async () => {
    const { id } = await enrolAnew()
    const other = await register('admin')
    // The record names the administrator in its data. The tokens after the enrolment have the roles of the row.
    await ask(chief, 'PUT', `/users/${other.id}/roles`, { roles: ['admin'] })
    const again = await signIn(app, 'admin', other.id)
    const { headers } = await enrol(ask, again)
    return { answer: await ask(headers, 'DELETE', `/mfa/users/${id}`), by: id }
  },
  'PATCH /mfa/passkeys/:id': async () => {
    const { id, headers } = await enrolAnew()
    // Without an authenticator there is no passkey to rename: the refusal is recorded.
    const answer = await ask(headers, 'PATCH', '/mfa/passkeys/unknown', { name: 'Other' })
    return { answer, by: id }
  },
  'POST /_reports': async () => {
    const report = [{ type: 'csp-violation', url: 'https://a.example', body: { documentURL: 'a' } }]
    const payload = JSON.stringify(report)
    const headers = { 'content-type': 'application/reports+json' }
    const { statusCode } = await app.inject({ method: 'POST', url: '/_reports', payload, headers })
    return { answer: { status: statusCode, code: undefined, body: {}, headers: {}, text: '' } }
  },
}

/** An anomaly that the guard found: five wrong passwords, from an address of the documentation. */
async function findAnomaly(): Promise<string> {
  for (let attempt = 0; attempt < 5; attempt++) {
    app.securityEvents.emit('sessions.login_failed', {
      ip: '192.0.2.7',
      details: { method: 'pwd', loginHash: 'h' },
    })
  }
  await app.anomaly.settle()
  const found = await app.anomaly.timeline()
  return text(found.find(({ rule }) => rule === 'brute-force')?.id)
}

const blockAddress = () =>
  ask(chief, 'POST', '/security/containments', { address: '192.0.2.9', reason: 'test' })

const securityRoutes: Readonly<Record<string, () => Promise<Done>>> = {
  'PUT /security/anomalies/:id/verdict': async () => {
    const id = await findAnomaly()
    const verdict = { verdict: 'false-positive' }
    const answer = await ask(chief, 'PUT', `/security/anomalies/${id}/verdict`, verdict)
    return { answer, by: admin.id, id }
  },
  'PUT /security/rules/:name/mode': async () => {
    const mode = { mode: 'alert' }
    return { answer: await ask(chief, 'PUT', '/security/rules/scanner/mode', mode), by: admin.id }
  },
  'POST /security/containments': async () => ({ answer: await blockAddress(), by: admin.id }),
  'DELETE /security/containments/:id': async () => {
    const id = text((await blockAddress()).body['id'])
    return { answer: await ask(chief, 'DELETE', `/security/containments/${id}`), by: admin.id, id }
  },
}

const walks = { ...securityRoutes, ...resources, ...accounts, ...sessionRoutes, ...factorRoutes }

await t.test('the walk knows every route that changes something', async (t) => {
  const known = [...Object.keys(walks), ...Object.keys(needAuthenticator), ...challenges]
  const changing = app.rbac
    .matrix()
    .rows.filter(({ method }) => method !== 'GET' && method !== 'HEAD')
    .map(({ method, url }) => `${method} ${url}`)
  t.same(known.toSorted(), changing.toSorted())
  for (const type of Object.values(needAuthenticator)) {
    t.ok(app.securityEvents.declarations.has(type), type)
  }
})

for (const [route, walk] of Object.entries(walks)) {
  await t.test(`${route} is recorded`, async (t) => {
    const { answer, by, id, members = [] } = await walk()
    if (!route.startsWith('PATCH /mfa')) t.ok(answer.status < 300, answer.text)
    await app.audit.flush()
    const filters = by === undefined ? {} : { principal: by }
    const { entries } = await app.audit.query({ filters, limit: 100 })
    const records = entries.map(({ record }) => record).filter((record) => record.route === route)
    t.not(records.length, 0, 'there is a record')
    if (id === undefined) return
    const named = records.filter((record) => record.resourceId === id)
    t.not(named.length, 0, 'a record names the resource')
    const paths = named.flatMap(({ changes }) => (changes ?? []) as { path: string }[])
    for (const member of members) {
      t.ok(
        paths.some(({ path }) => path === `/${member}`),
        `a record names the member ${member}`,
      )
    }
  })
}

await t.test('records contain no personal values and no long texts', async (t) => {
  const { entries } = await app.audit.query({ filters: { action: 'content.*' }, limit: 100 })
  const more = await app.audit.query({ filters: { action: 'artist.*' }, limit: 100 })
  const users = await app.audit.query({ filters: { action: 'user.*' }, limit: 100 })
  const all = JSON.stringify([entries, more.entries, users.entries])
  t.notMatch(all, /secret|\+4930|press@|new@example|battery/)
  const updates = entries.filter(({ record }) => record.action === 'content.update')
  t.match(JSON.stringify(updates), '{"from":"T","path":"/title","to":"U"}')
})
