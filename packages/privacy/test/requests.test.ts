import type { RequestType } from '@parapet/privacy'
import t from 'tap'
import { addMonths } from '../src/requests/deadlines.ts'
import {
  createApp,
  DAY,
  fresh,
  openConfirmed,
  passTime,
  post,
  runTick,
  sorted,
  waitFor,
} from './helpers.ts'

await t.test('a request is confirmed by a token that works once', async (t) => {
  const { send, messages, events } = await createApp(t)
  const opened = await send('ann', post('/privacy/requests', { type: 'restriction' }))
  t.equal(opened.status, 201)
  t.equal(opened.body.state, 'verifying')
  t.equal(opened.headers['cache-control'], 'no-store')
  t.same(events, [], 'nothing is announced before the identity is proved')
  const { token } = messages[0]!
  t.match(messages[0], { kind: 'confirm', subject: 'ann', type: 'restriction' })
  const confirmed = await send(null, post('/privacy/requests/confirm', { token }))
  t.match(confirmed, { status: 200, body: { state: 'open' } })
  t.match(events, [{ type: 'privacy.request_opened' }])
  const again = await send(null, post('/privacy/requests/confirm', { token }))
  t.match(again, { status: 403, body: { code: 'PARAPET_PRIVACY_TOKEN_REFUSED' } })
})

await t.test(
  'a token that is wrong, expired, or of another request is refused alike',
  async (t) => {
    const { send, messages, clock } = await createApp(t)
    await send('ann', post('/privacy/requests', { type: 'restriction' }))
    await send('bob', post('/privacy/requests', { type: 'restriction' }))
    const [own, other] = messages.map(({ token }) => token!.split('.') as [string, string])
    clock.advance(DAY)
    const answers = await Promise.all(
      [
        `${own![0]}.${own![1]}`,
        `${own![0]}.${other![1]}`,
        `${own![0].replace(/.$/, 'f')}.${own![1]}`,
      ].map((token) => send(null, post('/privacy/requests/confirm', { token }))),
    )
    for (const { status, body } of answers) {
      t.equal(status, 403)
      t.same(body, answers[0]!.body)
    }
  },
)

await t.test('two requests of one type at once: one is opened, the other refused', async (t) => {
  const { send } = await createApp(t)
  const open = () => send('ann', post('/privacy/requests', { type: 'erasure' }, fresh))
  const answers = await Promise.all([open(), open()])
  t.same(sorted(answers), [201, 409])
  const refused = answers.find(({ status }) => status === 409)!
  t.equal(refused.body.code, 'PARAPET_PRIVACY_REQUEST_EXISTS')
})

await t.test('two confirmations at once: one wins', async (t) => {
  const { send, messages, events } = await createApp(t)
  await send('ann', post('/privacy/requests', { type: 'restriction' }))
  const { token } = messages[0]!
  const confirm = () => send(null, post('/privacy/requests/confirm', { token }))
  const answers = await Promise.all([confirm(), confirm(), confirm()])
  t.same(sorted(answers), [200, 403, 403])
  t.equal(events.filter(({ type }) => type === 'privacy.request_opened').length, 1)
})

await t.test('access, portability and erasure need a second factor as well', async (t) => {
  const { send, messages } = await createApp(t)
  for (const type of ['access', 'portability', 'erasure']) {
    const refused = await send('ann', post('/privacy/requests', { type }))
    t.match(refused, { status: 403, body: { code: 'PARAPET_PRIVACY_STEP_UP_REQUIRED' } }, type)
  }
  t.same(messages, [], 'nothing was opened')
  t.match(await send('ann', '/privacy/requests'), { status: 200, body: { items: [] } })
})

await t.test('without a login nothing can be opened or read', async (t) => {
  const { send } = await createApp(t)
  for (const options of [
    post('/privacy/requests', { type: 'access' }),
    { url: '/privacy/requests' },
    { url: '/privacy/consents' },
    { url: '/privacy/admin/requests' },
  ]) {
    t.match(await send(null, options), {
      status: 401,
      body: { code: 'PARAPET_PRIVACY_LOGIN_REQUIRED' },
    })
  }
})

