import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import fastifyCookie from '@fastify/cookie'
import fastifyHelmet from '@fastify/helmet'
import type { Principal, SecurityEvent } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import { readVectors, runs } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { withoutNonce } from '../src/csp.ts'
import { presets } from '../src/presets.ts'
import { revealingHeaders } from '../src/revealing-headers.ts'

type Headers = Readonly<Record<string, unknown>>

async function build(
  t: Test,
  options: SecurityHeadersOptions = {},
  server: FastifyServerOptions = {},
): Promise<FastifyInstance> {
  const app = Fastify(server)
  t.after(() => app.close())
  await app.register(securityHeaders, options)
  return app
}

/** The whole block: each header as the app says it, unless it is one of `but`. */
function checkBlock(
  t: Test,
  app: FastifyInstance,
  headers: Headers,
  name: string,
  but: string[] = [],
) {
  const expected = Object.entries(app.securityHeaders.headers).filter(([key]) => !but.includes(key))
  const sent = Object.fromEntries(expected.map(([key]) => [key, headers[key]]))
  t.same(sent, Object.fromEntries(expected), name)
}

/** Sends bytes and reads what comes back until the server hangs up. */
function exchange(port: number, bytes: string): Promise<{ status: number; headers: Headers }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.includes('\r\n\r\n')) socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      const [status = '', ...lines] = text.split('\r\n\r\n', 1)[0]!.split('\r\n')
      const pairs = lines.map((line) => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ])
      t.equal(new Set(pairs.map(([key]) => key)).size, pairs.length, 'no header is sent twice')
      resolve({
        status: Number(status.split(' ')[1]),
        headers: Object.fromEntries(pairs) as Headers,
      })
    })
  })
}

async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

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
  const broken = await exchange(port, 'GET /broken-stream HTTP/1.1\r\nHost: a\r\n\r\n')
  checkBlock(t, app, broken.headers, 'a stream that breaks')
})

