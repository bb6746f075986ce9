/** One connection cannot start more requests, or hold more unread bytes, than the guard allows. */
import dns from 'node:dns'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { connectionGuard, inputGuard, type ConnectionGuardOptions } from '@parapet/input-guard'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { AddressCount } from '../src/connection/address-count.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/** An app whose handlers wait until `release` is called. */
async function guardedApp(t: Test, options: ConnectionGuardOptions = {}, bytes = 10) {
  const log: string[] = []
  const stream = { write: (line: string) => void log.push(line) }
  const app = Fastify({ logger: { level: 'info', stream } })
  t.after(() => app.close())
  await app.register(connectionGuard, options)
  let started = 0
  const waiting: (() => void)[] = []
  app.get('/', async () => {
    started++
    await new Promise<void>((resolve) => waiting.push(resolve))
    return 'x'.repeat(bytes)
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const open = () => {
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    t.after(() => void socket.destroy())
    return socket.on('error', () => {})
  }
  const closed = () => log.filter((line) => line.includes('input-guard closed a connection')).length
  return { app, open, closed, started: () => started, waiting }
}

/** Resolves when `condition` holds; the test times out if it never does. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

await t.test(
  'a client that pipelines 20 requests gets 20 responses, 4 run at a time',
  async (t) => {
    const { open, closed, started, waiting } = await guardedApp(t)
    const socket = open()
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    socket.write(GET.repeat(20))
    for (let answered = 0; answered < 20; answered++) {
      await until(() => waiting.length > 0 && started() === Math.min(20, answered + 4))
      waiting.shift()!()
      await until(() => text.split('HTTP/1.1 200 OK').length - 1 === answered + 1)
      t.ok(started() <= answered + 5, `${started()} started after ${answered + 1} responses`)
    }
    t.match([started(), closed()], [20, 0])
  },
)

await t.test('the 69th unanswered request closes the connection', async (t) => {
  const { open, closed, started } = await guardedApp(t)
  const [patient, greedy] = [open(), open()]
  patient.write(GET.repeat(68))
  greedy.write(GET.repeat(2000))
  await once(greedy, 'close')
  await until(() => started() === 8)
  t.match([started(), closed(), patient.destroyed], [8, 1, false])
})

await t.test('requests that no hook sees are counted, too', async (t) => {
  const { open, closed, started } = await guardedApp(t)
  const socket = open()
  socket.write(GET + 'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(500))
  await once(socket, 'close')
  t.match([started(), closed()], [1, 1])
})

await t.test('unread bytes of a connection are limited; one response may be larger', async (t) => {
  const limits = { maxUnreadBytes: 100 }
  const { open, closed, started, waiting } = await guardedApp(t, limits, 20_000_000)
  const socket = open()
  socket.pause().write(GET.repeat(3))
  await until(() => waiting.length === 3)
  waiting.shift()!()
  await new Promise(setImmediate)
  t.equal(closed(), 0, 'the first response is written')
  waiting.shift()!()
  await until(() => closed() === 1)
  t.equal(started(), 3)
})

await t.test('an injected request is served', async (t) => {
  const { app, waiting } = await guardedApp(t)
  const answer = app.inject('/')
  await until(() => waiting.length === 1)
  waiting.shift()!()
  t.equal((await answer).statusCode, 200)
})

await t.test(
  'open connections of one client are limited, and forgotten when they close',
  async (t) => {
    const { app, open, closed } = await guardedApp(t, { maxConnectionsPerAddress: 3 })
    const reasons: string[] = []
    app.securityEvents.on('input_guard.connection_closed', ({ details, ip }) => {
      reasons.push(`${details.reason} ${ip}`)
    })
    const allowed = Array.from({ length: 3 }, open)
    await Promise.all(allowed.map((socket) => once(socket, 'connect')))
    await once(open(), 'close')
    t.match([closed(), reasons], [1, ['open_connections 127.0.0.1']])
    const ended = once(allowed[0]!, 'close')
    allowed[0]!.destroy()
    await ended
    // The server notices the end later than the client.
    const count = () =>
      new Promise<number>((done) => app.server.getConnections((_error, open) => done(open)))
    while ((await count()) !== 2) await new Promise(setImmediate)
    const next = open()
    await once(next, 'connect')
    t.equal(closed(), 1)
  },
)

await t.test('an IPv6 network counts as one client, and a closed one is dropped', async (t) => {
  const addresses = new AddressCount(2)
  const first = addresses.add('2001:db8::1')!
  const second = addresses.add('2001:db8::2')!
  t.equal(addresses.add('2001:db8::3'), undefined)
  t.type(addresses.add('2001:db8:0:1::1'), 'function')
  first()
  second()
  t.equal(addresses.size, 1)
})

const limitsOf = ({ server }: { readonly server: Server }) => [
  server.headersTimeout,
  server.requestTimeout,
  server.maxRequestsPerSocket,
]

await t.test('slow requests get limits, unless the server has its own', async (t) => {
  const plain = Fastify()
  const own = Fastify({
    requestTimeout: 1234,
    http: { headersTimeout: 555 },
    maxRequestsPerSocket: 7,
  })
  for (const app of [plain, own]) {
    t.after(() => app.close())
    await app.register(inputGuard, { audit: 'off', connections: { requestTimeoutMs: 20_000 } })
    // A second registration adds no second listener.
    await app.register(connectionGuard)
    await app.ready()
    t.equal(app.server.listenerCount('connection') <= 2, true)
  }
  t.same(limitsOf(plain), [10_000, 20_000, 10_000])
  t.same(limitsOf(own), [555, 1234, 7])
})

/** Adds a route that counts how many of its requests run at once. */
function countingRoute(app: FastifyInstance, url: string) {
  const counts = { running: 0, most: 0, all: 0 }
  const waiting: (() => void)[] = []
  app.get(url, async () => {
    counts.all++
    counts.most = Math.max(counts.most, ++counts.running)
    await new Promise<void>((resolve) => waiting.push(resolve))
    counts.running--
    return 'x'
  })
  return { counts, release: () => waiting.splice(0).map((resolve) => resolve()) }
}

await t.test('one guard covers every context, whichever registers it', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const routes = new Map<string, ReturnType<typeof countingRoute>>()
  const connections = { maxRunning: 2 }
  for (const url of ['/a', '/b']) {
    await app.register(async (child) => {
      await child.register(inputGuard, { audit: 'off', connections })
      routes.set(url, countingRoute(child, url))
    })
  }
  routes.set('/root', countingRoute(app, '/root'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  for (const [url, { counts, release }] of routes) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.after(() => void socket.destroy())
    socket.resume().write(GET.replace('/', url).repeat(10))
    await until(() => {
      release()
      return counts.all === 10
    })
    release()
    t.equal(counts.most, 2, url)
  }
})

await t.test('a request with an unknown expectation passes the hooks like any other', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(connectionGuard)
  const expected: unknown[] = []
  app.addHook('onRequest', async ({ headers }) => void expected.push(headers.expect))
  app.get('/', async () => 'answered')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  t.after(() => void socket.destroy())
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.write(GET.replace('Host: a', 'Host: a\r\nExpect: 200-ok'))
  await until(() => text.includes('answered'))
  t.match(text, /^HTTP\/1\.1 200 OK/)
  t.same(expected, ['200-ok'])
})

await t.test('a second registration with other limits stops the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(connectionGuard, { maxRunning: 3 })
  await app.register(connectionGuard)
  await app.register(inputGuard, { audit: 'off', connections: { maxRunning: 3 } })
  await t.rejects(
    async () => {
      await app.register(async (child) => {
        await child.register(connectionGuard, { maxRunning: 2 })
      })
    },
    {
      code: 'PARAPET_INPUT_GUARD_INVALID_OPTION',
      message: /an earlier registration limits the connections/,
    },
  )
})

