import fastifyCookie from '@fastify/cookie'
import { declarePhase, type Principal, type SecurityEvent } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, {
  type FastifyInstance,
  type FastifyServerOptions,
  type InjectOptions,
} from 'fastify'
import t, { type Test } from 'tap'
import formbody from './formbody.ts'
import { exchange } from './replies.ts'

interface Built {
  readonly app: FastifyInstance
  readonly events: SecurityEvent[]
  /** Requests whose handler ran. */
  readonly handled: string[]
  readonly ask: (
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'OPTIONS',
    url: string,
    headers?: Record<string, string>,
  ) => Promise<Answer>
}

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly headers: Readonly<Record<string, unknown>>
}

async function build(
  t: Test,
  options: SecurityHeadersOptions = {},
  server: FastifyServerOptions = {},
): Promise<Built> {
  const app = Fastify(server)
  t.after(() => app.close())
  await app.register(fastifyCookie)
  await app.register(formbody)
  await app.register(securityHeaders, options)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const handled: string[] = []
  app.addHook('preHandler', async ({ method, url }) => void handled.push(`${method} ${url}`))
  app.get('/data', async () => ({ data: 1 }))
  app.post('/data', async () => ({ data: 2 }))
  app.put('/data', async () => ({ data: 3 }))
  const reason = 'partners show it on their pages'
  app.get(
    '/badge',
    { config: { securityHeaders: { isolation: { scope: 'cross-site', reason } } } },
    async () => 'badge',
  )
  app.post(
    '/hook',
    { config: { securityHeaders: { csrfExempt: 'it is signed by its sender' } } },
    async () => 'hook',
  )
  async function ask(
    method: string,
    url: string,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const reply = await app.inject({ method, url, headers } as InjectOptions)
    const body = reply.headers['content-type']?.toString().includes('json')
      ? reply.json<{ code?: string }>()
      : {}
    return { status: reply.statusCode, code: body.code, headers: reply.headers }
  }
  return { app, events, handled, ask }
}

const FOREIGN = 'https://evil.example'
const CROSS_SITE = 'PARAPET_SECURITY_HEADERS_CROSS_SITE'

/** What a browser sends of itself. */
function from(site: string, mode: string, dest: string, origin?: string): Record<string, string> {
  return {
    host: 'app.example',
    'sec-fetch-site': site,
    'sec-fetch-mode': mode,
    'sec-fetch-dest': dest,
    ...(origin === undefined ? {} : { origin }),
  }
}

/** Twenty ways in which a page of another site can send a request. */
const vectors: [
  name: string,
  method: 'GET' | 'POST',
  mode: string,
  dest: string,
  origin: boolean,
][] = [
  ['form that posts', 'POST', 'navigate', 'document', true],
  ['form that posts text', 'POST', 'navigate', 'document', true],
  ['form in a frame', 'POST', 'navigate', 'iframe', true],
  ['image', 'GET', 'no-cors', 'image', false],
  ['script', 'GET', 'no-cors', 'script', false],
  ['module', 'GET', 'cors', 'script', true],
  ['style', 'GET', 'no-cors', 'style', false],
  ['frame', 'GET', 'navigate', 'iframe', false],
  ['object', 'GET', 'navigate', 'object', false],
  ['embed', 'GET', 'navigate', 'embed', false],
  ['video', 'GET', 'no-cors', 'video', false],
  ['audio', 'GET', 'no-cors', 'audio', false],
  ['font', 'GET', 'cors', 'font', true],
  ['beacon', 'POST', 'no-cors', 'empty', true],
  ['event source', 'GET', 'cors', 'empty', true],
  ['fetch', 'GET', 'cors', 'empty', true],
  ['fetch that posts', 'POST', 'cors', 'empty', true],
  ['fetch without reading', 'POST', 'no-cors', 'empty', true],
  ['prefetch', 'GET', 'no-cors', 'empty', false],
  ['worker', 'GET', 'same-origin', 'worker', false],
]

await t.test('of another site only a link that someone followed comes in', async (t) => {
  for (const site of ['cross-site', 'same-site'] as const) {
    const { ask, handled, events } = await build(t)
    for (const [name, method, mode, dest, origin] of vectors) {
      const { status, code } = await ask(
        method,
        '/data',
        from(site, mode, dest, origin ? FOREIGN : undefined),
      )
      t.same([status, code], [403, CROSS_SITE], `${site}: ${name}`)
    }
    t.same(handled, [], 'no handler ran')
    t.equal(events.length, vectors.length)
    t.match(events[0], {
      type: 'security_headers.request_isolated',
      severity: 'medium',
      details: { reason: site, method: 'POST', site, mode: 'navigate', dest: 'document' },
    })
    t.equal((await ask('GET', '/data', from(site, 'navigate', 'document'))).status, 200)
  }
})