await t.test('so do the replies that no hook sees', async (t) => {
  const app = await build(t)
  app.get('/users/:id', async () => 'user')
  const port = await listen(app)
  const raw: [number, string][] = [
    [400, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n'],
    [400, 'GET /%ff%fe?a=1 HTTP/1.1\r\nHost: a\r\n\r\n'],
    [414, `GET /users/${'x'.repeat(101)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    [404, `GET /nowhere/${'x'.repeat(101)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    [400, 'GET / HTTP/9.9\r\n\r\n'],
    [400, 'NONSENSE\r\n\r\n'],
    [400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'],
    [400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`],
    [417, 'GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n'],
  ]
  for (const [status, bytes] of raw) {
    const reply = await exchange(port, bytes)
    t.equal(reply.status, status, bytes.slice(0, 40))
    checkBlock(t, app, reply.headers, bytes.slice(0, 40))
  }
})

await t.test('an app with handlers of its own for them keeps what it says', async (t) => {
  const app = await build(
    t,
    {},
    {
      frameworkErrors: (_error, _request, reply) =>
        void reply
          .code(400 as never)
          .header('referrer-policy', 'same-origin')
          .send('own' as never),
      clientErrorHandler: (_error, socket) => {
        socket.end(
          'HTTP/1.1 400 Bad Request\r\nReferrer-Policy: origin\r\nContent-Length: 3\r\n\r\nown',
        )
      },
    },
  )
  const port = await listen(app)
  const url = await exchange(port, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n')
  checkBlock(t, app, url.headers, 'a URL', ['referrer-policy'])
  t.match([url.status, url.headers], [400, { 'referrer-policy': 'same-origin' }])
  const bytes = await exchange(port, 'NONSENSE\r\n\r\n')
  checkBlock(t, app, bytes.headers, 'bytes', ['referrer-policy'])
  t.match([bytes.status, bytes.headers], [400, { 'referrer-policy': 'origin' }])
  // Without a socket there is nothing to listen to: the app's own handler sets what it likes.
  t.equal((await app.inject('/%zz')).statusCode, 400)
})

await t.test('requests that arrive while the server closes get it too', async (t) => {
  const app = await build(t)
  const sent = new PassThrough()
  app.get('/slow', async (_request, reply) => reply.send(sent))
  app.addHook('preClose', async () => void socket.write('GET /late HTTP/1.1\r\nHost: a\r\n\r\n'))
  const port = await listen(app)
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('utf8')
  let text = ''
  socket.on('data', (chunk: string) => {
    if (text === '') void app.close()
    text += chunk
  })
  app.server.on('request', ({ url }: { url: string }) => {
    if (url === '/late') sent.end('last')
  })
  socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  sent.write('first')
  await once(socket, 'close')
  t.match(text, /HTTP\/1\.1 200/)
  t.match(text.split('HTTP/1.1 503')[1], /content-security-policy: default-src 'none'/)
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

function nextMonth(): string {
  return new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10)
}

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

await t.test('a long URL of a route brings back nothing that the route left out', async (t) => {
  const app = await build(t)
  const relax = { 'x-frame-options': 'frame-ancestors says it already' }
  app.get('/page/*', { config: { securityHeaders: { relax } } }, async () => 'x')
  const port = await listen(app)
  const { status, headers } = await exchange(
    port,
    `GET /page/${'x/'.repeat(40)}${'y'.repeat(19)}/z HTTP/1.1\r\nHost: a\r\n\r\n`,
  )
  t.equal(status, 200)
  checkBlock(t, app, headers, 'the rest', ['x-frame-options'])
  t.notOk('x-frame-options' in headers)
})

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

const source = fc.constantFrom(
  "'self'",
  'https://a.example',
  'https://*.b.example',
  'data:',
  'wss://c.example',
)
const sources = fc.uniqueArray(source, { minLength: 1, maxLength: 4 })
const optionSets = fc.record(
  {
    csp: fc.dictionary(
      fc.constantFrom(
        'img-src',
        'font-src',
        'media-src',
        'manifest-src',
        'worker-src',
        'connect-src',
      ),
      sources,
    ),
    hsts: fc.record({
      maxAgeSeconds: fc.integer({ min: 0, max: 100_000_000 }),
      includeSubDomains: fc.boolean(),
      preload: fc.boolean(),
    }),
    referrerPolicy: fc.constantFrom(
      'no-referrer',
      'same-origin',
      'origin',
      'unsafe-url',
      'strict-origin',
    ),
    openerPolicy: fc.constantFrom('same-origin', 'same-origin-allow-popups', 'unsafe-none'),
    embedderPolicy: fc.constantFrom('require-corp', 'credentialless', 'unsafe-none'),
    resourcePolicy: fc.constantFrom('same-origin', 'same-site', 'cross-origin'),
    frameOptions: fc.constantFrom('deny', 'sameorigin'),
    off: fc.subarray([
      'origin-agent-cluster',
      'x-content-type-options',
      'x-dns-prefetch-control',
      'x-permitted-cross-domain-policies',
      'x-frame-options',
      'strict-transport-security',
    ]),
  },
  { requiredKeys: ['off'] },
)
/** What the lint would refuse is sent all the same here: the bytes are what counts. */
const waivers = [
  'HSTS-SHORT',
  'HSTS-SUBDOMAINS',
  'HSTS-PRELOAD',
  'HSTS-RELAXED',
  'HEADER-NOSNIFF',
  'HEADER-REFERRER',
  'HEADER-OPENER',
  'HEADER-EMBEDDER',
  'HEADER-RESOURCE',
  'HEADER-FRAME-MISMATCH',
  'CSP-OPEN-CONNECT',
].map((rule) => ({ rule, reason: 'a test of the bytes', until: nextMonth() }))

await t.test('what is frozen at boot is, byte for byte, what @fastify/helmet sends', async (t) => {
  await fc.assert(
    fc.asyncProperty(optionSets, async ({ off, ...set }) => {
      const relax = Object.fromEntries(off.map((name) => [name, 'left out by the test']))
      const ours = Fastify()
      await ours.register(securityHeaders, {
        preset: 'docs',
        ...set,
        relax,
        waivers,
      } as SecurityHeadersOptions)
      ours.get('/', async () => 'x')
      const theirs = Fastify()
      await theirs.register(fastifyHelmet, helmetOptions(set, off))
      theirs.get('/', async () => 'x')
      const [a, b] = await Promise.all([ours.inject('/'), theirs.inject('/')])
      await Promise.all([ours.close(), theirs.close()])
      const mine: Record<string, unknown> = { ...a.headers }
      for (const name of ['permissions-policy', 'cache-control', 'date']) delete mine[name]
      const { date: _date, ...expected } = b.headers
      t.same(mine, expected)
    }),
    { numRuns: runs(200, 2000) },
  )
})

type OptionSet = Omit<SecurityHeadersOptions, 'off'>

/** The same in helmet's own words. */
function helmetOptions(set: object, off: readonly string[]) {
  const given = set as OptionSet
  const has = (name: string) => !off.includes(name)
  const { policy } = presets.docs
  return {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: withoutNonce({ ...policy.csp, ...given.csp }) as Record<string, string[]>,
    },
    crossOriginEmbedderPolicy: { policy: given.embedderPolicy ?? policy.embedderPolicy },
    crossOriginOpenerPolicy: { policy: given.openerPolicy ?? policy.openerPolicy },
    crossOriginResourcePolicy: { policy: given.resourcePolicy ?? policy.resourcePolicy },
    referrerPolicy: { policy: given.referrerPolicy ?? policy.referrerPolicy },
    xFrameOptions: has('x-frame-options') && { action: given.frameOptions ?? policy.frameOptions },
    strictTransportSecurity: has('strict-transport-security') && {
      maxAge: given.hsts?.maxAgeSeconds ?? 63_072_000,
      includeSubDomains: given.hsts?.includeSubDomains ?? true,
      preload: given.hsts?.preload ?? false,
    },
    xPermittedCrossDomainPolicies: has('x-permitted-cross-domain-policies') && {
      permittedPolicies: 'none' as const,
    },
    xDnsPrefetchControl: has('x-dns-prefetch-control') && { allow: false },
    xDownloadOptions: false as const,
    xXssProtection: false as const,
    ...(has('origin-agent-cluster') ? {} : { originAgentCluster: false as const }),
    ...(has('x-content-type-options') ? {} : { xContentTypeOptions: false as const }),
  }
}

await t.test('a server made by a factory of the app is served as well', async (t) => {
  const app = await build(t, {}, { serverFactory: (handler) => createServer(handler) })
  const port = await listen(app)
  const reply = await exchange(port, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal(reply.status, 400)
  checkBlock(t, app, reply.headers, 'with the block')
})