await t.test('the streams of one HTTP/2 connection are limited', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.after(() => app.close())
  await app.register(connectionGuard, { maxRunning: 4, maxWaiting: 6 })
  const { counts, release } = countingRoute(app, '/')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  t.after(() => client.destroy())
  let announced = 0
  client.on('remoteSettings', (settings: { maxConcurrentStreams?: number }) => {
    announced = settings.maxConcurrentStreams ?? 0
  })
  // Before the server has said how many it takes.
  const results: number[] = []
  for (let i = 0; i < 100; i++) {
    const stream = client.request({ ':path': '/' })
    stream.on('error', () => {}).resume()
    stream.once('close', () => results.push(stream.rstCode ?? 0))
  }
  await until(() => results.length === 90)
  t.match([counts.all, counts.most], [4, 4])
  await until(() => {
    release()
    return results.length === 100
  })
  t.same(
    results.toSorted((a, b) => a - b),
    [...Array<number>(10).fill(0), ...Array<number>(90).fill(constants.NGHTTP2_REFUSED_STREAM)],
  )
  t.match([counts.all, counts.most, announced], [10, 4, 10])
  const late = client.request({ ':path': '/' }).resume()
  await until(() => release().length === 1)
  await once(late, 'close')
  t.equal(counts.all, 11, 'the connection still serves')
})

