/** What requests may contain: bodies, lists and their cursors, ids, and versions. */
import { uuidV7 } from '@parapet/kit'
import t from 'tap'
import { signIn } from '../support/sign-in.ts'
import {
  artist,
  invalid,
  notFound,
  openDatabase,
  shareTestApp,
  password,
  type Refusal,
} from '../support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)

await t.test(
  'a body that its schema does not allow is refused and nothing is written',
  async (t) => {
    const { app, ask, refuse } = await useApp(t)
    const admin = await signIn(app, 'admin')
    const refused: [string, object][] = [
      ['/api/v1/users', {}],
      ['/api/v1/users', { email: 'no address', displayName: 'A', password }],
      ['/api/v1/users', { email: 'a@example.com', displayName: 'A' }],
      ['/api/v1/users', { email: 'a@example.com', displayName: 'A', password: 'short' }],
      ['/api/v1/users', { email: 'a@example.com', displayName: '', password }],
      ['/api/v1/users', { email: 'a@example.com', displayName: ' A', password }],
      ['/api/v1/users', { email: 'a@example.com', displayName: 'A\nB', password }],
      ['/api/v1/users', { email: 'a@example.com', displayName: 'x'.repeat(101), password }],
      ['/api/v1/users', { email: 'a@example.com', displayName: 5, password }],
      ['/api/v1/users', { email: 'a@example.com', displayName: 'A', password, id: uuidV7() }],
      ['/api/v1/users', { email: 'a@example.com', displayName: 'A', password, version: 7 }],
      ['/api/v1/content', { authorId: 'me', title: 'T', body: '' }],
      ['/api/v1/content', { authorId: uuidV7(), title: 'T', body: '', status: 'secret' }],
      ['/api/v1/artists', { ...artist, genres: [] }],
      ['/api/v1/artists', { ...artist, genres: ['jazz', 'jazz'] }],
      ['/api/v1/artists', { ...artist, hourlyRateMinor: 1.5 }],
      ['/api/v1/artists', { ...artist, hourlyRateMinor: '1' }],
      ['/api/v1/artists', { ...artist, hourlyRateMinor: -1 }],
      ['/api/v1/artists', { ...artist, currency: 'XXX' }],
      ['/api/v1/artists', { ...artist, available: 'true' }],
      ['/api/v1/artists', { ...artist, available: null }],
    ]
    for (const [url, body] of refused) {
      const answer = await refuse(t, invalid, admin, 'POST', url, body)
      t.match(answer.body, { errors: [{ in: 'body' }] }, JSON.stringify(body))
    }
    // The guard of JSON refuses these before a schema sees them.
    const guarded = { status: 400, code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' }
    const user = { email: 'a@example.com', displayName: 'A', password }
    for (const displayName of ['A\0', '\ud800']) {
      await refuse(t, guarded, admin, 'POST', '/api/v1/users', { ...user, displayName })
    }
    await refuse(t, guarded, admin, 'POST', '/api/v1/content', { title: 'T', body: '\0' })
    for (const url of ['/api/v1/users', '/api/v1/content', '/api/v1/artists']) {
      t.same((await ask(admin, 'GET', url)).body, { items: [] })
    }
  },
)

await t.test('a body must be JSON, within the size limit', async (t) => {
  const { refuseRequest } = await useApp(t)
  const user = '{"email":"a@example.com","displayName":"A"}'
  const mediaType: Refusal = { status: 415, code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' }
  const refused: [Refusal, type: string, payload: string][] = [
    [mediaType, 'text/plain', user],
    [mediaType, 'application/x-www-form-urlencoded', user],
    [{ status: 400, code: 'FST_ERR_CTP_INVALID_JSON_BODY' }, 'application/json', '{'],
    [
      { status: 400, code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' },
      'application/json',
      `{"__proto__":{"a":1},${user.slice(1)}`,
    ],
    [
      { status: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE' },
      'application/json',
      `{"email":"${'a'.repeat(262_144)}"}`,
    ],
  ]
  for (const [refusal, type, payload] of refused) {
    const request = {
      method: 'POST',
      url: '/api/v1/users',
      payload,
      headers: { 'content-type': type },
    } as const
    await refuseRequest(t, refusal, request, `${type} ${payload.slice(0, 30)}`)
  }
})

await t.test('pages contain every row once, even if rows are added meanwhile', async (t) => {
  const { app, ask, register } = await useApp(t)
  const admin = await signIn(app, 'admin')
  const added: string[] = []
  for (let index = 0; index < 5; index++) added.push((await register('viewer')).id)
  const seen: string[] = []
  let url = '/api/v1/users?limit=2'
  for (let turn = 0; turn < 3; turn++) {
    const { body } = await ask(admin, 'GET', url)
    const page = body as { items: { id: string }[]; nextCursor?: string }
    seen.push(...page.items.map(({ id }) => id))
    if (turn === 1) added.push((await register('viewer')).id)
    url = `/api/v1/users?limit=2&cursor=${page.nextCursor}`
  }
  t.same(seen, added)
})

await t.test('a list refuses unknown parameters, invalid limits and invalid cursors', async (t) => {
  const { app, refuse } = await useApp(t)
  const admin = await signIn(app, 'admin')
  for (const query of ['limit=0', 'limit=101', 'limit=1e309', 'limit=ten', 'order=id']) {
    const { body } = await refuse(t, invalid, admin, 'GET', `/api/v1/users?${query}`)
    t.match(body, { errors: [{ in: 'querystring' }] }, query)
  }
  const repeated = { status: 400, code: 'PARAPET_INPUT_GUARD_QUERY_REFUSED' }
  await refuse(t, repeated, admin, 'GET', '/api/v1/users?limit=1&limit=2')
  const invalidCursor = { status: 400, code: 'PARAPET_REFERENCE_INVALID_CURSOR' }
  for (const cursor of ['x', uuidV7(), 'AAAAAAAAAAAAAAAAAAAAAB', 'AAAAAAAAAAAAAAAAAAAAAA==', '']) {
    await refuse(t, invalidCursor, admin, 'GET', `/api/v1/users?cursor=${cursor}`)
  }
})

await t.test('a change needs a known member and an existing id', async (t) => {
  const { app, refuse, register } = await useApp(t)
  const admin = await signIn(app, 'admin')
  const { id } = await register('viewer')
  const url = `/api/v1/users/${id}`
  await refuse(t, invalid, admin, 'PATCH', url, {})
  await refuse(t, invalid, admin, 'PATCH', url, { id: uuidV7() })
  await refuse(t, notFound, admin, 'PATCH', `/api/v1/users/${uuidV7()}`, { displayName: 'B' })
  await refuse(t, invalid, admin, 'PATCH', '/api/v1/users/7', { displayName: 'B' })
})

await t.test('of two changes to one version the second is refused', async (t) => {
  const { app, ask, refuse, register } = await useApp(t)
  const admin = await signIn(app, 'admin')
  const { id } = await register('viewer')
  const url = `/api/v1/users/${id}`
  const mismatch = { status: 412, code: 'PARAPET_REFERENCE_VERSION_MISMATCH' }
  const ifMatch = (tags: string) => ({ ...admin, 'if-match': tags })
  const change = (tags: string) => ask(ifMatch(tags), 'PATCH', url, { displayName: tags })
  const both = await Promise.all([change('"1"'), change('"1"')])
  const statuses = both.map(({ status }) => status)
  t.same(
    statuses.toSorted((a, b) => a - b),
    [200, 412],
  )
  t.equal(both.find(({ status }) => status === 412)?.code, mismatch.code)
  t.match((await ask(admin, 'GET', url)).body, { version: 2 })
  for (const tags of ['"1"', 'W/"2"', '2', '"x"', '']) {
    await refuse(t, mismatch, ifMatch(tags), 'DELETE', url)
  }
  t.equal((await change('"7", "2"')).status, 200)
  t.equal((await change('*')).status, 200)
  t.equal((await ask(ifMatch('"4"'), 'DELETE', url)).status, 204)
})

await t.test('the API has one prefix, and its former paths are gone', async (t) => {
  const { app, refuseRequest } = await useApp(t)
  const headers = await signIn(app, 'admin')
  const gone = { status: 404, code: undefined }
  for (const part of ['artists', 'audit/events', 'content', 'mfa', 'security/rules', 'users']) {
    t.equal((await app.inject({ url: `/api/v1/${part}`, headers })).statusCode, 200, part)
    for (const url of [`/${part}`, `/api/${part}`, `/api/v2/${part}`, `/API/v1/${part}`]) {
      await refuseRequest(t, gone, { url, headers })
    }
  }
  const login = { method: 'POST', url: '/auth/login', payload: { login: 'a', password } } as const
  await refuseRequest(t, gone, login)
})
