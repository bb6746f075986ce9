/** Every route that changes something records who did what to which. */
import type { SubjectMessage } from '@parapet/privacy'
import t from 'tap'
import { enrol } from './support/enrol.ts'
import { createPrivacyWalks } from './support/privacy-walks.ts'
import { signIn } from './support/sign-in.ts'
import {
  artist,
  createDataFolder,
  createTestApp,
  openDatabase,
  password,
  type Answer,
} from './support/test-app.ts'

const database = await openDatabase(t)
const messages: SubjectMessage[] = []
const deliver = async (message: SubjectMessage) => void messages.push(message)
const { app, ask, register, mailbox } = await createTestApp(
  t,
  database,
  { FILES_DIR: createDataFolder(t) },
  { deliver },
)
const { tokenTo } = mailbox

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
  'POST /api/v1/mfa/passkeys': 'mfa.enrolled',
  'DELETE /api/v1/mfa/passkeys/:id': 'mfa.removed',
  'POST /api/v1/mfa/passkeys/verify': 'mfa.verified',
  'POST /api/v1/mfa/passkeys/login': 'mfa.verified',
}
/** Routes that calculate something, or create a challenge of the caller, and change nothing that lasts. */
const challenges = new Set([
  'POST /api/v1/artists/quotes',
  'POST /api/v1/bookings/evaluations',
  'POST /api/v1/incidents/simulate',
  // It sends a message again; the tests of the package make dead letters.
  'POST /api/v1/incidents/dead-letters/*',
  'POST /challenge/answer',
  'POST /api/v1/mfa/totp',
  'POST /api/v1/mfa/passkeys/options',
  'POST /api/v1/mfa/passkeys/verify/options',
  'POST /api/v1/mfa/passkeys/login/options',
  'POST /api/v1/auth/login/second-factor/options',
])

const text = (value: unknown) => String(value)
const admin = await register('admin')
const chief = admin.headers

async function createContent() {
  const { id } = await register('viewer')
  return ask(chief, 'POST', '/api/v1/content', { authorId: id, title: 'T', body: 'secret body' })
}
const createArtist = () =>
  ask(chief, 'POST', '/api/v1/artists', { ...artist, phone: '+493012345678' })

const resources: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /api/v1/content': async () => {
    const answer = await createContent()
    const members = ['authorId', 'title', 'body', 'status']
    return { answer, by: admin.id, id: text(answer.body['id']), members }
  },
  'PATCH /api/v1/content/:id': async () => {
    const id = text((await createContent()).body['id'])
    const changed = { title: 'U', body: 'secret too' }
    const answer = await ask(chief, 'PATCH', `/api/v1/content/${id}`, changed)
    return { answer, by: admin.id, id, members: ['title', 'body'] }
  },
  'DELETE /api/v1/content/:id': async () => {
    const id = text((await createContent()).body['id'])
    return { answer: await ask(chief, 'DELETE', `/api/v1/content/${id}`), by: admin.id, id }
  },
  'PUT /api/v1/content/:id/reviewers/:userId': async () => {
    const id = text((await createContent()).body['id'])
    const url = `/api/v1/content/${id}/reviewers/${admin.id}`
    return { answer: await ask(chief, 'PUT', url), by: admin.id, id, members: ['reviewer'] }
  },
  'DELETE /api/v1/content/:id/reviewers/:userId': async () => {
    const id = text((await createContent()).body['id'])
    const url = `/api/v1/content/${id}/reviewers/${admin.id}`
    return { answer: await ask(chief, 'DELETE', url), by: admin.id, id, members: ['reviewer'] }
  },
  'POST /api/v1/artists': async () => {
    const answer = await createArtist()
    const members = ['name', 'genres', 'hourlyRateMinor', 'currency', 'bio', 'available', 'phone']
    return { answer, by: admin.id, id: text(answer.body['id']), members }
  },
  'PATCH /api/v1/artists/:id': async () => {
    const id = text((await createArtist()).body['id'])
    const changed = { available: false, phone: '+493087654321', currency: 'EUR' }
    const answer = await ask(chief, 'PATCH', `/api/v1/artists/${id}`, changed)
    // The currency is the same as before.
    return { answer, by: admin.id, id, members: ['available', 'phone'] }
  },
  'DELETE /api/v1/artists/:id': async () => {
    const id = text((await createArtist()).body['id'])
    return { answer: await ask(chief, 'DELETE', `/api/v1/artists/${id}`), by: admin.id, id }
  },
}

const venue = { name: 'V', city: 'C', country: 'DE', capacity: 1 }
const createVenue = () => ask(chief, 'POST', '/api/v1/venues', venue)

