import { connect } from 'node:net'
import type { AuditSink } from '@parapet/audit-log'
import type { FastifyReply, FastifyRequest } from 'fastify'
import t from 'tap'
import { createApp, named, recordsOf, verify } from './support.ts'

function gate() {
  let open!: () => void
  const promise = new Promise<void>((resolve) => (open = resolve))
  return { promise, open }
}

await t.test(
  'values of wrong types are recorded as text or refused, and never lost silently',
  async (t) => {
    let id = 0
    const app = await createApp(t, {}, { genReqId: () => ++id as never })
    app.get('/', { config: { audit: 'thing.act' } }, async () => {
      throw Object.assign(new Error('no'), { name: 5, statusCode: 400 })
    })
    const failed = await app.inject('/')
    t.equal(failed.statusCode, 400)
    t.equal(
      failed.json<{ code?: string }>().code,
      undefined,
      'the error of the handler has no code',
    )
    const odd = { requestId: 7, errorCode: null, resource: 8n, severity: undefined }
    await app.audit.record('thing.odd', { ...odd, principal: 5, tenant: null } as never)
    for (const bad of [
      { result: 'ok' },
      { result: null },
      { changes: 'x' },
      { changes: null },
      { changes: {} },
      { changes: [null] },
      { changes: [{ path: 5 }] },
    ]) {
      await t.rejects(app.audit.record('thing.odd', bad as never), {
        code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
        statusCode: 500,
      })
    }
    t.match((await recordsOf(app)).slice(1), [
      { action: 'thing.act', requestId: '1', errorCode: '5' },
      { requestId: '7', errorCode: undefined, resource: '8', principal: '5', tenant: undefined },
    ])
    t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
  },
)

await t.test('a request with a disconnected client or a hijacked reply is recorded', async (t) => {
  const app = await createApp(t)
  const entered = gate()
  const left = gate()
  app.get('/slow', { config: { audit: 'thing.slow' } }, async (request) => {
    request.raw.once('close', () => left.open())
    entered.open()
    await left.promise
    return 'late'
  })
  app.get('/own', { config: { audit: 'thing.own' } }, async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(418).end('mine')
  })
  const url = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const socket = connect(Number(url.port), url.hostname)
  socket.write('GET /slow HTTP/1.1\r\nhost: a\r\n\r\n')
  await entered.promise
  socket.destroy()
  await left.promise
  t.equal(await (await fetch(new URL('/own', url))).text(), 'mine')
  t.equal((await app.inject('/own')).statusCode, 418)
  let records: Record<string, unknown>[] = []
  while (records.length < 5) records = await recordsOf(app)
  t.same(
    records
      .slice(1)
      .map(({ action, result }) => `${String(action)} ${String(result)}`)
      .toSorted(),
    ['thing.own failure', 'thing.own failure', 'thing.slow success', 'thing.slow unknown'],
  )
})

await t.test(
  'a resourceId function that throws changes neither the reply nor the record',
  async (t) => {
    const app = await createApp(t)
    let ran = 0
    app.post(
      '/',
      {
        config: {
          audit: {
            action: 'thing.act',
            resourceId: (request) => (request.body as { user: { id: string } }).user.id,
          },
        },
        onRequest: async () => {
          throw Object.assign(new Error('denied'), { code: 'E_DENIED', statusCode: 403 })
        },
      },
      async () => `${++ran}`,
    )
    const refused = await app.inject({ method: 'POST', url: '/' })
    t.equal(refused.statusCode, 403)
    t.equal(refused.json<{ code: string }>().code, 'E_DENIED')
    t.equal(ran, 0, 'the handler did not run')
    t.match((await recordsOf(app))[1], {
      action: 'thing.act',
      result: 'failure',
      errorCode: 'E_DENIED',
    })
  },
)

await t.test('a store or sink that hangs does not stop the app from closing', async (t) => {
  const hung: AuditSink = { name: 'hung', deliver: () => new Promise(() => {}) }
  const app = await createApp(t, { sinks: [hung], sinkDeadlineMs: 20 })
  app.audit.parts.pipeline.flush = () => new Promise(() => {})
  // The plugin's timers are unreferenced, so the test needs one of its own.
  const alive = setInterval(() => {}, 1000)
  t.after(async () => clearInterval(alive))
  await app.audit.record('thing.act', {})
  await app.close()
  const again = await createApp(t, { directory: app.folder })
  t.equal((await recordsOf(again)).filter(({ action }) => action === 'thing.act').length, 1)
})

async function login(_request: unknown, reply: FastifyReply): Promise<FastifyReply> {
  return reply.redirect('/login')
}

async function deny(_request: unknown, reply: FastifyReply): Promise<FastifyReply> {
  return reply.code(403).send('no')
}

async function readPrincipal() {
  return { id: 'u1', roles: [] }
}

function failToTrust(): never {
  throw new Error('no table')
}

