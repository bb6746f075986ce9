/** The routes and the page of the console: who may see what, the feed, the counters, the policy. */
import t from 'tap'
import { createHistogram, observe, quantile } from '../../src/console/latency.ts'
import { createMinuteCounters } from '../../src/console/minute-counters.ts'
import { createRecentEvents, type FeedEvent } from '../../src/console/recent-events.ts'
import { API } from '../../src/http/api.ts'
import { signIn } from '../support/sign-in.ts'
import { createTestApp, denied, openDatabase, unauthenticated } from '../support/test-app.ts'

const database = await openDatabase(t)
const { app, ask, refuse, register, send } = await createTestApp(t, database)
const { headers, id } = await register('admin')
const path = `${API}/console`

await t.test(
  'only who may read security sees the console, and everybody gets its page',
  async (t) => {
    const { headers: viewer } = await register('viewer')
    const routes = [
      'me',
      'events',
      'events/stream',
      'counters',
      'anomalies',
      'containments',
      'access',
    ]
    for (const route of [...routes, 'keys', `users/${id}/sessions`]) {
      await refuse(t, denied, viewer, 'GET', `${path}/${route}`)
      await refuse(t, unauthenticated, {}, 'GET', `${path}/${route}`)
    }
    t.equal((await ask({}, 'GET', '/console')).status, 200)
    const me = await ask(headers, 'GET', `${path}/me`)
    t.match(me.body, { id, roles: ['admin'], permissions: ['security:read', 'security:write'] })
    t.ok((me.body['permissions'] as string[]).includes('incidents:write'))
  },
)

await t.test('the page has a new nonce each time, and no inline code', async (t) => {
  const [first, second] = [await ask({}, 'GET', '/console'), await ask({}, 'GET', '/console')]
  const policy = String(first.headers['content-security-policy'])
  const nonce = /script-src 'nonce-([^']+)'/.exec(policy)?.[1]
  t.match(policy, "require-trusted-types-for 'script'")
  t.match(policy, "trusted-types 'none'")
  t.notMatch(policy, /unsafe-inline|unsafe-eval/)
  t.equal(first.text.split(`nonce="${nonce}"`).length - 1, 2, 'both scripts have it')
  t.equal(first.text.match(/<script/g)?.length, 2)
  t.notOk(second.text.includes(nonce!))
  t.notMatch(first.text, /<style|style=|onclick|javascript:/)
  t.match(first.headers['cache-control'], /^no-store/)
})

await t.test('files are served for ever under their hash, and no other file is', async (t) => {
  const page = (await ask({}, 'GET', '/console')).text
  const script = /src="(\/console\/assets\/[0-9a-f]{16}\/)console\.js"/.exec(page)![1]!
  const found = await ask({}, 'GET', `${script}console.js`)
  t.equal(found.status, 200)
  t.match(found.headers['cache-control'], /max-age=31536000.*immutable/)
  t.ok(found.text.length < 200_000, 'the script stays light')
  const others = ['../../../package.json', '%2e%2e/%2e%2e/main.tsx', '.build', 'main.tsx', '']
  for (const other of others)
    t.match((await ask({}, 'GET', script + other)).status, /40[04]/, other)
})

await t.test('the feed has the latest events, filtered, the newest first', async (t) => {
  for (let attempt = 0; attempt < 3; attempt++) {
    await ask({}, 'POST', `${API}/auth/login`, { login: 'nobody@example.com', password: 'wrong' })
  }
  const all = await ask(headers, 'GET', `${path}/events?limit=500`)
  const items = all.body['items'] as FeedEvent[]
  t.ok(items.some(({ type }) => type === 'sessions.login_failed'))
  t.same(
    items.map(({ time }) => time),
    items.map(({ time }) => time).toSorted((a, b) => b - a),
  )
  const filtered = await ask(headers, 'GET', `${path}/events?source=sessions&outcome=failure`)
  const types = (filtered.body['items'] as FeedEvent[]).map(({ type }) => type)
  t.ok(types.length >= 3 && types.every((type) => type.startsWith('sessions.')))
  t.notMatch(all.text, /nobody@example|wrong/, 'no login and no password')
  t.equal((await ask(headers, 'GET', `${path}/events?severity=huge`)).status, 400)
})

