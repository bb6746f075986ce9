/** One journey through the whole service, as a process, over real HTTP, on whatever backend. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Test } from 'tap'
import { exchange, startPost, startServer, type RunningServer } from './server-process.ts'

/** What the server answered. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
}

/** A server, and who asks it. */
export interface Client {
  readonly url: string
  readonly authorization?: string
}

/** Logs in the first administrator, who is in `env` or else in the folder of the data. */
export async function logIn(
  { url }: Client,
  { ADMIN_EMAIL, ADMIN_PASSWORD, DATA_DIR }: Readonly<Record<string, string>>,
): Promise<Client & { readonly authorization: string }> {
  const login = ADMIN_EMAIL ?? 'admin@server.localhost'
  const file = `${DATA_DIR}/admin-password`
  const password = ADMIN_PASSWORD ?? (await readFile(file, 'utf8')).trim()
  const { body } = await send({ url }, 'POST', '/auth/login', { login, password })
  return { url, authorization: `Bearer ${String(body['access_token'])}` }
}

/** Sends a request; a body travels as JSON. */
export async function send(
  { url, authorization }: Client,
  method: string,
  path: string,
  body?: object,
  given: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const headers = { ...given, ...(authorization === undefined ? undefined : { authorization }) }
  const response = await fetch(url + path, {
    method,
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? undefined : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Answer['body']),
  }
}

const email = 'Press@example.com'
const newArtist = {
  name: 'Ñandú 東京',
  genres: ['rock', 'música norteña'],
  hourlyRateMinor: 120_000,
  currency: 'MXN',
}

/** Starts the server with `env`, does all that a client can do, and stops and restarts it between. */
export async function journey(t: Test, env: Readonly<Record<string, string>>): Promise<void> {
  const server = await startServer(t, env)
  await t.test('it says where it listens, and who administers it', async (t) => {
    t.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/)
    t.ok(server.log.some(({ msg }) => msg?.startsWith('the first administrator is made')))
  })
  const admin = await logIn(server, env)
  await t.test('it lives and is ready', async (t) => {
    const alive = await send(server, 'GET', '/health')
    t.match(alive, { status: 200, body: { alive: true } })
    const ready = await send(server, 'GET', '/ready')
    t.equal(ready.status, 200)
    t.same(ready.body, { ready: true, closing: false, database: 'up', store: 'up' })
  })
  const userId = await userStory(t, admin)
  const contentId = await contentStory(t, admin, userId)
  await artistStory(t, admin)
  await refusals(t, server)
  const [lateId, code] = await stopInFlight(t, server, admin)
  t.equal(code, 0, 'the process ends with 0')

  await t.test('a restart keeps the data', async (t) => {
    const again = await startServer(t, env)
    const later = await logIn(again, env)
    t.match(await send(later, 'GET', `/users/${userId}`), { status: 200, body: { email } })
    t.match(await send(again, 'GET', `/content/${contentId}`), {
      status: 200,
      body: { title: 'Hello', status: 'published', version: 2 },
    })
    t.equal((await send(again, 'GET', `/artists/${lateId}`)).status, 200)
    t.equal(await again.end('SIGINT'), 0)
  })
}

async function userStory(t: Test, server: Client): Promise<string> {
  let id = ''
  await t.test('a user is made, read, changed, listed and deleted', async (t) => {
    const made = await send(server, 'POST', '/users', { email, displayName: 'Redacción 東京' })
    t.match(made, { status: 201, body: { email, displayName: 'Redacción 東京', version: 1 } })
    id = String(made.body['id'])
    t.equal(made.headers.get('location'), `/users/${id}`)
    t.equal(made.headers.get('etag'), '"1"')
    const read = await send(server, 'GET', `/users/${id}`)
    t.equal(read.status, 200)
    t.same(read.body, made.body)

    const match = { 'if-match': '"1"' }
    const changed = await send(server, 'PATCH', `/users/${id}`, { displayName: 'Revista' }, match)
    t.match(changed, { status: 200, body: { displayName: 'Revista', email, version: 2 } })
    t.match(await send(server, 'PATCH', `/users/${id}`, { displayName: 'Late' }, match), {
      status: 412,
      body: { code: 'PARAPET_REFERENCE_VERSION_MISMATCH' },
    })
    t.match(
      await send(server, 'POST', '/users', { email: email.toLowerCase(), displayName: 'Other' }),
      { status: 409, body: { code: 'PARAPET_REFERENCE_EMAIL_TAKEN' } },
    )

    const other = await send(server, 'POST', '/users', { email: 'b@example.com', displayName: 'B' })
    const first = await send(server, 'GET', '/users?limit=2')
    t.match(first, {
      status: 200,
      body: { items: [{ roles: ['admin'] }, { id, roles: ['viewer'] }], nextCursor: String },
    })
    const next = await send(
      server,
      'GET',
      `/users?limit=1&cursor=${String(first.body['nextCursor'])}`,
    )
    t.equal(next.status, 200)
    t.same(next.body, { items: [other.body] }, 'the last page has no cursor')

    const otherPath = `/users/${String(other.body['id'])}`
    t.equal((await send(server, 'DELETE', otherPath)).status, 204)
    t.equal((await send(server, 'DELETE', otherPath)).status, 404)
    t.match(await send(server, 'GET', otherPath), {
      status: 404,
      body: { code: 'PARAPET_REFERENCE_NOT_FOUND' },
    })
  })
  return id
}

