import { createRequire } from 'node:module'
import rateLimits, { acceptForgedAddresses } from '@parapet/rate-limits'
import Fastify, { type FastifyPluginAsync } from 'fastify'
import t from 'tap'
import { createApp, HOUR, sendMany, times } from './helpers.ts'

await t.test('a route without a tier stops the boot', async (t) => {
  const { app, handler } = await createApp(t)
  app.get('/limited', { config: { rateLimit: 'standard' } }, handler)
  app.get('/open', handler)
  app.route({ method: ['POST', 'PUT'], url: '/both', handler })
  await t.rejects(async () => app.ready(), {
    code: 'PARAPET_RATE_LIMITS_UNLIMITED_ROUTES',
    message: /rate limit:\n {2}GET \/open\n {2}POST,PUT \/both\n/,
  })
})

await t.test('a route that was declared before the plugin stops the boot', async (t) => {
  const { app } = await createApp(t, {}, {}, (app) =>
    app.get('/early', { config: { rateLimit: 'standard' } }, async () => 'done'),
  )
  await t.rejects(async () => app.ready(), { message: / {2}GET \/early\n/ })

  const unawaited = Fastify()
  t.after(() => unawaited.close())
  void unawaited.register(rateLimits)
  unawaited.get('/', { config: { rateLimit: 'auth' } }, async () => 'done')
  await t.rejects(async () => unawaited.ready(), { code: 'PARAPET_RATE_LIMITS_UNLIMITED_ROUTES' })
})

await t.test('routes of other contexts are theirs', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.get('/outside', async () => 'done')
  await app.register(async (inner) => {
    await inner.register(rateLimits)
    inner.get('/inside', { config: { rateLimit: 'standard' } }, async () => 'done')
  })
  t.equal((await app.inject('/outside')).headers['ratelimit'], undefined)
  t.match((await app.inject('/inside')).headers['ratelimit'], /"standard";r=99/)
})

await t.test('an invalid rule stops the boot with its reason', async (t) => {
  const { app, handler } = await createApp(t)
  for (const [rule, problem] of [
    ['standrad', /of the route GET \/ names the tier "standrad", known are standard, scraping/],
    [[], /must name 1 to 6 tiers, got 0/],
    [true, /must be a tier, an array of tiers/],
    [{}, /must be a tier/],
    [{ max: 5 }, /must be a tier/],
    [{ tiers: 'auth', max: 5 }, /has the unknown member "max"/],
    [{ tiers: 'auth', cost: 0 }, /has a "cost"/],
    [{ tiers: 'auth', count: 'none' }, /has a "count"/],
    [{ tiers: 'auth', at: 'end' }, /has an "at"/],
    [{ tiers: 'auth', proves: 1 }, /has a "proves"/],
    [{ exempt: '' }, /must have only "exempt", with a reason/],
    [{ exempt: 'probe', tiers: 'auth' }, /must have only "exempt"/],
    [[7], /names the tier number/],
  ] as const) {
    const declare = () => app.get('/', { config: { rateLimit: rule as never } }, handler)
    t.throws(declare, { code: 'PARAPET_RATE_LIMITS_INVALID_RULE', message: problem })
  }
})

await t.test('routes of other plugins get their tier by name', async (t) => {
  const routes = {
    'GET /docs': 'scraping',
    '* /docs/**': { exempt: 'static files' },
    'POST /docs/reload': ['standard', 'user'],
  }
  const { app, handler, send } = await createApp(t, { routes })
  app.get('/docs', handler)
  app.get('/docs/static/:file', handler)
  app.post('/docs/reload', handler)
  t.match((await send('/docs')).headers['ratelimit-policy'], /^"scraping";q=10;w=3600$/)
  t.match((await send('/docs', { method: 'HEAD' })).headers['ratelimit'], /"scraping";r=8/)
  t.equal((await send('/docs/static/a.css')).headers['ratelimit'], undefined)
  const reload = await send('/docs/reload', { method: 'POST' })
  t.match(reload.headers['ratelimit-policy'], /^"standard";q=100;w=3600, "user";q=1000;w=3600$/)

  const earlier = (rule: string) =>
    createApp(t, { routes: { 'GET /early': rule } }, {}, (each) => each.get('/early', handler))
  const { send: sendEarly } = await earlier('scraping')
  t.same(await sendMany(11, () => sendEarly('/early')), [...times(10, 200), 429])
  const late = await earlier('user')
  await t.rejects(async () => late.app.ready(), {
    code: 'PARAPET_RATE_LIMITS_INVALID_RULE',
    message: /GET \/early needs the principal or the body/,
  })

  const unknown = await createApp(t, { routes: { 'GET /missing': 'standard' } })
  await t.rejects(async () => unknown.app.ready(), {
    message: /"routes" has the entry "GET \/missing", but/,
  })
  for (const name of ['/docs', 'get /docs', 'GET docs']) {
    await t.rejects(createApp(t, { routes: { [name]: 'standard' } }), {
      code: 'PARAPET_RATE_LIMITS_INVALID_OPTION',
    })
  }
})