await t.test('the feed over a connection', async (t) => {
  const { app, ask, register } = await createTestApp(t, database)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })

  await t.test('the stream sends events as they happen, and ends with the session', async (t) => {
    const { id: userId } = await register('admin')
    const own = await signIn(app, 'admin', userId)
    const response = await fetch(`${address}${path}/events/stream?source=sessions`, {
      headers: own,
    })
    t.equal(response.status, 200)
    t.equal(response.headers.get('content-type'), 'text/event-stream')
    t.equal(response.headers.get('cache-control'), 'no-store')
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    const readUntil = async (pattern: RegExp): Promise<boolean> => {
      while (!pattern.test(text)) {
        const { done, value } = await reader.read()
        if (done) return false
        text += value
      }
      return true
    }
    t.ok(await readUntil(/^event: minute\ndata: \{.*\}\n\n/))
    await ask({}, 'POST', `${API}/auth/login`, { login: 'x@example.com', password: 'wrong' })
    t.ok(await readUntil(/event: events\ndata: .*sessions\.login_failed/))
    t.notMatch(text, /rbac\./, 'the filter holds')
    await app.sessions.revoke({ userId })
    t.equal(await readUntil(/never/), false, 'the stream has ended')
  })

  await t.test('one operator cannot open streams without end', async (t) => {
    const controller = new AbortController()
    const url = `${address}${path}/events/stream`
    const own = await signIn(app, 'admin')
    const open = () => fetch(url, { headers: own, signal: controller.signal })
    for (let at = 0; at < 8; at++) t.equal((await open()).status, 200)
    const refused = await open()
    t.equal(refused.status, 503)
    t.match(await refused.json(), { code: 'PARAPET_REFERENCE_TOO_MANY_STREAMS' })
    controller.abort()
  })
})

await t.test(
  'requests are counted by what became of them, the console itself is not',
  async (t) => {
    const before = app.consoleRecords.counters.current()
    await ask({}, 'GET', '/health')
    await ask({}, 'GET', '/nowhere')
    await ask(headers, 'GET', `${path}/me`)
    await ask({}, 'GET', '/console')
    const { body } = await ask(headers, 'GET', `${path}/counters`)
    const minutes = body['minutes'] as { answered: number; refused: number; p50: number }[]
    t.equal(minutes.length, 180)
    const total = minutes.reduce((sum, minute) => sum + minute.answered + minute.refused, 0)
    t.ok(total >= before.answered + before.refused + 2)
    const after = app.consoleRecords.counters.current()
    if (after.time === before.time) t.equal(after.answered, before.answered + 1)
  },
)

await t.test('the matrix names every route, and a role is explained', async (t) => {
  const { body } = await ask(headers, 'GET', `${path}/access`)
  const rows = body['rows'] as { method: string; url: string; roles: Record<string, string> }[]
  const row = rows.find(({ method, url }) => method === 'GET' && url === `${path}/access`)
  t.match(row, { roles: { admin: 'allow', viewer: 'deny' } })
  const explained = await ask(
    headers,
    'GET',
    `${path}/access/explain?role=editor&permission=content:write`,
  )
  t.match(explained, { status: 200, body: { text: /content:write/ } })
  const unknown = await ask(headers, 'GET', `${path}/access/explain?role=editor&permission=no:such`)
  t.equal(unknown.status, 404)
})

await t.test('an operator ends the session of a user, which is refused at once', async (t) => {
  const user = await register('viewer')
  const listed = await ask(headers, 'GET', `${path}/users/${user.id}/sessions`)
  const [session] = listed.body['items'] as { id: string }[]
  const url = `${path}/users/${user.id}/sessions/${session!.id}`
  await refuse(t, denied, user.headers, 'DELETE', url)
  t.equal((await ask(headers, 'DELETE', url)).status, 204)
  t.equal((await ask(user.headers, 'GET', `${API}/users/me`)).status, 401)
  t.equal((await ask(headers, 'DELETE', url)).status, 404)
  await app.audit.flush()
  const { entries } = await app.audit.query({ filters: { action: 'session.end' } })
  const ended = entries.find(({ record }) => record.result === 'success')?.record
  t.match(ended, { principal: id, resourceId: user.id })
})

await t.test('the state of keys has no secret', async (t) => {
  const { text, body } = await ask(headers, 'GET', `${path}/keys`)
  t.match(body, { signingKeys: [{ alg: String }], audit: { size: Number } })
  t.notMatch(text, /PRIVATE|"d":/)
})

await t.test('in lockdown the console still answers an operator', async (t) => {
  const { contain } = app.anomaly
  const { containment } = await contain.lockdown({ reason: 'test', by: 'op' })
  t.equal((await ask({}, 'GET', '/console')).status, 200)
  t.equal((await ask(headers, 'GET', `${path}/containments`)).status, 200)
  t.equal((await ask({}, 'GET', '/nowhere')).status, 423)
  const lifted = await ask(headers, 'DELETE', `${API}/security/containments/${containment!.id}`)
  t.equal(lifted.status, 204)
})

