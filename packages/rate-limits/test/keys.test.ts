import type { Principal } from '@parapet/kit'
import type { RouteHandlerMethod } from 'fastify'
import t from 'tap'
import { createApp, HOUR, sendMany } from './helpers.ts'

const limits = [{ limit: 2, windowMs: HOUR }]
const two = (key: unknown) => ({ two: { limits, key } }) as never
const config = { rateLimit: 'two' }

await t.test('one client has one limit, however its address is written', async (t) => {
  const { app, handler, send } = await createApp(t, { tiers: two('ip') })
  app.get('/', { config }, handler)
  const admits = async (ip: string) => (await send('/', { ip })).statusCode === 200
  for (const [same, other] of [
    [['192.0.2.1', '::ffff:192.0.2.1', '::ffff:c000:201'], '192.0.2.2'],
    [['2001:db8::1', '2001:db8::ffff:1', '2001:0db8:0:0:a::'], '2001:db8:0:1::1'],
  ] as const) {
    const admitted = []
    for (const ip of same) admitted.push(await admits(ip))
    t.same(admitted, [true, true, false])
    t.equal(await admits(other), true, other)
  }
})

await t.test('principals and tenants are counted after the login', async (t) => {
  const login: { principal: Principal | null } = { principal: null }
  const { app, handler, runs, send } = await createApp(t, {
    tiers: { two: { limits, key: 'principal' }, team: { limits, key: 'tenant' } },
  })
  // As a login that is registered later, on a route of its own.
  app.addHook('onRequest', async (request) => {
    request.principal = login.principal
  })
  app.get('/own', { config }, handler)
  app.get('/team', { config: { rateLimit: 'team' } }, handler)
  const as = async (url: string, principal: Principal | null, ip = '192.0.2.1') => {
    login.principal = principal
    return (await send(url, { ip })).statusCode
  }
  const alice = { id: 'alice', roles: [], tenantId: 'acme' }
  const bob = { id: 'bob', roles: [], tenantId: 'acme' }
  t.same(await sendMany(3, async () => ({ statusCode: await as('/own', alice) })), [200, 200, 429])
  t.equal(await as('/own', alice, '192.0.2.9'), 429, 'from another address, too')
  t.equal(await as('/own', bob), 200)
  t.same(
    [await as('/team', alice), await as('/team', bob), await as('/team', bob)],
    [200, 200, 429],
  )
  const before = runs()
  t.same(
    [await as('/own', null), await as('/own', null), await as('/own', null)],
    [200, 200, 429],
    'anonymous requests are counted by address',
  )
  t.equal(await as('/own', null, '192.0.2.9'), 200)
  t.equal(runs(), before + 3)
})

await t.test('a mapping may be asynchronous, and may fail', async (t) => {
  const { app, handler, send } = await createApp(t, {
    tiers: two('principal'),
    principal: async ({ headers }) => {
      if (headers['x-user'] === 'broken') throw new Error('the directory is down')
      return { id: String(headers['x-user']), roles: [] }
    },
  })
  app.get('/', { config }, handler)
  const as = (user: string) => send('/', { headers: { 'x-user': user } })
  t.same(await sendMany(3, () => as('alice')), [200, 200, 429])
  t.same(await sendMany(3, () => as('broken')), [200, 200, 429], 'counted by address')
  t.equal((await as('bob')).statusCode, 200)
})

