/** Venues, bookings and the search for artists: rules of the domain, and who sees which booking. */
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
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
  unauthenticated,
  type Answer,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)
const env = { FIELD_KEYSET: exportKeyset(generateKeyset()) }
const venue = { name: 'Foro 東京', city: 'Ciudad de México', country: 'MX', capacity: 250 }

const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10)
const idOf = ({ body }: Answer) => String(body['id'])
const namesOf = ({ body }: Answer) => (body['items'] as { name: string }[]).map(({ name }) => name)

/** An app with an artist and a venue. */
async function createStage(t: Parameters<typeof createTestApp>[0]) {
  const made = await createTestApp(t, database, env)
  const { app, ask } = made
  const booker = await signIn(app, 'booker')
  const singer = { ...artist, name: 'Ann', hourlyRateMinor: 10_000, platforms: ['spotify'] }
  const artistId = idOf(await ask(booker, 'POST', '/api/v1/artists', singer))
  const venueId = idOf(await ask(booker, 'POST', '/api/v1/venues', venue))
  const offer = { artistId, venueId, date: inDays(90), hours: 1.5, price: 150.5 }
  const book = (who: Headers, more: object = {}) =>
    ask(who, 'POST', '/api/v1/bookings', { ...offer, ...more })
  return { ...made, booker, artistId, venueId, offer, book }
}

await t.test('bookers manage venues, everybody reads them', async (t) => {
  const { app, ask, refuse, booker } = await createStage(t)
  const viewer = await signIn(app, 'viewer')
  await refuse(t, unauthenticated, {}, 'POST', '/api/v1/venues', venue)
  await refuse(t, denied, viewer, 'POST', '/api/v1/venues', venue)
  await refuse(t, invalid, booker, 'POST', '/api/v1/venues', { ...venue, country: 'ZZ' })
  await refuse(t, invalid, booker, 'POST', '/api/v1/venues', { ...venue, capacity: 0 })
  const made = await ask(booker, 'POST', '/api/v1/venues', venue)
  t.match([made.status, made.body], [201, venue])
  const url = String(made.headers['location'])
  t.match((await ask({}, 'GET', url)).body, venue)
  t.match(await ask(booker, 'PATCH', url, { capacity: 300 }), { body: { capacity: 300 } })
  t.equal((await ask(booker, 'DELETE', url)).status, 204)
  await refuse(t, notFound, booker, 'DELETE', url)
})

await t.test('an evaluation needs ids, a future date and a price with two decimals', async (t) => {
  const { ask, refuse, offer, register } = await createStage(t)
  const { headers } = await register('viewer')
  const url = '/api/v1/bookings/evaluations'
  await refuse(t, unauthenticated, {}, 'POST', url, offer)
  const answer = await ask(headers, 'POST', url, offer)
  const fair = { priceMinor: 15_050, usualMinor: 15_000, currency: 'EUR', verdict: 'fair' }
  t.match([answer.status, answer.body], [200, { ...offer, ...fair, isFree: true }])
  t.match((await ask(headers, 'POST', url, { ...offer, price: 10 })).body, { verdict: 'low' })
  t.match((await ask(headers, 'POST', url, { ...offer, price: 999.99 })).body, { verdict: 'high' })

  const bad = { artistId: 'x', venueId: '1 OR 1=1', date: '2020-01-01', hours: 1, price: 10.123 }
  const { body } = await refuse(t, invalid, headers, 'POST', url, bad)
  t.same(
    (body['errors'] as { pointer: string; code: string }[]).map(({ pointer, code }) => [
      pointer,
      code,
    ]),
    [
      ['/artistId', 'uuid'],
      ['/venueId', 'uuid'],
      ['/date', 'date_not_future'],
      ['/price', 'decimals'],
    ],
  )
  const unknown = { status: 409, code: 'PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN' }
  await refuse(t, unknown, headers, 'POST', url, { ...offer, artistId: uuidV7() })
})

await t.test('a price has no more decimals than its currency', async (t) => {
  const { ask, refuse, booker, offer, register } = await createStage(t)
  const { headers } = await register('viewer')
  const yen = await ask(booker, 'POST', '/api/v1/artists', { ...artist, currency: 'JPY' })
  const inYen = { ...offer, artistId: idOf(yen) }
  const url = '/api/v1/bookings/evaluations'
  const fault = { status: 400, code: 'PARAPET_REFERENCE_PRICE_DECIMALS' }
  await refuse(t, fault, headers, 'POST', url, { ...inYen, price: 100.5 })
  t.match((await ask(headers, 'POST', url, { ...inYen, price: 100 })).body, { priceMinor: 100 })
})

