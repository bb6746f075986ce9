/** One connection cannot start more requests, or hold more unread bytes, than the guard allows. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { connectionGuard, inputGuard, type ConnectionGuardOptions } from '@parapet/input-guard'
import Fastify from 'fastify'
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