await t.test('API keys, headers, routes and combinations', async (t) => {
  const limits = [{ limit: 1, windowMs: HOUR }]
  const { app, handler, send } = await createApp(t, {
    tiers: {
      key: { limits, key: 'apiKey' },
      device: { limits, key: ['header:x-device', 'ip'] },
      route: { limits, key: ['route', 'ip'] },
    },
  })
  app.get('/key', { config: { rateLimit: 'key' } }, handler)
  app.get('/device', { config: { rateLimit: 'device' } }, handler)
  app.get('/a/:id', { config: { rateLimit: 'route' } }, handler)
  app.get('/b', { config: { rateLimit: 'route' } }, handler)
  const ask = async (url: string, headers = {}, ip = '192.0.2.1') =>
    (await send(url, { headers, ip })).statusCode
  const key = { 'x-api-key': 'k'.repeat(2000) }
  t.same([await ask('/key', key), await ask('/key', key, '192.0.2.2')], [200, 429])
  t.same([await ask('/key', { 'x-api-key': 'other' }), await ask('/key')], [200, 200])
  t.equal(await ask('/key'), 429, 'without a key the address is counted')
  const device = { 'x-device': '\u00e9 {1}' }
  t.same([await ask('/device', device), await ask('/device', device)], [200, 429])
  t.same([await ask('/device', device, '192.0.2.2'), await ask('/device')], [200, 200])
  t.same([await ask('/a/1'), await ask('/a/2'), await ask('/b')], [200, 429, 200])
  const { statusCode } = await send('/b', { method: 'HEAD' })
  t.equal(statusCode, 429, 'HEAD is GET')
})

await t.test(
  'an account has one limit in all its spellings, and a decoy does not replace it',
  async (t) => {
    const { app, handler, send } = await createApp(t, { tiers: two(['ip', 'account']) })
    app.post('/login', { config }, handler)
    const ask = async (payload: unknown) =>
      (await send('/login', { method: 'POST', payload: payload as object })).statusCode
    t.same(
      [
        await ask({ username: 'Alice@Example.com' }),
        await ask({ username: ' alice@example.COM' }),
        await ask({ username: '\uff41lice@example.com' }),
        await ask({ username: ' '.repeat(600) + 'alice@example.com' }),
        await ask({ username: ['alice@example.com'] }),
      ],
      [200, 200, 429, 429, 429],
      'also as the validation of the body coerces it',
    )
    t.same(
      [await ask({ login: 4711 }), await ask({ login: '4711' }), await ask({ login: [[4711]] })],
      [200, 200, 429],
    )
    const decoys = []
    for (const login of ['a', 'b', 'c']) decoys.push(await ask({ login, username: 'carol' }))
    t.same(decoys, [200, 200, 429], 'both names are counted')
    t.equal(await ask({ login: 'alice@example.com', email: 'd' }), 429, 'a decoy is no fresh limit')
    t.equal(await ask({ email: 'd', username: 'e' }), 200, 'nor did the refused request count')
    t.equal(await ask({ email: ' E', login: 'e' }), 200, 'one account twice counts once')
    t.equal(await ask({ login: 'e' }), 429)
    t.equal(await ask({ login: 'd' }), 200)
    t.equal(await ask({ login: 'd' }), 429)
    for (const login of [1, null, [], {}, '', '\ud800'.repeat(600)]) {
      t.ok([200, 429].includes(await ask({ login })), JSON.stringify(login).slice(0, 20))
    }
  },
)

await t.test('an unknown component is refused at boot', async (t) => {
  for (const key of ['user', 'header:X-Up', [], ['ip', 'ip', 'ip', 'ip', 'ip']]) {
    await t.rejects(createApp(t, { tiers: two(key) }), {
      code: 'PARAPET_RATE_LIMITS_INVALID_OPTION',
      message: /"tiers\.two\.key" must be one to four of ip, apiKey, route, principal/,
    })
  }
})

await t.test('a request that a login refuses is counted by its address', async (t) => {
  const tiers = { near: { limits: [{ limit: 3, windowMs: HOUR }], blockMs: HOUR } }
  const { app, handler, runs, send } = await createApp(t, { tiers })
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers.authorization !== 'right') await reply.code(401).send({ error: 'who?' })
  })
  app.get('/', { config: { rateLimit: ['near', 'user'] } }, handler)
  const guess = () => send('/', { headers: { authorization: 'wrong' } })
  t.same(await sendMany(6, guess), [401, 401, 401, 429, 429, 429])
  t.equal(runs(), 0)
  const other = { headers: { authorization: 'right' }, ip: '192.0.2.2' }
  t.same(await sendMany(4, () => send('/', other)), [200, 200, 200, 429])
})

