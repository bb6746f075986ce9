import { PassThrough, Readable } from 'node:stream'
import fastifyCookie from '@fastify/cookie'
import type { Principal, SecurityEvent } from '@parapet/kit'
import { securityHeaders } from '@parapet/security-headers'
import { readVectors } from '@parapet/testing'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { revealingHeaders } from '../src/revealing-headers.ts'
import { build, checkBlock, exchange, listen, nextMonth } from './replies.ts'

await t.test('every reply carries the block', async (t) => {
  const app = await build(t, {}, { bodyLimit: 10 })
  const own = ['x-own']
  app.get('/ok', async () => ({ ok: true }))
  app.get('/204', async (_request, reply) => reply.code(204).send())
  app.get('/304', async (_request, reply) => reply.code(304).send())
  app.get('/302', async (_request, reply) => reply.redirect('/ok'))
  app.get('/400', { schema: { querystring: { type: 'object', required: ['q'] } } }, async () => 'x')
  app.get('/500', async () => {
    throw new Error('broken')
  })
  for (const code of [401, 403, 405, 418, 429, 503]) {
    app.get(`/${code}`, async () => {
      throw Object.assign(new Error('no'), { statusCode: code })
    })
  }
  app.get('/stream', async (_request, reply) => reply.send(Readable.from(['a', 'b'])))
  app.get('/broken-stream', async (_request, reply) => {
    const stream = new PassThrough()
    setImmediate(() => stream.destroy(new Error('gone')))
    return reply.type('text/plain').send(stream)
  })
  app.get('/response', async () => new Response('web', { headers: { 'x-powered-by': '1' } }))
  app.post('/body', async () => 'body')
  app.get('/hijacked', (_request, reply) => {
    reply.header('x-own', '1').hijack()
    reply.raw.writeHead(200).end('by hand')
  })
  await app.register(
    async (child) => {
      child.setNotFoundHandler((_request, reply) => void reply.code(404).send('not here'))
      child.setErrorHandler((_error, _request, reply) => void reply.code(500).send('not well'))
      child.addHook('preHandler', async (_request, reply) => reply.code(401).send('who?'))
      child.get('/in', async () => t.fail('the handler ran'))
    },
    { prefix: '/child' },
  )

  const asked: [number, 'GET' | 'POST' | 'HEAD' | 'OPTIONS' | 'DELETE', string, object?][] = [
    [200, 'GET', '/ok'],
    [200, 'HEAD', '/ok'],
    [404, 'OPTIONS', '/ok'],
    [404, 'DELETE', '/ok'],
    [204, 'GET', '/204'],
    [304, 'GET', '/304'],
    [302, 'GET', '/302'],
    [400, 'GET', '/400'],
    [401, 'GET', '/401'],
    [403, 'GET', '/403'],
    [405, 'GET', '/405'],
    [418, 'GET', '/418'],
    [429, 'GET', '/429'],
    [500, 'GET', '/500'],
    [503, 'GET', '/503'],
    [200, 'GET', '/stream'],
    [404, 'GET', '/nowhere'],
    [401, 'GET', '/child/nowhere'],
    [401, 'GET', '/child/in'],
    [200, 'GET', '/response'],
    [200, 'GET', '/hijacked'],
    [413, 'POST', '/body', { payload: 'x'.repeat(11), headers: { 'content-type': 'text/plain' } }],
    [415, 'POST', '/body', { payload: 'x', headers: { 'content-type': 'image/png' } }],
    [400, 'POST', '/body', { payload: '{', headers: { 'content-type': 'application/json' } }],
  ]
  for (const [status, method, url, more = {}] of asked) {
    const reply = await app.inject({ method, url, ...more })
    t.equal(reply.statusCode, status, `${method} ${url}`)
    checkBlock(t, app, reply.headers, `${method} ${url}`)
    t.notOk('x-powered-by' in reply.headers)
    for (const name of own) if (url === '/hijacked') t.equal(reply.headers[name], '1')
  }
  const port = await listen(app)
  const broken = await exchange(t, port, 'GET /broken-stream HTTP/1.1\r\nHost: a\r\n\r\n')
  checkBlock(t, app, broken.headers, 'a stream that breaks')
})