await t.test('a booking is seen by its owner and by bookers only', async (t) => {
  const { ask, refuse, booker, book, register } = await createStage(t)
  const [ann, bob] = [await register('viewer'), await register('editor')]
  const made = await book(ann.headers, { note: 'a secret party' })
  t.match([made.status, made.body], [201, { userId: ann.id, status: 'requested', hours: 1.5 }])
  const url = String(made.headers['location'])
  for (const who of [ann.headers, booker]) {
    t.match((await ask(who, 'GET', url)).body, { note: 'a secret party', priceMinor: 15_050 })
    t.equal(((await ask(who, 'GET', '/api/v1/bookings')).body['items'] as unknown[]).length, 1)
  }
  await refuse(t, unauthenticated, {}, 'GET', url)
  // The same response as for a booking that does not exist.
  await refuse(t, notFound, bob.headers, 'GET', url)
  await refuse(t, notFound, bob.headers, 'PATCH', url, { status: 'cancelled' })
  t.same((await ask(bob.headers, 'GET', '/api/v1/bookings')).body, { items: [] })
  const { rows } = await database.sql.query<{ note: string }>('SELECT note FROM bookings')
  t.match(rows[0]!.note, /^pe1\./, 'the note is encrypted')
})

await t.test('only bookers confirm, and an artist plays once a day', async (t) => {
  const { ask, refuse, booker, artistId, offer, book, register } = await createStage(t)
  const ann = await register('viewer')
  const [first, second] = [await book(ann.headers), await book(ann.headers)]
  const urls = [first, second].map(({ headers }) => String(headers['location']))
  await refuse(t, denied, ann.headers, 'PATCH', urls[0]!, { status: 'confirmed' })
  t.match(await ask(booker, 'PATCH', urls[0]!, { status: 'confirmed' }), { status: 200 })
  const taken = { status: 409, code: 'PARAPET_REFERENCE_ARTIST_BOOKED' }
  await refuse(t, taken, booker, 'PATCH', urls[1]!, { status: 'confirmed' })
  const evaluated = await ask(ann.headers, 'POST', '/api/v1/bookings/evaluations', offer)
  t.match(evaluated.body, { isFree: false, verdict: 'unavailable' })
  t.match(await ask(ann.headers, 'PATCH', urls[1]!, { status: 'cancelled' }), { status: 200 })
  const kept = { status: 409, code: 'PARAPET_REFERENCE_HAS_BOOKINGS' }
  await refuse(t, kept, booker, 'DELETE', `/api/v1/artists/${artistId}`)
})

await t.test('two bookings that are confirmed at once end with one of them', async (t) => {
  const { ask, booker, book, register } = await createStage(t)
  const ann = await register('viewer')
  const urls = [await book(ann.headers), await book(ann.headers)].map(({ headers }) =>
    String(headers['location']),
  )
  const answers = await Promise.all(
    urls.map((url) => ask(booker, 'PATCH', url, { status: 'confirmed' })),
  )
  t.same(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 409],
  )
})

await t.test('artists are found by name, platform and free days', async (t) => {
  const { ask, refuse, booker, offer, book, register } = await createStage(t)
  for (const name of ['AC/DC', '100% Jazz', 'Ñandú']) {
    await ask(booker, 'POST', '/api/v1/artists', { ...artist, name, platforms: ['deezer'] })
  }
  const find = (query: string) => ask({}, 'GET', `/api/v1/artists/search?${query}`)
  t.same(namesOf(await find('name=ac/')), ['AC/DC'])
  t.same(namesOf(await find(`name=${encodeURIComponent('ñandú')}`)), ['Ñandú'])
  t.same(namesOf(await find('platform=spotify')), ['Ann'])
  t.same(namesOf(await find('platform=deezer&name=jazz&limit=1')), ['100% Jazz'])
  const ann = await register('viewer')
  const made = await book(ann.headers)
  t.same(namesOf(await find(`name=ann&from=${offer.date}`)), ['Ann'], 'a request blocks no day')
  await ask(booker, 'PATCH', String(made.headers['location']), { status: 'confirmed' })
  t.same(namesOf(await find(`name=ann&from=${offer.date}`)), [])
  t.same(namesOf(await find(`name=ann&from=${inDays(80)}&to=${inDays(100)}`)), [])
  t.same(namesOf(await find(`name=ann&from=${inDays(91)}&to=${inDays(100)}`)), ['Ann'])

  const faults: readonly [query: string, code: string][] = [
    [`name=${encodeURIComponent("' OR '1'='1' --")}`, 'search_query'],
    [`name=${encodeURIComponent('<script>')}`, 'search_query'],
    ['platform=napster', 'enum'],
    ['from=2027-02-30', 'date'],
    ['from=2027-03-02&to=2027-03-01', 'range_reversed'],
    ['from=2027-01-01&to=2029-01-01', 'range_too_long'],
    ['to=2027-03-01', 'dependencies'],
  ]
  for (const [query, code] of faults) {
    const { body } = await refuse(t, invalid, {}, 'GET', `/api/v1/artists/search?${query}`)
    t.match(body['errors'], [{ code }], query)
  }
})
