/** What is sent to an app, and what is not. */
import { PARAPET_POSTURE_INVALID_OPTION, type PostureOptions } from '@parapet/posture'
import { createManualClock } from '@parapet/kit'
import { EventEmitter, once } from 'node:events'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { check, create, lineOf, placesOf } from './helpers.ts'

/** An app that notes each request, and counts each run of a handler. */
function createNoting(t: Test) {
  const app = create(t)
  const seen: { method: string; url: string; ip: string; headers: Record<string, unknown> }[] = []
  const runs = { changes: 0 }
  app.addHook('onRequest', async ({ method, url, ip, headers }) => {
    seen.push({ method, url, ip, headers })
  })
  app.get('/items/:id', async () => ({ ok: true }))
  app.route({
    method: ['POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/items/:id',
    handler: async () => {
      runs.changes++
      return { ok: true }
    },
  })
  return { app, seen, runs }
}

await t.test('no state-changing request is sent without active', async (t) => {
  const { app, seen, runs } = createNoting(t)
  await check(app)
  const methods = new Set(seen.map(({ method }) => method))
  t.same(
    [...methods].filter((method) => !['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(method)),
    [],
  )
  t.equal(runs.changes, 0, 'no handler of them ran')
  t.ok(seen.length > 30)
})

await t.test('an app that never becomes ready ends the check', async (t) => {
  const app = create(t, { pluginTimeout: 0 })
  const opened = new EventEmitter()
  app.register(async () => {
    await once(opened, 'open')
  })
  const clock = createManualClock(0)
  const checked = check(app, { clock })
  clock.advance(90_000)
  await t.rejects(checked, {
    code: 'PARAPET_POSTURE_NOT_READY',
    message: 'the app was not ready within 90 s',
  })
  opened.emit('open')
})

await t.test('with active, every state-changing route is tried', async (t) => {
  const { app, runs } = createNoting(t)
  const report = await check(app, { active: true })
  t.equal(runs.changes, 4)
  const found = lineOf(report, 'AUT-01')
  t.equal(found.status, 'fail')
  t.match(found.findings[0]?.evidence, /an anonymous (?:POST|PUT|PATCH|DELETE) got 200/)
})

await t.test('with active, a request of another site with a cookie must be refused', async (t) => {
  const app = create(t)
  app.post('/open', async () => ({ ok: true }))
  app.post('/closed', async (request, reply) => {
    if (request.headers['sec-fetch-site'] === 'cross-site') return reply.code(403).send({})
    return { ok: true }
  })
  const roles = { user: { cookie: 'sid=1' } }
  t.same(placesOf(await check(app, { active: true, roles }), 'CSR-01'), ['POST /open'])
})

await t.test('each request comes from another network', async (t) => {
  const { app, seen } = createNoting(t)
  await check(app)
  const networks = new Set(seen.map(({ ip }) => ip.split('.').slice(0, 3).join('.')))
  t.equal(networks.size, seen.length)
  t.ok(seen.every(({ ip }) => /^198\.1[89]\./.test(ip)))
})

await t.test('given headers and the host are sent with every request', async (t) => {
  const { app, seen } = createNoting(t)
  await check(app, { headers: { 'x-proxy': 'yes' }, host: 'shop.example.com' })
  t.ok(
    seen.every(
      ({ headers }) => headers['x-proxy'] === 'yes' && headers['host'] === 'shop.example.com',
    ),
  )
})

await t.test('skipped routes get no request', async (t) => {
  const app = create(t)
  app.get('/a', async () => 'a')
  app.get('/leave', async () => t.fail('the handler ran'))
  const report = await check(app, { skip: ['GET /leave'] })
  t.equal(report.routes, 2)
})

await t.test(
  'a route that never answers ends at the deadline, and is not asked again',
  async (t) => {
    const app = create(t)
    let count = 0
    app.get('/hangs', () => {
      count++
      return new Promise(() => {})
    })
    app.get('/works', async () => 'ok')
    const report = await check(app, { deadlineMs: 50, clock: createManualClock(0) })
    t.equal(count, 1)
    t.ok(report.requests > 30, 'the other route was asked')
  },
)

await t.test('an endless stream ends after its beginning', async (t) => {
  const app = create(t)
  let closed = 0
  app.get('/stream', (_, reply) => {
    const stream = new Readable({ read: () => void stream.push('x'.repeat(16_384)) })
    stream.once('close', () => closed++)
    return reply.send(stream)
  })
  await check(app)
  t.ok(closed > 0, 'the stream was closed')
})

await t.test('routes beyond the budget are named, and do not pass', async (t) => {
  const app = create(t)
  const clock = createManualClock(0)
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) {
    app.get(`/${name}`, async () => {
      clock.advance(1_000)
      return name
    })
  }
  const report = await check(app, { budgetMs: 1_000, clock })
  const line = lineOf(report, 'HDR-06')
  t.equal(line.status, 'manual')
  t.match(line.evidence, /\d routes were not reached in time/)
})

await t.test('a limiter that refuses everything is no header fault', async (t) => {
  const app = create(t)
  app.addHook('onRequest', async (_, reply) => reply.code(429).header('retry-after', '1').send({}))
  app.get('/a', async () => t.fail('the handler ran'))
  t.equal(lineOf(await check(app), 'RAT-01').status, 'pass')
})

await t.test('options are read strictly', async (t) => {
  const app = create(t)
  const wrong: readonly [PostureOptions, RegExp][] = [
    [{ activ: true } as PostureOptions, /"activ" is unknown.*"active"/s],
    [{ deadlineMs: 1 }, /"deadlineMs" must be an integer from 10 to 60000/],
    [{ roles: { a: 'Bearer' } } as unknown as PostureOptions, /"roles.a" must be an object/],
  ]
  for (const [options, message] of wrong) {
    await t.rejects(check(app, options), { code: 'PARAPET_POSTURE_INVALID_OPTION', message })
  }
  t.equal(new PARAPET_POSTURE_INVALID_OPTION('a', 'b').statusCode, 500)
})
