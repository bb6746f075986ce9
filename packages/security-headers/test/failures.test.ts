import { securityHeaders } from '@parapet/security-headers'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { build, checkBlock, exchange, listen } from './helpers.ts'

const NO_STORE = 'no-store, max-age=0'
const YEAR = 'public, max-age=31536000, immutable'

const NOT_FOUND = Object.assign(new Error('no such page'), { statusCode: 404 })

/** The headers of a success that its handler sets before it fails. */
const ofSuccess = {
  'cache-control': YEAR,
  'cdn-cache-control': YEAR,
  etag: '"1"',
  'last-modified': 'Thu, 26 Nov 2026 00:00:00 GMT',
  expires: 'Thu, 26 Nov 2027 00:00:00 GMT',
  'content-security-policy': 'default-src *',
}

await t.test('a failed reply loses the caching and the policy of the success', async (t) => {
  for (const preset of ['api', 'web', 'docs'] as const) {
    const app = await build(t, { preset })
    app.get('/500', async (_request, reply) => {
      reply.headers(ofSuccess)
      throw new Error('the database is down')
    })
    app.get('/404', async (_request, reply) => reply.headers(ofSuccess).send(NOT_FOUND))
    const schema = { response: { 200: { type: 'object', required: ['a'], properties: { a: {} } } } }
    app.get('/serializer', { schema }, (_, reply) => void reply.headers(ofSuccess).send({}))
    app.get('/missing', (_request, reply) => reply.headers(ofSuccess).callNotFound())
    for (const [url, status] of [
      ['/500', 500],
      ['/404', 404],
      ['/serializer', 500],
      ['/missing', 404],
    ] as const) {
      const { statusCode, headers } = await app.inject(url)
      t.equal(statusCode, status, `${preset} ${url}`)
      t.equal(headers['cache-control'], NO_STORE, `${preset} ${url}`)
      checkBlock(t, app, headers, `${preset} ${url}`)
      for (const name of ['etag', 'last-modified', 'expires', 'cdn-cache-control']) {
        t.notOk(name in headers, `${preset} ${url} ${name}`)
      }
    }
  }
})

await t.test('an error handler may have its response stored, and may use the nonce', async (t) => {
  const app = await build(t, { preset: 'web' })
  app.setErrorHandler((_error, request, reply) => {
    void reply.code(410)
    if (request.url === '/page') return reply.send(reply.cspNonce.script)
    return reply.header('cache-control', 'public, max-age=9').send('gone')
  })
  app.get('/', async (_request, reply) => {
    reply.headers(ofSuccess)
    throw new Error('gone')
  })
  app.get('/page', async (_request, reply) => {
    void reply.cspNonce
    throw new Error('gone')
  })
  const stored = await app.inject('/')
  t.match([stored.statusCode, stored.headers['cache-control']], [410, 'public, max-age=9'])
  const page = await app.inject('/page')
  t.match(page.headers['content-security-policy'], `'nonce-${page.body}'`)
  t.equal(page.headers['cache-control'], NO_STORE)
})

await t.test('a header value that Node refuses leaves an error with the block', async (t) => {
  const app = await build(t, { preset: 'web' })
  app.get('/', async (request, reply) => {
    reply.header('x-name', (request.query as { n: string }).n)
    return 'x'
  })
  app.get('/handler', async () => {
    throw new Error('failed')
  })
  app.setErrorHandler((error, request, reply) => {
    if (request.url === '/handler') reply.header('x-name', '\u0100')
    return reply.send(error)
  })
  const port = await listen(app)
  for (const url of ['/?n=%C4%80', '/handler']) {
    const { status, headers } = await exchange(
      t,
      port,
      `GET ${url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    )
    t.equal(status, 500, url)
    checkBlock(t, app, headers, url)
    if (url !== '/handler') t.match(headers['content-type'], /json/)
  }
})

/** An app whose own hooks, with or without a reply, run before those of the plugin. */
async function buildLate(): Promise<FastifyInstance> {
  const app = Fastify({ trustProxy: true })
  app.addHook('onRequest', async (request, reply) => {
    const { headers } = request
    if (headers['x-test'] === 'throw') throw Object.assign(new Error('no'), { statusCode: 401 })
    if (headers['x-test'] === 'send') await reply.code(204).send()
    if (headers['x-test'] === 'hijack') {
      reply.hijack()
      reply.raw.end('x')
    }
  })
  await app.register(securityHeaders, { preset: 'web' })
  app.get('/', async () => t.fail('the handler ran'))
  return app
}

await t.test('replies of hooks that run before the plugin carry the block', async (t) => {
  const app = await buildLate()
  t.after(() => app.close())
  for (const [way, status] of [
    ['throw', 401],
    ['send', 204],
    ['hijack', 200],
  ] as const) {
    const headers = { 'x-test': way, 'x-forwarded-proto': 'https' }
    const reply = await app.inject({ url: '/', headers })
    t.equal(reply.statusCode, status)
    checkBlock(t, app, reply.headers, way)
    const http = await app.inject({ url: '/', headers: { 'x-test': way } })
    t.ok('strict-transport-security' in reply.headers)
    t.notOk('strict-transport-security' in http.headers, 'but no HSTS over http')
  }
})
