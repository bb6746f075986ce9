/** Who may do what: every route as every role, whose content and account it is, and who is first. */
import { readFile, stat } from 'node:fs/promises'
import { PGlite } from '@electric-sql/pglite'
import { createSqlClient, uuidV7 } from '@parapet/kit'
import { testMatrix } from '@parapet/rbac'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import { roles } from '../src/policy.ts'
import { signIn } from './sign-in.ts'

const pglite = await PGlite.create()
const sql = createSqlClient(pglite)
t.teardown(() => pglite.close())
const log = pino({ level: 'silent' })
const password = 'correct horse battery staple'

async function build(t: Test, env: Record<string, string> = {}) {
  const app = await buildApp(readConfig(env), { sql, log })
  t.teardown(() => app.close())
  t.teardown(() => pglite.exec('TRUNCATE users, content, artists'))
  return app
}

type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
type Headers = Readonly<Record<string, string>>

/** What was answered to somebody, in short. */
async function ask(
  app: FastifyInstance,
  who: Headers,
  method: Method,
  url: string,
  payload?: object,
) {
  const body = payload === undefined ? undefined : { payload }
  const answer = await app.inject({ method, url, headers: who, ...body })
  const json = answer.body === '' ? {} : answer.json<Record<string, unknown>>()
  return { status: answer.statusCode, body: json, code: json['code'] }
}

/** Registers somebody. @returns the id, and the headers of a login with the role. */
async function join(app: FastifyInstance, role: (typeof roles)[number]) {
  const user = { email: `${uuidV7()}@example.com`, displayName: role, password }
  const { body } = await ask(app, {}, 'POST', '/users', user)
  const id = String(body['id'])
  return { id, email: user.email, headers: await signIn(app, role, id) }
}

/** Logs in with a password. */
const login = (app: FastifyInstance, name: string, secret: string) =>
  ask(app, {}, 'POST', '/auth/login', { login: name, password: secret })

const denied = { status: 403, code: 'PARAPET_RBAC_DENIED' }
const unknown = { status: 401, code: 'PARAPET_RBAC_UNAUTHENTICATED' }
const missing = { status: 404, code: 'PARAPET_REFERENCE_NOT_FOUND' }

