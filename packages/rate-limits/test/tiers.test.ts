import t from 'tap'
import { createApp, HOUR, MINUTE, sendMany, times } from './helpers.ts'

const login = (account: string) => ({ method: 'POST', payload: { login: account } }) as const

await t.test('the sixth login of an account in a minute is refused', async (t) => {
  const { app, clock, events, handler, runs, send } = await createApp(t)
  app.post('/login', { config: { rateLimit: 'auth' } }, handler)
  const statuses = await sendMany(5, () => send('/login', login('alice')))
  t.same(statuses, times(5, 200))
  clock.advance(10_000)
  const refused = await send('/login', login('Alice '))
  t.equal(refused.statusCode, 429)
  t.match(refused.headers, {
    'retry-after': '50',
    'x-ratelimit-limit': '5',
    'x-ratelimit-remaining': '0',
    'x-ratelimit-reset': '50',
    'content-type': 'application/json; charset=utf-8',
    'ratelimit-policy': '"auth-60";q=5;w=60, "auth-3600";q=20;w=3600, "auth-address";q=60;w=3600',
  })
  t.match(
    refused.headers['ratelimit'],
    '"auth-60";r=0;t=50, "auth-3600";r=15;t=3590, "auth-address";r=60;t=0',
  )
  t.same(refused.json(), {
    statusCode: 429,
    code: 'PARAPET_RATE_LIMITS_EXCEEDED',
    error: 'Too Many Requests',
    message: 'Rate limit exceeded, retry in 50 seconds',
    retryAfter: 50,
  })
  t.equal(runs(), 5, 'the handler did not run')
  t.match(events, [
    {
      type: 'rate_limits.exceeded',
      details: { tier: 'auth', key: 'account+ip', limit: 5, dryRun: false },
    },
  ])
  t.equal((await send('/login', login('bob'))).statusCode, 200, 'another account is admitted')
  clock.advance(50_000)
  t.equal((await send('/login', login('alice'))).statusCode, 200)
})

await t.test('the other built-in tiers block for their own time', async (t) => {
  const { app, clock, handler, send } = await createApp(t)
  app.get('/standard', { config: { rateLimit: 'standard' } }, handler)
  app.get('/scraping', { config: { rateLimit: 'scraping' } }, handler)
  app.get('/ml', { config: { rateLimit: 'ml' } }, handler)
  app.get('/user', { config: { rateLimit: 'user' } }, handler)
  for (const [url, limit, block] of [
    ['/standard', 100, 10 * MINUTE],
    ['/scraping', 10, HOUR],
    ['/ml', 20, 30 * MINUTE],
    ['/user', 1000, 10 * MINUTE],
  ] as const) {
    t.same(await sendMany(limit, () => send(url)), times(limit, 200), url)
    const refused = await send(url)
    t.equal(refused.statusCode, 429)
    t.equal(refused.headers['retry-after'], String(block / 1000))
    clock.advance(block - 1)
    t.equal((await send(url)).statusCode, 429, `${url} is blocked until the end`)
    clock.advance(1)
    t.equal((await send(url)).statusCode, 200, `${url} is free afterwards`)
  }
})

await t.test('the time in Retry-After is when a request is admitted', async (t) => {
  const hour = [{ limit: 1, windowMs: HOUR }]
  const { app, clock, handler, send } = await createApp(t, {
    tiers: {
      exact: { limits: hour, algorithm: 'exact', blockMs: MINUTE },
      bucket: { limits: hour, blockMs: MINUTE },
      short: { limits: [{ limit: 1, windowMs: 1000 }], blockMs: MINUTE },
      long: { limits: [{ limit: 1, windowMs: 1000 }], blockMs: 3 * HOUR },
    },
  })
  app.get('/exact', { config: { rateLimit: 'exact' } }, handler)
  app.get('/bucket', { config: { rateLimit: 'bucket' } }, handler)
  app.get('/union', { config: { rateLimit: ['short', 'long'] } }, handler)
  for (const url of ['/exact', '/bucket', '/union']) {
    t.equal((await send(url)).statusCode, 200)
    await send(url)
    const refused = await send(url)
    t.equal(refused.statusCode, 429)
    const wait = Number(refused.headers['retry-after'])
    clock.advance(wait * 1000)
    t.equal((await send(url)).statusCode, 200, `${url} after ${wait} s`)
  }
})

await t.test('tiers that go with a tier bring theirs, and share its dry run', async (t) => {
  const limits = [{ limit: 3, windowMs: HOUR }]
  const strict = { limits, key: ['ip', 'account'], with: ['auth'] } as const
  const { app, handler, send } = await createApp(t, { tiers: { strict } })
  app.post('/login', { config: { rateLimit: 'strict' } }, handler)
  const { headers } = await send('/login', login('alice'))
  t.match(headers['ratelimit-policy'], /^"strict";.*"auth-60";.*"auth-address";q=60/)
  const dry = await createApp(t, { tiers: { auth: { dryRun: true } } })
  dry.app.post('/login', { config: { rateLimit: 'auth' } }, async (_request, reply) =>
    reply.code(401).send({}),
  )
  dry.app.post('/both', { config: { rateLimit: ['auth', 'auth-address'] } }, async (_r, reply) =>
    reply.code(401).send({}),
  )
  const spray = (url: string) =>
    sendMany(100, (index) => dry.send(url, login(`name-${index % 10}`)))
  t.same(await spray('/login'), times(100, 401))
  const { tiers } = dry.app.rateLimits.metrics()
  t.same([tiers['auth']!.wouldRefuse, tiers['auth-address']!.wouldRefuse], [50, 40])
  t.same((await spray('/both')).at(-1), 429, 'a tier that a rule names has its own setting')
})