await t.test('pages of this origin, people and programs come in', async (t) => {
  const { ask, events } = await build(t)
  const welcome: ['GET' | 'POST', Record<string, string>][] = [
    ['POST', from('same-origin', 'cors', 'empty', 'https://app.example')],
    ['POST', from('same-origin', 'navigate', 'document', 'https://app.example')],
    ['GET', from('none', 'navigate', 'document')],
    ['POST', { host: 'app.example' }],
    ['POST', { host: 'app.example', origin: 'https://app.example' }],
    ['POST', { host: 'app.example:8443', origin: 'https://app.example:8443' }],
    ['POST', { host: 'app.example', referer: 'https://app.example/page?a=1' }],
    ['GET', { host: 'app.example', origin: FOREIGN }],
  ]
  for (const [method, headers] of welcome) {
    t.equal((await ask(method, '/data', headers)).status, 200, JSON.stringify(headers))
  }
  t.same(events, [])
})

await t.test('a browser without fetch metadata is judged by Origin, then by Referer', async (t) => {
  const { ask, handled } = await build(t)
  const refused = [
    { origin: FOREIGN },
    { origin: 'null' },
    { origin: 'nonsense' },
    { origin: '' },
    { origin: 'https://app.example.evil.example' },
    { origin: 'https://app.example:444' },
    { referer: 'https://evil.example/?https://app.example' },
    { referer: 'app.example' },
    { origin: FOREIGN, referer: 'https://app.example/' },
  ]
  for (const headers of refused) {
    const { status, code } = await ask('POST', '/data', {
      host: 'app.example',
      ...headers,
    })
    t.same([status, code], [403, CROSS_SITE], JSON.stringify(headers))
  }
  t.same(handled, [])
})

await t.test('who names no host is not mistaken for a page of it', async (t) => {
  const { app, handled } = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  for (const word of ['Origin: null', 'Origin: file://', 'Referer: file:///a', 'Referer: x']) {
    for (const head of ['POST /data HTTP/1.1\r\nHost:', 'POST /data HTTP/1.0']) {
      const { status } = await exchange(t, port, `${head}\r\n${word}\r\n\r\n`)
      t.equal(status, 403, `${head} ${word}`)
    }
  }
  t.same(handled, [])
})

await t.test('a page of another site opens no socket', async (t) => {
  const { ask } = await build(t)
  const upgrade = { host: 'app.example', connection: 'upgrade', upgrade: 'websocket' }
  t.equal((await ask('GET', '/data', { ...upgrade, origin: FOREIGN })).status, 403)
  t.equal((await ask('GET', '/data', { ...upgrade, origin: 'https://app.example' })).status, 200)
  t.equal((await ask('GET', '/data', upgrade)).status, 200, 'no browser')
})

await t.test(
  'words that no browser sends do not open anything, and are not repeated',
  async (t) => {
    const { ask, events } = await build(t)
    for (const site of ['SAME-ORIGIN', 'same-origin, cross-site', 'x'.repeat(500), '']) {
      t.equal((await ask('POST', '/data', from(site, 'cors', 'empty', FOREIGN))).status, 403, site)
    }
    t.equal((await ask('POST', '/data', from('cross-site', '<script>', 'empty'))).status, 403)
    t.match(events.at(-1), { details: { mode: 'other' } })
  },
)

await t.test('a route, or a list of origins, is opened by name', async (t) => {
  const { ask } = await build(t, { isolation: { trustedOrigins: ['https://partner.example'] } })
  t.equal((await ask('GET', '/badge', from('cross-site', 'no-cors', 'image'))).status, 200)
  const partner = 'https://partner.example'
  t.equal((await ask('POST', '/data', from('cross-site', 'cors', 'empty', partner))).status, 200)
  t.equal((await ask('POST', '/data', { host: 'app.example', origin: partner })).status, 200)
  t.equal(
    (await ask('GET', '/data', from('cross-site', 'no-cors', 'image'))).status,
    403,
    'an image names no origin',
  )
  t.equal(
    (await ask('POST', '/data', from('cross-site', 'cors', 'empty', `${partner}.evil.example`)))
      .status,
    403,
  )
  const sites = await build(t, { isolation: { scope: 'same-site' } })
  t.equal(
    (await sites.ask('POST', '/data', from('same-site', 'cors', 'empty', FOREIGN))).status,
    200,
  )
  t.equal(
    (await sites.ask('POST', '/data', from('cross-site', 'cors', 'empty', FOREIGN))).status,
    403,
  )
})

