/** The first start with nothing configured: what a newcomer sees. */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rmdir, stat } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { renderStartPage } from '../src/operation/start-page.ts'
import { calm, createDataFolder, createMemoryLog } from './support/test-app.ts'

await t.test('the first start has users and content, and shows the passwords once', async (t) => {
  const DATA_DIR = createDataFolder(t)
  const config = readConfig({ ...calm, DATA_DIR, PORT: '0' })
  const { log, text } = createMemoryLog()
  const app = await buildApp(config, { log })
  t.notMatch(text(), 'onRequest hook', 'the audit log records what the other plugins refuse')
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const page = await renderStartPage(app, config, { isTerminal: true })
  for (const path of ['/console', '/docs']) t.match(page, `${url}${path}`)
  t.match(page, 'npm run demo:attack')
  t.match(page, `PGlite in ${DATA_DIR}`)
  t.match(page, /\d+ of \d+ need no session/)
  t.match(page, 'all but admin keep these passwords')
  const piped = await renderStartPage(app, config, { isTerminal: false })
  t.match(piped, `password in ${DATA_DIR}/editor-password`)
  t.notMatch(piped, '\u001B')
  const passwords: string[] = []
  for (const role of ['admin', 'editor', 'viewer']) {
    const file = `${DATA_DIR}/${role}-password`
    t.equal((await stat(file)).mode & 0o777, 0o600)
    const password = (await readFile(file, 'utf8')).trim()
    passwords.push(password)
    t.match(page, password)
    const payload = { login: `${role}@server.localhost`, password }
    const login = await app.inject({ method: 'POST', url: '/api/v1/auth/login', payload })
    t.equal(login.statusCode, 200, role)
    await waitUntil(() => !existsSync(file))
    const second = await app.inject({ method: 'POST', url: '/api/v1/auth/login', payload })
    const once = [403, 'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED']
    const answer = [second.statusCode, second.json<{ code?: string }>().code]
    t.same(answer, role === 'admin' ? once : [200, undefined], `a second login of ${role}`)
  }
  for (const password of passwords) {
    t.notMatch(piped, password, 'what is not a terminal may be a log')
    t.notMatch(text(), password)
  }
  const items = async (path: string) =>
    (await app.inject(`/api/v1/${path}`)).json<{ items: unknown[] }>().items.length
  t.same([await items('artists'), await items('venues'), await items('content')], [3, 2, 1])
  await app.close()

  const again = await buildApp(config, { log })
  t.after(() => again.close())
  await again.listen({ port: 0, host: '127.0.0.1' })
  t.notMatch(await renderStartPage(again, config, { isTerminal: true }), passwords[0])
  t.equal((await again.inject('/api/v1/artists')).json<{ items: unknown[] }>().items.length, 3)
  const file = `${DATA_DIR}/admin-password`
  const renewed = (await readFile(file, 'utf8')).trim()
  const post = (url: string, payload: object, headers = {}) =>
    again.inject({ method: 'POST', url: `/api/v1/auth/${url}`, payload, headers })
  const login = 'admin@server.localhost'
  const used = await post('login', { login, password: passwords[0] })
  t.equal(used.statusCode, 401, 'the used password is none any more')
  const session = await post('login', { login, password: renewed })
  t.equal(session.statusCode, 200, 'the start wrote another one')
  await waitUntil(() => !existsSync(file))
  const { access_token } = session.json<{ access_token: string }>()
  const own = { current: renewed, password: 'seven purple tandem otters' }
  const changed = await post('password', own, { authorization: `Bearer ${access_token}` })
  t.equal(changed.statusCode, 204, 'an own password, in the session of the first one')
  t.equal((await post('login', { login, password: own.password })).statusCode, 200)
  const id = again.sessions.verify(access_token)
  t.match(await again.sessions.accountStatus((await id).user.id), { passwordResetRequired: false })
})

/** A reset is required behind the answer. */
async function waitUntil(isDone: () => boolean): Promise<void> {
  while (!isDone()) await setTimeout(10)
}

await t.test('a first start that fails half-way is tried again, with the demo', async (t) => {
  const DATA_DIR = createDataFolder(t)
  const config = readConfig({ ...calm, DATA_DIR })
  const { log } = createMemoryLog()
  const obstacle = `${DATA_DIR}/editor-password`
  await mkdir(obstacle)
  await t.rejects(buildApp(config, { log }))
  await rmdir(obstacle)
  const app = await buildApp(config, { log })
  t.after(() => app.close())
  const { rows } = await app.sql.query('SELECT email FROM users ORDER BY email')
  t.same(
    rows,
    ['admin', 'editor', 'viewer'].map((role) => ({ email: `${role}@server.localhost` })),
  )
})

await t.test('a service of its own gets no demo', async (t) => {
  for (const env of [
    { DEMO: 'off' },
    { NODE_ENV: 'production' },
    { ADMIN_EMAIL: 'chief@example.com', ADMIN_PASSWORD: 'correct horse battery staple' },
  ]) {
    const DATA_DIR = createDataFolder(t)
    const { log } = createMemoryLog()
    const app = await buildApp(readConfig({ DATA_DIR, ...env }), { log })
    const { rows } = await app.sql.query('SELECT roles FROM users')
    t.same(rows, [{ roles: ['admin'] }], JSON.stringify(env))
    await app.close()
  }
})