async function createBooking() {
  const { id, headers } = await register('viewer')
  const offer = {
    artistId: (await createArtist()).body['id'],
    venueId: (await createVenue()).body['id'],
    date: new Date(Date.now() + 8_640_000_000).toISOString().slice(0, 10),
    hours: 2,
    price: 100,
    note: 'secret party',
  }
  return { by: id, headers, answer: await ask(headers, 'POST', '/api/v1/bookings', offer) }
}

async function uploadFile() {
  const { id, headers } = await register('viewer')
  const upload = await app.inject({
    method: 'POST',
    url: '/api/v1/files?name=secret.txt',
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    payload: 'secret bytes',
  })
  const body = upload.json<Record<string, unknown>>()
  const answer = {
    status: upload.statusCode,
    code: undefined,
    body,
    headers: {},
    text: upload.body,
  }
  return { by: id, headers, answer, id: text(body['id']) }
}

const business: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /api/v1/venues': async () => {
    const answer = await createVenue()
    const members = ['name', 'city', 'country', 'capacity']
    return { answer, by: admin.id, id: text(answer.body['id']), members }
  },
  'PATCH /api/v1/venues/:id': async () => {
    const id = text((await createVenue()).body['id'])
    const answer = await ask(chief, 'PATCH', `/api/v1/venues/${id}`, { capacity: 2 })
    return { answer, by: admin.id, id, members: ['capacity'] }
  },
  'DELETE /api/v1/venues/:id': async () => {
    const id = text((await createVenue()).body['id'])
    return { answer: await ask(chief, 'DELETE', `/api/v1/venues/${id}`), by: admin.id, id }
  },
  'POST /api/v1/bookings': async () => {
    const { by, answer } = await createBooking()
    const members = ['artistId', 'venueId', 'date', 'hours', 'priceMinor', 'currency', 'note']
    return { answer, by, id: text(answer.body['id']), members }
  },
  'PATCH /api/v1/bookings/:id': async () => {
    const made = await createBooking()
    const id = text(made.answer.body['id'])
    const change = { status: 'cancelled', note: 'secret change' }
    const answer = await ask(made.headers, 'PATCH', `/api/v1/bookings/${id}`, change)
    return { answer, by: made.by, id, members: ['status', 'note'] }
  },
  'PATCH /api/v1/settings': async () => {
    const { id, headers } = await register('viewer')
    const answer = await ask(headers, 'PATCH', '/api/v1/settings', { theme: 'dark' })
    return { answer, by: id, id, members: ['theme'] }
  },
  'POST /api/v1/files': async () => {
    const { answer, by, id } = await uploadFile()
    return { answer, by, id, members: ['bytes', 'name'] }
  },
  'DELETE /api/v1/files/:id': async () => {
    const { by, headers, id } = await uploadFile()
    return { answer: await ask(headers, 'DELETE', `/api/v1/files/${id}`), by, id }
  },
}