await t.test('rules that are decided later refuse floods of bad tokens and bodies', async (t) => {
  const { app, handler, runs, send } = await createApp(t, {
    tiers: {
      export: { limits: [{ limit: 10, windowMs: HOUR }], key: 'principal' },
      near: { limits: [{ limit: 5, windowMs: HOUR }] },
      body: { limits: [{ limit: 50, windowMs: HOUR }], cost: ({ body }) => (body ? 1 : NaN) },
    },
  })
  let checked = 0
  app.addHook('onRequest', async (request, reply) => {
    checked++
    if (request.headers.authorization === undefined) await reply.code(401).send({ error: 'who?' })
    else request.principal = { id: request.headers.authorization, roles: [] }
  })
  app.get('/user', { config: { rateLimit: 'user' } }, handler)
  app.get('/export', { config: { rateLimit: 'export' } }, handler)
  app.get('/near', { config: { rateLimit: ['near', 'user'] } }, handler)
  app.post('/auth', { config: { rateLimit: 'auth' } }, handler)
  app.post('/body', { config: { rateLimit: { tiers: 'body', at: 'body' } } }, handler)
  let last = 1
  const flood = async (url: string, count: number, options = {}) => {
    const ip = `192.0.2.${last++}`
    checked = 0
    const statuses = await sendMany(count, () => send(url, { ip, ...options }))
    return { processed: checked, last: statuses.at(-1), ip }
  }
  t.match(await flood('/user', 1100), { processed: 1000, last: 429 })
  const { ip, ...result } = await flood('/export', 30)
  t.same(result, { processed: 10, last: 429 })
  t.match(await flood('/near', 30), { processed: 5, last: 429 })
  t.match(await flood('/body', 80, { method: 'POST' }), { processed: 50, last: 429 })
  const malformed = {
    method: 'POST',
    headers: { authorization: 'a', 'content-type': 'application/json' },
    payload: '{"login":',
  }
  t.match(await flood('/auth', 700, malformed), { processed: 600, last: 429 })
  t.equal(runs(), 0)
  const login = { headers: { authorization: 'alice' } }
  t.equal((await send('/export', login)).statusCode, 200, 'elsewhere nobody waits')
  await app.rateLimits.unblock({ ip }, 'export')
  t.equal((await send('/export', { ip, ...login })).statusCode, 429)
  await app.rateLimits.reset({ ip }, 'export')
  t.equal((await send('/export', { ip, ...login })).statusCode, 200, 'an operator may reset it')
})

