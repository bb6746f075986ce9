import { createManualClock, type SecurityEvent } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import fc from 'fast-check'
import Fastify, { type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { readReports } from '../src/reports/read-reports.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')

async function build(t: Test, options: SecurityHeadersOptions = {}) {
  const clock = createManualClock(NOW)
  const app = Fastify()
  t.after(() => app.close())
  await app.register(securityHeaders, { clock, reports: {}, ...options })
  const events: SecurityEvent<'security_headers.violation_reported'>[] = []
  app.securityEvents.on('security_headers.violation_reported', (event) => void events.push(event))
  const post = (
    payload: unknown,
    type = 'application/reports+json',
    remoteAddress = '192.0.2.1',
  ): Promise<LightMyRequestResponse> =>
    app.inject({
      method: 'POST',
      url: options.reports?.path ?? '/_reports',
      headers: { 'content-type': type, 'sec-fetch-site': 'cross-site', cookie: 'sid=1' },
      payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
      remoteAddress,
    })
  return { app, clock, events, post }
}

const modern = (more: object = {}) => ({
  type: 'csp-violation',
  age: 10,
  url: 'https://app.example/users/4711/edit?token=hunter2#secret',
  user_agent: 'x',
  body: {
    documentURL: 'https://app.example/users/4711/edit?token=hunter2',
    blockedURL: 'https://user:hunter2@evil.example/x.js?a=hunter2',
    effectiveDirective: 'script-src-elem',
    originalPolicy: "default-src 'none'",
    sourceFile: 'https://app.example/static/main.js?v=hunter2',
    sample: 'alert(1)',
    disposition: 'enforce',
    statusCode: 200,
    lineNumber: 12,
    columnNumber: 7,
    ...more,
  },
})

await t.test('a report of either media type becomes an event without secrets', async (t) => {
  const { post, events } = await build(t)
  t.equal((await post([modern()])).statusCode, 204)
  const legacy = {
    'csp-report': {
      'document-uri': 'https://app.example/reset/AbCdEf0123456789?token=hunter2',
      'violated-directive': "style-src 'self'",
      'blocked-uri': 'inline',
      'source-file': 'https://app.example/login',
      'line-number': 3,
      'script-sample': 'a'.repeat(500),
    },
  }
  t.equal((await post(legacy, 'application/csp-report')).statusCode, 204)
  t.match(events, [
    {
      severity: 'medium',
      route: 'POST /_reports',
      details: {
        kind: 'csp',
        disposition: 'enforce',
        directive: 'script-src-elem',
        blocked: 'https://evil.example',
        page: '/users/:masked/edit',
        source: 'https://app.example/static/main.js',
        line: 12,
        column: 7,
        sample: 'alert(1)',
        suppressed: 0,
      },
    },
    {
      details: {
        directive: 'style-src',
        blocked: 'inline',
        page: '/reset/:masked',
        source: 'https://app.example/login',
        line: 3,
        column: 0,
        sample: 'a'.repeat(40),
      },
    },
  ])
  t.notMatch(JSON.stringify(events), /hunter2|4711|AbCdEf/)
})

await t.test('other report types of the Reporting API have their own kind', async (t) => {
  const { post, events } = await build(t)
  const kinds = [
    'coep',
    'coop',
    'permissions-policy-violation',
    'integrity-violation',
    'deprecation',
    'network-error',
    'made-up',
  ]
  t.equal(
    (
      await post(
        kinds.map((type) => ({
          ...modern({ effectiveDirective: undefined, policyId: 'camera' }),
          type,
        })),
      )
    ).statusCode,
    204,
  )
  t.same(
    events.map(({ details }) => details.kind),
    ['coep', 'coop', 'permissions-policy', 'integrity', 'deprecation', 'network-error', 'other'],
  )
  t.equal(events[2]?.details.directive, 'camera')
})

await t.test(
  'identical reports emit one event per window, with the number suppressed',
  async (t) => {
    const { post, events, clock } = await build(t)
    for (let turn = 0; turn < 5; turn++) await post([modern()])
    await post([modern({ lineNumber: 13 })])
    t.same(
      events.map(({ details }) => details.suppressed),
      [0, 0],
    )
    clock.advance(600_000)
    await post([modern()])
    t.equal(events.at(-1)?.details.suppressed, 4)
  },
)

const one = (line: number) => [modern({ lineNumber: line })]

