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
  password,
  sessionEnded,
  unauthenticated,
  type Answer,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)

await t.test('every route allows and denies each role as the policy says', async (t) => {
  const { app } = await createTestApp(t, database)
  // The routes of the sessions plugin require a session themselves.
  const { checked } = await testMatrix(app, { headers: await signIn(app, 'viewer') })
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
  const { app } = await createTestApp(t, database)
  t.match(app.swagger(), {
    components: { securitySchemes: { bearerAuth: { type: 'http', scheme: 'bearer' } } },
    paths: {
      '/artists': {
        get: { security: [] },
        post: { security: [{ bearerAuth: [] }], 'x-permissions': 'artists:write' },
      },
      '/users/me': { get: { security: [{ bearerAuth: [] }] } },
      '/auth/login': { post: { security: [] } },
      '/auth/sessions': { get: { security: [{ bearerAuth: [] }] } },
      '/audit/events': { get: { 'x-permissions': 'audit:read' } },
    },
  })
})

await t.test('a request without a session is allowed on public routes only', async (t) => {
  const { app } = await createTestApp(t, database)
  const open = app.rbac.matrix().rows.filter(({ anonymous }) => anonymous === 'allow')
  t.same(
    open.filter(({ method }) => method !== 'HEAD').map(({ method, url }) => `${method} ${url}`),
    [
      'GET /.well-known/jwks.json',
      'POST /_reports',
      'GET /artists',
      'GET /artists/:id',
      'POST /artists/quotes',
      'POST /auth/login',
      'POST /auth/login/second-factor',
      'POST /auth/login/second-factor/options',
      'POST /auth/logout',
      'POST /auth/refresh',
      'GET /challenge',
      'GET /challenge/altcha.css',
      'GET /challenge/altcha.js',
      'POST /challenge/answer',
      'GET /challenge/new',
      'GET /challenge/page.css',
      'GET /challenge/page.js',
      'GET /challenge/worker.js',
      'GET /content',
      'GET /content/:id',
      'GET /content/:id/file',
      'GET /health',
      'POST /mfa/passkeys/login',
      'POST /mfa/passkeys/login/options',
      'GET /openapi.json',
      'GET /ready',
      'POST /users',
    ],
  )
})

await t.test('users cannot change their own roles', async (t) => {
  const { app, refuse, register } = await createTestApp(t, database)
  const ann = await register('viewer')
  const ownUrl = `/users/${ann.id}`
  const user = { email: 'b@example.com', displayName: 'B', password, roles: ['admin'] }
  await refuse(t, invalid, {}, 'POST', '/users', user)
  await refuse(t, invalid, ann.headers, 'PATCH', ownUrl, { roles: ['admin'] })
  await refuse(t, unauthenticated, {}, 'PUT', `${ownUrl}/roles`, { roles: ['admin'] })
  await refuse(t, denied, ann.headers, 'PUT', `${ownUrl}/roles`, { roles: ['admin'] })
  // If they could, the last administrator could stop being one.
  const admin = await signIn(app, 'admin', ann.id)
  for (const id of [ann.id, ann.id.toUpperCase()]) {
    await refuse(t, denied, admin, 'PUT', `/users/${id}/roles`, { roles: ['viewer'] })
  }
})

await t.test('a list of roles must be valid, and the user must exist', async (t) => {
  const { app, refuse } = await createTestApp(t, database)
  const admin = await signIn(app, 'admin')
  const url = `/users/${uuidV7()}/roles`
  for (const list of [[], ['root'], ['editor', 'editor']]) {
    await refuse(t, invalid, admin, 'PUT', url, { roles: list })
  }
  await refuse(t, notFound, admin, 'PUT', url, { roles: ['editor'] })
})

const bearer = ({ body }: Answer) => ({ authorization: `Bearer ${String(body['access_token'])}` })

await t.test('a change of roles takes effect immediately', async (t) => {
  const { app, ask, logIn, refuse, register } = await createTestApp(t, database)
  const { id, email } = await register('viewer')
  const piece = { authorId: id, title: 'T', body: '' }
  const write = (who: Headers) => ask(who, 'POST', '/content', piece)
  const before = await logIn(email, password)
  await refuse(t, denied, bearer(before), 'POST', '/content', piece)

  const admin = await signIn(app, 'admin')
  const set = (list: string[]) => ask(admin, 'PUT', `/users/${id}/roles`, { roles: list })
  t.match(await set(['editor', 'booker']), { status: 200, body: { roles: ['editor', 'booker'] } })
  await refuse(t, sessionEnded, bearer(before), 'POST', '/content', piece)
  const refresh = (from: Answer) =>
    ask({}, 'POST', '/auth/refresh', { refreshToken: from.body['refresh_token'] })
  const promoted = await refresh(before)
  t.equal((await write(bearer(promoted))).status, 201)

  t.equal((await set(['viewer'])).status, 200)
  await refuse(t, sessionEnded, bearer(promoted), 'POST', '/content', piece)
  await refuse(t, denied, bearer(await refresh(promoted)), 'POST', '/content', piece)
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
    await second.refuse(t, loginFailed, {}, 'POST', '/auth/login', login)
    t.equal((await second.logIn(env.ADMIN_EMAIL, password)).status, 200)
  })

  await t.test('is never a user who has registered with the address', async (t) => {
    const { ask } = await createTestApp(t, database)
    await ask({}, 'POST', '/users', { email: env.ADMIN_EMAIL, displayName: 'S', password })
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
