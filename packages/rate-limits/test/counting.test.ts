import t from 'tap'
import { createApp, HOUR, MINUTE, sendMany, times } from './helpers.ts'

const post = (payload: object) => ({ method: 'POST', payload }) as const

await t.test('50 users behind one address log in while one attacker guesses there', async (t) => {
  const { app, clock, send } = await createApp(t)
  app.post<{ Body: { login: string; password: string } }>(
    '/login',
    { config: { rateLimit: { tiers: 'auth', proves: true } } },
    async ({ body }, reply) => {
      if (body.password !== 'right') return reply.code(401).send({ error: 'wrong' })
      return { login: body.login }
    },
  )
  const logIn = (login: string, password: string) => send('/login', post({ login, password }))
  const users = Array.from({ length: 50 }, (_, index) => `user-${index}`)
  t.same(await sendMany(50, (index) => logIn(users[index]!, 'right')), times(50, 200))
  clock.advance(HOUR)
  // The attacker guesses one account, then many: each address has a limit of failures.
  t.same(await sendMany(7, () => logIn('victim', 'guess')), [401, 401, 401, 401, 401, 429, 429])
  const sprayed = await sendMany(200, (index) => logIn(`name-${index}`, 'guess'))
  t.same(sprayed, [...times(55, 401), ...times(145, 429)])
  t.same(
    await sendMany(50, (index) => logIn(users[index]!, 'right')),
    times(50, 200),
    'no user waits',
  )
  t.equal((await logIn('new-user', 'right')).statusCode, 429, 'who has never logged in here waits')
  clock.advance(MINUTE)
  t.equal((await logIn('new-user', 'right')).statusCode, 200, 'for a minute')
  t.equal((await logIn(users[0]!, 'guess')).statusCode, 401)
  t.equal((await logIn('victim', 'right')).statusCode, 200)
})

await t.test('a route that proves nobody exempts nobody', async (t) => {
  const { app, handler, send } = await createApp(t)
  app.post('/reset-password', { config: { rateLimit: 'auth' } }, handler)
  app.post('/login', { config: { rateLimit: 'auth' } }, async (_request, reply) =>
    reply.code(401).send({}),
  )
  const spray = (url: string) =>
    sendMany(80, (index) => send(url, post({ login: `name-${index}` })))
  t.same(await spray('/reset-password'), times(80, 200))
  t.same(await spray('/login'), [...times(60, 401), ...times(20, 429)])
})

await t.test('requests that fail before the account is known count for the address', async (t) => {
  const { app, runs, handler, send } = await createApp(t)
  app.post('/login', { config: { rateLimit: 'auth' } }, handler)
  const headers = { 'content-type': 'application/json' }
  const malformed = () => send('/login', { method: 'POST', headers, payload: '{"login":' })
  t.same(await sendMany(60, malformed), times(60, 400))
  t.equal((await send('/login', post({ login: 'alice' }))).statusCode, 429)
  t.equal(runs(), 0)
})

await t.test('parallel guesses are counted before their result is known', async (t) => {
  const { app, runs, handler, send } = await createApp(t)
  app.post('/login', { config: { rateLimit: 'auth' } }, async (_request, reply) => {
    await handler()
    return reply.code(401).send({})
  })
  const replies = await Promise.all(
    Array.from({ length: 100 }, () => send('/login', post({ login: 'victim' }))),
  )
  t.equal(replies.filter(({ statusCode }) => statusCode === 401).length, 5)
  t.equal(runs(), 5)
})

