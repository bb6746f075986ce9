import { randomUUID } from 'node:crypto'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import cors from '@fastify/cors'
import websocket from '@fastify/websocket'
import { rateLimits } from '@parapet/rate-limits'
import Fastify, { type FastifyServerOptions } from 'fastify'
import t from 'tap'
import { createApp, HOUR, sendMany, times } from './helpers.ts'

const logged = () => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  return { lines, logger: { level: 'error', stream } }
}

await t.test('abuse is reported once above twice the limit, and after 1000 refusals', async (t) => {
  const asked: unknown[] = []
  const { app, events, handler, runs, send } = await createApp(t, {
    contain: (request) => void asked.push(request),
  })
  app.get('/', { config: { rateLimit: 'scraping' } }, handler)
  t.same(await sendMany(20, () => send('/')), [...times(10, 200), ...times(10, 429)])
  t.same(
    events.map(({ type }) => type),
    ['rate_limits.exceeded'],
    'a flood emits no event for each',
  )
  await send('/')
  t.match(events[1], {
    type: 'rate_limits.abused',
    severity: 'medium',
    ip: '192.0.2.1',
    details: { tier: 'scraping', key: 'ip', limit: 10, attempts: 11, contain: false },
  })
  await sendMany(1100, () => send('/'))
  t.equal(events.length, 3)
  t.match(events[2], {
    severity: 'high',
    details: { attempts: 1000, contain: true },
  })
  t.same(asked, [{ ip: '192.0.2.1', tier: 'scraping', attempts: 1000 }])
  t.equal(runs(), 10)
})

await t.test('a containment that fails is logged, and fails no request', async (t) => {
  const { lines, logger } = logged()
  for (const contain of [
    () => Promise.reject(new Error('firewall down')),
    () => {
      throw new Error('firewall down')
    },
  ]) {
    const { app, handler, send } = await createApp(
      t,
      { contain, abuse: { containAttempts: 12 } },
      { logger },
    )
    app.get('/', { config: { rateLimit: 'scraping' } }, handler)
    t.equal((await sendMany(30, () => send('/'))).at(-1), 429)
  }
  t.equal(lines.filter((line) => line.includes('firewall down')).length, 2)
})

await t.test('the proxy mistake is reported once, with the line to write', async (t) => {
  const { lines, logger } = logged()
  const { app, events, handler, send } = await createApp(t, {}, { logger, trustProxy: 1 as never })
  app.get('/', { config: { rateLimit: 'standard' } }, handler)
  const visit = (client: string, peer: string) =>
    send('/', { ip: peer, headers: { 'x-forwarded-for': client } })
  for (let index = 0; index < 20; index++) {
    await visit(`198.51.100.${index}`, '203.0.113.80')
    await visit('198.51.100.1, 10.0.0.9', '10.0.0.2')
    await visit('10.0.0.3', '10.0.0.3')
  }
  t.same(events, [], 'public peers and single clients are no proxies')
  for (let index = 0; index < 100; index++) await visit('198.51.100.1', `10.9.${index}.1`)
  t.same(events, [], 'so are many peers, and they leave room for others')
  for (let index = 0; index < 20; index++) await visit(`198.51.100.${index}`, '::ffff:10.0.0.5')
  t.match(events, [
    { type: 'rate_limits.proxy_suspected', details: { peer: '10.0.0.5', clients: 5 } },
  ])
  t.equal(lines.length, 1)
  t.match(lines[0], "Fastify({ trustProxy: ['10.0.0.5'] })")
  for (let index = 0; index < 20; index++) await visit(`198.51.100.${index}`, '10.0.0.6')
  t.equal(events.length, 1, 'a proxy with many addresses is reported once')
})

await t.test('a peer without an address is limited, too', async (t) => {
  const server: FastifyServerOptions = {
    trustProxy(address) {
      if (address === '192.0.2.1') throw new Error('the list of proxies is missing')
      return false
    },
  }
  const { app, handler, send } = await createApp(t, {}, server)
  app.get('/', { config: { rateLimit: 'scraping' } }, handler)
  const visit = (index: number) =>
    send('/', { headers: { 'x-forwarded-for': `198.51.100.${index}` } })
  t.same(await sendMany(11, visit), [...times(10, 200), 429])
})

await t.test('behind a proxy on a UNIX socket the mistake is reported, too', async (t) => {
  const { lines, logger } = logged()
  const { app, events, handler } = await createApp(t, {}, { logger })
  app.get('/', { config: { rateLimit: 'scraping' } }, handler)
  const socketPath = join(tmpdir(), `parapet-${randomUUID()}.sock`)
  await app.listen({ path: socketPath })
  const visit = (index: number) =>
    new Promise<{ statusCode: number }>((resolve, reject) => {
      const headers = { 'x-forwarded-for': `198.51.100.${index}` }
      get({ socketPath, path: '/', headers, agent: false }, (reply) => {
        reply.resume().on('end', () => resolve({ statusCode: reply.statusCode! }))
      }).on('error', reject)
    })
  t.same(await sendMany(11, visit), [...times(10, 200), 429])
  t.match(events, [{ type: 'rate_limits.proxy_suspected' }, { type: 'rate_limits.exceeded' }])
  t.match(lines[0], 'trustProxy: (address) => !address })')
  t.doesNotThrow(() => Fastify({ trustProxy: (address) => !address }), 'the advice works')
})