await t.test('every address of localhost is guarded', async (t) => {
  const { lookup } = dns
  // A machine whose localhost has two addresses.
  const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }))
  const resolve = (host: string, ...rest: unknown[]) => {
    if (host !== 'localhost') return void Reflect.apply(lookup, dns, [host, ...rest])
    const [options] = rest as [{ readonly all?: boolean }]
    const done = rest.at(-1) as (...found: unknown[]) => void
    return options.all === true ? done(null, addresses) : done(null, '127.0.0.1', 4)
  }
  dns.lookup = resolve as never
  t.after(() => {
    dns.lookup = lookup
  })
  const app = Fastify()
  t.after(() => app.close())
  await app.register(connectionGuard, { maxRunning: 2, maxConnectionsPerAddress: 2 })
  const { counts, release } = countingRoute(app, '/')
  let isListening = false
  app.addHook('onListen', async () => {
    isListening = true
  })
  await app.listen({ port: 0, host: 'localhost' })
  await until(() => isListening)
  const { port } = app.server.address() as AddressInfo
  t.equal(app.addresses().length, 2)
  const open = () => {
    const socket = connect(port, '127.0.0.2').on('error', () => {})
    t.after(() => void socket.destroy())
    return socket.resume()
  }
  const [first, second] = [open(), open()]
  await Promise.all([once(first, 'connect'), once(second, 'connect')])
  await once(open(), 'close')
  first.write(GET.repeat(6))
  await until(() => {
    release()
    return counts.all === 6
  })
  release()
  t.equal(counts.most, 2)
})

const soak = process.env['PARAPET_SOAK'] === undefined ? { skip: 'a soak' } : {}
await t.test('memory stays bounded while 50 clients never read', soak, async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(connectionGuard)
  app.get('/', () => 'x'.repeat(200_000))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const quiet = process.memoryUsage().rss
  let highest = 0
  const end = Date.now() + 60_000
  const attack = async () => {
    while (Date.now() < end) {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      socket.pause().write(GET.repeat(2000))
      await Promise.race([once(socket, 'close'), new Promise((done) => setTimeout(done, 1000))])
      socket.destroy()
      highest = Math.max(highest, process.memoryUsage().rss)
    }
  }
  await Promise.all(Array.from({ length: 50 }, attack))
  t.ok(highest - quiet <= 250_000_000, `${Math.round((highest - quiet) / 1e6)} MB over quiet`)
})