await t.test(
  'behind a proxy that is trusted the host is the one the browser asked for',
  async (t) => {
    const trusting = await build(t, {}, { trustProxy: '127.0.0.1' })
    const headers = {
      host: 'inside:3000',
      'x-forwarded-host': 'app.example',
      origin: 'https://app.example',
    }
    t.equal((await trusting.ask('POST', '/data', headers)).status, 200)
    const wary = await build(t)
    t.equal((await wary.ask('POST', '/data', headers)).status, 403, 'nobody else is believed')
  },
)

const cors = {
  origins: ['https://app.example', 'https://*.shop.example', 'https://*.port.example:8443'],
  methods: ['GET', 'POST', 'PUT'],
  allowedHeaders: ['content-type', 'x-trace'],
  exposedHeaders: ['etag'],
  credentials: true,
  maxAgeSeconds: 600,
}

await t.test(
  'an origin on the list may read, and caches are told that replies differ',
  async (t) => {
    const { app, ask } = await build(t, { cors })
    app.get('/vary', async (_request, reply) => reply.header('vary', 'accept').send('x'))
    for (const origin of [
      'https://app.example',
      'https://a.shop.example',
      'https://a.b.shop.example',
      'https://a.port.example:8443',
    ]) {
      const { status, headers } = await ask('GET', '/data', {
        ...from('cross-site', 'cors', 'empty', origin),
      })
      t.equal(status, 200, origin)
      t.match(headers, {
        'access-control-allow-origin': origin,
        'access-control-allow-credentials': 'true',
        'access-control-expose-headers': 'etag',
        vary: 'Origin',
      })
    }
    t.equal((await ask('GET', '/data')).headers['vary'], 'Origin', 'also without an origin')
    t.equal((await ask('GET', '/nowhere')).headers['vary'], 'Origin', 'also where nothing is')
    t.equal((await ask('GET', '/vary')).headers['vary'], 'accept, Origin')
  },
)

await t.test('any other origin gets a plain reply', async (t) => {
  const { ask } = await build(t, {
    cors: {
      ...cors,
      allowOrigin: (origin) => {
        if (origin === FOREIGN) throw new Error('x')
        return false
      },
    },
  })
  const others = [
    FOREIGN,
    'null',
    '',
    'https://app.example.evil.example',
    'https://evilapp.example',
    'http://app.example',
    'https://app.example:444',
    'https://app.example/',
    'https://APP.example',
    'https://shop.example',
    'https://.shop.example',
    'https://evil.example#.shop.example',
    'https://evil.example/.shop.example',
    'https://evil.example\\.shop.example',
    'https://a@b.shop.example',
    'https://evilshop.example',
    'https://a.shop.example.evil.example',
    'https://a.port.example',
    `https://${'a'.repeat(300)}.shop.example`,
  ]
  for (const origin of others) {
    const { status, headers } = await ask('GET', '/data', { origin })
    t.equal(status, 200, origin)
    t.same(
      Object.keys(headers).filter((name) => name.startsWith('access-control')),
      [],
      origin,
    )
    t.equal(headers['vary'], 'Origin')
    const preflight = await ask('OPTIONS', '/data', {
      origin,
      'access-control-request-method': 'PUT',
    })
    t.equal(preflight.status, 403, origin)
    t.same(
      Object.keys(preflight.headers).filter((name) => name.startsWith('access-control')),
      [],
      origin,
    )
  }
})

await t.test('a function may allow more', async (t) => {
  const { ask } = await build(t, {
    cors: { allowOrigin: (origin) => origin === 'https://tenant.example' },
  })
  const tenant = await ask('GET', '/data', { origin: 'https://tenant.example' })
  t.equal(tenant.headers['access-control-allow-origin'], 'https://tenant.example')
  t.notOk('access-control-allow-credentials' in tenant.headers)
  t.notOk('access-control-allow-origin' in (await ask('GET', '/data', { origin: FOREIGN })).headers)
})