const accounts: Readonly<Record<string, () => Promise<Done>>> = {
  'DELETE /api/v1/console/users/:id/sessions/:session': async () => {
    const { id } = await register('viewer')
    const [session] = await app.sessions.list(id)
    const url = `/api/v1/console/users/${id}/sessions/${session!.id}`
    return { answer: await ask(chief, 'DELETE', url), by: admin.id, id }
  },
  'POST /api/v1/users': async () => {
    const user = { email: 'press@example.com', displayName: 'Press', password }
    const answer = await ask({}, 'POST', '/api/v1/users', user)
    const find = 'SELECT id::text AS id FROM users WHERE email = $1'
    const { rows } = await database.sql.query<{ id: string }>(find, [user.email])
    return { answer, id: rows[0]!.id }
  },
  'PATCH /api/v1/users/:id': async () => {
    const { id, headers } = await register('viewer')
    const answer = await ask(headers, 'PATCH', `/api/v1/users/${id}`, { displayName: 'Other' })
    return { answer, by: id, id, members: ['displayName'] }
  },
  'PUT /api/v1/users/:id/roles': async () => {
    const { id } = await register('viewer')
    const answer = await ask(chief, 'PUT', `/api/v1/users/${id}/roles`, { roles: ['editor'] })
    return { answer, by: admin.id, id, members: ['roles'] }
  },
  'DELETE /api/v1/users/:id': async () => {
    const { id } = await register('viewer')
    return { answer: await ask(chief, 'DELETE', `/api/v1/users/${id}`), by: admin.id, id }
  },
  'POST /api/v1/auth/email': async () => {
    const { id, headers } = await register('viewer')
    const change = { email: 'new@example.com', current: password }
    return { answer: await ask(headers, 'POST', '/api/v1/auth/email', change), by: id }
  },
  'POST /api/v1/auth/email/verify': async () => {
    const { id, headers } = await register('viewer')
    const change = { email: `${id}@example.com`, current: password }
    await ask(headers, 'POST', '/api/v1/auth/email', change)
    const token = await tokenTo(change.email)
    return { answer: await ask({}, 'POST', '/api/v1/auth/email/verify', { token }), by: id }
  },
  'POST /api/v1/auth/email/undo': async () => {
    const { id, email, headers } = await register('viewer')
    const change = { email: `${id}@example.com`, current: password }
    await ask(headers, 'POST', '/api/v1/auth/email', change)
    const link = await tokenTo(change.email)
    await ask({}, 'POST', '/api/v1/auth/email/verify', { token: link })
    const token = await tokenTo(email, /take it back/)
    return { answer: await ask({}, 'POST', '/api/v1/auth/email/undo', { token }), by: id }
  },
  'POST /api/v1/auth/email/verification': async () => {
    const answer = await ask({}, 'POST', '/api/v1/auth/email/verification', {
      email: 'a@b.example',
    })
    return { answer }
  },
  'POST /api/v1/auth/password/forgot': async () => {
    const answer = await ask({}, 'POST', '/api/v1/auth/password/forgot', { email: 'a@b.example' })
    return { answer }
  },
  'POST /api/v1/auth/password/reset': async () => {
    const { id, email } = await register('viewer')
    await ask({}, 'POST', '/api/v1/auth/password/forgot', { email })
    const reset = { token: await tokenTo(email, /new password/), password: `another ${password}` }
    return { answer: await ask({}, 'POST', '/api/v1/auth/password/reset', reset), by: id }
  },
  'POST /api/v1/auth/password': async () => {
    const { id, headers } = await register('viewer')
    const change = { current: password, password: `another ${password}` }
    return { answer: await ask(headers, 'POST', '/api/v1/auth/password', change), by: id }
  },
  'DELETE /api/v1/users/me': async () => {
    const { id, headers } = await register('viewer')
    const { headers: strong } = await enrol(ask, headers)
    return { answer: await ask(strong, 'DELETE', '/api/v1/users/me'), by: id, id }
  },
}

/** A user with an address and a password, in a session that can be refreshed. */
async function logInAnew() {
  const { id, email } = await register('viewer')
  const { body } = await ask({}, 'POST', '/api/v1/auth/login', { login: email, password })
  const headers = { authorization: `Bearer ${text(body['access_token'])}` }
  return { id, headers, refreshToken: text(body['refresh_token']) }
}

const sessionRoutes: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /api/v1/auth/login': async () => {
    const { id, email } = await register('viewer')
    return {
      answer: await ask({}, 'POST', '/api/v1/auth/login', { login: email, password }),
      by: id,
    }
  },
  'POST /api/v1/auth/login/second-factor': async () => {
    const { id, email, headers } = await register('viewer')
    const { nextCode } = await enrol(ask, headers)
    const { body } = await ask({}, 'POST', '/api/v1/auth/login', { login: email, password })
    const proof = { ticket: body['ticket'], code: nextCode() }
    return { answer: await ask({}, 'POST', '/api/v1/auth/login/second-factor', proof), by: id }
  },
  'POST /api/v1/auth/refresh': async () => {
    const { id, refreshToken } = await logInAnew()
    const answer = await ask({}, 'POST', '/api/v1/auth/refresh', { refresh_token: refreshToken })
    return { answer, by: id }
  },
  'POST /api/v1/auth/logout': async () => {
    const { id, headers } = await logInAnew()
    return { answer: await ask(headers, 'POST', '/api/v1/auth/logout'), by: id }
  },
  'DELETE /api/v1/auth/sessions': async () => {
    const { id, headers } = await logInAnew()
    await signIn(app, 'viewer', id)
    return { answer: await ask(headers, 'DELETE', '/api/v1/auth/sessions'), by: id }
  },
  'PATCH /api/v1/auth/sessions/:id': async () => {
    const { id, headers } = await logInAnew()
    const { sessionId } = await app.sessions.start({ id, roles: ['viewer'] })
    const url = `/api/v1/auth/sessions/${sessionId}`
    return { answer: await ask(headers, 'PATCH', url, { name: 'Laptop' }), by: id }
  },
  'DELETE /api/v1/auth/sessions/:id': async () => {
    const { id, headers } = await logInAnew()
    const { sessionId } = await app.sessions.start({ id, roles: ['viewer'] })
    return { answer: await ask(headers, 'DELETE', `/api/v1/auth/sessions/${sessionId}`), by: id }
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
  const answer = await ask(headers, 'POST', '/api/v1/mfa/verify', proof)
  const strong = { authorization: `Bearer ${text(answer.body['access_token'])}` }
  const { body } = await ask(strong, 'GET', '/api/v1/mfa')
  return { id, answer, headers: strong, devices: body['devices'] as readonly { id: string }[] }
}

