import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { hashSource } from '../src/hashes.ts'
import { readReports } from '../src/reports.ts'

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

await t.test('a report of either kind becomes an event without secrets', async (t) => {
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

await t.test('other kinds of the Reporting API are told by their name', async (t) => {
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

await t.test('alike ones are told once in a while, with how many there were', async (t) => {
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
})

const one = (line: number) => [modern({ lineNumber: line })]

await t.test('one client cannot use up what everyone together may send', async (t) => {
  const reports = { maxPerMinute: 5, maxPerClientPerMinute: 3 }
  const { post, events, clock } = await build(t, { reports })
  for (let line = 1; line <= 3; line++) t.equal((await post(one(line))).statusCode, 204)
  const refused = await post(one(4))
  t.equal(refused.statusCode, 429)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS')
  t.equal(refused.headers['retry-after'], '60')
  t.equal((await post(one(5), undefined, '2001:db8::1')).statusCode, 204)
  t.equal((await post(one(6), undefined, '2001:db8::2')).statusCode, 204)
  t.equal((await post(one(7), undefined, '192.0.2.9')).statusCode, 429, 'the total')
  clock.advance(60_000)
  t.equal((await post(one(8))).statusCode, 204)
  t.same(
    events.map(({ details }) => details.line),
    [1, 2, 3, 5, 6, 8],
  )
})

await t.test('what is no report is refused', async (t) => {
  const { app, post, events } = await build(t, { reports: { maxBodyBytes: 2000 } })
  const bad: [number, unknown, string?][] = [
    [400, '{'],
    [400, ''],
    [400, '"x"'],
    [400, 'null'],
    [400, []],
    [400, [1, null, 'x']],
    [400, {}],
    [400, { 'csp-report': null }],
    [400, `{"__proto__":{"a":1}}`],
    [413, [modern({ sample: 'x'.repeat(2000) })]],
    [415, [modern()], 'application/json'],
    [415, [modern()], 'text/plain'],
  ]
  for (const [status, payload, type] of bad) {
    t.equal((await post(payload, type)).statusCode, status, JSON.stringify(payload).slice(0, 40))
  }
  t.equal(
    (await post({})).json<{ code: string }>().code,
    'PARAPET_SECURITY_HEADERS_MALFORMED_REPORT',
  )
  t.same(events, [])
  t.equal((await post([{}, { type: 1 }, { type: 'csp-violation', body: {} }])).statusCode, 204)
  t.equal(events.length, 1, 'what can be read of a list is read')
  t.equal((await app.inject('/_reports')).statusCode, 404, 'nothing can be read there')
})

await t.test('whatever strangers write stays short and printable', async () => {
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
              // A sample is code, and may ask.
              if (value !== report.sample || value.length > 40 || /\p{C}/u.test(value)) return false
            }
          }
        }
        return true
      },
    ),
  )
})

await t.test('under a prefix browsers are told where the route really is', async (t) => {
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
  const file = { contact: ['mailto:a@example.com'], expires: '2027-06-01T00:00:00Z' }
  const late = Fastify()
  t.after(() => late.close())
  await t.rejects(
    async () => {
      await late.register(
        async (child) => {
          await child.register(securityHeaders, {
            securityTxt: file,
            clock: createManualClock(NOW),
          })
        },
        { prefix: '/v1' },
      )
    },
    { code: 'PARAPET_SECURITY_HEADERS_INVALID_OPTION', message: /not below \/v1/ },
  )
})

await t.test('without the option there is no such route', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(securityHeaders)
  t.equal((await app.inject({ method: 'POST', url: '/_reports' })).statusCode, 404)
  t.notMatch(app.securityHeaders.headers['content-security-policy'], /report/)
  t.notOk('reporting-endpoints' in app.securityHeaders.headers)
})

await t.test('the route takes media types that the rest of the app does not', async (t) => {
  const { app } = await build(t)
  app.post('/data', async () => t.fail('the handler ran'))
  const headers = { 'content-type': 'application/reports+json' }
  t.equal(
    (await app.inject({ method: 'POST', url: '/data', headers, payload: '[]' })).statusCode,
    415,
  )
})

await t.test('its routes are described', async (t) => {
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
  t.equal(routes.length, 3, 'two routes and one HEAD')
})

