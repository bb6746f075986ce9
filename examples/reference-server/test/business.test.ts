/** Settings, analytics and exports. */
import { uuidV7 } from '@parapet/kit'
import t from 'tap'
import { signIn } from './support/sign-in.ts'
import {
  artist,
  createTestApp,
  denied,
  invalid,
  notFound,
  openDatabase,
  shareTestApp,
  unauthenticated,
} from './support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)

await t.test('each account has settings of its own', async (t) => {
  const { app, ask, refuse, register } = await useApp(t)
  const [ann, bob] = [await register('viewer'), await register('viewer')]
  const url = '/api/v1/settings'
  const defaults = { locale: 'en', timeZone: 'UTC', theme: 'system', newsletter: false }
  await refuse(t, unauthenticated, {}, 'GET', url)
  t.same((await ask(ann.headers, 'GET', url)).body, defaults)
  const change = { locale: 'pt-BR', theme: 'dark' }
  const changed = await ask(ann.headers, 'PATCH', url, change)
  t.same([changed.status, changed.body], [200, { ...defaults, ...change }])
  t.same((await ask(bob.headers, 'GET', url)).body, defaults)
  for (const bad of [{}, { theme: 'pink' }, { locale: '<b>' }, { timeZone: '../etc' }, { x: 1 }]) {
    await refuse(t, invalid, ann.headers, 'PATCH', url, bad)
  }
  const gone = await signIn(app, 'viewer', uuidV7())
  await refuse(t, notFound, gone, 'PATCH', url, change)
})

await t.test('analytics count bookings by month and currency, for bookers only', async (t) => {
  const { app, ask, refuse, register } = await useApp(t)
  const booker = await signIn(app, 'booker')
  const artistId = (await ask(booker, 'POST', '/api/v1/artists', artist)).body['id']
  const venue = { name: 'V', city: 'C', country: 'DE', capacity: 1 }
  const venueId = (await ask(booker, 'POST', '/api/v1/venues', venue)).body['id']
  const ann = await register('viewer')
  const year = new Date().getUTCFullYear() + 1
  for (const [day, status] of [
    ['02-01', 'confirmed'],
    ['02-02', 'confirmed'],
    ['02-03', 'cancelled'],
    ['03-01', undefined],
  ] as const) {
    const offer = { artistId, venueId, date: `${year}-${day}`, hours: 1, price: 100.25 }
    const { headers } = await ask(ann.headers, 'POST', '/api/v1/bookings', offer)
    if (status === undefined) continue
    const confirmed = await ask(booker, 'PATCH', String(headers['location']), { status })
    t.equal(confirmed.status, 200)
  }
  const url = `/api/v1/analytics/summary?from=${year}-01-01&to=${year}-12-31`
  const summary = await ask(booker, 'GET', url)
  const month = { currency: 'EUR', requested: 0, confirmed: 0, cancelled: 0, confirmedMinor: 0 }
  t.same(summary.body, {
    from: `${year}-01-01`,
    to: `${year}-12-31`,
    artists: 1,
    venues: 1,
    publishedContent: 0,
    months: [
      { ...month, month: `${year}-02`, confirmed: 2, cancelled: 1, confirmedMinor: 20_050 },
      { ...month, month: `${year}-03`, requested: 1 },
    ],
  })
  await refuse(t, unauthenticated, {}, 'GET', url)
  await refuse(t, denied, ann.headers, 'GET', url)
  const reversed = `/api/v1/analytics/summary?from=${year}-02-01&to=${year}-01-01`
  await refuse(t, invalid, booker, 'GET', reversed)
})

await t.test('an export has every row as a line, is recorded, and is limited', async (t) => {
  const { app, ask, send, refuse, register } = await createTestApp(t, database)
  const admin = await signIn(app, 'admin')
  for (let index = 0; index < 3; index++) {
    await ask(admin, 'POST', '/api/v1/artists', { ...artist, name: `Artist ${index}` })
  }
  const url = '/api/v1/export/artists'
  await refuse(t, unauthenticated, {}, 'GET', url)
  for (const role of ['viewer', 'editor', 'booker'] as const) {
    await refuse(t, denied, (await register(role)).headers, 'GET', url)
  }
  await refuse(t, invalid, admin, 'GET', '/api/v1/export/audit_log_events')
  const answer = await send({ url, headers: admin })
  t.equal(answer.status, 200)
  t.match(answer.headers, {
    'content-type': /^application\/x-ndjson/,
    'content-disposition': /^attachment; filename="artists\.ndjson"/,
    'cache-control': /no-store/,
  })
  const lines = answer.text.trimEnd().split('\n')
  t.same(
    lines.map((line) => (JSON.parse(line) as { name: string }).name),
    ['Artist 0', 'Artist 1', 'Artist 2'],
  )
  await app.audit.flush()
  const { entries } = await app.audit.query({ filters: { action: 'data.export' } })
  const phases = entries.map(({ record }) => [record.phase, record.result])
  t.match(phases, [['outcome', 'success'], ['attempt']])
  let last = answer
  for (let more = 0; more < 20; more++) last = await send({ url, headers: admin })
  t.same([last.status, last.code], [429, 'PARAPET_RATE_LIMITS_EXCEEDED'])
  await app.anomaly.settle()
  const found = (await app.anomaly.timeline()).map(({ rule }) => rule)
  t.ok(found.includes('mass-export'), 'the anomaly guard has noticed it')
})

await t.test('an export is read page by page and complete', async (t) => {
  const { app, send } = await useApp(t)
  await database.sql.query(
    `INSERT INTO venues (id, name, city, country, capacity)
     SELECT gen_random_uuid(), 'Venue ' || n, 'C', 'DE', 1 FROM generate_series(1, 450) AS n`,
  )
  const { text } = await send({
    url: '/api/v1/export/venues',
    headers: await signIn(app, 'admin'),
  })
  const names = text
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { name: string }).name)
  t.equal(new Set(names).size, 450)
})