const factorRoutes: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /api/v1/mfa/totp/confirm': async () => {
    const { id, headers } = await register('viewer')
    const { headers: strong } = await enrol(ask, headers)
    return { answer: await ask(strong, 'GET', '/api/v1/mfa'), by: id }
  },
  'POST /api/v1/mfa/verify': async () => {
    const { id, answer } = await rememberDevice()
    return { answer, by: id }
  },
  'POST /api/v1/mfa/backup-codes': async () => {
    const { id, headers } = await enrolAnew()
    return { answer: await ask(headers, 'POST', '/api/v1/mfa/backup-codes'), by: id }
  },
  'DELETE /api/v1/mfa/devices': async () => {
    const { id, headers } = await rememberDevice()
    return { answer: await ask(headers, 'DELETE', '/api/v1/mfa/devices'), by: id }
  },
  'DELETE /api/v1/mfa/devices/:id': async () => {
    const { id, headers, devices } = await rememberDevice()
    return { answer: await ask(headers, 'DELETE', `/api/v1/mfa/devices/${devices[0]?.id}`), by: id }
  },
  'DELETE /api/v1/mfa/totp': async () => {
    const { id, headers } = await enrolAnew()
    return { answer: await ask(headers, 'DELETE', '/api/v1/mfa/totp'), by: id }
  },
  'POST /api/v1/mfa/recover': async () => {
    const { id, backupCodes } = await enrolAnew()
    const headers = await signIn(app, 'viewer', id)
    const codes = backupCodes.slice(0, 2)
    return { answer: await ask(headers, 'POST', '/api/v1/mfa/recover', { codes }), by: id }
  },
  'DELETE /api/v1/mfa/users/:id': async () => {
    const { id } = await enrolAnew()
    const other = await register('admin')
    // The record names the administrator in its data. The tokens after the enrolment have the roles of the row.
    await ask(chief, 'PUT', `/api/v1/users/${other.id}/roles`, { roles: ['admin'] })
    const again = await signIn(app, 'admin', other.id)
    const { headers } = await enrol(ask, again)
    return { answer: await ask(headers, 'DELETE', `/api/v1/mfa/users/${id}`), by: id }
  },
  'PATCH /api/v1/mfa/passkeys/:id': async () => {
    const { id, headers } = await enrolAnew()
    // Without an authenticator there is no passkey to rename: the refusal is recorded.
    const answer = await ask(headers, 'PATCH', '/api/v1/mfa/passkeys/unknown', { name: 'Other' })
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
  ask(chief, 'POST', '/api/v1/security/containments', { address: '192.0.2.9', reason: 'test' })

const securityRoutes: Readonly<Record<string, () => Promise<Done>>> = {
  'PUT /api/v1/security/anomalies/:id/verdict': async () => {
    const id = await findAnomaly()
    const verdict = { verdict: 'false-positive' }
    const answer = await ask(chief, 'PUT', `/api/v1/security/anomalies/${id}/verdict`, verdict)
    return { answer, by: admin.id, id }
  },
  'PUT /api/v1/security/rules/:name/mode': async () => {
    const mode = { mode: 'alert' }
    return {
      answer: await ask(chief, 'PUT', '/api/v1/security/rules/scanner/mode', mode),
      by: admin.id,
    }
  },
  'POST /api/v1/security/containments': async () => ({
    answer: await blockAddress(),
    by: admin.id,
  }),
  'DELETE /api/v1/security/containments/:id': async () => {
    const id = text((await blockAddress()).body['id'])
    return {
      answer: await ask(chief, 'DELETE', `/api/v1/security/containments/${id}`),
      by: admin.id,
      id,
    }
  },
}

const openIncident = async (type = `t${Date.now()}_${incidents++}`) =>
  text((await ask(chief, 'POST', '/api/v1/incidents', { type })).body['id'])
let incidents = 0

/** A run that waits for a person. */
async function startRun() {
  const id = await openIncident()
  const { body } = await ask(chief, 'POST', `/api/v1/incidents/${id}/runs`, {
    playbook: 'leaked_secret',
  })
  const steps = body['steps'] as { readonly id: string }[]
  return { id, run: text(body['id']), step: steps[0]!.id }
}

const onIncident = (path: string, payload?: object, method: 'POST' | 'PUT' = 'POST') =>
  [
    `${method} /api/v1/incidents/:id/${path}`,
    async () => {
      const id = await openIncident()
      return {
        answer: await ask(chief, method, `/api/v1/incidents/${id}/${path}`, payload),
        by: admin.id,
      }
    },
  ] as const

const onRun = (path: string, payload?: object) =>
  [
    `POST /api/v1/incidents/:id/runs/:runId/${path}`,
    async () => {
      const { id, run, step } = await startRun()
      const url = `/api/v1/incidents/${id}/runs/${run}/${path.replace(':stepId', step)}`
      return { answer: await ask(chief, 'POST', url, payload), by: admin.id }
    },
  ] as const

const incidentRoutes: Readonly<Record<string, () => Promise<Done>>> = {
  'POST /api/v1/incidents': async () => ({
    answer: await ask(chief, 'POST', '/api/v1/incidents', { type: 'walk' }),
    by: admin.id,
  }),
  'POST /api/v1/incidents/playbooks/:name/drill': async () => ({
    answer: await ask(chief, 'POST', '/api/v1/incidents/playbooks/data_breach/drill'),
    by: admin.id,
  }),
  'POST /api/v1/incidents/:id/reopen': async () => {
    const id = await openIncident()
    const url = `/api/v1/incidents/${id}`
    await ask(chief, 'POST', `${url}/close`, { resolution: 'false_positive' })
    return { answer: await ask(chief, 'POST', `${url}/reopen`, {}), by: admin.id }
  },
  'POST /api/v1/incidents/:id/merge': async () => {
    const [id, into] = [await openIncident(), await openIncident()]
    return {
      answer: await ask(chief, 'POST', `/api/v1/incidents/${id}/merge`, { into }),
      by: admin.id,
    }
  },
  ...Object.fromEntries([
    onIncident('acknowledge'),
    onIncident('assignee', { assignee: 'bob' }, 'PUT'),
    onIncident('severity', { severity: 'high' }, 'PUT'),
    onIncident('comments', { text: 'seen' }),
    onIncident('links', { kind: 'audit', id: 'r-1' }),
    onIncident('transitions', { to: 'containment' }),
    onIncident('close', { resolution: 'false_positive' }),
    onIncident('runs', { playbook: 'data_breach' }),
    onIncident('actions', { action: 'LOG_ONLY' }),
    onRun('undo'),
    onRun('cancel'),
    onRun('steps/:stepId', { result: 'done' }),
  ]),
}

const reason = 'ticket 7'
const setRole = (role: string) =>
  database.sql.query(`UPDATE users SET roles = ARRAY[$2] WHERE id::text = $1`, [admin.id, role])
const onUser = (method: 'POST' | 'PUT' | 'DELETE', path: string, payload?: object) =>
  [
    `${method} /api/v1/users/:id/${path}`,
    async () => {
      const { id } = await register('viewer')
      // An impersonation looks the operator up.
      await setRole('admin')
      const answer = await ask(chief, method, `/api/v1/users/${id}/${path}`, payload)
      await setRole('viewer')
      return { answer, by: admin.id, id }
    },
  ] as const

const operatorRoutes: Readonly<Record<string, () => Promise<Done>>> = Object.fromEntries([
  onUser('PUT', 'lock', { reason }),
  onUser('DELETE', 'lock'),
  onUser('POST', 'password-reset', { reason }),
  onUser('PUT', 'second-factor-requirement', { reason }),
  onUser('DELETE', 'second-factor-requirement'),
  onUser('POST', 'impersonation', { reason }),
  onUser('DELETE', 'impersonation'),
])

const privacyRoutes = createPrivacyWalks({ app, ask, register, admin, messages })

const walks = {
  ...incidentRoutes,
  ...operatorRoutes,
  ...securityRoutes,
  ...privacyRoutes,
  ...resources,
  ...business,
  ...accounts,
  ...sessionRoutes,
  ...factorRoutes,
}

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
    if (!route.startsWith('PATCH /api/v1/mfa')) t.ok(answer.status < 300, answer.text)
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
  const bookings = await app.audit.query({ filters: { action: 'booking.*' }, limit: 100 })
  const files = await app.audit.query({ filters: { action: 'file.*' }, limit: 100 })
  const all = JSON.stringify([entries, more, users, bookings, files])
  t.notMatch(all, /secret|\+4930|press@|new@example|battery/)
  const updates = entries.filter(({ record }) => record.action === 'content.update')
  t.match(JSON.stringify(updates), '{"from":"T","path":"/title","to":"U"}')
})
