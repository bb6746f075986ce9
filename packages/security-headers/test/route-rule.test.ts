import { securityHeaders } from '@parapet/security-headers'
import Fastify from 'fastify'
import t from 'tap'
import { build, checkBlock } from './helpers.ts'

await t.test(
  'a route rule changes the settings that it names, and explain shows what set each header',
  async (t) => {
    const app = await build(t, {
      preset: 'web',
      csp: { 'img-src': ["'self'", 'https://img.example'] },
      hsts: { preload: true },
    })
    const reason = 'the maps of a partner have no CORP header'
    app.get(
      '/map/:id',
      {
        config: {
          securityHeaders: {
            csp: { 'connect-src': ["'self'", 'https://tiles.example'] },
            scriptHashes: ["'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"],
            permissions: { geolocation: ['self', 'https://maps.example'] },
            relax: { 'cross-origin-embedder-policy': reason, 'trusted-types': reason },
          },
        },
      },
      async () => 'map',
    )
    app.get(
      '/watched',
      {
        config: { securityHeaders: { reportOnly: 'we collect violations before enforcing it' } },
      },
      async (_request, reply) => reply.cspNonce.script,
    )
    app.get('/data', { config: { securityHeaders: { preset: 'api' } } }, async () => 'data')
    app.get('/plain', async () => 'plain')

    const map = (await app.inject('/map/1')).headers
    const csp = String(map['content-security-policy'])
    t.match(csp, "connect-src 'self' https://tiles.example")
    t.match(csp, "img-src 'self' https://img.example", 'the directive of the options is kept')
    t.match(csp, "script-src 'strict-dynamic' 'report-sample' 'sha256-47DEQ")
    t.notMatch(csp, /trusted-types '/)
    t.match(
      map['permissions-policy'],
      /geolocation=\(self "https:\/\/maps\.example"\), gyroscope=\(\)/,
    )
    t.notOk('cross-origin-embedder-policy' in map)

    const watched = await app.inject('/watched')
    t.notOk('content-security-policy' in watched.headers)
    t.match(watched.headers['content-security-policy-report-only'], `'nonce-${watched.body}'`)

    const data = (await app.inject('/data')).headers
    t.notMatch(data['content-security-policy'], /img-src/, 'another preset replaces the CSP')
    t.match(data['strict-transport-security'], /preload/, 'but HSTS keeps the value of the options')

    const explained = app.securityHeaders.explain('get', '/map/:id')
    t.match(explained, {
      preset: 'web',
      relaxed: { 'trusted-types': reason },
      isolation: 'same-origin',
    })
    const by = Object.fromEntries(explained.headers.map(({ name, setBy }) => [name, setBy]))
    t.match(by, {
      'content-security-policy': 'preset web + option csp + route GET /map/:id',
      'strict-transport-security': 'option hsts',
      'permissions-policy': 'preset web + route GET /map/:id',
      'referrer-policy': 'preset web',
    })
    t.same(
      Object.fromEntries(explained.headers.map(({ name, value }) => [name, value])),
      Object.fromEntries(explained.headers.map(({ name }) => [name, map[name]])),
      'explain shows what is sent',
    )
    t.same(
      app.securityHeaders.explain('GET', '/plain').headers.length,
      Object.keys(app.securityHeaders.headers).length,
    )
  },
)

await t.test('a report-only policy is sent beside the enforced policy', async (t) => {
  const app = await build(t, {
    preset: 'docs',
    cspReportOnly: { 'default-src': ["'none'"], 'script-src': ["'nonce'"] },
    reports: { path: '/collect' },
    integrityPolicy: ['script'],
    networkErrorLogging: { maxAgeSeconds: 60 },
  })
  app.get('/', async (_request, reply) => reply.cspNonce.script)
  const { headers, body } = await app.inject('/')
  t.match(headers, {
    'content-security-policy': /script-src 'self';.*report-uri \/collect$/,
    'reporting-endpoints': 'default="/collect"',
    'integrity-policy': 'blocked-destinations=(script), endpoints=(default)',
    nel: '{"report_to":"default","max_age":60,"include_subdomains":false}',
    'report-to': '{"group":"default","max_age":60,"endpoints":[{"url":"/collect"}]}',
  })
  t.match(headers['content-security-policy-report-only'], `script-src 'nonce-${body}'`)
})

await t.test(
  'routes of the same name with different constraints keep their own policies',
  async (t) => {
    const app = await build(t)
    for (const [version, preset] of [
      ['1.0.0', 'web'],
      ['2.0.0', 'docs'],
    ] as const) {
      app.route({
        method: ['GET', 'POST'],
        url: '/page',
        constraints: { version },
        config: { securityHeaders: { preset } },
        handler: async () => preset,
      })
    }
    const ask = async (version: string) =>
      (await app.inject({ url: '/page', headers: { 'accept-version': version } })).headers
    t.match((await ask('1.x'))['content-security-policy'], /trusted-types 'none'/)
    t.match((await ask('2.x'))['content-security-policy'], /style-src 'self' 'unsafe-inline'/)
    t.equal(app.securityHeaders.explain('POST', '/page').preset, 'docs')
  },
)

await t.test('a route with a rule that was declared before the plugin is refused', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  void app.register(securityHeaders)
  app.get('/', { config: { securityHeaders: { preset: 'web' } } }, async () =>
    t.fail('the handler ran'),
  )
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 500)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_MISSED_ROUTE')
  checkBlock(t, app, reply.headers, 'the header block')
})

await t.test('a config object shared by two routes is not changed', async (t) => {
  const app = await build(t)
  const shared = Object.freeze({ securityHeaders: Object.freeze({ preset: 'web' as const }) })
  app.get('/one', { config: shared }, async () => 'one')
  app.get('/two', { config: shared }, async () => 'two')
  for (const url of ['/one', '/two']) {
    t.match((await app.inject(url)).headers['content-security-policy'], /trusted-types 'none'/)
  }
  t.same(Reflect.ownKeys(shared), ['securityHeaders'])
})
