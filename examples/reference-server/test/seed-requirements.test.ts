/** The security tests that the requirements name, as they are meant. */
import t from 'tap'
import { signIn } from './support/sign-in.ts'
import { denied, invalid, openDatabase, shareTestApp, password } from './support/test-app.ts'

const database = await openDatabase(t)
const useApp = shareTestApp(t, database)

await t.test('SQL in a search is refused with 400 and reaches no statement', async (t) => {
  const { refuse, register } = await useApp(t)
  await register('viewer')
  for (const attack of [
    `'; DROP TABLE users; --`,
    `' OR '1'='1' --`,
    `1' UNION SELECT email, password_hash FROM users --`,
    `admin'/*`,
    `\\'; SELECT pg_sleep(10); --`,
  ]) {
    const value = encodeURIComponent(attack)
    await refuse(t, invalid, {}, 'GET', `/api/v1/artists/search?name=${value}`)
    await refuse(t, invalid, {}, 'GET', `/api/v1/content?q=${value}`)
    await refuse(t, invalid, {}, 'GET', `/api/v1/artists/${value}`)
  }
  const { rows } = await database.sql.query('SELECT 1 FROM users')
  t.equal(rows.length, 1, 'the table and its row are still there')
})

await t.test('a script in content is sanitized as documented', async (t) => {
  const { app, ask, register } = await useApp(t)
  const { id: authorId } = await register('editor')
  const body = '<p>Hello</p><script>alert("XSS")</script><img src=x onerror=alert(1)>'
  const piece = { authorId, title: '<script>alert(1)</script>', body, status: 'published' }
  const made = await ask(await signIn(app, 'editor', authorId), 'POST', '/api/v1/content', piece)
  t.match([made.status, made.body], [201, { sanitized: true }])
  const stored = String(made.body['body'])
  t.match(stored, '<p>Hello</p>')
  t.notMatch(stored, /script|onerror|alert/)
  const read = await app.inject(`/api/v1/content/${String(made.body['id'])}`)
  // A title is text: it is stored as it is, and JSON with nosniff is never a page.
  t.match(read.headers['content-type'], /^application\/json/)
  t.equal(read.headers['x-content-type-options'], 'nosniff')
  t.match(read.headers['content-security-policy'], /default-src 'none'/)
})

await t.test('the sixth login of an account in a minute is refused with 429', async (t) => {
  const { logIn, register, refuseRequest } = await useApp(t)
  const { email } = await register('viewer')
  for (let attempt = 1; attempt <= 5; attempt++) {
    t.equal((await logIn(email, 'a wrong password')).status, 401)
  }
  const payload = { login: email, password }
  const request = { method: 'POST', url: '/api/v1/auth/login', payload } as const
  const refusal = { status: 429, code: 'PARAPET_RATE_LIMITS_EXCEEDED' }
  const refused = await refuseRequest(t, refusal, request, 'the right password changes nothing')
  t.match(refused.headers['retry-after'], /^\d+$/)
})

await t.test('a user who deletes a user is refused with 403', async (t) => {
  const { refuse, register } = await useApp(t)
  const [ann, bob] = [await register('viewer'), await register('editor')]
  await refuse(t, denied, ann.headers, 'DELETE', `/api/v1/users/${bob.id}`)
  await refuse(t, denied, bob.headers, 'DELETE', `/api/v1/users/${ann.id}`)
})

await t.test(
  'a booking evaluation refuses what is no id, no future date and no price',
  async (t) => {
    const { refuse, register } = await useApp(t)
    const { headers } = await register('viewer')
    const good = {
      artistId: '0190d5a0-0000-7000-8000-000000000000',
      venueId: '0190d5a0-0000-7000-8000-000000000001',
      date: new Date(Date.now() + 864_000_000).toISOString().slice(0, 10),
      hours: 2,
      price: 1500.5,
    }
    const url = '/api/v1/bookings/evaluations'
    for (const bad of [
      { artistId: 'not-a-uuid' },
      { date: '2020-01-01' },
      { date: 'tomorrow' },
      { price: 10.999 },
      { price: -1 },
      { price: '1500.50' },
      { hours: 0 },
      { extra: true },
    ]) {
      await refuse(t, invalid, headers, 'POST', url, { ...good, ...bad })
    }
  },
)