await t.test('a preflight is answered for what was asked, and for nothing else', async (t) => {
  const { ask, handled } = await build(t, { cors })
  const preflight = (more: Record<string, string>) =>
    ask('OPTIONS', '/data', {
      origin: 'https://app.example',
      'access-control-request-method': 'PUT',
      ...more,
    })
  const good = await preflight({ 'access-control-request-headers': 'X-Trace,content-type' })
  t.equal(good.status, 204)
  t.match(good.headers, {
    'access-control-allow-origin': 'https://app.example',
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'GET, POST, PUT',
    'access-control-allow-headers': 'content-type, x-trace',
    'access-control-max-age': '600',
    vary: /^Origin, Access-Control-Request-Method, Access-Control-Request-Headers/,
    'content-security-policy': /default-src 'none'/,
  })
  const refused: Record<string, string>[] = [
    { 'access-control-request-method': 'DELETE' },
    { 'access-control-request-method': 'put' },
    { 'access-control-request-headers': 'authorization' },
    { 'access-control-request-headers': 'x-trace, x-other' },
    { 'access-control-request-private-network': 'true' },
  ]
  for (const more of refused) {
    const { status, headers } = await preflight(more)
    t.equal(status, 403, JSON.stringify(more))
    t.notOk('access-control-allow-origin' in headers)
  }
  t.same(handled, [])
  t.equal(
    (await ask('OPTIONS', '/data', { origin: 'https://app.example' })).status,
    404,
    'no preflight: an OPTIONS like any other',
  )
})

await t.test('a private network is opened only by name', async (t) => {
  const { ask } = await build(t, { cors: { ...cors, privateNetwork: true } })
  const { status, headers } = await ask('OPTIONS', '/data', {
    origin: 'https://app.example',
    'access-control-request-method': 'GET',
    'access-control-request-private-network': 'true',
  })
  t.equal(status, 204)
  t.equal(headers['access-control-allow-private-network'], 'true')
})

await t.test('data that is anyone’s is read by anyone, and nothing more', async (t) => {
  const { ask } = await build(t, { cors: { origins: ['*'] } })
  const read = await ask('GET', '/data', from('cross-site', 'cors', 'empty', FOREIGN))
  t.equal(read.status, 200)
  t.equal(read.headers['access-control-allow-origin'], '*')
  t.notOk('vary' in read.headers)
  t.equal((await ask('POST', '/data', from('cross-site', 'cors', 'empty', FOREIGN))).status, 403)
  t.equal((await ask('GET', '/data', from('cross-site', 'no-cors', 'script'))).status, 403)
})

const alice: Principal = { id: 'alice', roles: [] }
const bob: Principal = { id: 'bob', roles: [], sessionId: 'b-1' }
const CSRF_TOKEN = 'PARAPET_SECURITY_HEADERS_CSRF_TOKEN'

async function buildCsrf(t: Test, formField?: string) {
  const built = await build(t, {
    csrf: {
      secret: 'a secret of at least 32 characters',
      ...(formField === undefined ? {} : { formField }),
    },
    cookies: { mode: 'strict' },
    principal: ({ headers }) =>
      headers['x-test-user'] === 'alice' ? alice : headers['x-test-user'] === 'bob' ? bob : null,
  })
  built.app.get('/token', async (_request, reply) => reply.csrfToken)
  async function draw(user: string): Promise<{ cookie: string; token: string }> {
    const reply = await built.app.inject({ url: '/token', headers: { 'x-test-user': user } })
    const set = String(reply.headers['set-cookie'])
    t.match(set, /^__Host-csrf=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Strict$/)
    return { cookie: set.split(';')[0]!, token: reply.body }
  }
  return { ...built, draw }
}

await t.test('a request with a cookie needs the token of its user', async (t) => {
  const { ask, draw, handled, events } = await buildCsrf(t)
  const { cookie, token } = await draw('alice')
  const post = (headers: Record<string, string>) =>
    ask('POST', '/data', { 'x-test-user': 'alice', ...headers })
  t.equal((await post({ cookie, 'csrf-token': token })).status, 200)
  t.equal((await post({})).status, 200, 'no cookie, nothing to abuse')
  t.equal((await ask('GET', '/data', { cookie })).status, 200)
  t.equal((await ask('POST', '/hook', { cookie })).status, 200, 'a route that is exempt')
  handled.length = 0
  const other = await draw('bob')
  handled.length = 0
  const refused: [string, Record<string, string>][] = [
    ['missing', { cookie }],
    ['invalid', { cookie, 'csrf-token': '' }],
    ['invalid', { cookie, 'csrf-token': `${token}x` }],
    ['invalid', { cookie, 'csrf-token': other.token }],
    ['invalid', { cookie: other.cookie, 'csrf-token': token }],
    ['invalid', { cookie: other.cookie, 'csrf-token': other.token }],
    ['missing', { cookie: 'sid=1', 'csrf-token': token }],
  ]
  for (const [, headers] of refused) {
    const { status, code } = await post(headers)
    t.same([status, code], [403, CSRF_TOKEN], JSON.stringify(headers))
  }
  t.same(handled, [], 'no handler ran')
  t.same(
    events.map(({ details }) => (details as { reason: string }).reason),
    refused.map(([reason]) => reason),
  )
  t.notMatch(JSON.stringify(events), token.slice(0, 20))
})

