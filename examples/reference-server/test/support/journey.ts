/** Uses the whole service over HTTP, as a process, on the backend that the environment selects. */
import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import { logIn, refuse, send, type Client } from './client.ts'
import { exchange, startPost, startServer, type RunningServer } from './server-process.ts'
import { tokenIn } from './mailbox.ts'
import { invalid, notFound, password } from './test-app.ts'

const email = 'Press@example.com'
const newArtist = {
  name: 'Ñandú 東京',
  genres: ['rock', 'música norteña'],
  hourlyRateMinor: 120_000,
  currency: 'MXN',
}

/** Starts the server with `env`, uses every resource, stops the server and starts it again. */
export async function journey(t: Test, env: Readonly<Record<string, string>>): Promise<void> {
  const server = await startServer(t, env)
  await t.test(
    'the log says where the server listens and that the first administrator was created',
    async (t) => {
      t.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/)
      t.ok(server.log.some(({ msg }) => msg?.startsWith('created the first administrator')))
    },
  )
  await t.test('the start says where to look, and tells no secret', async (t) => {
    await server.waitFor(({ msg }) => msg?.startsWith('audit log: ') === true)
    const log = server.log.map(({ msg }) => msg).join('\n')
    t.match(log, `all routes: ${server.url}/openapi.json`)
    t.match(log, /^audit log: .* Verify them with the key localhost:3000\/audit\+\w{8}\+/m)
    const { DATABASE_URL, REDIS_URL, DATA_DIR, ADMIN_PASSWORD } = env
    if (DATABASE_URL === undefined) {
      t.match(log, `first administrator, admin@server.localhost: ${DATA_DIR}/admin-password`)
      t.match(log, `database: embedded, in ${DATA_DIR}/pglite.`)
      t.match(log, `audit log: spool in ${DATA_DIR}/audit; its records are in the database.`)
    } else {
      t.match(log, 'database: PostgreSQL')
    }
    t.match(log, `shared state: ${REDIS_URL === undefined ? 'embedded, in memory' : 'Redis'}`)
    const secret = ADMIN_PASSWORD ?? (await readFile(`${DATA_DIR}/admin-password`, 'utf8')).trim()
    t.notMatch(JSON.stringify(server.log), secret)
  })
  const admin = await logIn(server, env)
  await t.test('the server is alive and ready', async (t) => {
    const alive = await send(server, 'GET', '/health')
    t.match(alive, { status: 200, body: { alive: true } })
    const ready = await send(server, 'GET', '/ready')
    t.equal(ready.status, 200)
    t.match(ready.body, { ready: true, closing: false, database: 'up', auditLog: 'up' })
  })
  const userId = await userStory(t, admin, env['OUTBOX_DIR'] ?? `${env['DATA_DIR']}/outbox`)
  const contentId = await contentStory(t, admin, userId)
  await artistStory(t, admin)
  await refusals(t, server, admin)
  const [lateId, code] = await stopInFlight(t, server, admin)
  t.equal(code, 0, 'the process exits with 0')

  await t.test('the data survive a restart', async (t) => {
    const again = await startServer(t, env)
    const later = await logIn(again, env)
    t.match(await send(later, 'GET', `/api/v1/users/${userId}`), { status: 200, body: { email } })
    t.match(await send(again, 'GET', `/api/v1/content/${contentId}`), {
      status: 200,
      body: { title: 'Hello', status: 'published', version: 2 },
    })
    t.equal((await send(again, 'GET', `/api/v1/artists/${lateId}`)).status, 200)
    t.equal(await again.end('SIGINT'), 0)
  })
}

