/** The anomaly guard: what administrators see of an attack, and what they can do about it. */
import { systemClock } from '@parapet/kit'
import t from 'tap'
import { createTestApp, openDatabase } from './support/test-app.ts'

const database = await openDatabase(t)
// The time stands still, so that a block has its whole hour left.
const now = Date.now()
const clock = { ...systemClock, now: () => now }
const { app, ask, register } = await createTestApp(t, database, {}, { clock })
const { headers } = await register('admin')

const tryLogin = (address: string) =>
  app.inject({
    method: 'POST',
    url: '/api/v1/auth/login',
    remoteAddress: address,
    payload: { login: 'nobody@example.com', password: 'wrong password' },
  })
const getHealth = (url: string, address: string) => app.inject({ url, remoteAddress: address })

await t.test(
  'wrong passwords are an anomaly that explains itself, and contain nothing yet',
  async (t) => {
    for (let attempt = 0; attempt < 5; attempt++) {
      t.equal((await tryLogin('192.0.2.7')).statusCode, 401)
    }
    await app.anomaly.settle()
    const { body } = await ask(headers, 'GET', '/api/v1/security/anomalies')
    const items = body['items'] as { id: string; rule: string; label: string; mode: string }[]
    const found = items.find(({ rule }) => rule === 'brute-force')
    t.match(found, { label: 'brute_force', mode: 'shadow' })
    const explained = await ask(headers, 'GET', `/api/v1/security/anomalies/${found!.id}`)
    t.match(explained.body['sentences'], [/address 192\.0\.2\.7/])
    t.notMatch(JSON.stringify(explained.body), /nobody@example/)
    t.equal((await getHealth('/api/v1/content', '192.0.2.7')).statusCode, 200)
  },
)

await t.test('a promoted rule blocks the next attacker, and says for how long', async (t) => {
  const rules = await ask(headers, 'GET', '/api/v1/security/rules')
  t.match(rules.body['items'], [{ name: 'brute-force', mode: 'shadow', anomalies: 1 }])
  const promoted = await ask(headers, 'PUT', '/api/v1/security/rules/brute-force/mode', {
    mode: 'enforce',
  })
  t.equal(promoted.status, 204)
  const isAnswered = new Promise<void>((resolve) => {
    app.securityEvents.on('incident_response.action_executed', () => resolve())
  })
  for (let attempt = 0; attempt < 5; attempt++) await tryLogin('192.0.2.8')
  const refused = await getHealth('/api/v1/content', '192.0.2.8')
  t.equal(refused.statusCode, 403)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_BLOCKED')
  t.equal(refused.headers['retry-after'], '3600')
  t.ok(refused.headers['content-security-policy'], 'refusals carry the security headers')
  // The guard blocks the address; the incident that this opens asks the address for a challenge, too.
  await isAnswered
  const list = await ask(headers, 'GET', '/api/v1/security/containments')
  const measures = list.body['items'] as { id: string; kind: string; target: string }[]
  t.same(measures.map(({ kind }) => kind).toSorted(), ['block', 'challenge'])
  for (const { id, target } of measures) {
    t.equal(target, 'address:192.0.2.8')
    t.equal((await ask(headers, 'DELETE', `/api/v1/security/containments/${id}`)).status, 204)
  }
  t.equal((await getHealth('/api/v1/content', '192.0.2.8')).statusCode, 200)
})

await t.test('an administrator blocks a network; others may neither see nor do it', async (t) => {
  const block = { address: '198.51.100.0/24', reason: 'abuse report', ttlSeconds: 60 }
  const { headers: viewer } = await register('viewer')
  for (const who of [viewer, {}]) {
    t.match((await ask(who, 'POST', '/api/v1/security/containments', block)).status, /401|403/)
    t.match((await ask(who, 'GET', '/api/v1/security/anomalies')).status, /401|403/)
  }
  t.equal((await getHealth('/api/v1/content', '198.51.100.9')).statusCode, 200)
  const made = await ask(headers, 'POST', '/api/v1/security/containments', block)
  t.match(made, { status: 201, body: { target: 'address:198.51.100.0/24' } })
  t.equal((await getHealth('/api/v1/content', '198.51.100.9')).statusCode, 403)
  t.equal((await getHealth('/api/v1/content', '203.0.113.9')).statusCode, 200)
  const wrong = await ask(headers, 'POST', '/api/v1/security/containments', {
    ...block,
    address: 'x',
  })
  t.match(wrong, { status: 400, code: 'PARAPET_REFERENCE_ADDRESS_NOT_BLOCKED' })
  const unknown = '0190d5a0-0000-7000-8000-000000000000'
  t.equal((await ask(headers, 'DELETE', `/api/v1/security/containments/${unknown}`)).status, 404)
  t.equal((await ask(headers, 'GET', `/api/v1/security/anomalies/${unknown}`)).status, 404)
})

await t.test('health checks are answered in lockdown', async (t) => {
  const { contain } = app.anomaly
  const { containment } = await contain.lockdown({ reason: 'test', by: 'op' })
  t.equal((await getHealth('/api/v1/content', '203.0.113.9')).statusCode, 423)
  t.equal((await getHealth('/health', '203.0.113.9')).statusCode, 200)
  await contain.lift(containment!.id, { by: 'op' })
})

await t.test('a challenged client gets a page that its own policy allows to work', async (t) => {
  const { contain } = app.anomaly
  const remoteAddress = '203.0.113.20'
  await contain.challenge(remoteAddress, { reason: 'test', by: 'op' })
  const refused = await app.inject({ url: '/api/v1/content', remoteAddress })
  t.equal(refused.statusCode, 428)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED')
  const page = await app.inject({ url: String(refused.headers['location']), remoteAddress })
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-security-policy'], /script-src 'self'.*worker-src 'self'/)
  const paths = [...page.body.matchAll(/(?:src|href|challenge)="([^"]+)"/g)].map(
    ([, path]) => path!,
  )
  t.ok(paths.length >= 4)
  for (const url of paths) {
    t.equal((await app.inject({ url, remoteAddress })).statusCode, 200, url)
  }
})
