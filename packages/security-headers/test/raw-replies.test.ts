import { once } from 'node:events'
import dns from 'node:dns'
import { createServer, ServerResponse, type IncomingMessage } from 'node:http'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { securityHeaders } from '@parapet/security-headers'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { build, checkBlock, exchange, listen } from './helpers.ts'

await t.test('responses that run no hook carry the header block', async (t) => {
  const app = await build(t)
  app.get('/users/:id', async () => t.fail('the handler ran'))
  const port = await listen(app)
  const requests: [number, string][] = [
    [400, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n'],
    [400, 'GET /%ff%fe?a=1 HTTP/1.1\r\nHost: a\r\n\r\n'],
    [414, `GET /users/${'x'.repeat(101)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    [404, `GET /nowhere/${'x'.repeat(101)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    [400, 'GET / HTTP/9.9\r\n\r\n'],
    [400, 'NONSENSE\r\n\r\n'],
    [400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'],
    [400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
    [417, 'GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n'],
    [400, 'GET /users/1 HTTP/1.1\r\n\r\n'],
    [400, 'GET /a;%zz HTTP/1.1\r\nHost: a\r\n\r\n'],
    [414, `GET /users/${'x'.repeat(60)};${'x'.repeat(60)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    [400, 'GET http://other.example/%zz HTTP/1.1\r\nHost: a\r\n\r\n'],
    [400, 'GET http://h%2f/ HTTP/1.1\r\nHost: a\r\n\r\n'],
    [404, 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'],
    [404, 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n'],
    [400, 'GET / HTTP/1.1\r\nHost: a\r\nB@d(: x\r\n\r\n'],
    [400, 'GET / HTTP/1.1\r\nHost : a\r\n\r\n'],
    [400, 'GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n'],
    [400, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    [400, '\x16\x03\x01\x02\0\x01'],
    [404, 'GET / HTTP/1.0\r\n\r\n'],
    [404, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ]
  for (const [status, bytes] of requests) {
    const reply = await exchange(t, port, bytes)
    t.equal(reply.status, status, bytes.slice(0, 40))
    checkBlock(t, app, reply.headers, bytes.slice(0, 40))
  }
})

await t.test('the handlers of the app keep the headers that they set', async (t) => {
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
  const url = await exchange(t, port, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n')
  checkBlock(t, app, url.headers, 'a URL that cannot be decoded', ['referrer-policy'])
  t.match([url.status, url.headers], [400, { 'referrer-policy': 'same-origin' }])
  const bytes = await exchange(t, port, 'NONSENSE\r\n\r\n')
  checkBlock(t, app, bytes.headers, 'malformed bytes', ['referrer-policy'])
  t.match([bytes.status, bytes.headers], [400, { 'referrer-policy': 'origin' }])
  // An injected request has no socket, so only the handler of the app sets headers.
  t.equal((await app.inject('/%zz')).statusCode, 400)
})

await t.test('requests that arrive while the server closes get the block', async (t) => {
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

await t.test('a long URL does not restore a header that its route leaves out', async (t) => {
  const app = await build(t)
  const relax = { 'x-frame-options': 'frame-ancestors has the same meaning' }
  app.get('/page/*', { config: { securityHeaders: { relax } } }, async () => 'x')
  const port = await listen(app)
  const { status, headers } = await exchange(
    t,
    port,
    `GET /page/${'x/'.repeat(40)}${'y'.repeat(19)}/z HTTP/1.1\r\nHost: a\r\n\r\n`,
  )
  t.equal(status, 200)
  checkBlock(t, app, headers, 'the rest', ['x-frame-options'])
  t.notOk('x-frame-options' in headers)
})

await t.test('a server from a factory of the app is covered', async (t) => {
  const app = await build(t, {}, { serverFactory: (handler) => createServer(handler) })
  const port = await listen(app)
  const reply = await exchange(t, port, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal(reply.status, 400)
  checkBlock(t, app, reply.headers, 'the header block')
})

const LAST = 'Host: a\r\nConnection: close\r\n\r\n'

await t.test('the response to any URL carries the block', async (t) => {
  const app = await build(t, {}, { routerOptions: { maxParamLength: 20 } })
  app.get('/users/:id', async () => 'user')
  app.get('/pair/:a-:b', async () => 'pair')
  app.get('/all/*', async () => 'all')
  const port = await listen(app)
  const plain = fc.constantFrom('/', 'a', '/users/', '/all/', 'x'.repeat(15), 'x'.repeat(25))
  const odd = fc.constantFrom('%', '%2', '%zz', '%25', '%2f', '%00', '%ff', '%c3%a9', '\u00e9')
  const piece = fc.oneof(plain, odd, fc.constantFrom('%41'.repeat(15), ';', '?', '#', '-', '@'))
  const start = fc.constantFrom('/', '/users/', '/pair/', '/all/', 'http://h', 'http://h/', '*')
  const url = fc.tuple(
    start,
    fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join('')),
  )
  await fc.assert(
    fc.asyncProperty(url, async ([head, tail]) => {
      const { headers } = await exchange(t, port, `GET ${head}${tail} HTTP/1.1\r\n${LAST}`)
      checkBlock(t, app, headers, `${head}${tail}`)
    }),
    { numRuns: runs(300, 5000) },
  )
})

await t.test('a request beyond maxRequestsPerSocket is refused with the block', async (t) => {
  const app = await build(t, {}, { maxRequestsPerSocket: 2 })
  app.get('/', async () => 'ok')
  const port = await listen(app)
  const bytes = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3)
  const { status, headers } = await exchange(t, port, bytes, { replies: 3 })
  t.equal(status, 503)
  checkBlock(t, app, headers, 'the header block')
})

await t.test('a streaming response does not receive the block of the next response', async (t) => {
  const app = await build(
    t,
    {},
    {
      clientErrorHandler: (_error, socket) => {
        body.write('second')
        setImmediate(() => socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'))
      },
    },
  )
  const body = new PassThrough()
  app.get('/', async (_request, reply) => reply.send(body))
  const port = await listen(app)
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    if (text === '') socket.write('NONSENSE\r\n\r\n')
    text += chunk
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  body.write('first')
  await once(socket, 'close')
  t.match(text, /second\r\nHTTP\/1\.1 400 Bad Request\r\ncontent-security-policy: /)
})

await t.test('two contexts with different policies share the block of the server', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  for (const [prefix, preset] of [
    ['/a', 'api'],
    ['/b', 'web'],
  ] as const) {
    await app.register(
      async (child) => {
        await child.register(securityHeaders, { preset })
        child.get('/', async () => preset)
      },
      { prefix },
    )
  }
  const port = await listen(app)
  for (const [status, bytes] of [
    [417, 'GET /a HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n'],
    [400, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n'],
    [400, 'NONSENSE\r\n\r\n'],
  ] as const) {
    const reply = await exchange(t, port, bytes)
    t.equal(reply.status, status)
    t.match(reply.headers['content-security-policy'], /^default-src 'none'/)
  }
  const page = await exchange(t, port, `GET /b HTTP/1.1\r\n${LAST}`)
  t.match(page.headers['content-security-policy'], /trusted-types 'none'/)
})

/** Resolves `localhost` to two addresses, and an address to itself. */
function addressesOf(host: string) {
  const found = host === 'localhost' ? ['127.0.0.1', '127.0.0.2'] : [host]
  return found.map((address) => ({ address, family: 4 }))
}

await t.test('every address of localhost gets the block', async (t) => {
  const app = await build(t)
  const { lookup } = dns
  t.after(() => Object.assign(dns, { lookup }))
  Object.assign(dns, {
    lookup: (...given: [string, ...{ all?: boolean }[], (...found: unknown[]) => void]) => {
      const done = given.at(-1) as (...found: unknown[]) => void
      const found = addressesOf(given[0])
      if ((given[1] as { all?: boolean }).all === true) done(null, found)
      else done(null, found[0]!.address, 4)
    },
  })
  await app.listen({ port: 0, host: 'localhost' })
  const { port } = app.server.address() as AddressInfo
  t.equal(app.addresses().length, 2)
  for (const host of ['127.0.0.1', '127.0.0.2']) {
    for (const [status, bytes] of [
      [400, 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n'],
      [400, 'GET / HTTP/1.1\r\n\r\n'],
      [400, 'NONSENSE\r\n\r\n'],
    ] as const) {
      const reply = await exchange(t, port, bytes, { host })
      t.equal(reply.status, status)
      checkBlock(t, app, reply.headers, `${host} ${bytes.slice(0, 20)}`)
    }
  }
})

await t.test('a refused URL of an upgrade request gets the block', async (t) => {
  const app = await build(t)
  // Like @fastify/websocket.
  app.server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    const response = new ServerResponse(request)
    response.assignSocket(socket)
    response.on('finish', () => socket.end())
    app.routing(request, response)
  })
  const port = await listen(app)
  for (const [status, url] of [
    [404, '/'],
    [400, '/%zz'],
  ] as const) {
    const upgrade = 'Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    const reply = await exchange(t, port, `GET ${url} HTTP/1.1\r\n${upgrade}`)
    t.equal(reply.status, status)
    checkBlock(t, app, reply.headers, url)
  }
})

await t.test('a refused handshake gets the block, and an accepted one does not', async (t) => {
  const app = await build(t)
  // Like the package ws.
  app.server.on('upgrade', ({ headers }: IncomingMessage, socket: Socket) => {
    if (headers['sec-websocket-key'] === undefined) {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n')
    socket.end('HTTP/1.1 is only data here\r\n\r\n')
  })
  const port = await listen(app)
  const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
  const refused = await exchange(t, port, `${upgrade}\r\n`)
  t.equal(refused.status, 400)
  checkBlock(t, app, refused.headers, 'the header block')
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('latin1')
  let text = ''
  socket.on('data', (chunk: string) => (text += chunk))
  socket.write(`${upgrade}Sec-WebSocket-Key: x\r\n\r\n`)
  await once(socket, 'close')
  t.notMatch(text, /content-security-policy/)
  t.match(text, /^HTTP\/1\.1 101 [^]*only data here\r\n\r\n$/)
})

await t.test('HTTP/2 responses get the block', async (t) => {
  const app = Fastify({ http2: true })
  t.after(() => app.close())
  await app.register(securityHeaders)
  app.get('/users/:id', async () => 'user')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  t.after(() => session.close())
  for (const [status, path, expect] of [
    [200, '/users/1'],
    [404, '/'],
    [400, '/%zz'],
    [414, `/users/${'x'.repeat(101)}`],
    [417, '/users/1', 'tea'],
  ] as const) {
    const stream = session.request({ ':path': path, ...(expect === undefined ? {} : { expect }) })
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders]
    stream.resume()
    t.equal(headers[':status'], status, path)
    checkBlock(t, app as unknown as FastifyInstance, headers, path)
  }
})
