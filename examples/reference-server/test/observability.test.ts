/** What operators see: metrics, traces, the version, security.txt, the documentation, and shed load. */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { readTraceparent } from '../src/tracing/trace-context.ts'
import { signIn } from './support/sign-in.ts'
import { createTestApp, openDatabase, password } from './support/test-app.ts'

const database = await openDatabase(t)
const METRICS_TOKEN = 'a'.repeat(40)

await t.test('metrics need their token or the permission', async (t) => {
  const { app, refuseRequest } = await createTestApp(t, database, { METRICS_TOKEN })
  const read = async (headers: Readonly<Record<string, string>>) =>
    (await app.inject({ url: '/metrics', headers })).statusCode
  const refused = { status: 401, code: 'PARAPET_REFERENCE_METRICS_REFUSED' }
  const viewer = await signIn(app, 'viewer')
  for (const headers of [
    {},
    viewer,
    { authorization: `Metrics ${'b'.repeat(40)}` },
    { authorization: `Metrics ${METRICS_TOKEN}x` },
    { authorization: 'Metrics ' },
  ]) {
    await refuseRequest(t, refused, { url: '/metrics', headers })
  }
  t.equal(await read({ authorization: `Metrics ${METRICS_TOKEN}` }), 200)
  t.equal(await read(await signIn(app, 'admin')), 200)
  const other = await createTestApp(t, database)
  const headers = { authorization: `Metrics ${METRICS_TOKEN}` }
  await other.refuseRequest(t, refused, { url: '/metrics', headers })
})

/** The value of a series, by its name and labels. */
function valueOf(text: string, series: string): number {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  return Number(line?.slice(series.length + 1) ?? Number.NaN)
}

await t.test(
  'metrics count requests by route, events by type, and say how plugins are',
  async (t) => {
    const { app, ask, logIn } = await createTestApp(t, database)
    const admin = await signIn(app, 'admin')
    await ask({}, 'GET', '/api/v1/artists')
    await ask({}, 'GET', '/api/v1/artists?limit=0')
    await ask({}, 'GET', '/nowhere/at/all')
    await ask({}, 'GET', '/nowhere/else')
    await logIn('nobody@example.com', password)
    const { body: text } = await app.inject({ url: '/metrics', headers: admin })
    const requests = (method: string, route: string, status: number) =>
      valueOf(
        text,
        `parapet_http_request_duration_seconds_count{method="${method}",route="${route}",status="${status}"}`,
      )
    t.equal(requests('GET', '/api/v1/artists', 200), 1)
    t.equal(requests('GET', '/api/v1/artists', 400), 1)
    t.equal(requests('GET', 'none', 404), 2, 'unknown paths are one series')
    t.notMatch(text, /nowhere/)
    const failed = '{type="sessions.login_failed",severity="medium",outcome="failure"}'
    t.match(text, /parapet_security_events_total\{type="sessions\.login_failed"/)
    t.ok(
      valueOf(text, `parapet_security_events_total${failed}`) >= 1 || text.includes('login_failed'),
    )
    t.equal(valueOf(text, 'parapet_audit_ready'), 1)
    t.ok(valueOf(text, 'parapet_audit_spool_bytes') >= 0)
    t.ok(valueOf(text, 'parapet_signing_keys') >= 1)
    t.ok(valueOf(text, 'parapet_rate_limit_decisions{tier="standard",decision="allowed"}') >= 3)
    t.equal(valueOf(text, 'parapet_jobs_dead{job="files.sweep"}'), 0)
    t.equal(valueOf(text, 'parapet_containments'), 0)
  },
)

await t.test('the version names the build, and not the runtime', async (t) => {
  const commit = 'abcdef0123456'
  const { ask } = await createTestApp(t, database, { COMMIT: commit })
  const { status, body } = await ask({}, 'GET', '/version')
  t.same([status, body], [200, { name: '@parapet/reference-server', version: '0.0.0', commit }])
  const other = await createTestApp(t, database)
  t.match((await other.ask({}, 'GET', '/version')).body, { commit: null })
})

await t.test('security.txt has a contact and a date that it expires', async (t) => {
  const { app } = await createTestApp(t, database, { PUBLIC_URL: 'https://api.example.com' })
  const { statusCode, headers, body } = await app.inject('/.well-known/security.txt')
  t.equal(statusCode, 200)
  t.match(headers['content-type'], /^text\/plain; charset=utf-8/)
  t.match(body, 'Contact: mailto:security@api.example.com')
  t.match(body, 'Canonical: https://api.example.com/.well-known/security.txt')
  const [, expires = ''] = /^Expires: (.+)$/m.exec(body) ?? []
  const days = (Date.parse(expires) - Date.now()) / 86_400_000
  t.ok(days > 300 && days < 366, expires)
})

await t.test('Swagger UI shows the description under a policy that lets it work', async (t) => {
  const { app } = await createTestApp(t, database)
  const page = await app.inject('/docs/static/index.html')
  const start = await app.inject('/docs')
  const shown = start.statusCode === 200 ? start : page
  t.equal(shown.statusCode, 200)
  t.match(shown.headers['content-type'], /^text\/html/)
  const policy = String(shown.headers['content-security-policy'])
  t.match(policy, /script-src 'self'/)
  t.notMatch(policy, /script-src[^;]*unsafe/)
  t.notMatch(shown.body, /<script(?![^>]*src=)/, 'no inline script')
  const description = await app.inject('/docs/json')
  t.equal(description.json<{ openapi: string }>().openapi, '3.1.1')
})

await t.test(
  'traceparent names the log lines of a request, and nothing else is read',
  async (t) => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const parentId = '00f067aa0ba902b7'
    const valid = `00-${traceId}-${parentId}-01`
    t.same(readTraceparent(valid), { traceId, parentId })
    t.same(readTraceparent(`cc-${traceId}-${parentId}-01-more`), { traceId, parentId })
    for (const header of [
      undefined,
      '',
      valid.toUpperCase(),
      `${valid}-more`,
      `ff-${traceId}-${parentId}-01`,
      `00-${'0'.repeat(32)}-${parentId}-01`,
      `00-${traceId}-${'0'.repeat(16)}-01`,
      `00-${traceId}-${parentId}`,
      `${valid}\n`,
    ]) {
      t.equal(readTraceparent(header), undefined, String(header))
    }
    const { app, log } = await createTestApp(t, database)
    await app.inject({ url: '/version', headers: { traceparent: valid } })
    t.match(log(), `"traceId":"${traceId}"`)
    await app.inject({ url: '/version', headers: { traceparent: 'hunter2' } })
    t.notMatch(log(), /hunter2/)
  },
)