await t.test('a request by contact looks the same whether somebody is behind it', async (t) => {
  const { send, messages, jobs } = await createApp(t, { verify: { access: 'token' } })
  const ask = (contact: string) =>
    send(null, post('/privacy/requests/by-contact', { type: 'access', contact }))
  const known = await ask('ann@acme.example')
  const unknown = await ask('nobody@elsewhere.example')
  t.equal(known.status, 202)
  t.same([known.status, known.body], [unknown.status, unknown.body])
  t.same(Object.keys(known.headers), Object.keys(unknown.headers))
  await jobs.close()
  t.match(messages, [{ kind: 'confirm', subject: 'ann' }])
  t.equal(messages.length, 1, 'a message goes to the address on record, and to no other')
})

await t.test('a type that needs a second factor cannot be opened by contact', async (t) => {
  const { app, send, messages, jobs } = await createApp(t)
  await send(
    null,
    post('/privacy/requests/by-contact', { type: 'erasure', contact: 'ann@acme.example' }),
  )
  await jobs.close()
  t.match(messages, [{ kind: 'login', subject: 'ann' }])
  t.notOk(messages[0]!.token)
  t.match(
    (await app.inject({ url: '/privacy/requests', headers: { 'x-subject': 'ann' } })).json(),
    {
      items: [],
    },
  )
})

await t.test("somebody else's request looks like one that does not exist", async (t) => {
  const app = await createApp(t)
  const id = await openConfirmed(app, 'ann', 'restriction')
  const missing = '01890a5d-ac96-774b-bcce-b302099a8057'
  for (const [method, rest] of [
    ['GET', ''],
    ['POST', '/withdraw'],
  ] as const) {
    const url = (of: string) => `/privacy/requests/${of}${rest}`
    const other = await app.send('bob', { method, url: url(id) })
    const none = await app.send('bob', { method, url: url(missing) })
    t.match(other, { status: 404, body: { code: 'PARAPET_PRIVACY_NOT_FOUND' } })
    t.same(other.body, none.body)
  }
  t.match(await app.send('ann', `/privacy/requests/${id}`), { status: 200, body: { id } })
})

await t.test('only an officer reads and decides requests of others', async (t) => {
  const app = await createApp(t)
  const id = await openConfirmed(app, 'ann', 'restriction')
  for (const options of [
    { url: '/privacy/admin/requests' },
    post(`/privacy/admin/requests/${id}/approve`),
    post('/privacy/admin/holds', { subject: 'ann', reason: 'r', basis: 'b' }),
    { url: '/privacy/admin/register' },
  ]) {
    const refused = await app.send('bob', options)
    t.match(refused, { status: 403, body: { code: 'PARAPET_PRIVACY_FORBIDDEN' } })
  }
  t.equal((await app.app.privacy.findRequest(id))!.state, 'open', 'nothing was decided')
  t.match(await app.send('officer', '/privacy/admin/requests?state=open'), {
    status: 200,
    body: { items: [{ id, type: 'restriction', state: 'open' }] },
  })
})

await t.test('lists are paged', async (t) => {
  const app = await createApp(t)
  for (const subject of ['a', 'b', 'c']) await openConfirmed(app, subject, 'restriction')
  const first = await app.send('officer', '/privacy/admin/requests?limit=2')
  t.equal(first.body.items.length, 2)
  const url = `/privacy/admin/requests?limit=2&cursor=${first.body.nextCursor!}`
  const second = await app.send('officer', url)
  t.equal(second.body.items.length, 1)
  t.notOk(second.body.nextCursor)
  const ids = new Set([...first.body.items, ...second.body.items].map(({ id }) => id))
  t.equal(ids.size, 3)
})

