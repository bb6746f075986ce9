import { PassThrough, Readable } from 'node:stream'
import { securityHeaders } from '@parapet/security-headers'
import { readVectors } from '@parapet/testing'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { revealingHeaders } from '../src/headers/revealing-headers.ts'
import { build, checkBlock, exchange, listen } from './helpers.ts'

/** Chromium logs an error for it on most platforms. */
const UNKNOWN_TO_BROWSERS = new Set(['web-share'])
/** Pages of this origin may use passkeys. */
const PASSKEYS = new Set(['publickey-credentials-get'])

await t.test('every response carries the header block', async (t) => {
  const app = await build(t, {}, { bodyLimit: 10 })
  const handled: string[] = []
  app.addHook('preHandler', async ({ url }) => void handled.push(url))
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
    reply.raw.writeHead(200).end('hijacked')
  })
  await app.register(
    async (child) => {
      child.setNotFoundHandler((_request, reply) => void reply.code(404).send('no route'))
      child.setErrorHandler((_error, _request, reply) => void reply.code(500).send('failed'))
      child.addHook('preHandler', async (_request, reply) => reply.code(401).send('login required'))
      child.get('/in', async () => t.fail('the handler ran'))
    },
    { prefix: '/child' },
  )

  const requests: [number, 'GET' | 'POST' | 'HEAD' | 'OPTIONS' | 'DELETE', string, object?][] = [
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
  for (const [status, method, url, more = {}] of requests) {
    const reply = await app.inject({ method, url, ...more })
    t.equal(reply.statusCode, status, `${method} ${url}`)
    checkBlock(t, app, reply.headers, `${method} ${url}`)
    t.notOk('x-powered-by' in reply.headers)
    if (url === '/hijacked') t.equal(reply.headers['x-own'], '1')
  }
  const port = await listen(app)
  const broken = await exchange(t, port, 'GET /broken-stream HTTP/1.1\r\nHost: a\r\n\r\n')
  checkBlock(t, app, broken.headers, 'a stream that fails')
  t.notOk(handled.includes('/body'), 'no handler ran for a refused body')
})

await t.test('the presets web and api meet the lists of OWASP', async (t) => {
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

/** Checks that each directive of OWASP's example is sent and allows no more than the example. */
function checkAtLeast(t: Test, sent: string, expected: string, name: string) {
  const sentPolicy = parsePolicy(sent)
  for (const [key, value] of parsePolicy(expected)) {
    if (UNKNOWN_TO_BROWSERS.has(key)) continue
    const closed = ["'none'", '()', value, ...(PASSKEYS.has(key) ? ['(self)'] : [])]
    t.ok(closed.includes(sentPolicy.get(key)!), `${name}: ${key} ${sentPolicy.get(key)}`)
  }
}

await t.test('clearSiteData names the data to delete', async (t) => {
  const app = await build(t)
  app.get('/all', async (_request, reply) => reply.clearSiteData().send('x'))
  app.get('/one', async (_request, reply) => reply.clearSiteData('cache').send('x'))
  t.equal((await app.inject('/all')).headers['clear-site-data'], '"cache","cookies","storage"')
  t.equal((await app.inject('/one')).headers['clear-site-data'], '"cache"')
})

await t.test('a revealing header is sent only if relax names it with a reason', async (t) => {
  const app = await build(t, { relax: { 'x-b3-traceid': 'the gateway correlates traces by it' } })
  app.get('/', async (_request, reply) =>
    reply.headers({ 'X-B3-TraceId': '1', 'X-B3-SpanId': '2', 'x-mine': '3' }).send('x'),
  )
  const { headers } = await app.inject('/')
  t.match(headers, { 'x-b3-traceid': '1', 'x-mine': '3' })
  t.notOk('x-b3-spanid' in headers)
})

await t.test('a plugin in an encapsulated context does not affect other routes', async (t) => {
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