/** A collector of OpenTelemetry that keeps what it receives. */
async function startCollector(t: Test) {
  const bodies: string[] = []
  const received = withResolvers()
  const server = createServer((request: IncomingMessage, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    request.on('end', () => {
      bodies.push(`${request.url} ${text}`)
      response.setHeader('content-type', 'application/json').end('{}')
      received.resolve()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, bodies, received: received.promise }
}

const doNothing = (): void => {}

function withResolvers() {
  let resolve = doNothing
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}

await t.test(
  'spans reach the collector under the trace of the client, without query strings',
  async (t) => {
    const collector = await startCollector(t)
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_SERVICE_NAME: 'booking' }
    const { app } = await createTestApp(t, database, env)
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` }
    const answer = await app.inject({ url: '/api/v1/artists?cursor=hunter2', headers })
    t.equal(answer.statusCode, 400)
    await app.close()
    await collector.received
    const text = collector.bodies.join('\n')
    t.match(text, /^\/v1\/traces /)
    t.match(text, traceId)
    t.match(text, 'booking')
    t.match(text, '/api/v1/artists')
    t.notMatch(text, /hunter2/)
  },
)

await t.test(
  'requests are refused while the event loop is late, but not health checks',
  async (t) => {
    const { app, ask, refuse } = await createTestApp(t, database, { MAX_EVENT_LOOP_DELAY_MS: '40' })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const overloaded = { status: 503, code: 'PARAPET_REFERENCE_OVERLOADED' }
    // The loop is blocked until the next sample has seen it.
    while (!app.isOverloaded()) {
      const end = performance.now() + 100
      while (performance.now() < end);
      await new Promise(setImmediate)
    }
    const refused = await refuse(t, overloaded, {}, 'GET', '/api/v1/artists')
    t.match(refused.headers, { 'retry-after': /^\d+$/, 'x-content-type-options': 'nosniff' })
    t.equal((await ask({}, 'GET', '/health')).status, 200)
    t.match(await ask({}, 'GET', '/ready'), { status: 503, body: { ready: false, load: 'high' } })
  },
)
