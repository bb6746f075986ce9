/** Other plugins find the server and their replies as they would without this plugin. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import fastifyHelmet from '@fastify/helmet'
import fastifyHttpProxy from '@fastify/http-proxy'
import { securityHeaders } from '@parapet/security-headers'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import { build, checkBlock, exchange, listen } from './helpers.ts'

const UPGRADE = 'Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

/** A server that answers with the headers of a careless upstream. */
async function serveUpstream(t: Test): Promise<string> {
  const server = createServer((_request, response) => response.end('upstream'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Opens sockets that ask for an upgrade. @returns what each of them received until its end. */
function upgradeAll(port: number, url: string, sockets: number): Promise<string[]> {
  return Promise.all(
    Array.from({ length: sockets }, async () => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write(`GET ${url} HTTP/1.1\r\n${UPGRADE}`),
      )
      let text = ''
      socket.setEncoding('latin1')
      socket.on('data', (chunk: string) => (text += chunk))
      await once(socket, 'close')
      return text
    }),
  )
}

await t.test('a proxy of WebSockets refuses upgrades outside its prefix and closes', async (t) => {
  const app = await build(t)
  await app.register(fastifyHttpProxy, {
    upstream: await serveUpstream(t),
    prefix: '/proxy',
    websocket: true,
  })
  const port = await listen(app)
  for (const [url, status] of [
    ['/elsewhere', 404],
    ['/%zz', 400],
  ] as const) {
    const replies = await upgradeAll(port, url, 250)
    const heads = replies.map((reply) => reply.slice(0, 12))
    t.same(new Set(heads), new Set([`HTTP/1.1 ${status}`]), url)
    t.ok(replies.every((reply) => reply.includes('\r\ncontent-security-policy: ')))
  }
  const open = await new Promise((resolve) =>
    app.server.getConnections((_, count) => resolve(count)),
  )
  t.equal(open, 0, 'no socket stays open')
  await app.close()
})

const EVENTS = [
  'request',
  'upgrade',
  'connection',
  'clientError',
  'dropRequest',
  'stream',
  'listening',
]
const MORE_EVENTS = [
  'checkContinue',
  'checkExpectation',
  'connect',
  'close',
  'error',
  'sessionError',
]

async function countListeners(t: Test, options: object, withPlugin: boolean) {
  const app = Fastify(options as FastifyServerOptions)
  t.after(() => app.close())
  if (withPlugin) await app.register(securityHeaders, { preset: 'web', reports: {} })
  await app.listen({ port: 0, host: 'localhost' })
  const count = () =>
    [...EVENTS, ...MORE_EVENTS].map((event) => [event, app.server.listenerCount(event)])
  return {
    listening: count(),
    process: process.eventNames().map((name) => process.listenerCount(name)),
  }
}

await t.test('the plugin adds no listener to the server or the process', async (t) => {
  for (const options of [{}, { http2: true }, { maxRequestsPerSocket: 2 }]) {
    const bare = await countListeners(t, options, false)
    t.same(await countListeners(t, options, true), bare, JSON.stringify(options))
  }
})

await t.test('the error handlers and the methods of raw replies stay as they were', async (t) => {
  const seen: object[] = []
  const look = async (register: (app: FastifyInstance) => Promise<unknown>) => {
    const app = Fastify()
    t.after(() => app.close())
    await register(app)
    app.get('/', async (_request, reply) => {
      const own = Reflect.ownKeys(reply.raw).map(String).toSorted()
      const methods = ['setHeader', 'writeHead', 'write', 'end'].map((name): unknown =>
        Reflect.get(reply.raw, name),
      )
      seen.push({
        own,
        methods,
        handler: app.errorHandler.name,
      })
      return 'x'
    })
    const port = await listen(app)
    await exchange(t, port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  }
  await look(async () => {})
  await look(async (app) => app.register(securityHeaders, { preset: 'web' }))
  t.same(seen[1], seen[0])
})

await t.test('a socket keeps its own methods once its response has the block', async (t) => {
  let socket: Socket | undefined
  const app = await build(
    t,
    {},
    {
      clientErrorHandler: (_error, given) => {
        socket = given
        socket.write('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n')
        t.ok(Object.hasOwn(socket, 'write'), 'the head is not complete')
        socket.write('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')
        t.notOk(Object.hasOwn(socket, 'write') || Object.hasOwn(socket, 'end'))
        socket.destroy()
      },
    },
  )
  const port = await listen(app)
  await exchange(t, port, 'NONSENSE\r\n\r\n')
  t.ok(socket)
})

await t.test('a second plugin for the same headers stops the boot with what to do', async (t) => {
  const CONFLICT = 'PARAPET_SECURITY_HEADERS_CONFLICT'
  const twice = await build(t)
  await t.rejects(async () => twice.register(securityHeaders), {
    code: CONFLICT,
    message: /registered already/,
  })
  const helmet = Fastify()
  t.after(() => helmet.close())
  await helmet.register(fastifyHelmet)
  await t.rejects(async () => helmet.register(securityHeaders), {
    code: CONFLICT,
    message: /remove @fastify\/helmet/,
  })
})

/** Like @fastify/middie, whose middleware gets the raw request and response. */
async function addMiddleware(context: FastifyInstance): Promise<void> {
  context.decorate('use', () => {})
  context.addHook('onRequest', (request, { raw }, done) => {
    if (request.url === '/ex') raw.end('ex')
    else done()
  })
  context.get('/page', (_request, reply) => {
    const { script } = reply.cspNonce
    reply.hijack()
    reply.raw.end(script)
  })
}

await t.test('responses of middleware carry the block', async (t) => {
  const app = await build(t, { preset: 'web' }, { trustProxy: true })
  await app.register(fp(addMiddleware))
  const https = { 'x-forwarded-proto': 'https' }
  const { body, headers } = await app.inject({ url: '/ex', headers: https })
  t.equal(body, 'ex')
  checkBlock(t, app, headers, 'the header block')
  t.notOk('strict-transport-security' in (await app.inject('/ex')).headers, 'no HSTS over http')
  const page = await app.inject('/page')
  t.match(page.headers['content-security-policy'], page.body, 'a nonce replaces the raw policy')
})
