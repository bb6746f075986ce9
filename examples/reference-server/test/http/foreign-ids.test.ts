/** Ids and cursors of others: every route that takes one, with the ids of another user and of rows that are gone. */
import { uuidV7 } from '@parapet/kit'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import { signIn } from '../support/sign-in.ts'
import {
  artist,
  createDataFolder,
  createTestApp,
  openDatabase,
  type Answer,
  type Headers,
} from '../support/test-app.ts'

const database = await openDatabase(t)
const { app, ask, send, register } = await createTestApp(t, database, {
  FILES_DIR: createDataFolder(t),
})

/** Part of everything that belongs to somebody else; no response to an attacker contains it. */
const MARK = 'only-for-its-owner'
const idOf = ({ status, body, text }: Answer): string => {
  if (status >= 300) throw new Error(text)
  return body['id'] as string
}
const upload = (headers: Headers) =>
  send({
    method: 'POST',
    url: `/api/v1/files?name=${MARK}.txt`,
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    payload: MARK,
  })

const chief = await register('admin')
const artistId = idOf(await ask(chief.headers, 'POST', '/api/v1/artists', artist))
const venue = { name: 'V', city: 'C', country: 'DE', capacity: 1 }
const venueId = idOf(await ask(chief.headers, 'POST', '/api/v1/venues', venue))
const date = new Date(Date.now() + 8_640_000_000).toISOString().slice(0, 10)
const offer = { artistId, venueId, date, hours: 1, price: 1, note: MARK }

/** A user with a row of every kind. @returns the ids */
async function createOwner() {
  const { id, headers } = await register('editor')
  await ask(headers, 'PATCH', `/api/v1/users/${id}`, { displayName: MARK })
  const article = { authorId: id, title: MARK, body: MARK }
  const session = await app.sessions.start({ id, roles: ['editor'] })
  const bookings = [
    await ask(headers, 'POST', '/api/v1/bookings', offer),
    await ask(headers, 'POST', '/api/v1/bookings', offer),
  ]
  const request = await ask(headers, 'POST', '/api/v1/privacy/requests', { type: 'access' })
  const ids = [
    id,
    session.sessionId,
    ...bookings.map(idOf),
    idOf(await ask(headers, 'POST', '/api/v1/content', article)),
    idOf(await ask(headers, 'POST', '/api/v1/content', article)),
    idOf(await upload(headers)),
    idOf(await upload(headers)),
    idOf(request),
  ]
  return { id, headers, ids }
}

/** Rows that are deleted: an article, a file, and a user with what belonged to it. */
async function createGone(): Promise<string[]> {
  const { id, headers } = await register('editor')
  const article = { authorId: id, title: MARK, body: MARK }
  const content = idOf(await ask(headers, 'POST', '/api/v1/content', article))
  await ask(headers, 'DELETE', `/api/v1/content/${content}`)
  const file = idOf(await upload(headers))
  await ask(headers, 'DELETE', `/api/v1/files/${file}`)
  const booking = idOf(await ask(headers, 'POST', '/api/v1/bookings', offer))
  await ask(chief.headers, 'DELETE', `/api/v1/users/${id}`)
  return [id, content, file, booking]
}

const owner = await createOwner()
const other = await createOwner()
const incident = (await app.incidents.report({ type: 'x', title: MARK })).id
const ids = [...owner.ids, ...other.ids, ...(await createGone()), incident, uuidV7()]

/** Each request comes from another address: what limits an address would hide what decides about a row. */
let requests = 0
const nextAddress = () => `10.${++requests >> 16}.${(requests >> 8) & 255}.${requests & 255}`

/** Bodies that the schemas accept, so that the request reaches what decides about the row. */
const bodies: Readonly<Record<string, object>> = {
  'PATCH /api/v1/artists/:id': { bio: 'x' },
  'PATCH /api/v1/venues/:id': { capacity: 2 },
  'PATCH /api/v1/bookings/:id': { status: 'cancelled' },
  'PATCH /api/v1/content/:id': { title: 'x' },
  'PATCH /api/v1/users/:id': { displayName: 'x' },
  'PUT /api/v1/users/:id/roles': { roles: ['admin'] },
  'PUT /api/v1/users/:id/lock': { reason: 'x' },
  'PATCH /api/v1/auth/sessions/:id': { name: 'x' },
  'PATCH /api/v1/mfa/passkeys/:id': { name: 'x' },
  'PUT /api/v1/security/anomalies/:id/verdict': { verdict: 'false-positive' },
  'POST /api/v1/incidents/:id/close': { resolution: 'resolved' },
  'POST /api/v1/incidents/:id/comments': { text: 'x' },
}
/** Bookers manage these; everybody reads artists and venues. */
const ofBookers = /^\/api\/v1\/(?:artists|venues|bookings)\//

const routes = app.rbac
  .matrix()
  .rows.filter(
    ({ method, url }) =>
      url.includes('/:') && !/^\/console|:purpose/.test(url) && method !== 'HEAD',
  )

/** Spellings of an id that must not lead to its row, or lead to the same refusal. */
const spelling = fc.constantFrom<(id: string) => string>(
  (id) => id,
  (id) => id,
  (id) => id.toUpperCase(),
  (id) => id.replaceAll('-', ''),
  (id) => `urn:uuid:${id}`,
  (id) => `{${id}}`,
  (id) => `${id}%00`,
  (id) => `${id}%20`,
  (id) => `${id}%27--`,
  (id) => `..%2f${id}`,
)