async function userStory(t: Test, server: Client, outbox: string): Promise<string> {
  let id = ''
  await t.test('a user can be created, read, changed, listed and deleted', async (t) => {
    const anyone = { url: server.url }
    const user = { email, displayName: 'Redacción 東京', password }
    const made = await send(anyone, 'POST', '/api/v1/users', user)
    t.same([made.status, made.body], [202, { accepted: true }])
    const credentials = { login: email, password }
    const early = await send(anyone, 'POST', '/api/v1/auth/login', credentials)
    t.equal(early.status, 401, 'the address is not verified yet')
    const token = await readLink(outbox, email)
    const verified = await send(anyone, 'POST', '/api/v1/auth/email/verify', { token, password })
    t.equal(verified.status, 204)
    const login = await send(anyone, 'POST', '/api/v1/auth/login', credentials)
    const authorization = `Bearer ${String(login.body['access_token'])}`
    const own = await send({ ...anyone, authorization }, 'GET', '/api/v1/users/me')
    t.match(own, { status: 200, body: { email, displayName: 'Redacción 東京', version: 1 } })
    t.equal(own.headers.get('etag'), '"1"')
    id = String(own.body['id'])
    t.same((await send(server, 'GET', `/api/v1/users/${id}`)).body, own.body)

    const match = { 'if-match': '"1"' }
    const changed = await send(
      server,
      'PATCH',
      `/api/v1/users/${id}`,
      { displayName: 'Revista' },
      match,
    )
    t.match(changed, { status: 200, body: { displayName: 'Revista', email, version: 2 } })
    const mismatch = { status: 412, code: 'PARAPET_REFERENCE_VERSION_MISMATCH' }
    await refuse(
      t,
      { client: server, admin: server },
      mismatch,
      'PATCH',
      `/api/v1/users/${id}`,
      { displayName: 'Late' },
      match,
    )
    const sameEmail = { email: email.toLowerCase(), displayName: 'Other', password }
    const repeated = await send(anyone, 'POST', '/api/v1/users', sameEmail)
    t.same([repeated.status, repeated.body], [202, { accepted: true }])
    t.match(await send(server, 'GET', `/api/v1/users/${id}`), { body: { displayName: 'Revista' } })

    await send(anyone, 'POST', '/api/v1/users', {
      email: 'b@example.com',
      displayName: 'B',
      password,
    })
    const first = await send(server, 'GET', '/api/v1/users?limit=2')
    t.match(first, {
      status: 200,
      body: { items: [{ roles: ['admin'] }, { id, roles: ['viewer'] }], nextCursor: String },
    })
    const next = await send(
      server,
      'GET',
      `/api/v1/users?limit=1&cursor=${String(first.body['nextCursor'])}`,
    )
    t.equal(next.status, 200)
    const [other] = next.body['items'] as readonly { readonly id: string }[]
    t.match(other, { email: 'b@example.com', displayName: 'B', version: 1 })
    t.notOk('nextCursor' in next.body, 'the last page has no cursor')

    const otherPath = `/api/v1/users/${other!.id}`
    t.equal((await send(server, 'DELETE', otherPath)).status, 204)
    await refuse(t, { client: server, admin: server }, notFound, 'DELETE', otherPath)
    await refuse(t, { client: server, admin: server }, notFound, 'GET', otherPath)
  })
  return id
}

/** The token in the first message that the server wrote to an address. */
async function readLink(outbox: string, to: string): Promise<string> {
  for (let tries = 0; tries < 1000; tries++) {
    for (const name of await readdir(outbox).catch(() => [])) {
      const text = await readFile(`${outbox}/${name}`, 'utf8')
      // Quoted-printable breaks lines with "=" and writes "=" as "=3D".
      const plain = text.replaceAll(/=\r?\n/g, '').replaceAll('=3D', '=')
      if (plain.includes('#token=') && new RegExp(`^To: .*${to}`, 'im').test(plain))
        return tokenIn(plain)
    }
    await setTimeout(20)
  }
  const names = (await readdir(outbox).catch(() => [])).length
  throw new Error(`no message to ${to} among ${names} in ${outbox}`)
}

