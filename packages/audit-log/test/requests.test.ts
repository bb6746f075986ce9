import { connect } from 'node:net'
import type { AuditSink } from '@parapet/audit-log'
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
    const odd = { requestId: 7, errorCode: null, resource: { a: 1 }, severity: 3, route: false }
    await app.audit.record('thing.odd', { ...odd, principal: 5, tenant: null, ip: [] } as never)
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
      { requestId: '7', errorCode: 'null', resource: '{"a":1}', severity: '3', principal: '5' },
    ])
    t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
  },
)

await t.test(
  'a request with a disconnected client or a hijacked reply is recorded once',
  async (t) => {
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
    while (records.length < 4) records = await recordsOf(app)
    t.same(
      records
        .slice(1)
        .map(({ action, result }) => `${String(action)} ${String(result)}`)
        .toSorted(),
      ['thing.own failure', 'thing.own failure', 'thing.slow success'],
    )
  },
)

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