await t.test('a restriction and an objection take effect when an officer approves', async (t) => {
  const purposes = { mail: { title: 'Mail', noticeVersion: '1', noticeText: 'We send mail.' } }
  const app = await createApp(t, { purposes })
  const restriction = await openConfirmed(app, 'ann', 'restriction', { note: 'wrong data' })
  t.equal(await app.app.privacy.isRestricted('ann'), false)
  await app.send('officer', post(`/privacy/admin/requests/${restriction}/approve`))
  await app.until(restriction, 'completed')
  t.equal(await app.app.privacy.isRestricted('ann'), true)

  await app.app.privacy.consents.record({
    subject: 'ann',
    purpose: 'mail',
    state: 'granted',
    by: 'subject',
  })
  t.equal(await app.app.privacy.consents.has('ann', 'mail'), true)
  const objection = await openConfirmed(app, 'ann', 'objection', { purposes: ['mail'] })
  await app.send('officer', post(`/privacy/admin/requests/${objection}/approve`))
  await app.until(objection, 'completed')
  t.equal(await app.app.privacy.consents.has('ann', 'mail'), false)
})

await t.test(
  'a rectification writes the new values, and no value is stored in clear',
  async (t) => {
    const app = await createApp(t)
    app.tables.users.rows.set('ann', [{ email: 'old@acme.example', note: 'n' }])
    const changes = { users: { email: 'new@acme.example' } }
    const id = await openConfirmed(app, 'ann', 'rectification', { changes })
    const stored = await app.app.privacy.findRequest(id)
    t.notMatch(JSON.stringify(stored), /new@acme/)
    await app.send('officer', post(`/privacy/admin/requests/${id}/approve`))
    await app.until(id, 'completed')
    t.match(app.tables.users.rows.get('ann'), [{ email: 'new@acme.example', note: 'n' }])
    t.equal((await app.app.privacy.findRequest(id))!.sealed, null, 'the values are dropped')
  },
)

await t.test('a rectification of what is not registered is refused', async (t) => {
  const { send, messages } = await createApp(t)
  for (const changes of [
    {},
    { nowhere: { email: 'x' } },
    { users: { roles: 'admin' } },
    { users: {} },
  ]) {
    const body = { type: 'rectification' satisfies RequestType, details: { changes } }
    const refused = await send('ann', post('/privacy/requests', body))
    t.match(refused, { status: 400, body: { code: 'PARAPET_PRIVACY_INVALID_ARGUMENT' } })
  }
  t.same(messages, [])
})

await t.test('a month ends on the same day, or on the last one', (t) => {
  t.equal(
    new Date(addMonths(Date.parse('2026-01-31T12:00:00Z'), 1)).toISOString(),
    '2026-02-28T12:00:00.000Z',
  )
  t.equal(
    new Date(addMonths(Date.parse('2028-01-31T12:00:00Z'), 1)).toISOString(),
    '2028-02-29T12:00:00.000Z',
  )
  t.equal(
    new Date(addMonths(Date.parse('2026-12-15T00:00:00Z'), 3)).toISOString(),
    '2027-03-15T00:00:00.000Z',
  )
  t.end()
})

await t.test('reminders come at 50, 80 and 100 percent, each once', async (t) => {
  const app = await createApp(t)
  const id = await openConfirmed(app, 'ann', 'restriction')
  const { openedAt, dueAt } = (await app.app.privacy.findRequest(id))!
  const seen = () =>
    app.events.flatMap((event) =>
      event.type === 'privacy.deadline_near' ? [event.details.percent] : [],
    )
  for (const [share, expected] of [
    [0.49, []],
    [0.51, [50]],
    [0.81, [50, 80]],
    [0.82, [50, 80]],
    [1.01, [50, 80, 100]],
  ] as const) {
    app.clock.advance(openedAt + (dueAt - openedAt) * share - app.clock.now())
    await runTick(app)
    t.same(seen(), expected, String(share))
  }
})

await t.test('an extension moves the deadline once, with its reason', async (t) => {
  const app = await createApp(t)
  const id = await openConfirmed(app, 'ann', 'restriction')
  const url = `/privacy/admin/requests/${id}/extend`
  const extended = await app.send('officer', post(url, { months: 2, reason: 'complex' }))
  t.equal(extended.status, 200)
  t.equal(extended.body.dueAt, Date.UTC(2026, 3, 30, 12))
  t.match(extended.body.extension, { months: 2, reason: 'complex' })
  await waitFor(() => app.messages.at(-1)?.kind === 'extended')
  t.match(app.messages.at(-1), { kind: 'extended', subject: 'ann', reason: 'complex' })
  const again = await app.send('officer', post(url, { months: 1, reason: 'more' }))
  t.match(again, { status: 409, body: { code: 'PARAPET_PRIVACY_CONFLICT' } })
})

