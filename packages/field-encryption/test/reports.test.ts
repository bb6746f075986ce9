import {
  Encrypted,
  fieldEncryption,
  mask,
  type FieldEncryptionOptions,
} from '@parapet/field-encryption'
import { createManualClock, type Principal, type SecurityEvent } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { code, keyset } from './fixtures.ts'

const Artist = Type.Object({
  id: Type.String(),
  phone: Encrypted(Type.String(), { reveal: ['booker'], mask: { default: mask.last(4) } }),
  email: Type.Optional(Encrypted(Type.String(), { reveal: ['booker'] })),
})
const List = { schema: { response: { 200: Type.Object({ items: Type.Array(Artist) }) } } }
const ROWS = 100

async function build(t: Test, principal: FieldEncryptionOptions['principal'] = () => null) {
  const app = Fastify()
  t.after(() => app.close())
  const clock = createManualClock()
  await app.register(fieldEncryption, { keyset, principal, clock })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const artists = app.fieldEncryption.table('artists', Artist)
  const records = Array.from({ length: ROWS }, (_, i) => ({
    id: `a-${i}`,
    phone: `+49 30 ${i}`,
    email: `${i}@example.com`,
  }))
  const rows = await artists.encryptMany(records)
  // Row by row, as a repository does that knows nothing about requests.
  const readAll = () => Promise.all(rows.map((row) => artists.decryptRecord(row)))
  app.get('/artists', List, async () => ({ items: await readAll() }))
  app.get('/count', async () => ({ count: (await readAll()).length }))
  app.post('/text', async (_, reply) => reply.send(String((await readAll()).length)))
  return { app, artists, rows, events, clock }
}

const booker: Principal = { id: 'u-1', roles: ['booker'] }

await t.test('a request emits one event for each column, with its request', async (t) => {
  const { app, events } = await build(t, () => booker)
  t.equal((await app.inject('/artists')).statusCode, 200)
  const subject = { principalId: 'u-1', ip: '127.0.0.1', route: 'GET /artists' }
  t.match(events, [
    { ...subject, details: { table: 'artists', column: 'phone', count: ROWS } },
    { ...subject, details: { table: 'artists', column: 'email', count: ROWS } },
  ])
  t.equal(events.length, 2)
  t.type(events[0]!.requestId, 'string')
})

await t.test('values that only leave masked or not at all emit no event', async (t) => {
  const { app, events, artists, rows } = await build(t)
  for (let i = 0; i < 50; i++) {
    const reply = await app.inject('/artists?limit=100')
    t.equal(reply.statusCode, 200)
    if (reply.body.includes('@')) t.fail('the address is not withheld')
  }
  await artists.decryptMany(rows, { roles: ['visitor'] })
  t.strictSame(events, [])
})

const details = (column: string) => JSON.stringify({ table: 'artists', column, count: ROWS })

await t.test('what the response does not mask is reported for every reader', async (t) => {
  const { app, events } = await build(t)
  t.equal((await app.inject('/count')).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/text', payload: { a: 1 } })).body, '100')
  const routes = events.map((event) => `${event.route} ${JSON.stringify(event.details)}`)
  t.strictSame(routes, [
    `GET /count ${details('phone')}`,
    `GET /count ${details('email')}`,
    `POST /text ${details('phone')}`,
    `POST /text ${details('email')}`,
  ])
})

await t.test('two requests at once have an event each', async (t) => {
  const { app, events } = await build(t, async (request) => ({
    id: String(request.headers['x-user']),
    roles: ['booker'],
  }))
  const get = (user: string) => app.inject({ url: '/artists', headers: { 'x-user': user } })
  const replies = await Promise.all(['ann', 'bob', 'eve'].map(get))
  for (const { statusCode } of replies) t.equal(statusCode, 200)
  const phones = events.filter(({ details }) => (details as { column: string }).column === 'phone')
  t.strictSame(
    new Set(phones.map(({ principalId }) => principalId)),
    new Set(['ann', 'bob', 'eve']),
  )
  t.match(phones[0], { details: { count: ROWS } }, 'also with an asynchronous principal')
})

await t.test('a row that cannot be opened is reported once a minute, with a count', async (t) => {
  const { app, artists, rows, events, clock } = await build(t)
  const broken = { ...rows[0], phone: `${String(rows[0]!['phone']).slice(0, -4)}AAAA` }
  app.get('/broken', async () => artists.decryptRecord(broken))
  for (let i = 0; i < 50; i++) t.equal((await app.inject('/broken')).statusCode, 500)
  t.match(events, [
    {
      type: 'field_encryption.denied',
      severity: 'high',
      route: 'GET /broken',
      details: { count: 1 },
    },
  ])
  t.equal(events.length, 1)
  clock.advance(60_000)
  t.match(events[1], { details: { table: 'artists', count: 49 } })
  clock.advance(60_000)
  t.equal(events.length, 2, 'nothing more to tell')
  await app.inject('/broken')
  await app.inject('/broken')
  t.equal(events.length, 3)
  await app.close()
  t.match(events[3], { details: { count: 1 } }, 'the rest is reported when the app closes')
})

await t.test(
  'a value that cannot be opened can be left out instead of failing a page',
  async (t) => {
    const { artists, rows, events } = await build(t)
    const broken = { ...rows[0], phone: rows[1]!['phone'] }
    const page = [broken, rows[1]!]
    await t.rejects(artists.decryptMany(page), code('OPEN_FAILED'))
    const read = await artists.decryptMany(page, { unreadable: 'withhold' })
    t.strictSame(read, [
      { id: 'a-0', email: '0@example.com' },
      { id: 'a-1', phone: '+49 30 1', email: '1@example.com' },
    ])
    t.match(events[0], { type: 'field_encryption.denied' })
    t.equal(events.filter(({ type }) => type === 'field_encryption.denied').length, 1)
  },
)

await t.test('a context that was created before the plugin keeps its own errors', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(async (earlier) => {
    earlier.get('/earlier', async () => {
      throw Object.assign(new Error('refused'), { statusCode: 401, code: 'OWN' })
    })
  })
  await app.register(fieldEncryption, { keyset })
  app.fieldEncryption.table('artists', Artist)
  const response = await app.inject('/earlier')
  t.equal(response.statusCode, 401)
  t.match(response.json(), { code: 'OWN', message: 'refused' })
})