await t.test('the lists of OWASP are met by web and by api', async (t) => {
  const add = readVectors<{ headers: { name: string; value: string }[] }>(
    t,
    'headers/owasp_headers_add.json',
  )
  const remove = readVectors<{ headers: string[] }>(t, 'headers/owasp_headers_remove.json')
  if (add === null || remove === null) return
  t.same(new Set(revealingHeaders), new Set(remove.headers.map((name) => name.toLowerCase())))
  for (const preset of ['web', 'api'] as const) {
    const app = await build(t, { preset })
    app.get('/logout', async (_request, reply) => {
      for (const name of remove.headers) reply.header(name, 'Parapet/1')
      reply.headers({ Server: 'x', 'X-Powered-By': 'x' }).raw.setHeader('X-Powered-By', 'Express')
      return reply.clearSiteData().send('bye')
    })
    const { headers } = await app.inject('/logout')
    for (const { name, value } of add.headers) {
      const sent = String(headers[name.toLowerCase()])
      if (name === 'Content-Security-Policy' || name === 'Permissions-Policy') {
        checkAtLeast(t, sent, value, `${preset}: ${name}`)
      } else {
        t.equal(sent.toLowerCase(), value.toLowerCase(), `${preset}: ${name}`)
      }
    }
    for (const name of remove.headers) t.notOk(name.toLowerCase() in headers, name)
    t.notOk('x-xss-protection' in headers)
  }
})

function parsePolicy(text: string): Map<string, string> {
  return new Map(
    text.split(/[;,]/).map((part) => {
      const [key = '', ...rest] = part.trim().split(/[\s=]+/)
      return [key, rest.join(' ')] as const
    }),
  )
}

/** Each directive of OWASP's example is there, and allows no more. */
function checkAtLeast(t: Test, sent: string, wanted: string, name: string) {
  const ours = parsePolicy(sent)
  for (const [key, value] of parsePolicy(wanted)) {
    const closed = ["'none'", '()', value]
    t.ok(closed.includes(ours.get(key)!), `${name}: ${key} ${ours.get(key)}`)
  }
}

await t.test('a nonce is made for replies that ask for it, and for no others', async (t) => {
  const app = await build(t, { preset: 'web' })
  app.get('/page', async (_request, reply) => {
    t.equal(reply.cspNonce, reply.cspNonce, 'one for each reply')
    return `${reply.cspNonce.script} ${reply.cspNonce.style}`
  })
  app.get('/data', async () => ({ data: 1 }))
  app.get('/late', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    t.throws(() => reply.cspNonce, { code: 'PARAPET_SECURITY_HEADERS_NO_NONCE' })
    reply.raw.end()
  })
  const seen = new Set<string>()
  for (let turn = 0; turn < 600; turn++) {
    const { body, headers } = await app.inject('/page')
    const [script, style] = body.split(' ')
    t.equal(script, style)
    t.match(script, /^[\w+/]{22}==$/)
    t.equal(headers['content-security-policy']!.split(`'nonce-${script}'`).length, 3)
    seen.add(script!)
  }
  t.equal(seen.size, 600, 'no nonce twice, also past the end of the pool')
  const plain = (await app.inject('/data')).headers['content-security-policy']
  t.match(plain, /script-src 'none';style-src 'self' 'report-sample';/)
  t.notMatch(plain, /nonce|strict-dynamic/)
  await app.inject('/late')
})

await t.test(
  'a route with no place for a nonce says so instead of sending a dead page',
  async (t) => {
    const app = await build(t)
    app.get('/', async (_request, reply) => reply.cspNonce.script)
    const reply = await app.inject('/')
    t.equal(reply.statusCode, 500)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_NO_NONCE')
  },
)

