import fastifyCors from '@fastify/cors'
import Fastify, { type FastifyInstance } from 'fastify'
import { securityHeaders } from '@parapet/security-headers'
import t from 'tap'
import { buildSite, CROSS_SITE, FOREIGN, from } from './helpers.ts'

const cors = {
  origins: ['https://app.example', 'https://*.shop.example', 'https://*.port.example:8443'],
  methods: ['GET', 'POST', 'PUT'],
  allowedHeaders: ['content-type', 'x-trace'],
  exposedHeaders: ['etag'],
  credentials: true,
  maxAgeSeconds: 600,
}

await t.test(
  'an allowed origin may read, and Vary tells caches that responses differ',
  async (t) => {
    const { app, ask } = await buildSite(t, { cors })
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
    t.equal((await ask('GET', '/data')).headers['vary'], 'Origin', 'without an origin as well')
    t.equal((await ask('GET', '/nowhere')).headers['vary'], 'Origin', 'without a route as well')
    t.equal((await ask('GET', '/vary')).headers['vary'], 'accept, Origin')
  },
)

await t.test('a denied origin gets a response without CORS headers', async (t) => {
  const { ask, handled } = await buildSite(t, {
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
  t.same(new Set(handled), new Set(['GET /data']), 'no handler ran for a refused preflight')
})

await t.test('allowOrigin allows further origins', async (t) => {
  const { ask } = await buildSite(t, {
    cors: { allowOrigin: (origin) => origin === 'https://tenant.example' },
  })
  const tenant = await ask('GET', '/data', { origin: 'https://tenant.example' })
  t.equal(tenant.headers['access-control-allow-origin'], 'https://tenant.example')
  t.notOk('access-control-allow-credentials' in tenant.headers)
  t.notOk('access-control-allow-origin' in (await ask('GET', '/data', { origin: FOREIGN })).headers)
})

await t.test('a preflight response grants exactly what was requested and allowed', async (t) => {
  const { ask, handled } = await buildSite(t, { cors })
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
    'an OPTIONS request that is not a preflight',
  )
})

await t.test('a private network is reachable only with privateNetwork', async (t) => {
  const { ask } = await buildSite(t, { cors: { ...cors, privateNetwork: true } })
  const { status, headers } = await ask('OPTIONS', '/data', {
    origin: 'https://app.example',
    'access-control-request-method': 'GET',
    'access-control-request-private-network': 'true',
  })
  t.equal(status, 204)
  t.equal(headers['access-control-allow-private-network'], 'true')
})

await t.test('with the origin * any site may read, but not write', async (t) => {
  const { ask, handled } = await buildSite(t, { cors: { origins: ['*'] } })
  const read = await ask('GET', '/data', from('cross-site', 'cors', 'empty', FOREIGN))
  t.equal(read.status, 200)
  t.equal(read.headers['access-control-allow-origin'], '*')
  t.notOk('vary' in read.headers)
  handled.length = 0
  const write = await ask('POST', '/data', from('cross-site', 'cors', 'empty', FOREIGN))
  t.same([write.status, write.code], [403, CROSS_SITE])
  const script = await ask('GET', '/data', from('cross-site', 'no-cors', 'script'))
  t.same([script.status, script.code, handled], [403, CROSS_SITE, []])
})

await t.test('an origin of CORS may read, but only send what CORS lists', async (t) => {
  const reader = 'https://reader.example'
  const sent = (mode: string, more: Record<string, string> = {}) => ({
    ...from('cross-site', mode, mode === 'navigate' ? 'document' : 'empty', reader),
    ...more,
  })
  const old = { host: 'app.example', origin: reader }
  const cookie = { cookie: 'session=1' }
  const websocket = { connection: 'upgrade', upgrade: 'websocket' }
  const asked: ['GET' | 'POST', Record<string, string>, read: number, write: number][] = [
    ['GET', sent('cors'), 200, 200],
    ['POST', sent('cors'), 403, 200],
    ['POST', old, 403, 200],
    ['POST', { ...old, ...cookie }, 403, 200],
    ['GET', sent('cors', cookie), 403, 200],
    ['POST', sent('cors', cookie), 403, 200],
    ['POST', sent('navigate'), 403, 403],
    ['POST', sent('navigate', cookie), 403, 403],
    ['GET', sent('no-cors'), 403, 403],
    ['GET', sent('websocket', websocket), 403, 403],
    ['GET', { ...old, ...websocket }, 403, 403],
  ]
  const reads = await buildSite(t, { cors: { origins: [reader], methods: ['GET'] } })
  const writes = await buildSite(t, { cors: { origins: [reader], credentials: true } })
  for (const [method, headers, read, write] of asked) {
    for (const [{ ask, handled }, expected] of [
      [reads, read],
      [writes, write],
    ] as const) {
      handled.length = 0
      const { status, code } = await ask(method, '/data', headers)
      t.equal(status, expected, `${method} ${JSON.stringify(headers)}`)
      if (expected === 403) t.same([code, handled], [CROSS_SITE, []])
    }
  }
})

await t.test('@fastify/cors beside the option cors stops the boot, in any context', async (t) => {
  for (const isInside of [false, true]) {
    const app: FastifyInstance = Fastify()
    t.after(() => app.close())
    await app.register(securityHeaders, { cors: { origins: ['https://a.example'] } })
    const add = async (context: FastifyInstance) => {
      await context.register(fastifyCors, { origin: true, credentials: true })
      context.get('/', async () => t.fail('the handler ran'))
    }
    if (isInside) await app.register(add, { prefix: '/v1' })
    else await add(app)
    await t.rejects(async () => app.ready(), {
      code: 'PARAPET_SECURITY_HEADERS_CONFLICT',
      message: /remove @fastify\/cors/,
    })
  }
})

await t.test('@fastify/cors alone is named at boot', async (t) => {
  const lines: string[] = []
  const logger = { level: 'warn', stream: { write: (line: string) => void lines.push(line) } }
  const app = Fastify({ logger })
  t.after(() => app.close())
  await app.register(fastifyCors, { origin: 'https://a.example' })
  await app.register(securityHeaders)
  await app.ready()
  t.match(lines, [/set the option \\"cors\\"/])
  const preflight = await app.inject({
    method: 'OPTIONS',
    url: '/',
    headers: { origin: 'https://a.example', 'access-control-request-method': 'GET' },
  })
  t.match([preflight.statusCode, preflight.headers['x-frame-options']], [204, 'DENY'])
})