await t.test('no id of another user, and none of a deleted row, opens a route', async (t) => {
  const attempt = fc.record({
    route: fc.constantFrom(...routes),
    role: fc.constantFrom('viewer' as const, 'editor' as const, 'booker' as const),
    first: fc.tuple(fc.constantFrom(...ids), spelling),
    second: fc.tuple(fc.constantFrom(...ids), spelling),
  })
  const before = JSON.stringify(await database.rows())
  const seen = new Map<number, number>()
  await fc.assert(
    fc.asyncProperty(attempt, async ({ route: { method, url }, role, first, second }) => {
      fc.pre(role !== 'booker' || !ofBookers.test(url))
      const values = [first, second].map(([id, spell]) => spell(id))
      const payload = bodies[`${method} ${url}`] ?? (/^(?:GET|DELETE)$/.test(method) ? null : {})
      const answer = await send({
        method,
        url: url.replaceAll(/:\w+/g, () => values.shift()!),
        headers: await signIn(app, role),
        remoteAddress: nextAddress(),
        ...(payload !== null && { payload }),
      })
      seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1)
      if (![400, 403, 404].includes(answer.status)) {
        throw new Error(`${method} ${url}: ${answer.status} ${answer.text}`)
      }
      if (answer.text.includes(MARK)) throw new Error(`${method} ${url}: ${answer.text}`)
    }),
    { numRuns: runs(400, 20_000) },
  )
  t.equal(JSON.stringify(await database.rows()), before, 'no row changed')
  t.same(
    [...seen.keys()].toSorted((a, b) => a - b),
    [400, 403, 404],
    'each kind of refusal was seen',
  )
  const { length } = await app.sessions.list(owner.id)
  t.ok(length >= 2, 'the sessions of the owner go on')
})

/** Lists, and who may read them. */
const lists = {
  own: ['/api/v1/bookings', '/api/v1/files', '/api/v1/content', '/api/v1/privacy/requests'],
  open: ['/api/v1/artists', '/api/v1/artists/search', '/api/v1/venues'],
  admin: [
    '/api/v1/users',
    '/api/v1/audit/events',
    '/api/v1/incidents',
    '/api/v1/privacy/admin/requests',
  ],
} as const

async function readCursors(headers: Headers, paths: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const path of paths) {
    const { body } = await ask(headers, 'GET', `${path}?limit=1`)
    const cursor = body['nextCursor'] ?? body['cursor']
    if (typeof cursor === 'string') found.push(cursor)
  }
  return found
}

/** Changes a cursor as someone would who tries what happens. */
const tampering = fc.oneof(
  fc.constant((cursor: string) => cursor),
  fc.tuple(fc.nat(), fc.integer({ min: 0, max: 7 })).map(([at, bit]) => (cursor: string) => {
    const bytes = Buffer.from(cursor, 'base64url')
    if (bytes.length > 0) bytes[at % bytes.length]! ^= 1 << bit
    return bytes.toString('base64url')
  }),
  fc.tuple(fc.nat(), fc.integer({ min: 0, max: 6 })).map(([at, bit]) => (cursor: string) => {
    const bytes = Buffer.from(cursor)
    if (bytes.length > 0) bytes[at % bytes.length]! ^= 1 << bit
    return bytes.toString('latin1')
  }),
  fc.nat({ max: 40 }).map((length) => (cursor: string) => cursor.slice(0, length)),
  fc.string({ maxLength: 70, unit: 'binary' }).map((text) => (cursor: string) => cursor + text),
  fc
    .constantFrom(
      '',
      '0',
      '-1',
      '1e9',
      'null',
      '[]',
      '\u0000',
      "' OR 1=1 --",
      '9'.repeat(15),
      'A'.repeat(24),
    )
    .map((text) => () => text),
  fc
    .constantFrom(...ids)
    .map((id) => () => Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')),
)

await t.test(
  'no cursor, of another list, of another user or changed, shows a foreign row',
  async (t) => {
    const all = [...lists.own, ...lists.open, ...lists.admin]
    const cursors = [
      ...(await readCursors(owner.headers, [...lists.own, ...lists.open])),
      ...(await readCursors(chief.headers, all)),
      '',
    ]
    t.ok(cursors.length > 8, `${cursors.length} cursors`)
    const attempt = fc.record({
      path: fc.constantFrom(...all),
      isChief: fc.boolean(),
      cursor: fc.constantFrom(...cursors),
      tamper: tampering,
      limit: fc.constantFrom('', '&limit=1', '&limit=100', '&sort=name', '&order=desc'),
    })
    const seen = new Map<number, number>()
    await fc.assert(
      fc.asyncProperty(attempt, async ({ path, isChief, cursor, tamper, limit }) => {
        const text = tamper(cursor)
        const value = text.isWellFormed() ? encodeURIComponent(text) : '%ED'
        const answer = await send({
          url: `${path}?cursor=${value}${limit}`,
          headers: await signIn(app, isChief ? 'admin' : 'viewer'),
          remoteAddress: nextAddress(),
        })
        seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1)
        if (![200, 400, 403, 404].includes(answer.status))
          throw new Error(`${path}: ${answer.text}`)
        if (!isChief && answer.text.includes(MARK)) throw new Error(`${path}: ${answer.text}`)
        if (!isChief && answer.status === 200 && lists.own.some((own) => own === path)) {
          const items = (answer.body['items'] ?? answer.body['requests']) as readonly unknown[]
          if (items.length > 0) throw new Error(`${path}: ${answer.text}`)
        }
      }),
      { numRuns: runs(300, 20_000) },
    )
    for (const status of [200, 400, 403]) t.ok(seen.has(status), `${seen.get(status)} × ${status}`)
  },
)

await t.test('a cursor of every length is one of this service, or is refused', async (t) => {
  for (let length = 0; length <= 64; length++) {
    const { status } = await send({
      url: `/api/v1/artists?cursor=${'A'.repeat(length)}`,
      remoteAddress: nextAddress(),
    })
    t.equal(status, length === 22 ? 200 : 400, `${length} characters`)
  }
})