await t.test('behind a trusted proxy each client has its own limit', async (t) => {
  const { app, events, handler, send } = await createApp(t, {}, { trustProxy: '10.0.0.0/8' })
  app.get('/', { config: { rateLimit: 'scraping' } }, handler)
  const visit = (client: string) =>
    send('/', { ip: '10.0.0.5', headers: { 'x-forwarded-for': client } })
  t.same(await sendMany(20, (index) => visit(`198.51.100.${index}`)), times(20, 200))
  t.same(await sendMany(11, () => visit('6.6.6.6, 198.51.100.99')), [...times(10, 200), 429])
  t.equal(
    (await visit('7.7.7.7, 198.51.100.99')).statusCode,
    429,
    'a forged first hop changes nothing',
  )
  for (let index = 0; index < 9; index++) await visit(`198.51.100.${index}, 10.9.9.9`)
  t.match(events, [{ type: 'rate_limits.exceeded' }], 'an inside client that forges is no proxy')
  t.equal(events.length, 1)
})

await t.test(
  'the first refusal above a large limit is reported, and contains nobody',
  async (t) => {
    const asked: unknown[] = []
    const { app, events, handler, send } = await createApp(t, {
      contain: (request) => void asked.push(request),
      tiers: {
        big: { limits: [{ limit: 1500, windowMs: HOUR }] },
        tokens: { limits: [{ limit: 100_000, windowMs: HOUR }], cost: 10_000 },
      },
    })
    app.get('/big', { config: { rateLimit: 'big' } }, handler)
    app.get('/tokens', { config: { rateLimit: 'tokens' } }, handler)
    await sendMany(1502, () => send('/big'))
    await sendMany(11, () => send('/tokens'))
    t.match(events, [
      { type: 'rate_limits.exceeded', details: { tier: 'big', limit: 1500 } },
      { type: 'rate_limits.exceeded', details: { tier: 'tokens', limit: 100_000 } },
    ])
    await sendMany(998, () => send('/tokens'))
    t.same([asked, events.length], [[], 2])
    await send('/tokens')
    t.same(asked, [{ ip: '192.0.2.1', tier: 'tokens', attempts: 1000 }])
  },
)

await t.test('no account name and no API key is stored, logged or emitted', async (t) => {
  const { app, events, handler, send } = await createApp(t, {
    tiers: { key: { limits: [{ limit: 1, windowMs: HOUR }], key: 'apiKey', dryRun: true } },
  })
  app.post('/', { config: { rateLimit: ['auth', 'key'] } }, handler)
  const body = { method: 'POST', payload: { login: 'secret-name' } } as const
  await sendMany(9, () => send('/', { ...body, headers: { 'x-api-key': 'secret-key' } }))
  t.equal(events.length > 0, true)
  t.notMatch(JSON.stringify([events, app.rateLimits.dryRunReport()]), /secret/)
})

await t.test('odd bytes in keys are neither errors nor free', async (t) => {
  const limits = [{ limit: 2, windowMs: HOUR }]
  const { app, handler, send } = await createApp(t, {
    tiers: { odd: { limits, key: ['header:x-odd'] } },
  })
  app.get('/', { config: { rateLimit: 'odd' } }, handler)
  for (const value of [
    '}{*}',
    'a&ip=1',
    '?',
    '#x',
    ' ',
    '\u00a0',
    'k'.repeat(8000),
    '%00',
    '1e309',
  ]) {
    const statuses = await sendMany(3, () => send('/', { headers: { 'x-odd': value } }))
    t.same(statuses, [200, 200, 429], JSON.stringify(value.slice(0, 20)))
  }
})

await t.test('preflight requests and upgrades are limited like other requests', async (t) => {
  const routes = { 'OPTIONS *': 'scraping' }
  const { app } = await createApp(t, { routes, response: 'problem' }, {}, (each) =>
    each.register(cors),
  )
  await app.register(websocket)
  app.get('/talk', { websocket: true, config: { rateLimit: 'scraping' } }, () => undefined)
  app.get('/', { config: { rateLimit: 'standard' } }, async () => 'done')
  const preflight = () =>
    app.inject({
      method: 'OPTIONS',
      url: '/',
      headers: { origin: 'https://a.example', 'access-control-request-method': 'GET' },
    })
  t.equal((await preflight()).statusCode, 204, 'cors responds before it is counted')
  await app.ready()
  const opened = async () => {
    try {
      const client = (await app.injectWS('/talk')) as { terminate(): void }
      client.terminate()
      return 'opened'
    } catch (error) {
      return (error as Error).message
    }
  }
  const results = []
  for (let count = 0; count < 11; count++) results.push(await opened())
  t.same(
    results.slice(0, 10),
    Array.from({ length: 10 }, () => 'opened'),
  )
  t.match(results[10], /429/)
})

await t.test('the plugin leaves the app of its neighbours as it is', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const listeners = () =>
    app.server.eventNames().map((name) => [name, app.server.listenerCount(name)])
  const before = listeners()
  await app.register(rateLimits)
  t.same(listeners(), before, 'no listener on the server')
  t.notOk(app.hasDecorator('rateLimit'), 'no decorator of @fastify/rate-limit')
  t.notOk(app.hasDecorator('createRateLimit'))
  const shared = { rateLimit: 'standard' }
  let own = 0
  app.get('/', {
    config: shared,
    onRequest: async () => void own++,
    preValidation: [async () => void own++],
    handler: async () => 'done',
  })
  app.post('/', {
    config: { rateLimit: 'auth' },
    preValidation: async () => void own++,
    handler: async () => 'done',
  })
  t.equal((await app.inject('/')).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/' })).statusCode, 200)
  t.equal(own, 3, "a route's own hooks run")
  t.same(Object.keys(shared), ['rateLimit'], 'a shared config object is not changed')
})