await t.test('requests that match no route are limited, too', async (t) => {
  const { app, send } = await createApp(t, { notFound: 'scraping' })
  t.same(await sendMany(10, (index) => send(`/guess-${index}`)), times(10, 404))
  t.equal((await send('/guess')).statusCode, 429)
  t.equal(app.rateLimits.metrics().tiers['scraping']!.refused, 1)
  await t.rejects(createApp(t, { notFound: 'user' }), {
    code: 'PARAPET_RATE_LIMITS_INVALID_RULE',
    message: /known before the login/,
  })
})

function noProxy(address: string): boolean {
  throw new Error(`no proxy ${address}`)
}

await t.test('trustProxy: true stops the boot', async (t) => {
  const trusts = { code: 'PARAPET_RATE_LIMITS_TRUSTS_EVERY_PROXY', message: /trustProxy: \['10/ }
  await t.rejects(createApp(t, {}, { trustProxy: true }), trusts)
  await t.rejects(createApp(t, {}, { trustProxy: () => true }), trusts)
  const halves = ['0.0.0.0/1', '128.0.0.0/1']
  await t.rejects(createApp(t, {}, { trustProxy: halves }), trusts)
  await t.rejects(createApp(t, {}, { trustProxy: halves.join(',') }), trusts)
  await t.rejects(createApp(t, {}, { trustProxy: '2000::/3' }), trusts)
  await t.resolves(createApp(t, {}, { trustProxy: halves.slice(1) }))
  await t.resolves(createApp(t, {}, { trustProxy: '10.0.0.0/8' }))
  await t.resolves(createApp(t, {}, { trustProxy: 'loopback' }))
  await t.resolves(createApp(t, {}, { trustProxy: (address) => address === '10.0.0.1' }))
  await t.resolves(createApp(t, {}, { trustProxy: noProxy }))
  await t.resolves(createApp(t, { [acceptForgedAddresses]: true }, { trustProxy: true }))
})

await t.test('beside @fastify/rate-limit the app does not start', async (t) => {
  const other = createRequire(import.meta.url)('@fastify/rate-limit') as FastifyPluginAsync
  const both = { code: 'PARAPET_RATE_LIMITS_TWO_LIMITERS' }
  await t.rejects(
    createApp(t, {}, {}, (app) => app.register(other)),
    both,
  )
  const { app } = await createApp(t)
  await app.register(other)
  await t.rejects(async () => app.ready(), both)
})

await t.test('invalid options stop the boot, all at once', async (t) => {
  const limits = [{ limit: 5, windowMs: HOUR }]
  for (const [options, problem] of [
    [{ dryRun: true }, /"dryRun" is unknown, did you mean "tiers: /],
    [
      { tiers: { mine: { limits: [...limits, { limit: 9, windowMs: HOUR }] } } },
      /must have one limit for each windowMs/,
    ],
    [{ max: 5 }, /"max" is unknown, did you mean "tiers: /],
    [{ tiers: { mine: {} } }, /"tiers\.mine\.limits" is required, because no built-in tier/],
    [{ tiers: { 'no name': { limits } } }, /"tiers\.no name" must be named/],
    [{ tiers: { auth: { limits: [{ limit: 1001, windowMs: HOUR }] } } }, /at most 1000 for exact/],
    [
      { tiers: { mine: { limits: [{ limit: 0, windowMs: 5 }] } } },
      /limit" must be an integer from 1/,
    ],
    [{ tiers: { mine: { limits, provenBy: ['ip'] } } }, /"tiers\.mine\.provenBy" requires "count"/],
    [{ tiers: { mine: { limits, with: ['none'] } } }, /"tiers\.mine\.with" names "none"/],
    [{ tiers: { mine: { limits, cost: 0 } } }, /cost" must be an integer from 1 to 1000000, or a/],
    [{ tiers: { mine: { limits, count: 'some' } } }, /count" must be "all", "failures" or a func/],
    [{ redis: {} }, /"redis" must be a client or cluster of ioredis/],
    [{ prefix: '{a}' }, /"prefix" must be text without braces/],
  ] as const) {
    await t.rejects(createApp(t, options as never), {
      code: 'PARAPET_RATE_LIMITS_INVALID_OPTION',
      message: problem,
    })
  }
  const client = { call() {}, on() {}, off() {}, disconnect() {}, options: { keyPrefix: 'a:' } }
  await t.rejects(createApp(t, { redis: client } as never), { message: /must have no keyPrefix/ })
})

await t.test('a second registration is refused by name', async (t) => {
  const twice = {
    code: 'PARAPET_RATE_LIMITS_REGISTERED_TWICE',
    message: /registered already, in this context or one around it; register it once/,
  }
  const { app } = await createApp(t)
  await t.rejects(async () => {
    await app.register(rateLimits)
  }, twice)
  const outer = await createApp(t)
  await t.rejects(async () => {
    await outer.app.register(async (child) => {
      await child.register(rateLimits)
    })
  }, twice)
  const apart = Fastify()
  t.after(() => apart.close())
  for (const prefix of ['/a', '/b']) {
    await apart.register(
      async (child) => {
        await child.register(rateLimits)
        child.get('/', { config: { rateLimit: 'standard' } }, async () => 'ok')
      },
      { prefix },
    )
  }
  t.equal((await apart.inject('/b')).statusCode, 200, 'each of two contexts may have its own')
})
