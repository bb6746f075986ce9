import t from 'tap'
import { buildSite } from './helpers.ts'

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