await t.test(
  'a request that a hook answers with a redirect is recorded as a failure',
  async (t) => {
    const app = await createApp(t)
    let ran = 0
    const config = { audit: 'user.delete' }
    app.delete('/users/:id', { preHandler: login, config }, async () => `${++ran}`)
    app.delete('/soft/:id', { config }, async () => `done ${++ran}`)
    await app.register(async (web) => {
      web.setErrorHandler((_error, _request, reply) => reply.redirect('/error'))
      web.delete('/web/:id', { config }, async () => {
        throw Object.assign(new Error('no'), { statusCode: 403, code: 'E_FORBIDDEN' })
      })
    })
    t.equal((await app.inject({ method: 'DELETE', url: '/users/7' })).statusCode, 302)
    t.equal(ran, 0, 'the handler did not run')
    t.equal((await app.inject({ method: 'DELETE', url: '/web/8' })).statusCode, 302)
    t.equal((await app.inject({ method: 'DELETE', url: '/soft/9' })).statusCode, 200)
    t.match((await recordsOf(app)).slice(1), [
      { result: 'failure', errorCode: 'HANDLER_NOT_REACHED', resourceId: '7' },
      { result: 'failure', errorCode: 'E_FORBIDDEN', resourceId: '8' },
      { result: 'success', errorCode: undefined, resourceId: '9' },
    ])
  },
)

await t.test('a principal that cannot be read refuses the request, and is recorded', async (t) => {
  const faults = [
    (request: FastifyRequest) => (request as unknown as { user: { id: string } }).user.id,
    () => ({ id: 7 }),
    () => Promise.reject(new Error('no directory')),
  ]
  for (const principal of faults) {
    const app = await createApp(t, { principal: principal as never })
    let ran = 0
    app.delete('/a/:id', { config: { audit: 'thing.act' } }, async () => `${++ran}`)
    const open = { action: 'thing.open', whenUnavailable: 'open' } as const
    app.delete('/b/:id', { config: { audit: open } }, async () => `${++ran}`)
    app.get('/c', async (request) => request.audit('thing.own', {}))
    const refused = await app.inject({ method: 'DELETE', url: '/a/1' })
    t.equal(refused.statusCode, 500)
    t.equal(ran, 0, 'the handler did not run')
    t.equal((await app.inject({ method: 'DELETE', url: '/b/2' })).statusCode, 200)
    t.equal((await app.inject('/c')).statusCode, 200)
    const records = (await recordsOf(app)).slice(1)
    t.match(records, [
      { action: 'thing.act', result: 'failure', errorCode: String },
      { action: 'thing.open', result: 'success', errorCode: String },
      { action: 'thing.own', result: 'success', errorCode: String },
    ])
    t.notOk(records.some((record) => 'principal' in record))
  }
})

await t.test('an asynchronous principal is recorded in every record of its request', async (t) => {
  const app = await createApp(t, { principal: readPrincipal })
  const config = { audit: 'thing.act' }
  app.get('/a', { config }, async () => 'done')
  app.get('/b', async (request) => request.audit('thing.act', {}))
  app.get('/c', { config, onRequest: deny }, async () => 'done')
  for (const url of ['/a', '/b', '/c']) await app.inject(url)
  const [, ...records] = await recordsOf(app)
  t.same(
    records.map((record) => record['principal']),
    ['u1', 'u1', 'u1'],
  )
})

await t.test('the address of a client that hung up is recorded', async (t) => {
  const app = await createApp(t)
  const left = gate()
  const config = { audit: 'thing.act' }
  app.post('/login', { config }, async (request) => {
    request.raw.socket.once('close', () => left.open())
    await left.promise
    await request.audit('auth.login', { result: 'failure' })
    return 'late'
  })
  const url = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const socket = connect(Number(url.port), url.hostname)
  socket.end('POST /login HTTP/1.1\r\nhost: a\r\n\r\n', () => socket.destroy())
  let records: Record<string, unknown>[] = []
  while (records.length < 3) records = await recordsOf(app)
  for (const { ip } of records.slice(1)) t.equal(ip, '127.0.0.1')
})

await t.test('a route for several methods records the one of the request', async (t) => {
  const app = await createApp(t)
  app.all('/all/:id', { config: { audit: 'thing.act' } }, async () => 'done')
  await app.inject({ method: 'DELETE', url: '/all/1' })
  t.match((await recordsOf(app))[1], { route: 'DELETE /all/:id' })
})

await t.test('a request whose address cannot be read is recorded without it', async (t) => {
  const app = await createApp(
    t,
    { principal: () => ({ id: 'u1', roles: [] }) },
    { trustProxy: failToTrust },
  )
  app.get('/', { config: { audit: 'thing.act' } }, async () => 'done')
  t.equal((await app.inject('/')).statusCode, 200)
  t.match((await recordsOf(app))[1], { result: 'success', principal: 'u1', route: 'GET /' })
})