async function contentStory(t: Test, server: Client, authorId: string): Promise<string> {
  let id = ''
  await t.test('content has an author, who cannot be deleted before the content', async (t) => {
    const draft = { authorId, title: 'Hello', body: 'First line\nsecond line' }
    const authorUnknown = { status: 409, code: 'PARAPET_REFERENCE_AUTHOR_UNKNOWN' }
    const unknown = { ...draft, authorId: randomUUID() }
    await refuse(
      t,
      { client: server, admin: server },
      authorUnknown,
      'POST',
      '/api/v1/content',
      unknown,
    )
    const made = await send(server, 'POST', '/api/v1/content', draft)
    t.match(made, { status: 201, body: { ...draft, status: 'draft' } })
    id = String(made.body['id'])
    t.match(await send(server, 'PATCH', `/api/v1/content/${id}`, { status: 'published' }), {
      status: 200,
      body: { status: 'published', version: 2 },
    })
    const hasContent = { status: 409, code: 'PARAPET_REFERENCE_USER_HAS_CONTENT' }
    await refuse(
      t,
      { client: server, admin: server },
      hasContent,
      'DELETE',
      `/api/v1/users/${authorId}`,
    )
  })
  return id
}

async function artistStory(t: Test, server: Client): Promise<void> {
  await t.test('an artist can be created, changed and deleted', async (t) => {
    const made = await send(server, 'POST', '/api/v1/artists', newArtist)
    t.match(made, { status: 201, body: { ...newArtist, bio: '', available: true } })
    const path = String(made.headers.get('location'))
    t.match(await send(server, 'PATCH', path, { available: false, genres: ['jazz'] }), {
      status: 200,
      body: { available: false, genres: ['jazz'], name: newArtist.name },
    })
    t.equal((await send(server, 'DELETE', path)).status, 204)
  })
}

async function refusals(t: Test, server: RunningServer, admin: Client): Promise<void> {
  await t.test('a refusal is a problem with the request id and the code', async (t) => {
    const user = { email, displayName: 'B', password, admin: true }
    const answer = await refuse(
      t,
      { client: server, admin },
      invalid,
      'POST',
      '/api/v1/users',
      user,
    )
    t.match(answer.body, { requestId: /^[0-9a-f-]{36}$/ })
    t.match(answer.headers.get('content-type'), /^application\/problem\+json/)
    await refuse(t, { client: server, admin }, { status: 404, code: undefined }, 'GET', '/nowhere')
  })
  await t.test('an invalid URL leads to a problem that does not repeat it', async (t) => {
    const badUrl = { status: 400, code: 'FST_ERR_BAD_URL' }
    const answer = await refuse(t, { client: server, admin }, badUrl, 'GET', '/%zz?token=xyz')
    t.match(answer.headers.get('content-type'), /^application\/problem\+json/)
    t.notMatch(JSON.stringify(answer.body), /zz|xyz/)
  })
  await t.test(
    'bytes that are not HTTP get a well-formed problem, and the connection is closed',
    async (t) => {
      const reply = await exchange(server.port, 'BREW coffee pot\r\n\r\n')
      t.equal(reply.status, 400)
      t.match(reply.headers, { 'content-type': 'application/problem+json', connection: 'close' })
      t.equal(reply.headers['content-length'], String(reply.body.length))
      const problem = { status: 400, code: undefined, requestId: /^[0-9a-f-]{36}$/ }
      t.match(JSON.parse(reply.body), problem)
    },
  )
}

/** @returns the id of the artist that the running request created, and the exit code. */
async function stopInFlight(
  t: Test,
  server: RunningServer,
  admin: { readonly authorization: string },
): Promise<[string, number | null]> {
  let id = ''
  let ended: Promise<number | null> = Promise.resolve(null)
  await t.test('a request that is running at SIGTERM is finished', async (t) => {
    const post = await startPost(server.port, '/api/v1/artists', JSON.stringify(newArtist), admin)
    t.match(post.interim, /^HTTP\/1\.1 100 Continue/)
    ended = server.end('SIGTERM')
    await server.waitFor(({ msg }) => msg === 'stopping')
    const reply = await post.finish()
    t.equal(reply.status, 201)
    t.equal(reply.headers['connection'], 'close')
    id = (JSON.parse(reply.body) as { id: string }).id
  })
  return [id, await ended]
}
