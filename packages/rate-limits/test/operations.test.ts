import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { createApp, HOUR, MINUTE, sendMany, times } from './helpers.ts'

const ip = '192.0.2.1'

await t.test('peek reads a tier for a request or a subject, and changes nothing', async (t) => {
  const { app, handler, send } = await createApp(t)
  let seen: FastifyRequest | undefined
  app.get('/', { config: { rateLimit: 'scraping' } }, async (request) => {
    seen = request
    return handler()
  })
  await sendMany(4, () => send('/'))
  const expected = {
    tier: 'scraping',
    allowed: true,
    reason: undefined,
    retryAfterMs: 0,
    limits: [{ limit: 10, windowMs: HOUR, remaining: 6, resetMs: 4 * 6 * MINUTE }],
  }
  t.same(await app.rateLimits.peek('scraping', { ip }), expected)
  t.same(await app.rateLimits.peek('scraping', seen!), expected)
  await sendMany(7, () => send('/'))
  t.match(await app.rateLimits.peek('scraping', { ip }), {
    allowed: false,
    reason: 'blocked',
    retryAfterMs: HOUR,
  })
})

await t.test('unblock lifts a block, reset forgets the count too', async (t) => {
  const { app, handler, send } = await createApp(t)
  app.get('/', { config: { rateLimit: 'scraping' } }, handler)
  app.get('/other', { config: { rateLimit: 'standard' } }, handler)
  await sendMany(101, () => send('/other'))
  await sendMany(11, () => send('/'))
  await app.rateLimits.unblock({ ip }, 'scraping')
  const again = await send('/')
  t.equal(again.statusCode, 429, 'the window is still full')
  await app.rateLimits.reset({ ip }, 'scraping')
  t.equal((await send('/')).headers['x-ratelimit-remaining'], '9')
  t.equal((await send('/other')).statusCode, 429, 'only the named tier')
  await app.rateLimits.reset({ ip })
  t.equal((await send('/other')).statusCode, 200, 'all tiers')
})

await t.test('tighten leaves a share of every limit of a component, for a time', async (t) => {
  const { app, clock, handler, send } = await createApp(t)
  app.get('/', { config: { rateLimit: 'standard' } }, handler)
  app.post('/login', { config: { rateLimit: 'auth' } }, handler)
  await app.rateLimits.tighten({ ip }, 0.1, 10 * MINUTE)
  t.same(await sendMany(11, () => send('/')), [...times(10, 200), 429])
  const logIn = () => send('/login', { method: 'POST', payload: { login: 'alice' } })
  t.same(await sendMany(2, logIn), [200, 429], 'a tenth of five is one')
  t.match((await send('/', { ip: '192.0.2.9' })).headers['x-ratelimit-limit'], '100')
  clock.advance(10 * MINUTE)
  const { headers } = await send('/')
  t.match(headers, { 'x-ratelimit-limit': '100' })
  t.ok(Number(headers['x-ratelimit-remaining']) >= 89, 'what was used meanwhile costs no more')
})

await t.test('an address is tightened in tiers by principal, too', async (t) => {
  const { app, handler, send } = await createApp(t, {
    principal: () => ({ id: 'bob', roles: [] }),
  })
  app.get('/', { config: { rateLimit: 'user' } }, handler)
  await app.rateLimits.tighten({ ip }, 0.1, HOUR)
  t.equal((await send('/')).headers['x-ratelimit-limit'], '100')
  t.equal((await send('/', { ip: '192.0.2.9' })).headers['x-ratelimit-limit'], '1000')
})

await t.test('a subject that lacks a component is refused', async (t) => {
  const { app, handler, send } = await createApp(t)
  app.post('/login', { config: { rateLimit: 'auth' } }, handler)
  const logIn = () => send('/login', { method: 'POST', payload: { login: 'alice' } })
  await sendMany(6, logIn)
  for (const [subject, tier, missing] of [
    [{ account: 'alice' }, undefined, 'ip'],
    [{ account: 'alice' }, 'auth', 'ip'],
    [{ ip }, 'auth', 'account'],
  ] as const) {
    for (const call of ['reset', 'unblock'] as const) {
      await t.rejects(async () => app.rateLimits[call](subject, tier), {
        code: 'PARAPET_RATE_LIMITS_INVALID_ARGUMENT',
        message: `"auth" counts by account and ip, so the subject must have "${missing}"`,
      })
    }
  }
  await t.rejects(app.rateLimits.peek('auth', { ip }), /must have "account"/)
  t.equal((await logIn()).statusCode, 429)
  await app.rateLimits.reset({ ip, account: 'alice' })
  t.equal((await logIn()).statusCode, 200)
})

await t.test('explain says why a request was refused, or would be', async (t) => {
  const { app, handler, send } = await createApp(t)
  let request: FastifyRequest | undefined
  app.addHook('onRequest', async (each) => {
    request = each
  })
  app.get('/', { config: { rateLimit: ['scraping', 'user'] } }, handler)
  app.get('/free', { config: { rateLimit: { exempt: 'health probe' } } }, handler)
  await sendMany(10, () => send('/'))
  t.match(await app.rateLimits.explain(request!), {
    route: 'GET /',
    exempt: false,
    decidedAt: 'principal',
    allowed: true,
    tiers: [
      { tier: 'scraping', key: [`ip=${ip}`], allowed: false, reason: 'limit', dryRun: false },
      { tier: 'user', key: [`ip=${ip}`], allowed: true, limits: [{ remaining: 990 }] },
    ],
  })
  await send('/')
  t.match(await app.rateLimits.explain(request!), { tiers: [{ reason: 'blocked' }, {}] })
  await send('/free')
  const free = await app.rateLimits.explain(request!)
  t.match(free, { exempt: true, allowed: undefined, tiers: [] })
  await send('/nowhere')
  t.match(await app.rateLimits.explain(request!), { route: 'GET (none)', allowed: true })
})

