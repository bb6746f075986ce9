import { once } from 'node:events'
import { connect } from 'node:net'
import { createManualClock, useSecurityEvents, type SecurityEventTable } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import t from 'tap'
import { createApp, recordsOf } from './support.ts'

const MINUTE_MS = 60_000

/** Emits the event of another plugin. */
function emitterOf(app: FastifyInstance) {
  const declaration = { severity: 'low', outcome: 'failure', description: '' } as const
  useSecurityEvents(app, { 'other.refused': declaration } as SecurityEventTable)
  return (fields: object) =>
    app.securityEvents.emit('other.refused' as never, { details: {}, ...fields } as never)
}

async function refusalsOf(app: FastifyInstance) {
  const records = (await recordsOf(app)).filter(({ action }) => action === 'other.refused')
  return records.map(({ ip, data }) => {
    const { count = 1 } = data as { count?: number }
    return { ip, count }
  })
}

function sum(refusals: readonly { readonly count: number }[]): number {
  return refusals.reduce((total, { count }) => total + count, 0)
}

await t.test('repeated refusals of one unknown client are counted, and none is lost', async (t) => {
  const clock = createManualClock(1_700_000_000_000)
  const app = await createApp(t, { clock, alerts: [] })
  const emit = emitterOf(app)
  for (let i = 0; i < 100; i++) emit({ ip: '192.0.2.1' })
  for (let i = 0; i < 100; i++) emit({ ip: `2001:db8::${i}` })
  for (let i = 0; i < 3; i++) emit({ ip: '192.0.2.2' })
  t.equal((await refusalsOf(app)).length, 63)
  clock.advance(MINUTE_MS)
  const refusals = await refusalsOf(app)
  t.equal(sum(refusals), 203)
  t.same(refusals.slice(63), [
    { ip: '192.0.2.1', count: 70 },
    { ip: '2001:db8::99', count: 70 },
  ])
  for (let i = 0; i < 31; i++) emit({ ip: '192.0.2.1' })
  await app.close()
  const again = await createApp(t, { clock, directory: app.folder, alerts: [] })
  t.equal(sum(await refusalsOf(again)), 234, 'closing records what was counted')
})

await t.test('what a known caller did, and what succeeded, is recorded each time', async (t) => {
  const app = await createApp(t, { alerts: [] })
  const emit = emitterOf(app)
  for (let i = 0; i < 50; i++) emit({ ip: '192.0.2.1', principalId: 'u1' })
  for (let i = 0; i < 50; i++) emit({ ip: '192.0.2.1', outcome: 'success' })
  for (let i = 0; i < 50; i++) emit({})
  t.equal((await refusalsOf(app)).length, 150)
})

function guard(request: FastifyRequest): boolean {
  if (request.headers['x-broken'] !== undefined) throw new Error('no directory')
  return false
}

await t.test('a refused read of the log is recorded', async (t) => {
  const app = await createApp(t, { principal: () => ({ id: 'u1', roles: [] }) })
  await app.register(app.audit.routes, { prefix: '/audit', guard })
  const events: unknown[] = []
  app.securityEvents.on('audit_log.read_refused', ({ principalId, ip, route }) => {
    events.push({ principalId, ip, route })
  })
  const paths = ['events', 'export', 'checkpoint', 'key', 'tile/0/000']
  for (const path of paths) {
    const reply = await app.inject(`/audit/${path}`)
    t.equal(reply.statusCode, 403)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_FORBIDDEN')
    t.equal(reply.headers['cache-control'], 'no-store')
  }
  const broken = await app.inject({ url: '/audit/events', headers: { 'x-broken': '1' } })
  t.equal(broken.statusCode, 500)
  t.equal(events.length, 6)
  t.match(events[0], { principalId: 'u1', ip: '127.0.0.1', route: 'GET /audit/events' })
  const records = (await recordsOf(app)).slice(1)
  t.match(
    records,
    events.map(() => ({ action: 'audit_log.read_refused', result: 'failure', principal: 'u1' })),
  )
})

await t.test('only tiles may be cached', async (t) => {
  const app = await createApp(t)
  await app.register(app.audit.routes, { prefix: '/audit', guard: () => true })
  const { id } = await app.audit.record('thing.act', {})
  await app.audit.flush()
  for (const path of ['events', 'export', `proof/${id}`, 'checkpoint', 'key', 'tile/0/999']) {
    const { headers } = await app.inject(`/audit/${path}`)
    t.equal(headers['cache-control'], 'no-store', path)
  }
  t.match((await app.inject('/audit/tile/0/000.p/2')).headers['cache-control'], /immutable/)
})

await t.test('an export ends soon after its client left, and reads each tile once', async (t) => {
  const app = await createApp(t, { alerts: [] })
  await app.register(app.audit.routes, { prefix: '/audit', guard: () => true })
  const resourceId = 'x'.repeat(1000)
  await Promise.all(
    Array.from({ length: 1200 }, () => app.audit.record('thing.act', { resourceId })),
  )
  await app.audit.flush()
  const { store } = app.audit.parts
  const count = { pages: 0, tiles: 0 }
  const search = store.search.bind(store)
  const tile = store.tile.bind(store)
  store.search = (...args) => {
    count.pages++
    return search(...args)
  }
  store.tile = (...args) => {
    count.tiles++
    return tile(...args)
  }
  const complete = await app.inject('/audit/export?proofs=true')
  t.ok(complete.body.split('\n').length > 1200)
  t.ok(count.tiles < 10 * count.pages, `${count.tiles} tiles for ${count.pages} pages`)
  const all = count.pages
  count.pages = 0
  const { port, hostname: host } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const socket = connect(Number(port), host)
  socket.write('GET /audit/export?proofs=true HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(socket, 'readable')
  socket.destroy()
  await app.close()
  t.ok(count.pages < all, `${count.pages} of ${all} pages`)
})