await t.test('one client cannot use up the limit of all clients', async (t) => {
  const reports = { maxPerMinute: 5, maxPerClientPerMinute: 3 }
  const { post, events, clock } = await build(t, { reports })
  for (let line = 1; line <= 3; line++) t.equal((await post(one(line))).statusCode, 204)
  const refused = await post(one(4))
  t.equal(refused.statusCode, 429)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS')
  t.equal(refused.headers['retry-after'], '60')
  t.equal((await post(one(5), undefined, '2001:db8::1')).statusCode, 204)
  t.equal((await post(one(6), undefined, '2001:db8::2')).statusCode, 204)
  const overTotal = await post(one(7), undefined, '192.0.2.9')
  t.equal(overTotal.statusCode, 429, 'the limit of all clients')
  t.equal(overTotal.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS')
  clock.advance(60_000)
  t.equal((await post(one(8))).statusCode, 204)
  t.same(
    events.map(({ details }) => details.line),
    [1, 2, 3, 5, 6, 8],
  )
})

await t.test('a body that is not a report is refused', async (t) => {
  const { app, post, events } = await build(t, { reports: { maxBodyBytes: 2000 } })
  const malformed = 'PARAPET_SECURITY_HEADERS_MALFORMED_REPORT'
  const invalid: [number, string, unknown, string?][] = [
    [400, 'FST_ERR_CTP_INVALID_JSON_BODY', '{'],
    [400, 'FST_ERR_CTP_EMPTY_JSON_BODY', ''],
    [400, malformed, '"x"'],
    [400, malformed, 'null'],
    [400, malformed, []],
    [400, malformed, [1, null, 'x']],
    [400, malformed, {}],
    [400, malformed, { 'csp-report': null }],
    [400, 'FST_ERR_CTP_INVALID_JSON_BODY', `{"__proto__":{"a":1}}`],
    [413, 'FST_ERR_CTP_BODY_TOO_LARGE', [modern({ sample: 'x'.repeat(2000) })]],
    [415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', [modern()], 'application/json'],
    [415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', [modern()], 'text/plain'],
  ]
  for (const [status, code, payload, type] of invalid) {
    const reply = await post(payload, type)
    t.same(
      [reply.statusCode, reply.json<{ code: string }>().code],
      [status, code],
      JSON.stringify(payload).slice(0, 40),
    )
  }
  t.same(events, [])
  t.equal((await post([{}, { type: 1 }, { type: 'csp-violation', body: {} }])).statusCode, 204)
  t.equal(events.length, 1, 'invalid entries of a list are left out')
  t.equal((await app.inject('/_reports')).statusCode, 404, 'reports cannot be read')
})

await t.test(
  'the fields of a report are short and printable, whatever a client sends',
  async () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            type: fc.string(),
            url: fc.anything(),
            body: fc.dictionary(
              fc.constantFrom(
                'sample',
                'blockedURL',
                'documentURL',
                'sourceFile',
                'effectiveDirective',
                'lineNumber',
                'disposition',
              ),
              fc.oneof(
                fc.anything(),
                fc.webUrl({ withQueryParameters: true }),
                fc.string({ unit: 'binary', maxLength: 3000 }),
              ),
            ),
          }),
        ),
        (body) => {
          for (const report of readReports(body) ?? []) {
            for (const value of Object.values(report)) {
              if (typeof value === 'number') {
                if (!Number.isSafeInteger(value) || value < 0) return false
              } else if (value.length > 200 || /\p{C}/u.test(value) || value.includes('?')) {
                // A sample is code, so it may contain a question mark.
                if (value !== report.sample || value.length > 40 || /\p{C}/u.test(value))
                  return false
              }
            }
          }
          return true
        },
      ),
    )
  },
)

await t.test(
  'below a prefix, the headers name the prefixed path of the report route',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    let headers: Readonly<Record<string, string>> = {}
    await app.register(
      async (child) => {
        await child.register(securityHeaders, { reports: {} })
        ;({ headers } = child.securityHeaders)
      },
      { prefix: '/v1' },
    )
    t.equal(headers['reporting-endpoints'], 'default="/v1/_reports"')
    t.match(headers['content-security-policy'], /report-uri \/v1\/_reports$/)
    const sent = await app.inject({
      method: 'POST',
      url: '/v1/_reports',
      headers: { 'content-type': 'application/reports+json' },
      payload: JSON.stringify([modern()]),
    })
    t.equal(sent.statusCode, 204)
  },
)

await t.test('without the option reports, there is no report route', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(securityHeaders)
  t.equal((await app.inject({ method: 'POST', url: '/_reports' })).statusCode, 404)
  t.notMatch(app.securityHeaders.headers['content-security-policy'], /report/)
  t.notOk('reporting-endpoints' in app.securityHeaders.headers)
})

await t.test('other routes do not accept the media types of reports', async (t) => {
  const { app } = await build(t)
  app.post('/data', async () => t.fail('the handler ran'))
  const headers = { 'content-type': 'application/reports+json' }
  const reply = await app.inject({ method: 'POST', url: '/data', headers, payload: '[]' })
  t.equal(reply.statusCode, 415)
  t.equal(reply.json<{ code: string }>().code, 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
})

await t.test('the schemas of the routes describe them', async (t) => {
  const routes: { url: string; schema?: unknown }[] = []
  const app = Fastify()
  t.after(() => app.close())
  app.addHook('onRoute', (route) => void routes.push(route))
  await app.register(securityHeaders, {
    reports: {},
    securityTxt: { contact: ['mailto:a@example.com'], expires: '2027-06-01T00:00:00Z' },
    clock: createManualClock(NOW),
  })
  for (const { url, schema } of routes) {
    t.match(schema, { operationId: /\w/, summary: /\w/, tags: ['security'] }, url)
  }
  t.equal(routes.length, 3, 'two routes, and one for HEAD')
})