await t.test('a rejection is sent to the subject, and ends the request', async (t) => {
  const app = await createApp(t)
  const id = await openConfirmed(app, 'ann', 'restriction')
  const url = `/privacy/admin/requests/${id}/reject`
  const rejected = await app.send('officer', post(url, { reason: 'manifestly unfounded' }))
  t.match(rejected, { status: 200, body: { state: 'rejected' } })
  await waitFor(() => app.messages.at(-1)?.kind === 'rejected')
  t.match(app.messages.at(-1), { kind: 'rejected', subject: 'ann', reason: 'manifestly unfounded' })
  t.equal((await app.send('officer', post(url, { reason: 'again' }))).status, 409)
  await openConfirmed(app, 'ann', 'restriction')
})

await t.test('a request that is never confirmed expires, and frees its place', async (t) => {
  const app = await createApp(t)
  const opened = await app.send('ann', post('/privacy/requests', { type: 'restriction' }))
  app.clock.advance(DAY + 1)
  await runTick(app)
  t.equal((await app.app.privacy.findRequest(opened.body.id))!.state, 'expired')
  t.match(app.events, [{ type: 'privacy.request_closed', details: { state: 'expired' } }])
  t.equal((await app.send('ann', post('/privacy/requests', { type: 'restriction' }))).status, 201)
})

await t.test('a message that cannot be sent leaves no request behind', async (t) => {
  const { send } = await createApp(t, {
    deliver: () => Promise.reject(new Error('the mail server is away')),
  })
  const refused = await send('ann', post('/privacy/requests', { type: 'restriction' }))
  t.match(refused, { status: 503, body: { code: 'PARAPET_PRIVACY_FAILED' } })
  t.match(await send('ann', '/privacy/requests'), { body: { items: [] } })
})

await t.test(
  'one subject opens few requests in a day, however often it withdraws them',
  async (t) => {
    const app = await createApp(t, { requestsPerDay: 3, verify: { access: 'token' } })
    const open = (as: string) => app.send(as, post('/privacy/requests', { type: 'access' }))
    for (let round = 0; round < 3; round++) {
      const { status, body } = await open('ann')
      t.equal(status, 201)
      t.equal((await app.send('ann', post(`/privacy/requests/${body.id}/withdraw`))).status, 200)
    }
    const refused = await open('ann')
    t.match(refused, { status: 429, body: { code: 'PARAPET_PRIVACY_TOO_MANY_REQUESTS' } })
    t.equal(refused.headers['retry-after'], '86400')
    t.equal((await open('bob')).status, 201)
    const sent = app.messages.length
    const contact = { type: 'access', contact: 'ann@acme.example' }
    t.equal((await app.send(null, post('/privacy/requests/by-contact', contact))).status, 202)
    await passTime(app, 0)
    t.equal(app.messages.length, sent, 'nor does it get mail by requests without a login')
    app.clock.advance(DAY)
    t.equal((await open('ann')).status, 201)
  },
)

await t.test('holds are listed page by page', async (t) => {
  const app = await createApp(t)
  for (let n = 0; n < 5; n++) {
    await app.app.privacy.holds.place({ subject: `s${n}`, reason: `${n}`, basis: 'b' })
    app.clock.advance(1)
  }
  const reasons: string[] = []
  let cursor: string | undefined
  do {
    const query = cursor === undefined ? '' : `&cursor=${cursor}`
    const { body } = await app.send('officer', `/privacy/admin/holds?limit=2${query}`)
    for (const item of body.items) reasons.push((item as unknown as { reason: string }).reason)
    cursor = body.nextCursor
  } while (cursor !== undefined)
  t.same(reasons, ['4', '3', '2', '1', '0'])
})
