import { once } from 'node:events'
import { createServer, request as send } from 'node:http'
import { connect } from 'node:net'
import { queryObjects } from 'node:v8'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { RequestState } from '../src/http/request-state.ts'
import { createApp, named, recordsOf, verify } from './support.ts'

const config = { audit: 'thing.act' }

async function listen(app: FastifyInstance): Promise<{ port: number; host: string }> {
  const { port, hostname: host } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  return { port: Number(port), host }
}

async function gone({ raw }: FastifyRequest): Promise<void> {
  if (!raw.socket.destroyed) await once(raw.socket, 'close')
}

/** An upstream server for the proxy of the table. */
async function openUpstream(t: Test): Promise<string> {
  const server = createServer((_request, reply) => void reply.end('upstream'))
  t.after(() => void server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** Handlers that wait for `ready` after their work, and what they do then. */
function handlersOf(
  ready: (request: FastifyRequest) => Promise<void>,
  upstream: string,
): Record<string, Handler> {
  return {
    async replies(request) {
      await ready(request)
      return 'done'
    },
    async throws(request) {
      await ready(request)
      throw Object.assign(new Error('no'), { statusCode: 409, code: 'E_CONFLICT' })
    },
    async hijacks(request, reply) {
      await ready(request)
      reply.hijack()
      if (!request.raw.socket.destroyed) reply.raw.end('mine')
    },
    neverEnds() {},
    proxies(request, reply) {
      void ready(request).then(() =>
        send(upstream, (answer) => {
          if (request.raw.socket.destroyed) answer.resume()
          else void reply.send(answer)
        }).end(),
      )
    },
  }
}

/** Records of the route, without the attempts that an outcome follows. */
async function conclusionsOf(app: FastifyInstance, count: number) {
  for (;;) {
    const records = (await recordsOf(app)).filter(({ action }) => action === config.audit)
    const concluded = new Set(records.map(({ attemptId }) => attemptId))
    const conclusions = records.filter(({ id }) => !concluded.has(id))
    if (conclusions.length >= count) return conclusions
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

await t.test('a caller cannot decide whether a request is recorded', async (t) => {
  const upstream = await openUpstream(t)
  const results: Record<string, string> = {}
  for (const leaves of ['never', 'before', 'during'] as const) {
    const app = await createApp(t, { alerts: [] })
    const ran: string[] = []
    if (leaves === 'before') app.addHook('preHandler', (request) => gone(request))
    const ready = leaves === 'during' ? gone : async () => {}
    const handlers = handlersOf(ready, upstream)
    for (const [name, handler] of Object.entries(handlers)) {
      app.delete(`/${name}/:id`, { config }, (request, reply) => {
        ran.push(name)
        if (leaves === 'during') app.server.emit('entered')
        return handler(request, reply)
      })
    }
    const at = await listen(app)
    const names = Object.keys(handlers).filter((name) => leaves !== 'never' || name !== 'neverEnds')
    for (const name of names) {
      const socket = connect(at)
      const entered = leaves === 'during' ? once(app.server, 'entered') : undefined
      socket.write(`DELETE /${name}/7 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
      if (leaves === 'before') socket.end(() => socket.destroy())
      if (leaves === 'never') socket.resume()
      await entered
      if (leaves === 'during') socket.destroy()
      await once(socket, 'close')
    }
    for (const record of await conclusionsOf(app, names.length)) {
      t.equal(record['ip'], '127.0.0.1')
    }
    const conclusions = await conclusionsOf(app, names.length)
    t.same(ran, names, `${leaves}: all handlers ran`)
    t.equal(conclusions.length, names.length, `${leaves}: one conclusion each`)
    for (const { route, result, errorCode = '' } of conclusions) {
      const name = String(route).split('/')[1]!
      results[`${name} ${leaves}`] = `${String(result)} ${String(errorCode)}`.trim()
    }
    t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
  }
  const left = 'unknown CLIENT_CLOSED'
  t.same(results, {
    'replies never': 'success',
    'replies before': 'success',
    'replies during': 'success',
    'throws never': 'failure E_CONFLICT',
    'throws before': 'failure E_CONFLICT',
    'throws during': 'failure E_CONFLICT',
    'hijacks never': 'success',
    'hijacks before': left,
    'hijacks during': left,
    'neverEnds before': left,
    'neverEnds during': left,
    'proxies never': 'success',
    'proxies before': left,
    'proxies during': left,
  })
})

await t.test('a reply to a client that left is the outcome of the recorded attempt', async (t) => {
  const app = await createApp(t, { alerts: [] })
  app.get('/', { config }, async (request) => {
    app.server.emit('entered')
    await gone(request)
    return 'late'
  })
  const socket = connect(await listen(app))
  const entered = once(app.server, 'entered')
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await entered
  socket.destroy()
  await conclusionsOf(app, 1)
  let records: Record<string, unknown>[] = []
  while (records.length < 3) records = await recordsOf(app)
  const [, attempt, outcome] = records
  t.match(attempt, { phase: 'attempt', result: 'unknown', errorCode: 'CLIENT_CLOSED' })
  t.match(outcome, { phase: 'outcome', result: 'success', attemptId: attempt!['id'], status: 200 })
})

await t.test('pipelined requests whose connection ends leave no state behind', async (t) => {
  const app = await createApp(t, { alerts: [] })
  let ran = 0
  const entered = new Promise<void>((resolve) => {
    app.server.on('entered', () => {
      if (++ran === 23) resolve()
    })
  })
  const enter = () => void app.server.emit('entered')
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  app.get('/', async () => {
    enter()
    await opened
    return 'late'
  })
  app.get('/silent', { config }, enter)
  const at = await listen(app)
  const socket = connect(at)
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(20))
  socket.write('GET /silent HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(3))
  await entered
  socket.destroy()
  const silent = { result: 'unknown', ip: '127.0.0.1' }
  t.match(await conclusionsOf(app, 3), [silent, silent, silent])
  open()
  // A turn of the event loop, so that the handlers end.
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(queryObjects(RequestState), 0)
})