async function contentStory(t: Test, server: Client, authorId: string): Promise<string> {
  let id = ''
  await t.test('content belongs to a user, who stays as long as it does', async (t) => {
    const draft = { authorId, title: 'Hello', body: 'First line\nsecond line' }
    t.match(await send(server, 'POST', '/content', { ...draft, authorId: randomUUID() }), {
      status: 409,
      body: { code: 'PARAPET_REFERENCE_AUTHOR_UNKNOWN' },
    })
    const made = await send(server, 'POST', '/content', draft)
    t.match(made, { status: 201, body: { ...draft, status: 'draft' } })
    id = String(made.body['id'])
    t.match(await send(server, 'PATCH', `/content/${id}`, { status: 'published' }), {
      status: 200,
      body: { status: 'published', version: 2 },
    })
    t.match(await send(server, 'DELETE', `/users/${authorId}`), {
      status: 409,
      body: { code: 'PARAPET_REFERENCE_USER_HAS_CONTENT' },
    })
  })
  return id
}

async function artistStory(t: Test, server: Client): Promise<void> {
  await t.test('an artist has a rate, a currency and genres', async (t) => {
    const made = await send(server, 'POST', '/artists', newArtist)
    t.match(made, { status: 201, body: { ...newArtist, bio: '', available: true } })
    const path = String(made.headers.get('location'))
    t.match(await send(server, 'PATCH', path, { available: false, genres: ['jazz'] }), {
      status: 200,
      body: { available: false, genres: ['jazz'], name: newArtist.name },
    })
    t.equal((await send(server, 'DELETE', path)).status, 204)
  })
}

async function refusals(t: Test, server: RunningServer): Promise<void> {
  await t.test('a refusal is a problem that names its request and what is wrong', async (t) => {
    const answer = await send(server, 'POST', '/users', { email, displayName: 'B', admin: true })
    t.match(answer, {
      status: 400,
      body: { status: 400, code: 'FST_ERR_VALIDATION', requestId: /^[0-9a-f-]{36}$/ },
    })
    t.match(answer.headers.get('content-type'), /^application\/problem\+json/)
    t.match(await send(server, 'GET', '/nowhere'), { status: 404, body: { status: 404 } })
  })
  await t.test('a URL that cannot be read is a problem, too', async (t) => {
    const answer = await send(server, 'GET', '/%zz?token=abc')
    t.match(answer, { status: 400, body: { code: 'FST_ERR_BAD_URL' } })
    t.match(answer.headers.get('content-type'), /^application\/problem\+json/)
    t.notMatch(JSON.stringify(answer.body), /zz|abc/)
  })
  await t.test('bytes that are no HTTP get a well-formed problem and the end', async (t) => {
    const reply = await exchange(server.port, 'BREW coffee pot\r\n\r\n')
    t.equal(reply.status, 400)
    t.match(reply.headers, { 'content-type': 'application/problem+json', connection: 'close' })
    t.equal(reply.headers['content-length'], String(reply.body.length))
    t.match(JSON.parse(reply.body), { status: 400, requestId: /^[0-9a-f-]{36}$/ })
  })
}

/** @returns the id that the request under way made, and the exit code. */
async function stopInFlight(
  t: Test,
  server: RunningServer,
  admin: { readonly authorization: string },
): Promise<[string, number | null]> {
  let id = ''
  let ended: Promise<number | null> = Promise.resolve(null)
  await t.test('a request under way at SIGTERM is finished', async (t) => {
    const post = await startPost(server.port, '/artists', JSON.stringify(newArtist), admin)
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