await t.test('a token is of one user or session, whatever their ids are', async (t) => {
  const { app, ask } = await build(t, {
    csrf: { secret: 'a secret of at least 32 characters' },
    principal: ({ headers }) =>
      headers['x-test-user'] === undefined
        ? null
        : (JSON.parse(String(headers['x-test-user'])) as Principal),
  })
  app.get('/token', async (_request, reply) => reply.csrfToken)
  const anonymous = await app.inject('/token')
  const cookie = String(anonymous.headers['set-cookie']).split(';')[0]!
  const post = (user: object | null) => {
    const login = user === null ? {} : { 'x-test-user': JSON.stringify({ roles: [], ...user }) }
    return ask('POST', '/data', { cookie, 'csrf-token': anonymous.body, ...login })
  }
  t.equal((await post(null)).status, 200)
  t.equal((await post({ id: 'anonymous' })).status, 403)
  t.equal((await post({ id: 'u', sessionId: 'anonymous' })).status, 403)
})

await t.test('a page that wants a token where there is none says so', async (t) => {
  const { app, ask } = await build(t)
  app.get('/token', async (_request, reply) => reply.csrfToken)
  const { status, code } = await ask('GET', '/token')
  t.same([status, code], [500, 'PARAPET_SECURITY_HEADERS_NO_TOKEN'])
})

await t.test('a form may carry the token in a field', async (t) => {
  const { app, draw, handled } = await buildCsrf(t, '_csrf')
  const { cookie, token } = await draw('alice')
  handled.length = 0
  const submit = (payload: string) =>
    app.inject({
      method: 'POST',
      url: '/data',
      headers: {
        cookie,
        'x-test-user': 'alice',
        'content-type': 'application/x-www-form-urlencoded',
      },
      payload,
    })
  t.equal((await submit(`_csrf=${encodeURIComponent(token)}&a=1`)).statusCode, 200)
  t.equal((await submit('a=1')).statusCode, 403)
  t.equal((await submit('_csrf=x')).statusCode, 403)
  t.same(handled, ['POST /data'])
})

await t.test('without https pages are sent on and everything else is refused', async (t) => {
  const https = { hosts: ['app.example', 'app.example:8443'] }
  const { app, ask, handled } = await build(
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
  t.notOk('strict-transport-security' in page.headers, 'a promise over http is worth nothing')
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

await t.test('a header with a line break reaches nobody', async (t) => {
  const { app } = await build(t)
  app.get('/split', async (_request, reply) =>
    reply.header('x-a', 'b\r\nset-cookie: a=b').send('x'),
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const reply = await fetch(`http://127.0.0.1:${port}/split`)
  t.equal(reply.status, 500)
  t.notOk(reply.headers.has('set-cookie'))
})

await t.test('a config object shared by two routes is not written to', async (t) => {
  const { app } = await build(t)
  const shared = Object.freeze({ securityHeaders: Object.freeze({ preset: 'web' as const }) })
  app.get('/one', { config: shared }, async () => 'one')
  app.get('/two', { config: shared }, async () => 'two')
  for (const url of ['/one', '/two']) {
    t.match((await app.inject(url)).headers['content-security-policy'], /trusted-types 'none'/)
  }
  t.same(Reflect.ownKeys(shared), ['securityHeaders'])
})

await t.test('it must stand before the plugins that answer', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  declarePhase(app, '@parapet/rate-limits', 'peer-limits')
  await t.rejects(
    async () => {
      await app.register(securityHeaders)
    },
    { code: 'PARAPET_KIT_WRONG_ORDER', message: /must be registered before @parapet\/rate-limits/ },
  )
})