await t.test('a route changes what it names, and explain shows who said what', async (t) => {
  const app = await build(t, {
    preset: 'web',
    csp: { 'img-src': ["'self'", 'https://img.example'] },
    hsts: { preload: true },
  })
  const reason = 'maps of a partner carry no CORP'
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
      config: { securityHeaders: { reportOnly: 'we look at what breaks first' } },
    },
    async (_request, reply) => reply.cspNonce.script,
  )
  app.get('/data', { config: { securityHeaders: { preset: 'api' } } }, async () => 'data')
  app.get('/plain', async () => 'plain')

  const map = (await app.inject('/map/1')).headers
  const csp = String(map['content-security-policy'])
  t.match(csp, "connect-src 'self' https://tiles.example")
  t.match(csp, "img-src 'self' https://img.example", "the app's own directive is kept")
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
  t.notMatch(data['content-security-policy'], /img-src/, 'another preset starts afresh')
  t.match(data['strict-transport-security'], /preload/, 'but keeps what holds for the host')

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
    'what it explains is what is sent',
  )
  t.same(
    app.securityHeaders.explain('GET', '/plain').headers.length,
    Object.keys(app.securityHeaders.headers).length,
  )
})

await t.test('a report-only policy stands beside the enforced one', async (t) => {
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

function sayCache(value: string) {
  return async (_request: unknown, reply: { header(name: string, value: string): unknown }) => {
    reply.header('cache-control', value)
    return 'x'
  }
}

await t.test('what one person is shown is not kept for the next', async (t) => {
  const person: Principal = { id: 'u-1', roles: [] }
  const app = await build(t, {
    preset: 'docs',
    principal: (request) => (request.headers['x-test-login'] === '1' ? person : null),
    waivers: [
      { rule: 'CACHE-HANDLER', reason: 'the picture is the same for all', until: nextMonth() },
    ],
  })
  app.get('/silent', async () => 'x')
  app.get('/public', sayCache('public, max-age=60'))
  app.get('/private', sayCache('private, max-age=60'))
  app.get('/one-field', sayCache('private="set-cookie", max-age=60'))
  app.get(
    '/late',
    { onSend: async (_request, reply) => void reply.header('cache-control', 'public') },
    async () => 'x',
  )
  app.get(
    '/picture',
    { config: { securityHeaders: { cacheControl: 'handler' } } },
    sayCache('public'),
  )
  const ask = async (url: string, login: string) =>
    (await app.inject({ url, headers: { 'x-test-login': login } })).headers['cache-control']
  t.equal(await ask('/silent', '1'), 'no-store, max-age=0')
  t.equal(await ask('/public', '1'), 'no-store, max-age=0')
  t.equal(await ask('/private', '1'), 'private, max-age=60')
  t.equal(await ask('/one-field', '1'), 'no-store, max-age=0')
  t.equal(await ask('/late', '1'), 'no-store, max-age=0')
  t.equal(await ask('/picture', '1'), 'public')
  t.equal(await ask('/silent', '0'), undefined)
  t.equal(await ask('/public', '0'), 'public, max-age=60')
})

await t.test('a page with a nonce is never kept, whatever its handler says', async (t) => {
  const app = await build(t, { preset: 'web' })
  const said = ['public, max-age=60', 'private', 'no-cache']
  for (const [index, value] of said.entries()) {
    app.get(`/before/${index}`, async (_request, reply) => {
      reply.header('cache-control', value)
      return reply.cspNonce.script
    })
    app.get(`/after/${index}`, async (_request, reply) => {
      const { script } = reply.cspNonce
      reply.header('cache-control', value)
      return script
    })
    app.get(`/without/${index}`, sayCache(value))
  }
  for (const [index, value] of said.entries()) {
    for (const [where, expected] of [
      ['before', 'no-store, max-age=0'],
      ['after', 'no-store, max-age=0'],
      ['without', value],
    ] as const) {
      const { headers } = await app.inject(`/${where}/${index}`)
      t.equal(headers['cache-control'], expected, `${where} ${value}`)
    }
  }
})

await t.test('a mapping that fails leaves the reply alone, but for the cache', async (t) => {
  const app = await build(t, {
    preset: 'docs',
    principal: () => {
      throw new Error('the login is down')
    },
  })
  app.get('/', sayCache('public'))
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 200)
  t.equal(reply.headers['cache-control'], 'no-store, max-age=0')
})

await t.test(
  'routes of one name that differ by a constraint keep their own policies',
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

await t.test('cookies without their attributes are told once, or refused', async (t) => {
  for (const mode of ['report', 'strict', 'off'] as const) {
    const waivers = [
      { rule: 'COOKIE-AUDIT-OFF', reason: 'a test of the switch', until: nextMonth() },
    ]
    const app = await build(t, {
      cookies: { mode, readable: ['theme'] },
      ...(mode === 'off' ? { waivers } : {}),
    })
    await app.register(fastifyCookie)
    const events: SecurityEvent[] = []
    app.securityEvents.on('*', (event) => void events.push(event))
    app.get('/weak', async (_request, reply) => reply.setCookie('sid', 'hunter2').send('x'))
    app.get('/logout', async (_request, reply) =>
      reply.clearCookie('sid').header('set-cookie', 'a=; Max-Age=0').send('x'),
    )
    app.get('/good', async (_request, reply) =>
      reply
        .setCookie('__Host-sid', 'a', { path: '/', secure: true, httpOnly: true, sameSite: 'lax' })
        .setCookie('theme', 'dark', { path: '/', secure: true, sameSite: 'strict' })
        .send('x'),
    )
    const weak = mode === 'strict' ? 500 : 200
    t.equal((await app.inject('/weak')).statusCode, weak, mode)
    const again = await app.inject('/weak')
    t.equal(again.statusCode, weak, mode)
    if (mode === 'strict') {
      t.equal(again.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_WEAK_COOKIE')
      t.notOk('set-cookie' in again.headers)
    }
    t.equal((await app.inject('/good')).statusCode, 200)
    t.equal((await app.inject('/logout')).statusCode, 200, 'what is taken back needs nothing')
    const details = { cookie: 'sid', faults: ['no Secure', 'no HttpOnly'] }
    t.match(events, mode === 'off' ? [] : [{ type: 'security_headers.cookie_flagged', details }])
    t.equal(events.length, mode === 'off' ? 0 : 1)
    t.notMatch(JSON.stringify(events), /hunter2/)
  }
})

await t.test('a revealing header that is needed is let out by name, with a reason', async (t) => {
  const app = await build(t, { relax: { 'x-b3-traceid': 'the gateway joins traces by it' } })
  app.get('/', async (_request, reply) =>
    reply.headers({ 'X-B3-TraceId': '1', 'X-B3-SpanId': '2', 'x-mine': '3' }).send('x'),
  )
  const { headers } = await app.inject('/')
  t.match(headers, { 'x-b3-traceid': '1', 'x-mine': '3' })
  t.notOk('x-b3-spanid' in headers)
})

await t.test('Clear-Site-Data names what is to go', async (t) => {
  const app = await build(t)
  app.get('/all', async (_request, reply) => reply.clearSiteData().send('x'))
  app.get('/one', async (_request, reply) => reply.clearSiteData('cache').send('x'))
  t.equal((await app.inject('/all')).headers['clear-site-data'], '"cache","cookies","storage"')
  t.equal((await app.inject('/one')).headers['clear-site-data'], '"cache"')
})

await t.test('options and rules that cannot be read stop the boot', async (t) => {
  const refused: [object, RegExp][] = [
    [{ presets: 'web' }, /did you mean "preset"/],
    [{ preset: 'strict' }, /must be one of "api", "web"/],
    [{ csp: { script_src: [] } }, /csp.script_src: is no directive/],
    [{ csp: { 'script-src': ['a; b'] } }, /csp.script-src\[0\]: must match/],
    [{ permissions: { geo: [] } }, /permissions.geo: is no feature/],
    [{ permissions: { camera: ['https://a.example/path'] } }, /must be 'self', '\*' or an origin/],
    [{ permissions: { camera: ['https://a"),usb=(*'] } }, /must be 'self', '\*' or an origin/],
    [{ csp: { 'img-src': ['https://ex\u00e4mple.com'] } }, /csp.img-src\[0\]: must match/],
    [{ csp: { 'report-uri': ['/a\u0000'] } }, /csp.report-uri\[0\]: must match/],
    [{ scriptHashes: ["'sha256-\u007f'"] }, /scriptHashes\[0\]: must match/],
    [{ cors: { allowedHeaders: ['x-a\r\nx-b: c'] } }, /cors.allowedHeaders\[0\]: must match/],
    [{ cors: { exposedHeaders: ['\u00e9tag'] } }, /cors.exposedHeaders\[0\]: must match/],
    [{ cookies: { readable: ['a b'] } }, /cookies.readable\[0\]: must match/],
    [{ reports: { path: '//evil.example' } }, /reports.path: must match/],
    [{ reports: { path: '/../x' } }, /reports.path: must match/],
    [{ securityTxt: { contact: ['mailto:a\u0085Expires: x'], expires: '' } }, /contact\[0\]: must/],
    [{ relax: { 'x-frame-options': 'no' } }, /must have 10 to 500 characters/],
    [{ relax: { 'x-frame-option': 'a long enough reason' } }, /is no header or directive/],
    [{ networkErrorLogging: { maxAgeSeconds: 5 } }, /needs "reports"/],
    [{ csrf: { secret: 'short' } }, /csrf.secret: must have 32/],
    [{ csrf: { secret: 's'.repeat(32) } }, /register @fastify\/cookie first/],
    [{ https: { hosts: [] } }, /https.hosts: must be an array of 1/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    const code = 'PARAPET_SECURITY_HEADERS_INVALID_OPTION'
    await t.rejects(
      async () => {
        await app.register(securityHeaders, options as never)
      },
      { code, message },
    )
  }
  const app = await build(t)
  for (const rule of [
    'web',
    { presett: 'web' },
    { csrfExempt: true },
    { hashFiles: ['/nowhere'] },
  ]) {
    t.throws(
      () => app.get('/broken', { config: { securityHeaders: rule as never } }, async () => 'x'),
      {
        code: 'PARAPET_SECURITY_HEADERS_INVALID_RULE',
        message: /GET \/broken/,
      },
    )
  }
})

await t.test(
  'a policy that the lint or helmet refuses stops the boot, not each request',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(securityHeaders, { csp: { 'default-src': ['self'] } })
      },
      { code: 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY', message: /CSP-INVALID-KEYWORD/ },
    )
    const late = await build(t)
    late.get(
      '/',
      {
        config: {
          securityHeaders: {
            preset: 'web',
            csp: { 'frame-src': ["'none'"] },
            relax: { 'default-src': 'everything is listed' },
          },
        },
      },
      async () => 'x',
    )
    await t.rejects(
      async () => {
        await late.ready()
      },
      {
        code: 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY',
        message: /route GET \/: .*needs a default-src/,
      },
    )
  },
)

await t.test(
  'a route that was declared before the plugin is refused, not left to chance',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    void app.register(securityHeaders)
    app.get('/', { config: { securityHeaders: { preset: 'web' } } }, async () =>
      t.fail('the handler ran'),
    )
    const reply = await app.inject('/')
    t.equal(reply.statusCode, 500)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_SECURITY_HEADERS_MISSED_ROUTE')
    checkBlock(t, app, reply.headers, 'with the block')
  },
)

await t.test('a context of its own stays on its own', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(async (child) => {
    await child.register(securityHeaders)
    child.get('/inside', async () => 'inside')
  })
  app.get('/outside', async (_request, reply) => reply.header('x-powered-by', 'me').send('outside'))
  t.ok('content-security-policy' in (await app.inject('/inside')).headers)
  const { headers } = await app.inject('/outside')
  t.notOk('content-security-policy' in headers)
  t.equal(headers['x-powered-by'], 'me')
})
