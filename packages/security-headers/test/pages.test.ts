/** Pages of Scalar, static pages whose nonce is read in a hook, and hints for development. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { build } from './helpers.ts'

const NO_STORE = 'no-store, max-age=0'
const PAGE = '<!doctype html><script nonce="NONCE">start()</script>'

/** Sends a page like a static plugin: a stream with validators and a public lifetime. */
function addStatic(app: FastifyInstance): void {
  app.get('/index.html', (request, reply) => {
    reply.header('cache-control', 'public, max-age=60').header('etag', '"1"').type('text/html')
    reply.header('last-modified', 'Wed, 25 Nov 2026 00:00:00 GMT')
    if (request.headers['if-none-match'] === '"1"') return reply.code(304).send()
    return reply.send(Readable.from([PAGE]))
  })
}

await t.test('a nonce that is first read in onSend is never stored', async (t) => {
  const app = await build(t, { preset: 'web' })
  app.addHook('onSend', async (_request, reply, payload) => {
    if (!(payload instanceof Readable)) return payload
    const chunks = (await payload.toArray()) as string[]
    return chunks.join('').replace('NONCE', reply.cspNonce.script)
  })
  addStatic(app)
  const { headers, body } = await app.inject('/index.html')
  const nonce = /nonce="([^"]+)"/.exec(body)![1]!
  t.ok(String(headers['content-security-policy']).includes(`'nonce-${nonce}'`))
  t.equal(headers['cache-control'], NO_STORE)
  t.notOk('etag' in headers || 'last-modified' in headers, 'the next request is not conditional')
})

await t.test('a 304 does not replace the policy of the stored page', async (t) => {
  const app = await build(t, {
    preset: 'web',
    cspReportOnly: { 'default-src': ["'none'"], 'script-src': ["'nonce'"] },
  })
  addStatic(app)
  const conditional = { url: '/index.html', headers: { 'if-none-match': '"1"' } }
  const kept = await app.inject(conditional)
  t.equal(kept.statusCode, 304)
  t.notOk('content-security-policy' in kept.headers)
  t.notOk('content-security-policy-report-only' in kept.headers)
  t.equal(kept.headers['x-frame-options'], 'DENY', 'every other header is sent')
  const reads = await build(t, { preset: 'web' })
  reads.addHook('onSend', async (_request, reply, payload) => {
    t.match(reply.cspNonce.script, /^[\w+/]{22}==$/)
    return payload
  })
  addStatic(reads)
  const read = await reads.inject(conditional)
  t.equal(read.statusCode, 304)
  t.notOk('content-security-policy' in read.headers)
  t.equal(read.headers['cache-control'], NO_STORE, 'the stored page is not used again')
})

await t.test('a 304 of a route without a nonce carries its policy', async (t) => {
  const app = await build(t)
  app.get('/', (_request, reply) => reply.code(304).send())
  t.match((await app.inject('/')).headers['content-security-policy'], /default-src 'none'/)
})

await t.test('drawing a nonce removes validators that are set later', async (t) => {
  const app = await build(t, { preset: 'web' })
  app.get('/', async (_request, reply) => {
    const { script } = reply.cspNonce
    return reply
      .header('etag', '"2"')
      .header('cache-control', 'public')
      .type('text/html')
      .send(script)
  })
  const { headers } = await app.inject('/')
  t.notOk('etag' in headers)
  t.equal(headers['cache-control'], NO_STORE)
})

const scalar = (code: string) =>
  `<!doctype html><script src="js/scalar.js"></script><script type="text/javascript">${code}</script>`

await t.test(
  'the preset docs allows the script of Scalar, and no other inline script',
  async (t) => {
    const app = await build(t, { routes: { 'GET /docs/**': { preset: 'docs' } } })
    const start = `\n  Scalar.createApiReference('#app', {\n "url": "./openapi.json", "a": [1, null] })\n`
    const pages = {
      '/docs/scalar': start,
      '/docs/code': `Scalar.createApiReference('#app', { "url": alert(1) })`,
      '/docs/more': `Scalar.createApiReference('#app', {}); alert(1)`,
      '/docs/early': `alert(1); Scalar.createApiReference('#app', {})`,
      '/docs/joined': `Scalar.createApiReference('#app', {}, alert({}))`,
      '/elsewhere': start,
    }
    for (const [url, code] of Object.entries(pages)) {
      app.get(url, async (_request, reply) => reply.type('text/html').send(scalar(code)))
    }
    const hash = `'sha256-${createHash('sha256').update(start).digest('base64')}'`
    for (const url of Object.keys(pages)) {
      const csp = String((await app.inject(url)).headers['content-security-policy'])
      if (url === '/docs/scalar') t.ok(csp.includes(`script-src 'self' ${hash};`), url)
      else t.notMatch(csp, /sha256/, url)
    }
  },
)

function buildLogged(t: Test, options: SecurityHeadersOptions) {
  const lines: string[] = []
  const app = Fastify({
    logger: { level: 'warn', stream: { write: (line) => void lines.push(line) } },
  })
  t.after(() => app.close())
  void app.register(securityHeaders, options)
  return { app, lines }
}

const html = (body: string) => async (_request: unknown, reply: FastifyReply) =>
  reply.type('text/html').send(body)

await t.test('a page whose nonce is never read is logged once', async (t) => {
  const { app, lines } = buildLogged(t, { preset: 'web' })
  await app.after()
  app.get('/plain', html('<p>no script</p>'))
  app.get('/page', html('<p>page</p><script src="/a.js"></script>'))
  app.get('/good', async (_request, reply) =>
    reply.type('text/html').send(`<script nonce="${reply.cspNonce.script}">1</script>`),
  )
  for (const url of ['/plain', '/good', '/plain']) await app.inject(url)
  t.same(lines, [])
  for (const url of ['/page', '/page', '/plain', '/page', '/plain']) await app.inject(url)
  t.equal(lines.length, 1)
  t.match(lines[0], /GET \/page sent a page without reading reply\.cspNonce.*preset \\"spa/)
})

await t.test('a redirect that form-action blocks is logged once', async (t) => {
  const { app, lines } = buildLogged(t, {
    preset: 'web',
    csp: { 'form-action': ["'self'", 'https://ok.example'] },
  })
  await app.after()
  app.post('/ok', (_request, reply) => reply.redirect('https://ok.example/a', 303))
  app.post('/own', (_request, reply) => reply.redirect('/done', 303))
  app.post('/pay', (_request, reply) => reply.redirect('https://pay.example/a', 303))
  for (const url of ['/ok', '/own']) await app.inject({ method: 'POST', url })
  t.same(lines, [])
  for (const url of ['/pay', '/pay']) await app.inject({ method: 'POST', url })
  t.equal(lines.length, 1)
  t.match(lines[0], /POST \/pay redirects to https:\/\/pay\.example.*form-action/)
})

await t.test('in production there are no hints', async (t) => {
  const { NODE_ENV } = process.env
  t.after(() => {
    if (NODE_ENV === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = NODE_ENV
  })
  process.env['NODE_ENV'] = 'production'
  const { app, lines } = buildLogged(t, { preset: 'web' })
  await app.after()
  app.get('/', async (_request, reply) => reply.type('text/html').send('<script>1</script>'))
  for (let turn = 0; turn < 3; turn++) await app.inject('/')
  t.same(lines, [])
})
