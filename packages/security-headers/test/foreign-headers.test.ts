/** Headers of thrown errors and of upstream responses do not replace the block. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastifyHttpProxy from '@fastify/http-proxy'
import type { SecurityEvent } from '@parapet/kit'
import t, { type Test } from 'tap'
import { build, checkBlock } from './helpers.ts'

/** What a careless or hostile upstream sends. */
const FOREIGN = {
  'content-security-policy': "default-src * 'unsafe-inline'",
  'x-frame-options': 'ALLOWALL',
  'strict-transport-security': 'max-age=0',
  'cross-origin-opener-policy': 'unsafe-none',
  'permissions-policy': 'camera=*',
  'access-control-allow-origin': 'https://evil.example',
  'access-control-allow-credentials': 'true',
  'x-own': 'kept',
}
const CORS = { origins: ['https://app.example'] }
const ORIGIN = { origin: 'https://evil.example' }

async function serveUpstream(t: Test, headers: Record<string, string> = FOREIGN): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(200, headers).end('up'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function checkKept(t: Test, headers: Readonly<Record<string, unknown>>, name: string): void {
  t.notOk('access-control-allow-origin' in headers, name)
  t.notOk('access-control-allow-credentials' in headers, name)
  t.equal(headers['x-own'], 'kept', name)
}

const fail = () => Object.assign(new Error('no'), { statusCode: 418, headers: FOREIGN })

await t.test('a thrown error does not replace the block by its headers', async (t) => {
  const app = await build(t, { cors: CORS })
  const events: SecurityEvent[] = []
  app.securityEvents.on('security_headers.header_dropped', (event) => void events.push(event))
  app.get('/thrown', async () => {
    throw fail()
  })
  app.get('/sent', (_request, reply) => reply.send(fail()))
  app.get('/hook', { preHandler: async () => Promise.reject(fail()) }, async () =>
    t.fail('handled'),
  )
  app.get('/on-send', { onSend: async () => Promise.reject(fail()) }, async () => 'x')
  await app.register(async (child) => {
    child.setErrorHandler((error: ReturnType<typeof fail>, _request, reply) => {
      reply.code(418)
      for (const [name, value] of Object.entries(error.headers)) reply.header(name, value)
      return reply.send('own')
    })
    child.get('/handled', async () => Promise.reject(fail()))
    child.get('/nested', async () =>
      Promise.reject(
        Object.assign(new Error('no'), { headers: FOREIGN, output: { headers: FOREIGN } }),
      ),
    )
  })
  for (const url of ['/thrown', '/sent', '/hook', '/on-send', '/handled', '/nested', '/thrown']) {
    const { statusCode, headers } = await app.inject({ url, headers: ORIGIN })
    t.equal(statusCode, 418, url)
    checkBlock(t, app, headers, url)
    checkKept(t, headers, url)
  }
  t.same(events.length, 6 * 7, 'each name is reported once for each route')
  t.match(events[0], { details: { header: 'content-security-policy', source: 'error' } })
})

await t.test('an upstream response does not replace the block by its headers', async (t) => {
  const upstream = await serveUpstream(t)
  const app = await build(t, { cors: CORS })
  const dropped = new Set<string>()
  app.securityEvents.on('security_headers.header_dropped', ({ details }) => {
    dropped.add(`${details.source} ${details.header}`)
  })
  await app.register(fastifyHttpProxy, { upstream, prefix: '/proxy' })
  app.get('/fetched', () => fetch(upstream))
  for (const url of ['/proxy', '/proxy/deep', '/fetched']) {
    const { statusCode, headers, body } = await app.inject({ url, headers: ORIGIN })
    t.match([statusCode, body], [200, 'up'], url)
    checkBlock(t, app, headers, url)
    checkKept(t, headers, url)
  }
  t.ok(dropped.has('upstream strict-transport-security'))
})

await t.test(
  'a handler sets its own headers, also between an upstream and the reply',
  async (t) => {
    const upstream = await serveUpstream(t)
    const app = await build(t)
    const own = "default-src 'none'; img-src 'self'"
    const replyOptions = {
      rewriteHeaders: (headers: object) => ({ ...headers, 'content-security-policy': own }),
    }
    await app.register(fastifyHttpProxy, { upstream, prefix: '/proxy', replyOptions })
    app.get(
      '/made',
      async () => new Response('made', { headers: { 'content-security-policy': own } }),
    )
    app.get('/set', async (_request, reply) =>
      reply.header('content-security-policy', own).send('x'),
    )
    for (const url of ['/proxy', '/made', '/set']) {
      const { headers } = await app.inject(url)
      t.equal(headers['content-security-policy'], own, url)
      checkBlock(t, app, headers, url, ['content-security-policy'])
    }
  },
)

await t.test('an upstream and an error do not change the whole origin', async (t) => {
  const wide = {
    nel: '{"report_to":"e","max_age":31536000,"include_subdomains":true}',
    'report-to': '{"group":"e","max_age":1,"endpoints":[{"url":"https://evil.example"}]}',
    'reporting-endpoints': 'e="https://evil.example"',
    'clear-site-data': '"*"',
    'alt-svc': 'h3="evil.example:443"; ma=31536000',
    refresh: '0; url=https://evil.example',
    'content-security-policy-report-only': 'default-src *',
    'service-worker-allowed': '/',
  }
  const upstream = await serveUpstream(t, { ...wide, 'x-own': 'kept' })
  const app = await build(t)
  await app.register(fastifyHttpProxy, { upstream, prefix: '/proxy' })
  const passHeaders = { 'alt-svc': 'the upstream serves HTTP/3 for us' }
  app.get('/fetched', () => fetch(upstream))
  app.get('/passed', { config: { securityHeaders: { passHeaders } } }, () => fetch(upstream))
  app.get('/thrown', async () => {
    throw Object.assign(new Error('no'), { headers: { ...wide, 'x-own': 'kept' } })
  })
  app.get('/own', async (_request, reply) => reply.clearSiteData('cache').send('x'))
  for (const url of ['/proxy', '/fetched', '/passed', '/thrown']) {
    const { headers } = await app.inject(url)
    t.equal(headers['x-own'], 'kept', url)
    const present = Object.keys(wide).filter((name) => name in headers)
    t.same(present, url === '/passed' ? ['alt-svc'] : [], url)
  }
  t.equal((await app.inject('/own')).headers['clear-site-data'], '"cache"', 'a handler may')
})

await t.test('a route may pass a header of its upstream, with a reason', async (t) => {
  const upstream = await serveUpstream(t)
  const app = await build(t)
  const passHeaders = { 'x-frame-options': 'the upstream decides who may frame it' }
  app.get('/page', { config: { securityHeaders: { passHeaders } } }, () => fetch(upstream))
  const { headers } = await app.inject('/page')
  t.equal(headers['x-frame-options'], 'ALLOWALL')
  checkBlock(t, app, headers, 'the rest', ['x-frame-options'])
  t.same(app.securityHeaders.explain('GET', '/page').passed, passHeaders)
})

await t.test('an upstream may say how its response is cached', async (t) => {
  const cacheControl = { 'cache-control': 'public, max-age=60' }
  const upstream = await serveUpstream(t, cacheControl)
  const app = await build(t, {
    principal: ({ headers }) => (headers['x-user'] ? { id: '1', roles: [] } : null),
  })
  app.get('/', () => fetch(upstream))
  t.match((await app.inject('/')).headers, cacheControl)
  const personal = await app.inject({ url: '/', headers: { 'x-user': '1' } })
  t.equal(personal.headers['cache-control'], 'no-store, max-age=0')
})
