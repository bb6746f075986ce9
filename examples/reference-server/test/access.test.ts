/** The policy: every route with every role, changes of roles, and the first administrator. */
import { readFile, stat } from 'node:fs/promises'
import { uuidV7 } from '@parapet/kit'
import { testMatrix } from '@parapet/rbac'
import { pino } from 'pino'
import t from 'tap'
import { roles } from '../src/access/policy.ts'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { signIn } from './support/sign-in.ts'
import {
  createClient,
  createDataFolder,
  createMemoryLog,
  createTestApp,
  denied,
  invalid,
  notFound,
  openDatabase,
  shareTestApp,
  password,
  sessionEnded,
  unauthenticated,
  type Answer,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)

await t.test('every route allows and denies each role as the policy says', async (t) => {
  const { app } = await useApp(t)
  // The routes of the sessions plugin require a session themselves.
  const { checked } = await testMatrix(app, {
    headers: await signIn(app, 'viewer'),
    // One address may not send so many requests a minute.
    remoteAddress: (request) => `198.51.100.${request % 250}`,
  })
  const { rows } = app.rbac.matrix()
  t.same(app.rbac.matrix().roles.toSorted(), roles.toSorted())
  t.equal(checked, rows.length * (roles.length + 1))

  const names = rows.map(({ method, url }) => `${method} ${url}`)
  const { paths } = app.swagger() as { paths: Readonly<Record<string, object>> }
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of Object.keys(operations)) {
      const url = path.replaceAll(/\{(\w+)\}/g, ':$1').replace('{*}', '*')
      t.ok(names.includes(`${method.toUpperCase()} ${url}`), `${method} ${path} is in the matrix`)
    }
  }
})