await t.test('only failures count, and a function may say what fails', async (t) => {
  const limits = [{ limit: 2, windowMs: HOUR }]
  const { app, send } = await createApp(t, {
    tiers: {
      failures: { limits, count: 'failures', algorithm: 'exact' },
      rule: { limits },
      throwing: {
        limits,
        count: () => {
          throw new Error('no')
        },
      },
    },
  })
  let status = 200
  const handler = async (_request: unknown, reply: { code: (status: number) => unknown }) => {
    reply.code(status)
    return 'done'
  }
  app.get('/failures', { config: { rateLimit: 'failures' } }, handler)
  const accepted = {
    tiers: 'rule',
    count: (reply: { statusCode: number }) => reply.statusCode === 202,
  }
  app.get('/rule', { config: { rateLimit: accepted } }, handler)
  app.get('/throwing', { config: { rateLimit: 'throwing' } }, handler)
  const ask = async (url: string, next: number) => {
    status = next
    return (await send(url)).statusCode
  }
  for (const next of [200, 200, 500, 503, 302]) t.equal(await ask('/failures', next), next)
  t.same([await ask('/failures', 404), await ask('/failures', 400)], [404, 400])
  t.equal(await ask('/failures', 200), 429)
  for (const next of [200, 404, 200]) t.equal(await ask('/rule', next), next)
  t.same(
    [await ask('/rule', 202), await ask('/rule', 202), await ask('/rule', 200)],
    [202, 202, 429],
  )
  t.same([await ask('/throwing', 200), await ask('/throwing', 200)], [200, 200])
  t.equal(await ask('/throwing', 200), 429, 'a function that throws counts')
})

await t.test('a request costs what it asks for', async (t) => {
  const limits = [{ limit: 10, windowMs: HOUR }]
  const { app, handler, send } = await createApp(t, {
    tiers: {
      pages: { limits, cost: ({ query }) => Number((query as { pages: string }).pages) },
      body: { limits },
      double: { limits, cost: 2 },
    },
  })
  app.get('/pages', { config: { rateLimit: 'pages' } }, handler)
  const byBody = {
    tiers: 'body',
    cost: ({ body }: { body: unknown }) => (body as { pages: number }).pages,
    at: 'body',
  } as const
  app.post('/body', { config: { rateLimit: byBody } }, handler)
  app.get('/double', { config: { rateLimit: 'double' } }, handler)
  const left = async (url: string, options = {}) => {
    const { statusCode, headers } = await send(url, options)
    return `${statusCode} ${String(headers['x-ratelimit-remaining'])}`
  }
  t.equal(await left('/pages?pages=7'), '200 3')
  t.equal(await left('/pages?pages=4'), '429 0')
  t.equal(await left('/pages?pages=3'), '200 0')
  t.equal(await left('/pages?pages=0'), '200 0', 'what is free is admitted')
  t.equal(
    await left('/pages?pages=NaN', { ip: '192.0.2.2' }),
    '200 0',
    'an unknown cost is the highest',
  )
  t.equal(await left('/pages?pages=-5', { ip: '192.0.2.3' }), '200 0')
  t.equal(await left('/pages?pages=1e309', { ip: '192.0.2.4' }), '200 0')
  t.equal(await left('/body', post({ pages: 6 })), '200 4')
  t.equal(await left('/body', post({ pages: 6 })), '429 0')
  t.equal(await left('/body', post([])), '429 0', 'nor is a body without a cost free')
  t.equal(await left('/double'), '200 8')
})

await t.test('the plan of the caller decides the limit', async (t) => {
  const plans = { pro: [{ limit: 3, windowMs: HOUR }], free: [{ limit: 1, windowMs: HOUR }] }
  const { app, handler, send } = await createApp(t, {
    tiers: { api: { limits: [{ limit: 2, windowMs: HOUR }], plans } },
    plan: ({ headers }) => {
      if (headers['x-plan'] === 'broken') throw new Error('no plan')
      return headers['x-plan'] as string
    },
  })
  app.get('/', { config: { rateLimit: 'api' } }, handler)
  const limitOf = async (plan: string, ip: string) =>
    (await send('/', { ip, headers: { 'x-plan': plan } })).headers['x-ratelimit-limit']
  t.equal(await limitOf('pro', '192.0.2.1'), '3')
  t.equal(await limitOf('free', '192.0.2.2'), '1')
  t.equal(await limitOf('unknown', '192.0.2.3'), '2')
  t.equal(await limitOf('broken', '192.0.2.4'), '2')
})