await t.test('hashes are of the code as a browser reads it', async (t) => {
  const folder = t.testdir({
    'a.html': [
      '<script>one()\r\ntwo()\r</script>',
      `<script data-a="x>y" data-integrity="sha256-${'A'.repeat(43)}=">three()</script>`,
      "<style title='a>b'>p{}</style>",
      '<script data-a="never closed>four()</script>',
    ].join('\r\n'),
  })
  const { app } = await build(t, {
    preset: 'docs',
    csp: { 'style-src': ["'self'"] },
    hashFiles: [folder],
  })
  const csp = app.securityHeaders.headers['content-security-policy']!
  for (const code of ['one()\ntwo()\n', 'three()', 'p{}']) {
    t.ok(csp.includes(hashSource(code)), code)
  }
  t.equal(csp.split("'sha256-").length, 4, 'and of nothing else')
})

await t.test('security.txt says whom to tell, and warns before it is out of date', async (t) => {
  const clock = createManualClock(NOW)
  const app: FastifyInstance = Fastify()
  t.after(() => app.close())
  const aged: unknown[] = []
  await app.register(securityHeaders, {
    clock,
    securityTxt: {
      contact: ['mailto:security@example.com', 'https://example.com/report'],
      expires: '2026-12-22T12:00:00Z',
      preferredLanguages: ['en', 'de'],
      canonical: ['https://example.com/.well-known/security.txt'],
      policy: ['https://example.com/policy'],
    },
  })
  app.securityEvents.on(
    'security_headers.security_txt_aged',
    ({ details }) => void aged.push(details.daysLeft),
  )
  const reply = await app.inject({
    url: '/.well-known/security.txt',
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors' },
  })
  t.equal(reply.statusCode, 200)
  t.equal(reply.headers['content-type'], 'text/plain; charset=utf-8')
  t.equal(
    reply.body,
    [
      'Contact: mailto:security@example.com',
      'Contact: https://example.com/report',
      'Expires: 2026-12-22T12:00:00Z',
      'Preferred-Languages: en, de',
      'Canonical: https://example.com/.well-known/security.txt',
      'Policy: https://example.com/policy',
      '',
    ].join('\n'),
  )
  t.same(aged, [])
  clock.advance(86_400_000)
  clock.advance(31 * 86_400_000)
  t.equal(aged[0], 30)
  t.equal(aged.at(-1), -1)
  await app.close()
  const told = aged.length
  clock.advance(10 * 86_400_000)
  t.equal(aged.length, told, 'no timer outlives the app')
})

await t.test('inline code of files is hashed at boot', async (t) => {
  const folder = t.testdir({
    'a.html': `<!doctype html><SCRIPT>one()</SCRIPT><script src="/x.js" integrity="sha384-${'A'.repeat(64)}"></script>
      <style media="print">p{}</style><scripture>no</scripture><script></script>`,
    sub: {
      'b.htm': '<script type="module">two()\n</script ><style>q{}</style>',
      'c.txt': '<script>three()</script>',
    },
  })
  const { app } = await build(t, {
    preset: 'docs',
    csp: { 'style-src': ["'self'"] },
    hashFiles: [folder],
  })
  app.get(
    '/one',
    { config: { securityHeaders: { hashFiles: [join(folder, 'a.html')], preset: 'api' } } },
    async () => 'x',
  )
  await app.ready()
  const csp = app.securityHeaders.headers['content-security-policy']!
  for (const code of ['one()', 'two()\n', 'p{}', 'q{}']) t.ok(csp.includes(hashSource(code)), code)
  t.notOk(csp.includes(hashSource('three()')))
  t.match(csp, `'sha384-${'A'.repeat(64)}'`)
  const one = String((await app.inject('/one')).headers['content-security-policy'])
  t.match(one, new RegExp(`script-src '(sha256|sha384)[^;]*;`))
  t.ok(one.includes(hashSource('one()')) && !one.includes(hashSource('two()\n')))

  mkdirSync(join(folder, 'filled'))
  writeFileSync(join(folder, 'filled', 'd.html'), '<script>const user = {{ user }}</script>')
  const late = Fastify()
  t.after(() => late.close())
  await t.rejects(
    async () => {
      await late.register(securityHeaders, { hashFiles: [join(folder, 'filled')] })
    },
    { code: 'PARAPET_SECURITY_HEADERS_INVALID_OPTION', message: /placeholder/ },
  )
})