await t.test('every route answers every role as the policy says', async (t) => {
  const app = await build(t)
  // Routes of sessions ask for a login themselves.
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

await t.test('the description says what each route asks for', async (t) => {
  const app = await build(t)
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

await t.test('whoever is nobody reads what is public, and nothing else', async (t) => {
  const app = await build(t)
  const open = app.rbac.matrix().rows.filter(({ anonymous }) => anonymous === 'allow')
  t.same(
    open.filter(({ method }) => method !== 'HEAD').map(({ method, url }) => `${method} ${url}`),
    [
      'GET /.well-known/jwks.json',
      'POST /_reports',
      'GET /artists',
      'GET /artists/:id',
      'POST /auth/login',
      'POST /auth/logout',
      'POST /auth/refresh',
      'GET /content',
      'GET /content/:id',
      'GET /health',
      'POST /mfa/passkeys/login',
      'POST /mfa/passkeys/login/options',
      'GET /openapi.json',
      'GET /ready',
      'POST /users',
    ],
  )
})

await t.test('an editor writes what is their own, and nobody writes in another name', async (t) => {
  const app = await build(t)
  const [ann, bob] = [await join(app, 'editor'), await join(app, 'editor')]
  const viewer = await join(app, 'viewer')
  const admin = await signIn(app, 'admin')
  const draft = { authorId: ann.id, title: 'T', body: '' }
  const post = (who: Headers) => ask(app, who, 'POST', '/content', draft)
  t.match(await post({}), unknown)
  t.match(await post(viewer.headers), denied)
  t.match(await post(bob.headers), denied)
  const made = await post(ann.headers)
  t.equal(made.status, 201)
  const url = `/content/${String(made.body['id'])}`

  for (const method of ['PATCH', 'DELETE'] as const) {
    const payload = method === 'PATCH' ? { title: 'B' } : undefined
    const capital = url.replace(/[^/]+$/, (id) => id.toUpperCase())
    t.match(await ask(app, {}, method, url, payload), unknown)
    t.match(await ask(app, viewer.headers, method, url, payload), denied)
    t.match(await ask(app, bob.headers, method, url, payload), denied)
    t.match(await ask(app, bob.headers, method, capital, payload), denied)
  }
  t.equal((await ask(app, ann.headers, 'PATCH', url, { title: 'A' })).status, 200)
  const toBob = { authorId: bob.id }
  t.match(await ask(app, ann.headers, 'PATCH', url, toBob), denied, 'in the name of another')
  t.equal((await ask(app, admin, 'PATCH', url, toBob)).status, 200)
  t.match(await ask(app, ann.headers, 'DELETE', url), denied, 'it is hers no more')
  t.equal((await ask(app, bob.headers, 'DELETE', url)).status, 204)
  t.match(await ask(app, bob.headers, 'DELETE', url), missing)
})

await t.test('a draft is seen by its author and administrators alone', async (t) => {
  const app = await build(t)
  const [ann, bob] = [await join(app, 'editor'), await join(app, 'editor')]
  const admin = await signIn(app, 'admin')
  const urls: string[] = []
  for (const status of ['draft', 'published', 'archived']) {
    const piece = { authorId: ann.id, title: status, body: '', status }
    urls.push(`/content/${String((await ask(app, admin, 'POST', '/content', piece)).body['id'])}`)
  }
  const seenBy = async (who: Headers) => {
    const { body } = await ask(app, who, 'GET', '/content')
    const one = await Promise.all(urls.map(async (url) => (await ask(app, who, 'GET', url)).status))
    return [(body['items'] as { title: string }[]).map(({ title }) => title), one]
  }
  const all = [
    ['draft', 'published', 'archived'],
    [200, 200, 200],
  ]
  t.same(await seenBy(ann.headers), all)
  t.same(await seenBy(admin), all)
  for (const who of [{}, bob.headers, (await join(app, 'viewer')).headers]) {
    t.same(await seenBy(who), [['published'], [404, 200, 404]])
  }
  t.match(await ask(app, {}, 'GET', urls[0]!), missing, 'as if it were not there')
  const page = await ask(app, {}, 'GET', '/content?limit=1')
  t.notOk('nextCursor' in page.body, 'nor does a page tell of it')
})

await t.test('a user sees and changes the own account, and an administrator each', async (t) => {
  const app = await build(t)
  const [ann, bob] = [await join(app, 'viewer'), await join(app, 'editor')]
  const admin = await signIn(app, 'admin')
  const url = `/users/${ann.id}`
  for (const own of [url, `/users/${ann.id.toUpperCase()}`]) {
    t.match(await ask(app, ann.headers, 'GET', own), { status: 200, body: { roles: ['viewer'] } })
    t.equal((await ask(app, ann.headers, 'PATCH', own, { displayName: 'Ann' })).status, 200)
  }
  for (const [who, refusal] of [
    [{}, unknown],
    [bob.headers, denied],
  ] as const) {
    t.match(await ask(app, who, 'GET', url), refusal)
    t.match(await ask(app, who, 'PATCH', url, { displayName: 'B' }), refusal)
    t.match(await ask(app, who, 'DELETE', url), refusal)
    t.match(await ask(app, who, 'GET', '/users'), refusal)
  }
  t.match(await ask(app, bob.headers, 'GET', `/users/${uuidV7()}`), denied, 'or is there nobody?')
  t.match(await ask(app, ann.headers, 'DELETE', url), denied, 'that is DELETE /users/me')
  t.equal((await ask(app, admin, 'GET', '/users')).status, 200)
  t.equal((await ask(app, admin, 'PATCH', url, { displayName: 'A' })).status, 200)
  const chief = await join(app, 'admin')
  for (const id of [chief.id, chief.id.toUpperCase()]) {
    t.match(await ask(app, chief.headers, 'DELETE', `/users/${id}`), denied, 'nor in that way')
  }
  t.equal((await ask(app, admin, 'DELETE', url)).status, 204)
})

await t.test('only bookers and administrators keep artists', async (t) => {
  const app = await build(t)
  const artist = { name: 'A', genres: ['jazz'], hourlyRateMinor: 1, currency: 'EUR' }
  const post = (who: Headers) => ask(app, who, 'POST', '/artists', artist)
  t.match(await post({}), unknown)
  for (const role of ['viewer', 'editor'] as const)
    t.match(await post(await signIn(app, role)), denied)
  for (const role of ['booker', 'admin'] as const) {
    t.equal((await post(await signIn(app, role))).status, 201)
  }
  const { body } = await ask(app, {}, 'GET', '/artists')
  t.equal((body['items'] as object[]).length, 2)
})

await t.test('nobody gives roles to themselves', async (t) => {
  const app = await build(t)
  const ann = await join(app, 'viewer')
  const own = `/users/${ann.id}`
  const user = { email: 'b@example.com', displayName: 'B', roles: ['admin'] }
  t.match(await ask(app, {}, 'POST', '/users', user), { status: 400 })
  t.match(await ask(app, ann.headers, 'PATCH', own, { roles: ['admin'] }), { status: 400 })
  t.match(await ask(app, {}, 'PUT', `${own}/roles`, { roles: ['admin'] }), unknown)
  t.match(await ask(app, ann.headers, 'PUT', `${own}/roles`, { roles: ['admin'] }), denied)
  const admin = await signIn(app, 'admin', ann.id)
  for (const id of [ann.id, ann.id.toUpperCase()]) {
    const answer = await ask(app, admin, 'PUT', `/users/${id}/roles`, { roles: ['viewer'] })
    t.match(answer, denied, 'so the last administrator stays one')
  }
  for (const list of [[], ['root'], ['editor', 'editor']]) {
    const other = `/users/${uuidV7()}/roles`
    t.match(await ask(app, admin, 'PUT', other, { roles: list }), { status: 400 })
  }
  t.match(await ask(app, admin, 'PUT', `/users/${uuidV7()}/roles`, { roles: ['editor'] }), missing)
})

await t.test('another role holds at once', async (t) => {
  const app = await build(t)
  const { id, email } = await join(app, 'viewer')
  const before = await login(app, email, password)
  const as = ({ body }: typeof before) => ({
    authorization: `Bearer ${String(body['access_token'])}`,
  })
  const write = (who: Headers) =>
    ask(app, who, 'POST', '/content', { authorId: id, title: 'T', body: '' })
  t.match(await write(as(before)), denied)
  const admin = await signIn(app, 'admin')
  const set = (list: string[]) => ask(app, admin, 'PUT', `/users/${id}/roles`, { roles: list })
  t.match(await set(['editor', 'booker']), { status: 200, body: { roles: ['editor', 'booker'] } })
  t.equal((await write(as(before))).status, 401, 'the token of before is worth nothing')
  const refresh = (from: typeof before) =>
    ask(app, {}, 'POST', '/auth/refresh', { refreshToken: from.body['refresh_token'] })
  const promoted = await refresh(before)
  t.equal((await write(as(promoted))).status, 201)
  t.equal((await set(['viewer'])).status, 200)
  t.equal((await write(as(promoted))).status, 401)
  t.match(await write(as(await refresh(promoted))), denied)
})

await t.test('a password is changed by whoever knows it, and ends all sessions', async (t) => {
  const app = await build(t)
  const { email, headers } = await join(app, 'viewer')
  const next = `another ${password}`
  const change = (who: Headers, current: string, replacement: string) =>
    ask(app, who, 'PUT', '/users/me/password', { current, next: replacement })
  t.match(await change({}, password, next), unknown)
  t.match(await change(headers, next, next), {
    status: 403,
    code: 'PARAPET_REFERENCE_WRONG_PASSWORD',
  })
  t.match(await change(headers, password, 'short'), { status: 400 })
  const both = await Promise.all([change(headers, password, next), change(headers, password, next)])
  const codes = new Set(both.map(({ status }) => status))
  t.same(codes, new Set([204, 403]), 'of two at once one holds')
  t.equal((await ask(app, headers, 'GET', '/users/me')).status, 401)
  t.equal((await login(app, email, password)).status, 401)
  t.equal((await login(app, email, next)).status, 200)
})

await t.test('the first administrator', async (t) => {
  const env = { ADMIN_EMAIL: 'chief@example.com', ADMIN_PASSWORD: password }

  await t.test('is the one of the environment, once', async (t) => {
    const first = await build(t, env)
    t.equal((await login(first, env.ADMIN_EMAIL, password)).status, 200)
    const other = { ADMIN_EMAIL: 'other@example.com', ADMIN_PASSWORD: `not ${password}` }
    const second = await build(t, other)
    t.equal((await login(second, other.ADMIN_EMAIL, other.ADMIN_PASSWORD)).status, 401)
    t.equal((await login(second, env.ADMIN_EMAIL, password)).status, 200)
  })

  await t.test('is no stranger who registered with the address', async (t) => {
    const app = await build(t)
    await ask(app, {}, 'POST', '/users', { email: env.ADMIN_EMAIL, displayName: 'S', password })
    await t.rejects(buildApp(readConfig(env), { sql, log }), {
      code: 'PARAPET_REFERENCE_EMAIL_TAKEN',
    })
    const { rows } = await sql.query('SELECT roles FROM users')
    t.same(rows, [{ roles: ['viewer'] }])
  })

  await t.test(
    'has a password in a file of the embedded database, and not in the log',
    async (t) => {
      const lines: string[] = []
      const config = readConfig({ DATA_DIR: t.testdir() })
      const app = await buildApp(config, {
        log: pino({}, { write: (line: string) => void lines.push(line) }),
      })
      t.teardown(() => app.close())
      const file = `${config.dataDir}/admin-password`
      t.equal((await stat(file)).mode & 0o777, 0o600)
      const secret = (await readFile(file, 'utf8')).trim()
      t.match(secret, /^[\w-]{32}$/)
      t.equal((await login(app, 'admin@server.localhost', secret)).status, 200)
      const said = lines.filter((line) => line.includes('the first administrator is made'))
      t.equal(said.length, 1)
      t.match(said[0], 'admin-password')
      t.notMatch(lines.join(''), secret)
    },
  )
})