await t.test('a dry run refuses nothing, and reports who would be refused', async (t) => {
  const { app, events, handler, send } = await createApp(t, {
    tiers: { scraping: { dryRun: true } },
  })
  app.get('/', { config: { rateLimit: ['scraping', 'standard'] } }, handler)
  t.same(await sendMany(15, () => send('/')), times(15, 200))
  t.match((await send('/')).headers['ratelimit-policy'], /^"standard";q=100;w=3600$/)
  await sendMany(11, () => send('/', { ip: '192.0.2.2' }))
  t.match(app.rateLimits.dryRunReport(), [
    { tier: 'scraping', identity: `ip=${ip}`, refusals: 6 },
    { tier: 'scraping', identity: 'ip=192.0.2.2', refusals: 1 },
  ])
  t.equal(app.rateLimits.metrics().tiers['scraping']!.wouldRefuse, 7)
  t.match(events, [{ details: { tier: 'scraping', dryRun: true } }, { details: { dryRun: true } }])
})

await t.test('the dry-run report is bounded', async (t) => {
  const tiers = { scraping: { dryRun: true, limits: [{ limit: 1, windowMs: HOUR }] } }
  const { app, handler, send } = await createApp(t, { tiers })
  app.get('/', { config: { rateLimit: 'scraping' } }, handler)
  for (let index = 0; index < 1100; index++) {
    const from = `10.0.${index >> 8}.${index & 255}`
    await sendMany(2, () => send('/', { ip: from }))
  }
  t.equal(app.rateLimits.dryRunReport().length, 1000)
})

await t.test('metrics count by tier', async (t) => {
  const { app, handler, send } = await createApp(t)
  app.get('/', { config: { rateLimit: 'scraping' } }, handler)
  await sendMany(14, () => send('/'))
  const { tiers, store } = app.rateLimits.metrics()
  t.same(tiers['scraping'], { allowed: 10, refused: 4, blocked: 3, degraded: 0, wouldRefuse: 0 })
  t.same(store, { isDegraded: false, keys: 1, instances: 1 })
})

await t.test('invalid arguments are refused with the argument named', async (t) => {
  const { app } = await createApp(t)
  const { rateLimits } = app
  for (const [call, problem] of [
    [() => rateLimits.peek('none', { ip }), /there is no tier "none", known are standard/],
    [() => rateLimits.peek('auth', {}), /a subject must be an object such as/],
    [() => rateLimits.peek('auth', null as never), /a subject must be/],
    [() => rateLimits.reset({ user: 'a' } as never), /a subject has no member "user"/],
    [() => rateLimits.unblock({ ip: '' }), /"ip" of a subject must be a non-empty string/],
    [() => rateLimits.unblock({ ip: 'localhost' }), /"ip" of a subject must be an IPv4 or IPv6/],
    [() => rateLimits.tighten({ headers: { 'X-Up': 'a' } }, 0.5, 1000), /names in lower case/],
    [() => rateLimits.tighten({ headers: {} }, 0.5, 1000), /"headers" of a subject/],
    [() => rateLimits.tighten({ headers: { up: '' } }, 0.5, 1000), /non-empty values/],
    [() => rateLimits.tighten({ ip }, 0, 1000), /"factor" must be above 0 and at most 1, got 0/],
    [() => rateLimits.tighten({ ip }, 2, 1000), /"factor"/],
    [() => rateLimits.tighten({ ip }, 0.5, 0.5), /"ttlMs" must be a positive integer/],
  ] as const) {
    const refused = { code: 'PARAPET_RATE_LIMITS_INVALID_ARGUMENT', message: problem }
    await t.rejects(async () => call(), refused)
  }
})

await t.test('the response can be problem details, or that of the app', async (t) => {
  const options = { tiers: { one: { limits: [{ limit: 1, windowMs: HOUR }] } } }
  for (const response of ['problem', 'error-handler'] as const) {
    const { app, handler, runs, send } = await createApp(t, { ...options, response })
    app.setErrorHandler((error: Error & { code?: string }, _request, reply) =>
      reply.code(429).send({ own: error.code }),
    )
    app.get('/', { config: { rateLimit: 'one' } }, handler)
    await send('/')
    const refused = await send('/')
    t.equal(refused.statusCode, 429)
    t.equal(refused.headers['retry-after'], '3600')
    t.equal(runs(), 1)
    if (response === 'problem') {
      t.match(refused.headers['content-type'], /^application\/problem\+json/)
      const code = 'PARAPET_RATE_LIMITS_EXCEEDED'
      t.match(refused.json(), { type: 'about:blank', status: 429, code, retryAfter: 3600 })
    } else t.same(refused.json(), { own: 'PARAPET_RATE_LIMITS_EXCEEDED' })
  }
})

await t.test('headers can be chosen', async (t) => {
  for (const [headers, expected] of [
    ['none', []],
    ['ratelimit', ['ratelimit-policy', 'ratelimit']],
    ['x-ratelimit', ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset']],
  ] as const) {
    const { app, handler, send } = await createApp(t, { headers })
    app.get('/', { config: { rateLimit: 'standard' } }, handler)
    const names = Object.keys((await send('/')).headers).filter((name) => /ratelimit/.test(name))
    t.same(names, expected)
  }
})