await t.test('the OpenAPI description lists the permissions of each route', async (t) => {
  const { app } = await useApp(t)
  t.match(app.swagger(), {
    components: { securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer' } } },
    paths: {
      '/api/v1/artists': {
        get: { security: [] },
        post: { security: [{ bearerAuth: [] }], 'x-permissions': 'artists:write' },
      },
      '/api/v1/users/me': { get: { security: [{ bearerAuth: [] }] } },
      '/api/v1/auth/login': { post: { security: [] } },
      '/api/v1/auth/sessions': { get: { security: [{ bearerAuth: [] }] } },
      '/api/v1/audit/events': { get: { 'x-permissions': 'audit:read' } },
    },
  })
})

await t.test('a request without a session is allowed on public routes only', async (t) => {
  const { app } = await useApp(t)
  const open = app.rbac.matrix().rows.filter(({ anonymous }) => anonymous === 'allow')
  const names = open
    .filter(({ method }) => method !== 'HEAD')
    .map(({ method, url }) => `${method} ${url}`)
  t.ok(names.includes('GET /docs'))
  t.same(
    // The files of the documentation are those of its library.
    names.filter((name) => !name.startsWith('GET /docs')),
    [
      'GET /',
      'GET /.well-known/jwks.json',
      'GET /.well-known/security.txt',
      'POST /_reports',
      'GET /account/new-password',
      'GET /account/undo',
      'GET /account/verify',
      'GET /api/v1/artists',
      'GET /api/v1/artists/:id',
      'POST /api/v1/artists/quotes',
      'GET /api/v1/artists/search',
      'POST /api/v1/auth/email/undo',
      'POST /api/v1/auth/email/verification',
      'POST /api/v1/auth/email/verify',
      'POST /api/v1/auth/login',
      'POST /api/v1/auth/login/second-factor',
      'POST /api/v1/auth/login/second-factor/options',
      'POST /api/v1/auth/logout',
      'POST /api/v1/auth/password/forgot',
      'POST /api/v1/auth/password/reset',
      'POST /api/v1/auth/refresh',
      'GET /api/v1/content',
      'GET /api/v1/content/:id',
      'GET /api/v1/content/:id/file',
      'POST /api/v1/mfa/passkeys/login',
      'POST /api/v1/mfa/passkeys/login/options',
      'POST /api/v1/privacy/archives',
      'GET /api/v1/privacy/keys',
      'POST /api/v1/privacy/requests/by-contact',
      'POST /api/v1/privacy/requests/confirm',
      'POST /api/v1/users',
      'GET /api/v1/venues',
      'GET /api/v1/venues/:id',
      'GET /challenge',
      'GET /challenge/altcha.css',
      'GET /challenge/altcha.js',
      'POST /challenge/answer',
      'GET /challenge/new',
      'GET /challenge/page.css',
      'GET /challenge/page.js',
      'GET /challenge/worker.js',
      'GET /console',
      'GET /console/',
      'GET /console/assets/:hash/:name',
      'GET /health',
      'GET /metrics',
      'GET /openapi.json',
      'GET /ready',
      'GET /version',
    ],
  )
})

await t.test('the root, and the folder of the console, lead to the console', async (t) => {
  const { app } = await useApp(t)
  for (const url of ['/', '/console/']) {
    const { statusCode, headers } = await app.inject(url)
    t.same([statusCode, headers.location], [302, '/console'], url)
  }
})

await t.test('users cannot change their own roles', async (t) => {
  const { app, refuse, register } = await useApp(t)
  const ann = await register('viewer')
  const ownUrl = `/api/v1/users/${ann.id}`
  const user = { email: 'b@example.com', displayName: 'B', password, roles: ['admin'] }
  await refuse(t, invalid, {}, 'POST', '/api/v1/users', user)
  await refuse(t, invalid, ann.headers, 'PATCH', ownUrl, { roles: ['admin'] })
  await refuse(t, unauthenticated, {}, 'PUT', `${ownUrl}/roles`, { roles: ['admin'] })
  await refuse(t, denied, ann.headers, 'PUT', `${ownUrl}/roles`, { roles: ['admin'] })
  // If they could, the last administrator could stop being one.
  const admin = await signIn(app, 'admin', ann.id)
  for (const id of [ann.id, ann.id.toUpperCase()]) {
    await refuse(t, denied, admin, 'PUT', `/api/v1/users/${id}/roles`, { roles: ['viewer'] })
  }
})

await t.test('a list of roles must be valid, and the user must exist', async (t) => {
  const { app, refuse } = await useApp(t)
  const admin = await signIn(app, 'admin')
  const url = `/api/v1/users/${uuidV7()}/roles`
  for (const list of [[], ['root'], ['editor', 'editor']]) {
    await refuse(t, invalid, admin, 'PUT', url, { roles: list })
  }
  await refuse(t, notFound, admin, 'PUT', url, { roles: ['editor'] })
})

const bearer = ({ body }: Answer) => ({ authorization: `Bearer ${String(body['access_token'])}` })

await t.test('a change of roles takes effect immediately', async (t) => {
  const { app, ask, logIn, refuse, register } = await useApp(t)
  const { id, email } = await register('viewer')
  const piece = { authorId: id, title: 'T', body: '' }
  const write = (who: Headers) => ask(who, 'POST', '/api/v1/content', piece)
  const before = await logIn(email, password)
  await refuse(t, denied, bearer(before), 'POST', '/api/v1/content', piece)

  const admin = await signIn(app, 'admin')
  const set = (list: string[]) => ask(admin, 'PUT', `/api/v1/users/${id}/roles`, { roles: list })
  t.match(await set(['editor', 'booker']), { status: 200, body: { roles: ['editor', 'booker'] } })
  await refuse(t, sessionEnded, bearer(before), 'POST', '/api/v1/content', piece)
  const refresh = (from: Answer) =>
    ask({}, 'POST', '/api/v1/auth/refresh', { refreshToken: from.body['refresh_token'] })
  const promoted = await refresh(before)
  t.equal((await write(bearer(promoted))).status, 201)

  t.equal((await set(['viewer'])).status, 200)
  await refuse(t, sessionEnded, bearer(promoted), 'POST', '/api/v1/content', piece)
  await refuse(t, denied, bearer(await refresh(promoted)), 'POST', '/api/v1/content', piece)
})

await t.test('the first administrator', async (t) => {
  const env = { ADMIN_EMAIL: 'chief@example.com', ADMIN_PASSWORD: password }
  const loginFailed = { status: 401, code: 'PARAPET_SESSIONS_LOGIN_FAILED' }

  await t.test('is created from the environment, but only once', async (t) => {
    const first = await createTestApp(t, database, env)
    t.equal((await first.logIn(env.ADMIN_EMAIL, password)).status, 200)
    const other = { ADMIN_EMAIL: 'other@example.com', ADMIN_PASSWORD: `not ${password}` }
    const rows = await database.rows()
    const second = await createTestApp(t, database, other)
    t.same(await database.rows(), rows, 'the second start creates no user')
    const login = { login: other.ADMIN_EMAIL, password: other.ADMIN_PASSWORD }
    await second.refuse(t, loginFailed, {}, 'POST', '/api/v1/auth/login', login)
    t.equal((await second.logIn(env.ADMIN_EMAIL, password)).status, 200)
  })

  await t.test('is never a user who has registered with the address', async (t) => {
    const { ask } = await createTestApp(t, database)
    await ask({}, 'POST', '/api/v1/users', { email: env.ADMIN_EMAIL, displayName: 'S', password })
    const { log } = createMemoryLog()
    await t.rejects(buildApp(readConfig(env), { sql: database.sql, log }), {
      code: 'PARAPET_REFERENCE_EMAIL_TAKEN',
      statusCode: 409,
    })
    const { rows } = await database.sql.query('SELECT roles FROM users')
    t.same(rows, [{ roles: ['viewer'] }])
  })

  await t.test('of an embedded database has a password in a file, not in the log', async (t) => {
    const lines: string[] = []
    const config = readConfig({ DATA_DIR: createDataFolder(t) })
    const app = await buildApp(config, {
      log: pino({}, { write: (line: string) => void lines.push(line) }),
    })
    t.after(() => app.close())
    const file = `${config.dataDir}/admin-password`
    t.equal((await stat(file)).mode & 0o777, 0o600)
    const secret = (await readFile(file, 'utf8')).trim()
    t.match(secret, /^[\w-]{32}$/)
    const { logIn } = createClient(app, database)
    t.equal((await logIn('admin@server.localhost', secret)).status, 200)
    const created = lines.filter((line) => line.includes('created the first administrator'))
    t.equal(created.length, 1)
    t.match(created[0], 'admin-password')
    t.notMatch(lines.join(''), secret)
  })
})
