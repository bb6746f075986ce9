/** Below the routes: invalid HTTP, timeouts, other methods of a path, proxies and request ids. */
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { uuidV7 } from '@parapet/kit'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { createClientErrorHandler } from '../../src/http/client-errors.ts'
import { exchange } from '../support/server-process.ts'
import { createMemoryLog, createTestApp, openDatabase } from '../support/test-app.ts'

const database = await openDatabase(t)

async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

await t.test('bytes that are not valid HTTP get a problem with their own status', async (t) => {
  const { app } = await createTestApp(t, database)
  const port = await listen(app)
  let requests = 0
  app.server.on('request', () => requests++)
  const rows = await database.rows()
  const refused: [number, string][] = [
    [400, 'GET / HTTP/9.9\r\n\r\n'],
    [400, 'POST /api/v1/users HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'],
    [
      400,
      'POST /api/v1/users HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`],
    [431, `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
  ]
  for (const [status, bytes] of refused) {
    const reply = await exchange(port, bytes)
    t.equal(reply.status, status, bytes.slice(0, 60))
    t.match(reply.headers, { 'content-type': 'application/problem+json', connection: 'close' })
    t.equal(reply.headers['content-length'], String(Buffer.byteLength(reply.body)))
    t.match(JSON.parse(reply.body), { status, type: 'about:blank', code: undefined })
  }
  t.equal(requests, 0, 'no request reached Fastify')
  const long = await exchange(port, `GET /api/v1/users/${'x'.repeat(65)} HTTP/1.0\r\n\r\n`)
  t.match([long.status, JSON.parse(long.body)], [414, { code: 'FST_ERR_MAX_PARAM_LENGTH' }])
  t.same(await database.rows(), rows, 'nothing changed')
})

await t.test('requests that Node answers by itself elsewhere pass the hooks here', async (t) => {
  const { app, log } = await createTestApp(t, database)
  const port = await listen(app)
  const withoutHost = await exchange(port, 'GET /version HTTP/1.1\r\nConnection: close\r\n\r\n')
  t.equal(withoutHost.status, 400)
  t.match(JSON.parse(withoutHost.body), { code: 'PARAPET_REFERENCE_INVALID_HOST' })
  t.equal((await exchange(port, 'GET /version HTTP/1.0\r\n\r\n')).status, 200)
  const head = 'GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 200-ok\r\n\r\n'
  const expecting = await exchange(port, head)
  t.match([expecting.status, JSON.parse(expecting.body)], [404, { status: 404 }])
  t.match(log(), '"path":"/nowhere"')
})

await t.test('a request that does not arrive in time gets a 408', async (t) => {
  const { log } = createMemoryLog()
  const http = { headersTimeout: 20, connectionsCheckingInterval: 10 }
  const app = Fastify({ clientErrorHandler: createClientErrorHandler(log), http })
  t.after(() => app.close())
  let handled = 0
  app.get('/', () => ({ handled: ++handled }))
  const reply = await exchange(await listen(app), 'GET / HTTP/1.1\r\n')
  t.match([reply.status, JSON.parse(reply.body)], [408, { status: 408, code: undefined }])
  t.equal(handled, 0, 'the handler did not run')
})

await t.test('a problem is never written into the middle of a response', async (t) => {
  const { log } = createMemoryLog()
  const app = Fastify({ clientErrorHandler: createClientErrorHandler(log) })
  t.after(() => app.close())
  app.get('/', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-length': 8 }).write('half')
  })
  const socket = connect(await listen(app), '127.0.0.1')
  t.after(() => void socket.destroy())
  let text = ''
  socket.on('error', () => {})
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
    if (text.endsWith('half')) socket.write('junk\r\n\r\n')
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(socket, 'close')
  t.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*half$/)
})

await t.test('a path responds to other methods with 405 and the methods it has', async (t) => {
  const { send, refuseRequest } = await createTestApp(t, database)
  const allowed = 'DELETE, GET, HEAD, PATCH, OPTIONS'
  const url = `/api/v1/users/${uuidV7()}`
  const methodNotAllowed = { status: 405, code: 'PARAPET_REFERENCE_METHOD_NOT_ALLOWED' }
  const refused = await refuseRequest(t, methodNotAllowed, { method: 'POST', url, payload: '{' })
  t.equal(refused.headers['allow'], allowed)
  const options = await send({ method: 'OPTIONS', url })
  t.match([options.status, options.headers['allow'], options.text], [204, allowed, ''])
  const unknownPath = { status: 404, code: undefined }
  await refuseRequest(t, unknownPath, { method: 'PUT', url: '/nowhere' })
  await refuseRequest(t, unknownPath, { url: '/docs/static/no-such-file.js' })
})

await t.test('a forwarded address is trusted only if a trusted proxy sent it', async (t) => {
  const headers = { 'x-forwarded-for': '203.0.113.7' }
  const direct = await createTestApp(t, database)
  await direct.app.inject({ url: '/health', headers })
  t.match(direct.log(), '"ip":"127.0.0.1"')
  const proxied = await createTestApp(t, database, { TRUST_PROXY: '127.0.0.0/8' })
  await proxied.app.inject({ url: '/health', headers })
  t.match(proxied.log(), '"ip":"203.0.113.7"')
})

await t.test('a client cannot choose the id of its request', async (t) => {
  const { send } = await createTestApp(t, database)
  const headers = { 'x-request-id': 'mine', 'request-id': 'mine' }
  const { body } = await send({ url: '/nowhere', headers })
  t.match(
    body['requestId'],
    /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
})
