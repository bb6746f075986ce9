/** Each request gets one response: slow bodies, pipelined faults, and invalid Host headers. */
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { readConfig } from '../../src/config/environment.ts'
import { createClientErrorHandler } from '../../src/http/client-errors.ts'
import { hostHeader } from '../../src/http/host-header.ts'
import { createServerOptions } from '../../src/http/server-options.ts'
import { createMemoryLog } from '../support/test-app.ts'

const { log } = createMemoryLog()
const SLOW =
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n1'

function createApp(t: Test): FastifyInstance {
  const http = { headersTimeout: 20, connectionsCheckingInterval: 10 }
  const clientErrorHandler = createClientErrorHandler(log)
  const app = Fastify({ clientErrorHandler, requestTimeout: 50, http })
  t.after(() => app.close())
  return app
}

/** Sends bytes and reads everything until the connection is closed. @returns the statuses and text. */
async function converse(app: FastifyInstance, bytes: string) {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  socket.on('error', () => {})
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.write(bytes)
  await once(socket, 'close')
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
  return { statuses, text }
}

await t.test('a slow body gets one 408, then the connection is closed', async (t) => {
  const app = createApp(t)
  let handled = 0
  app.post('/', () => ({ handled: ++handled }))
  t.match(await converse(app, SLOW), { statuses: [408], text: /\r\nConnection: close\r\n/ })
  t.equal(handled, 0, 'the handler did not run')
})

await t.test('a request that was refused before its body arrived gets no 408', async (t) => {
  const app = createApp(t)
  app.addHook('onRequest', async (_request, reply) => reply.code(401).send({ refused: true }))
  app.post('/', () => ({}))
  t.same((await converse(app, SLOW)).statuses, [401])
})

await t.test('a fault in a later request does not answer an earlier one', async (t) => {
  const app = createApp(t)
  app.get('/', () => new Promise(() => {}))
  const { statuses } = await converse(app, 'GET / HTTP/1.1\r\nHost: a\r\n\r\njunk\r\n\r\n')
  t.same(statuses, [])
})

await t.test('the body times out before the handler does', async (t) => {
  const { requestTimeout, handlerTimeout, connectionTimeout, http } = createServerOptions(
    readConfig({}),
    log,
  )
  const { connectionsCheckingInterval } = http as { connectionsCheckingInterval: number }
  t.ok(handlerTimeout! > requestTimeout! + connectionsCheckingInterval)
  t.ok(handlerTimeout! < connectionTimeout!)
})

await t.test('several Host headers or an invalid one are refused', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(hostHeader)
  let handled = 0
  app.get('/', () => ({ handled: ++handled }))
  const ask = (hosts: string, version = '1.1') =>
    converse(app, `GET / HTTP/${version}\r\n${hosts}Connection: close\r\n\r\n`)
  const invalid = ['a\r\nHost: a', 'a\r\nhOsT: b', 'a b', 'a/b', 'u@a', 'a:b', '[a', 'a, b', '<>']
  for (const host of invalid) {
    const { statuses, text } = await ask(`Host: ${host}\r\n`)
    t.same(statuses, [400], host)
    t.match(text, '"code":"PARAPET_REFERENCE_INVALID_HOST"', host)
  }
  t.equal(handled, 0, 'the handler did not run')
  const valid = ['localhost', 'a:3000', '127.0.0.1:80', '[::1]:3000', 'xn--a.example', 'a%20b']
  for (const host of valid) t.same((await ask(`Host: ${host}\r\n`)).statuses, [200], host)
  t.same((await ask('', '1.0')).statuses, [200], 'HTTP/1.0 needs no Host')
})