await t.test('a client that chooses its key is limited by address as well', async (t) => {
  const limits = [{ limit: 3, windowMs: HOUR }]
  const { app, handler, send } = await createApp(t, {
    tiers: {
      key: { limits, key: 'apiKey' },
      device: { limits, key: ['ip', 'header:x-device'] },
      login: { limits, key: 'account' },
      own: { limits, key: 'principal' },
    },
  })
  app.addHook('onRequest', async ({ url }, reply) => {
    if (url === '/own') await reply.code(401).send({})
  })
  const refuse: RouteHandlerMethod = async ({ headers }, reply) =>
    headers['x-good'] === undefined ? reply.code(401).send({}) : handler()
  app.get('/key', { config: { rateLimit: 'key' } }, refuse)
  app.get('/device', { config: { rateLimit: 'device' } }, refuse)
  app.post('/login', { config: { rateLimit: 'login' } }, refuse)
  app.get('/own', { config: { rateLimit: ['key', 'own'] } }, handler)
  const guess = async (url: string, count: number, ip: string, headers = {}) => {
    const statuses = await sendMany(count, (index) =>
      send(url, {
        ip,
        method: url === '/login' ? 'POST' : 'GET',
        headers: { 'x-api-key': `key-${index}`, 'x-device': `device-${index}`, ...headers },
        ...(url === '/login' ? { payload: { login: `user-${index}` } } : undefined),
      }),
    )
    return [statuses.lastIndexOf(401) + 1, statuses.at(-1)]
  }
  t.same(await guess('/key', 32, '192.0.2.1'), [30, 429], 'ten times, for those behind one address')
  t.same(await guess('/device', 32, '192.0.2.2'), [30, 429])
  t.same(await guess('/login', 32, '192.0.2.3'), [30, 429])
  t.same(await guess('/own', 32, '192.0.2.4'), [3, 429], 'a tier by principal has a stricter guard')
  t.same(await guess('/key', 40, '192.0.2.5', { 'x-good': '1' }), [0, 200], 'only failures count')
  await guess('/key', 40, '192.0.2.6', { 'x-api-key': 'one' })
  t.same(await guess('/key', 3, '192.0.2.6', { 'x-api-key': 'two' }), [3, 401], 'nor do refusals')
})

await t.test('what users do does not use up the guard of their address', async (t) => {
  const tiers = { own: { limits: [{ limit: 3, windowMs: HOUR }], key: 'principal' } } as const
  const { app, handler, send } = await createApp(t, { tiers })
  app.addHook('onRequest', async (request) => {
    request.principal = { id: String(request.headers['x-user']), roles: [] }
  })
  app.get('/', { config: { rateLimit: 'own' } }, handler)
  const statuses = await sendMany(60, (index) =>
    send('/', { headers: { 'x-user': `user-${Math.floor(index / 3)}` } }),
  )
  t.same([...new Set(statuses)], [200])
})

await t.test(
  'a login that names several accounts is counted on each, and proves none',
  async (t) => {
    const { app, handler, send } = await createApp(t, {
      account: ({ body }) => (body as { names: string[] }).names,
      tiers: {
        auth: { count: 'failures' },
        'auth-address': { limits: [{ limit: 2, windowMs: HOUR }] },
      },
    })
    const rateLimit = { tiers: 'auth', proves: true }
    app.post('/login', { config: { rateLimit } }, async (request, reply) => {
      if (request.headers['x-password'] === 'right') return handler()
      return reply.code(401).send({})
    })
    const login = (names: string[], password = 'wrong', ip = '192.0.2.1') =>
      send('/login', {
        method: 'POST',
        payload: { names },
        headers: { 'x-password': password },
        ip,
      })
    const reply = await login(['alice', 'bob'])
    t.equal(
      reply.headers['ratelimit-policy'],
      '"auth-60";q=5;w=60, "auth-3600";q=20;w=3600, "auth-address";q=2;w=3600',
    )
    t.equal(
      reply.headers['ratelimit'],
      '"auth-60";r=4;t=60, "auth-3600";r=19;t=3600, "auth-address";r=1;t=1800',
    )
    const { headers } = await login(['carol', 'bob'])
    t.match(headers['ratelimit'], /^"auth-60";r=3;t=60/, 'the tightest of both')
    await login(['alice', 'bob'], 'right')
    t.equal((await login(['alice'])).statusCode, 429, 'no proof')
    const other = '192.0.2.2'
    await login(['alice'], 'right', other)
    t.same(
      await sendMany(5, () => login(['alice'], 'wrong', other)),
      Array.from({ length: 5 }, () => 401),
      'a single name proves',
    )
    t.equal(
      (await login(['a', 'b', 'c', 'd'], 'wrong', '192.0.2.3')).statusCode,
      401,
      'more than three count by address',
    )
    const peeked = await app.rateLimits.peek('auth', { ip: '192.0.2.1', account: 'bob' })
    t.equal(peeked.limits[0]?.remaining, 3, 'a success is given back to both')
  },
)