await t.test('running requests are limited, and end when the client hangs up', async (t) => {
  const { app, clock } = await createApp(t, {
    tiers: {
      slow: { limits: [{ limit: 100, windowMs: HOUR }], maxInFlight: 2, leaseMs: 60_000 },
    },
  })
  const waiting: (() => void)[] = []
  let started: (() => void) | undefined
  app.get('/', { config: { rateLimit: 'slow' } }, async () => {
    started?.()
    await new Promise<void>((resolve) => waiting.push(resolve))
    return 'done'
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const start = async (signal?: AbortSignal) => {
    const running = new Promise<void>((resolve) => (started = resolve))
    const reply = fetch(url, signal === undefined ? {} : { signal })
    await Promise.race([running, reply])
    return reply
  }
  const abort = new AbortController()
  const first = fetch(url)
  await new Promise<void>((resolve) => (started = resolve))
  const second = start(abort.signal).catch(() => 'aborted')
  await new Promise<void>((resolve) => (started = resolve))
  const refused = await fetch(url)
  t.equal(refused.status, 429)
  t.equal(refused.headers.get('retry-after'), '1')
  t.equal(refused.headers.get('x-ratelimit-remaining'), '0')
  abort.abort()
  t.equal(await second, 'aborted')
  const read = () => app.rateLimits.peek('slow', { ip: '127.0.0.1' })
  while (!(await read()).allowed) await new Promise((resolve) => setImmediate(resolve))
  const third = fetch(url)
  await new Promise<void>((resolve) => (started = resolve))
  t.match(await read(), { allowed: false, reason: 'in-flight', retryAfterMs: 1000 })
  for (const finish of waiting.splice(0)) finish()
  t.same([(await first).status, (await third).status], [200, 200])
  // A lease that was never released ends by itself.
  const lost = fetch(url)
  await new Promise<void>((resolve) => (started = resolve))
  clock.advance(60_000)
  t.match(await read(), { allowed: true })
  waiting[0]!()
  await lost
})

await t.test('asynchronous callbacks neither end the process nor free a request', async (t) => {
  const limits = [{ limit: 2, windowMs: HOUR }]
  const fail = (async () => {
    throw new Error('lookup failed')
  }) as never
  const { app, handler, send } = await createApp(t, {
    tiers: {
      cost: { limits, cost: fail },
      count: { limits, count: fail },
      plan: { limits, plans: { pro: [{ limit: 9, windowMs: HOUR }] } },
      account: { limits, key: 'account' },
    },
    plan: fail,
    account: fail,
    contain: () => ({
      // oxlint-disable-next-line unicorn/no-thenable -- a promise of another library
      then: (_done: unknown, failed: (error: Error) => void) => failed(new Error()),
    }),
    abuse: { containAttempts: 10 },
  })
  const tiers = ['cost', 'count', 'plan', 'account']
  for (const tier of tiers) app.post(`/${tier}`, { config: { rateLimit: tier } }, handler)
  for (const tier of tiers) {
    const statuses = await sendMany(12, () => send(`/${tier}`, post({ login: 'alice' })))
    const admitted = tier === 'cost' ? 1 : 2
    t.same(statuses, [...times(admitted, 200), ...times(12 - admitted, 429)], tier)
  }
})

await t.test('each success proves anew', async (t) => {
  const { app, clock, send } = await createApp(t)
  app.post<{ Body: { password: string } }>(
    '/login',
    { config: { rateLimit: { tiers: 'auth', proves: true } } },
    async ({ body }, reply) => (body.password === 'right' ? 'done' : reply.code(401).send({})),
  )
  const logIn = (login: string, password: string) => send('/login', post({ login, password }))
  await logIn('alice', 'right')
  for (let day = 1; day <= 45; day++) {
    clock.advance(24 * HOUR)
    await sendMany(61, (index) => logIn(`name-${index}`, 'guess'))
    const { statusCode } = await logIn('alice', 'right')
    if (statusCode !== 200) t.fail(`on day ${day} she waits`)
  }
  clock.advance(31 * 24 * HOUR)
  await sendMany(61, (index) => logIn(`name-${index}`, 'guess'))
  t.equal((await logIn('alice', 'right')).statusCode, 429, 'not for ever')
})
