import t from 'tap'
import { buildSite, listen } from './helpers.ts'

await t.test('over http, pages are redirected and every other request is refused', async (t) => {
  const https = { hosts: ['app.example', 'app.example:8443'] }
  const { app, ask, handled } = await buildSite(
    t,
    { preset: 'web', https },
    { trustProxy: '127.0.0.1' },
  )
  app.get('/json', { config: { securityHeaders: { preset: 'api' } } }, async () => ({}))
  const secure = { host: 'app.example', 'x-forwarded-proto': 'https' }
  t.equal((await ask('GET', '/data', secure)).status, 200)
  handled.length = 0
  const page = await ask('GET', '/data?a=1', { host: 'app.example' })
  t.match(page, { status: 308, headers: { location: 'https://app.example/data?a=1' } })
  t.notOk('strict-transport-security' in page.headers, 'browsers ignore HSTS over http')
  t.ok('content-security-policy' in page.headers)
  t.match(await ask('GET', '//evil.example/x', { host: 'app.example:8443' }), {
    headers: { location: 'https://app.example:8443//evil.example/x' },
  })
  const refused: ['GET' | 'POST', string, Record<string, string>][] = [
    ['POST', '/data', { host: 'app.example' }],
    ['GET', '/json', { host: 'app.example' }],
    ['GET', '/data', { host: 'evil.example' }],
    ['GET', '/data', { host: 'app.example', authorization: 'Bearer x' }],
  ]
  for (const [method, url, headers] of refused) {
    const { status, code } = await ask(method, url, headers)
    t.same([status, code], [403, 'PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED'], `${method} ${url}`)
  }
  t.same(handled, [])
})

await t.test('a route for the probes of a load balancer may accept http', async (t) => {
  const https = { hosts: ['app.example'] }
  const plainHttp = 'the probe of the load balancer has no TLS'
  const { app, ask } = await buildSite(
    t,
    { https, routes: { 'GET /ready': { plainHttp } } },
    { trustProxy: true },
  )
  app.get('/live', { config: { securityHeaders: { plainHttp } } }, async () => 'live')
  app.get('/ready', async () => 'ready')
  const probe = { host: '10.1.2.3:8080', 'user-agent': 'kube-probe/1.31' }
  for (const url of ['/live', '/ready']) {
    const { status, headers } = await ask('GET', url, probe)
    t.equal(status, 200, url)
    t.notOk('strict-transport-security' in headers)
  }
  const { status, code } = await ask('GET', '/data', probe)
  t.same([status, code], [403, 'PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED'])
})

await t.test('the host of a redirect is compared in its normal form', async (t) => {
  const https = { hosts: ['app.example'] }
  const { ask } = await buildSite(t, { preset: 'web', https }, { trustProxy: true })
  for (const host of ['APP.example', 'app.example:80', 'App.Example:80']) {
    const { status, headers } = await ask('GET', '/data', { host })
    t.match([status, headers['location']], [308, 'https://app.example/data'], host)
  }
  t.equal((await ask('GET', '/data', { host: 'app.example:8080' })).status, 403)
})

await t.test('https without TLS and trustProxy is named when the server listens', async (t) => {
  const lines: string[] = []
  const logger = { level: 'warn', stream: { write: (line: string) => void lines.push(line) } }
  const https = { hosts: ['app.example'] }
  await listen((await buildSite(t, { https }, { logger, trustProxy: true })).app)
  await listen((await buildSite(t, {}, { logger })).app)
  t.same(lines, [])
  await listen((await buildSite(t, { https }, { logger })).app)
  t.match(lines, [/Set trustProxy/])
})
