/** What input-guard refuses and changes on the routes of this server. */
import { uuidV7 } from '@parapet/kit'
import t from 'tap'
import { signIn } from './support/sign-in.ts'
import { artist, invalid, openDatabase, shareTestApp } from './support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)

await t.test('a search takes words, and nothing that looks like SQL', async (t) => {
  const { app, ask, refuse, register } = await useApp(t)
  const { id: authorId } = await register('viewer')
  const admin = await signIn(app, 'admin')
  for (const title of ['100 % jazz', 'Jazz_and more', "Rock'n'roll"]) {
    const piece = { authorId, title, body: `<p>About ${title}</p>`, status: 'published' }
    t.equal((await ask(admin, 'POST', '/api/v1/content', piece)).status, 201)
  }
  const found = async (q: string) => {
    const { body } = await ask({}, 'GET', `/api/v1/content?q=${encodeURIComponent(q)}`)
    return (body['items'] as { title: string }[]).map(({ title }) => title)
  }
  t.same(await found('JAZZ'), ['100 % jazz', 'Jazz_and more'])
  t.same(await found('jazz_'), ['Jazz_and more'], '_ is no wildcard')
  t.same(await found("rock'n"), ["Rock'n'roll"])
  t.same(await found(''), ['100 % jazz', 'Jazz_and more', "Rock'n'roll"])
  for (const q of ["'; DROP TABLE users; --", "' OR 1=1 --", '<script>']) {
    const { body } = await refuse(
      t,
      invalid,
      {},
      'GET',
      `/api/v1/content?q=${encodeURIComponent(q)}`,
    )
    t.match(body, { errors: [{ in: 'querystring', pointer: '/q', code: 'search_query' }] })
    t.notMatch(JSON.stringify(body), /DROP|1=1|script/)
  }
})

await t.test('a name does not reorder the text beside it on a page', async (t) => {
  const { app, ask, refuse } = await useApp(t)
  const admin = await signIn(app, 'admin')
  for (const name of ['\u202egnp.exe', 'a\u2066b', 'a\u200f']) {
    await refuse(t, invalid, admin, 'POST', '/api/v1/artists', { ...artist, name })
  }
  const { status } = await ask(admin, 'POST', '/api/v1/artists', { ...artist, name: 'محمد علی‌پور' })
  t.equal(status, 201)
})

await t.test('a script in content is removed before it is stored', async (t) => {
  const { app, ask, register } = await useApp(t)
  const { id: authorId } = await register('viewer')
  const admin = await signIn(app, 'admin')
  const dirty = '<h2>Hi</h2><p onclick="x()">a<script>alert(1)</script> <b>b</b></p>'
  const clean = '<h2>Hi</h2><p>a <b>b</b></p>'
  const piece = { authorId, title: 'T', body: dirty, status: 'published' }
  const created = await ask(admin, 'POST', '/api/v1/content', piece)
  t.match([created.status, created.body], [201, { body: clean, sanitized: true }])
  const url = `/api/v1/content/${String(created.body['id'])}`
  const stored = await ask({}, 'GET', url)
  t.equal(stored.body['body'], clean)
  t.notOk('sanitized' in stored.body)
  const changed = await ask(admin, 'PATCH', url, { body: '<svg onload=x>' })
  t.match([changed.status, changed.body], [200, { body: '', sanitized: true }])
  const harmless = await ask(admin, 'PATCH', url, { body: '<p>a & b</p>' })
  t.equal(harmless.body['body'], '<p>a &amp; b</p>')
  t.notOk('sanitized' in harmless.body, 'a change of notation is none')
})

await t.test('content is downloaded under a name without a path', async (t) => {
  const { app, ask, refuse, register } = await useApp(t)
  const { id: authorId } = await register('viewer')
  const admin = await signIn(app, 'admin')
  const piece = { authorId, title: 'T', body: '<p>x</p>', status: 'published' }
  const { body } = await ask(admin, 'POST', '/api/v1/content', piece)
  const url = `/api/v1/content/${String(body['id'])}/file?name=`
  const reply = await app.inject(`${url}${encodeURIComponent('Über uns.html')}`)
  t.match([reply.statusCode, reply.body], [200, '<p>x</p>'])
  t.equal(
    reply.headers['content-disposition'],
    `attachment; filename="_ber uns.html"; filename*=UTF-8''%C3%9Cber%20uns.html`,
  )
  for (const name of ['../../etc/passwd.html', '..%2fx.html', 'a\\b.html', 'x.exe', 'con.html']) {
    await refuse(t, invalid, {}, 'GET', `${url}${encodeURIComponent(name)}`)
  }
})

await t.test(
  'the price of a booking is calculated, and one response lists all faults',
  async (t) => {
    const { app, ask, refuse } = await useApp(t)
    const created = await ask(await signIn(app, 'admin'), 'POST', '/api/v1/artists', artist)
    const artistId = String(created.body['id'])
    const rate = Number(created.body['hourlyRateMinor'])
    const date = new Date(Date.now() + 90 * 86_400_000).toISOString().slice(0, 10)
    const good = { artistId: artistId.toUpperCase(), date, hours: 1.13 }
    const quote = await ask({}, 'POST', '/api/v1/artists/quotes', good)
    t.match([quote.status, quote.body], [200, { artistId, priceMinor: Math.round(rate * 1.13) }])
    const bad = { artistId: 'not-a-uuid', date: '2020-01-01', hours: 2.125 }
    const { body } = await refuse(t, invalid, {}, 'POST', '/api/v1/artists/quotes', bad)
    t.same(
      (body['errors'] as { pointer: string; code: string }[]).map(({ pointer, code }) => [
        pointer,
        code,
      ]),
      [
        ['/artistId', 'uuid'],
        ['/date', 'date_not_future'],
        ['/hours', 'decimals'],
      ],
    )
    t.notMatch(JSON.stringify(body), /not-a-uuid|2020|2\.125/)
  },
)

await t.test('the routes of plugins get the same guards', async (t) => {
  const { app, send, refuse } = await useApp(t)
  const twice = { status: 400, code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' }
  for (const url of ['/api/v1/auth/login', '/api/v1/auth/refresh', '/api/v1/users']) {
    const headers = { 'content-type': 'application/json' }
    const answer = await send({ method: 'POST', url, headers, payload: '{"a":1,"a":2}' })
    t.match([answer.status, answer.body['code']], [twice.status, twice.code], url)
  }
  const admin = await signIn(app, 'admin')
  const nul = { status: 400, code: 'PARAPET_INPUT_GUARD_QUERY_REFUSED' }
  await refuse(t, nul, admin, 'GET', '/api/v1/users/%00')
  await refuse(t, nul, admin, 'DELETE', `/api/v1/mfa/users/${uuidV7()}%00`)
})