await t.test('a browser gets its tokens in cookies that no script can read', async (t) => {
  const { email } = await register('admin')
  const login = await send({
    method: 'POST',
    url: `${API}/auth/login`,
    headers: { 'sec-fetch-site': 'same-origin' },
    payload: { login: email, password: 'correct horse battery staple' },
  })
  t.equal(login.status, 200)
  t.notOk('access_token' in login.body)
  for (const cookie of [login.headers['set-cookie']].flat()) {
    t.match(cookie, /^__Host-.*HttpOnly.*Secure.*SameSite=Strict/i)
  }
})

await t.test('a page of another site can do nothing with the cookies of an operator', async (t) => {
  const { email, id: own } = await register('admin')
  await database.sql.query(`UPDATE users SET roles = '{admin}' WHERE id = $1`, [own])
  const login = await send({
    method: 'POST',
    url: `${API}/auth/login`,
    headers: { 'sec-fetch-site': 'same-origin' },
    payload: { login: email, password: 'correct horse battery staple' },
  })
  const cookie = [login.headers['set-cookie']]
    .flat()
    .map((each) => String(each).split(';', 1)[0])
    .join('; ')
  const incident = await app.incidents.report({ type: 'test', severity: 'low', by: 'test' })
  const some = '01a20061-e1a4-72ba-9edc-39c1db6e3b29'
  const actions = [
    ['DELETE', `/console/users/${some}/sessions/x`],
    ['DELETE', `/security/containments/${some}`],
    ['POST', '/security/containments'],
    ['PUT', '/security/rules/flood/mode'],
    ['PUT', `/security/anomalies/${some}/verdict`],
    ['POST', `/incidents/${incident.id}/acknowledge`],
    ['POST', `/incidents/${incident.id}/close`],
    ['POST', `/incidents/${incident.id}/runs`],
    ['POST', `/privacy/admin/requests/${some}/approve`],
    ['DELETE', '/auth/sessions'],
    ['DELETE', '/mfa/totp'],
    ['POST', '/mfa/backup-codes'],
    ['POST', '/auth/logout'],
  ] as const
  for (const [method, action] of actions) {
    for (const site of ['cross-site', 'same-site']) {
      const { status, code } = await send({
        method,
        url: API + action,
        headers: { cookie, 'sec-fetch-site': site, origin: 'https://evil.example' },
      })
      const isolated = [403, 'PARAPET_SECURITY_HEADERS_CROSS_SITE']
      t.same([status, code], isolated, `${method} ${action} from ${site}`)
    }
  }
  const page = { cookie, 'sec-fetch-site': 'same-origin' }
  t.equal((await ask(page, 'GET', `${path}/me`)).status, 200, 'still signed in')
  t.match(await app.incidents.find(incident.id), { acknowledgedAt: null, phase: 'detection' })
})

const event = (at: number, severity = 'info'): FeedEvent => ({
  id: `e${at}`,
  time: at,
  type: 'rbac.denied',
  severity: severity as 'info',
  outcome: 'failure',
  details: {},
})

await t.test('the list of events is bounded, and keeps an event once', async (t) => {
  const recent = createRecentEvents(100)
  const heard: string[] = []
  const stop = recent.listen(({ id }) => void heard.push(id))
  for (let at = 0; at < 250; at++) recent.add(event(at))
  recent.add(event(249))
  stop()
  recent.add(event(250))
  t.equal(heard.length, 250)
  t.equal(recent.list({}, 1000).length, 100)
  t.equal(recent.list({}, 1)[0]!.id, 'e250')
  recent.add(event(251, 'high'))
  t.same(
    recent.list({ severity: 'medium' }, 10).map(({ id }) => id),
    ['e251'],
  )
})

await t.test('minutes are kept for the period, and an old one is not counted again', async (t) => {
  let now = 1_700_000_040_000
  const counters = createMinuteCounters(() => now, 3)
  counters.request(200, 5)
  counters.request(404, 5)
  counters.request(503, 5)
  now += 60_000
  counters.anomaly()
  counters.alarm()
  const shown = counters
    .list()
    .map(({ answered, refused, failed, anomalies }) => [answered, refused, failed, anomalies])
  t.same(shown, [
    [0, 0, 0, 0],
    [1, 1, 1, 0],
    [0, 0, 0, 1],
  ])
  now += 180_000
  t.ok(counters.list().every(({ answered, alarms }) => answered + alarms === 0))
})

await t.test('quantiles are within a fifth of the exact ones', async (t) => {
  const histogram = createHistogram()
  t.equal(quantile(histogram, 0.5), null)
  const values = Array.from({ length: 1000 }, (_, at) => 1.01 ** at / 10)
  for (const value of values) observe(histogram, value)
  for (const share of [0.5, 0.95, 0.99]) {
    const exact = values[Math.floor(share * 1000)]!
    const found = quantile(histogram, share)!
    t.ok(Math.abs(found / exact - 1) < 0.2, `${share}: ${found} for ${exact}`)
  }
})
