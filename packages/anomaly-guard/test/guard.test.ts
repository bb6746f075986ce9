import { createHash } from 'node:crypto'
import { anomalyGuard, createInspector, rules } from '@parapet/anomaly-guard'
import { kitEvents, useSecurityEvents } from '@parapet/kit'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { assertRefused, build, principal } from './support.ts'

const accountOf = (request: FastifyRequest) => (request.body as { account: unknown }).account
const answerNothing = async () => ({})
const loginMallory = async (request: FastifyRequest) => {
  request.principal = { id: 'mallory', roles: [] }
}

await t.test(
  'the 5th failed login in 5 minutes blocks the address, the 4th does not',
  async (t) => {
    const built = await build(t)
    const { app, clock, failLogin, send, handled, eventsOf } = built
    for (let attempt = 1; attempt <= 4; attempt++) {
      t.equal((await failLogin('192.0.2.7')).statusCode, 401)
      clock.advance(1000)
    }
    t.equal((await send('/', '192.0.2.7')).statusCode, 200, 'after the 4th')
    t.equal((await failLogin('192.0.2.7')).statusCode, 401, 'the 5th is answered')
    handled.length = 0
    const refused = await send('/', '192.0.2.7')
    assertRefused(t, built, refused, 403, 'BLOCKED')
    t.equal(refused.headers['retry-after'], '3600')
    t.equal((await send('/', '192.0.2.8')).statusCode, 200, 'another client')
    await app.anomaly.settle()
    t.match(eventsOf('anomaly_guard.contained'), [
      {
        ip: '192.0.2.7',
        details: { kind: 'block', target: 'address:192.0.2.7', level: 0, by: null },
      },
    ])
    t.match(eventsOf('anomaly_guard.detected'), [
      { severity: 'high', ip: '192.0.2.7', details: { rule: 'brute-force', label: 'brute_force' } },
    ])
    t.equal(eventsOf('anomaly_guard.incident_opened').length, 1)
    clock.advance(3_600_000)
    t.equal((await send('/', '192.0.2.7')).statusCode, 200, 'the block ends')
  },
)

await t.test('failures that are spread over more than 5 minutes are no attack', async (t) => {
  const { clock, failLogin, send } = await build(t)
  for (let attempt = 1; attempt <= 40; attempt++) {
    await failLogin('192.0.2.7')
    clock.advance(75_000)
  }
  t.equal((await send('/', '192.0.2.7')).statusCode, 200)
})

await t.test(
  'by default the guard records and contains nothing, and says so at boot',
  async (t) => {
    const lines: string[] = []
    const app = Fastify({
      logger: { level: 'info', stream: { write: (line: string) => void lines.push(line) } },
    })
    t.after(() => app.close())
    await app.register(anomalyGuard)
    app.post('/login', async (request, reply) => {
      request.anomaly.fail('login', { account: 'a' })
      return reply.code(401).send({})
    })
    t.ok(lines.some((line) => line.includes('anomaly-guard contains nothing by itself')))
    for (let attempt = 0; attempt < 9; attempt++) {
      t.equal((await app.inject({ method: 'POST', url: '/login' })).statusCode, 401)
    }
    await app.anomaly.settle()
    const [anomaly] = await app.anomaly.timeline(0)
    t.match(anomaly, { rule: 'brute-force', mode: 'shadow' })
    t.same(app.anomaly.contain.list(), [])
    t.match(app.anomaly.impact('brute-force'), {
      anomalies: 1,
      detections: 5,
      clients: 1,
      responses: { 'block-address': 1 },
    })
  },
)

await t.test('mode "alert" emits events of full severity and contains nothing', async (t) => {
  const { app, failLogin, send, eventsOf } = await build(t, { mode: 'alert' })
  for (let attempt = 0; attempt < 6; attempt++) await failLogin('192.0.2.7')
  await app.anomaly.settle()
  t.match(eventsOf('anomaly_guard.detected'), [{ severity: 'high', details: { mode: 'alert' } }])
  t.equal((await send('/', '192.0.2.7')).statusCode, 200)
})

await t.test('what the guard refuses itself never feeds a rule', async (t) => {
  const flood = rules.flood({ limit: 3, withinMs: 10_000 })
  const built = await build(t, { rules: [flood] })
  const { app, send, clock } = built
  for (let sent = 0; sent < 3; sent++) await send('/', '192.0.2.7')
  for (let sent = 0; sent < 50; sent++) {
    t.equal((await send('/', '192.0.2.7')).statusCode, 403)
  }
  await app.anomaly.settle()
  t.equal(app.anomaly.impact('flood').detections, 1)
  t.equal(app.anomaly.impact('flood').requests, 3)
  clock.advance(3_600_001)
  t.equal((await send('/', '192.0.2.7')).statusCode, 200, 'the refusals did not prolong the block')
})

await t.test('refusals cause one event a minute, with their number', async (t) => {
  const { app, send, clock, eventsOf } = await build(t)
  await app.anomaly.contain.blockAddress('192.0.2.7', { reason: 'test', by: 'op', ttlMs: 600_000 })
  for (let sent = 0; sent < 20; sent++) await send('/', '192.0.2.7')
  clock.advance(60_001)
  await send('/', '192.0.2.7')
  const refused = eventsOf('anomaly_guard.refused')
  t.equal(refused.length, 2)
  t.match(refused[1], { details: { reason: 'block', suppressed: 19 } })
})

await t.test(
  'a blocked principal is refused from every address, before the body is read',
  async (t) => {
    const built = await build(t)
    const { app, send, handled } = built
    await app.anomaly.contain.blockPrincipal('u-1', { reason: 'test', by: 'op' })
    for (const address of ['192.0.2.1', '198.51.100.1']) {
      const reply = await send('/', address, { headers: { 'x-user': 'u-1' } })
      assertRefused(t, built, reply, 403, 'BLOCKED')
    }
    const broken = await send('/', '192.0.2.1', {
      method: 'POST',
      headers: { 'x-user': 'u-1', 'content-type': 'application/json' },
      payload: '{"broken":',
    })
    t.equal(broken.statusCode, 403, 'not 400: the body was not parsed')
    t.equal((await send('/', '192.0.2.1', { headers: { 'x-user': 'u-2' } })).statusCode, 200)
    t.equal(handled.length, 1)
  },
)

await t.test('an asynchronous principal mapping is awaited', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard, { principal: async (request) => principal(request) })
  app.get('/', async () => t.fail('the handler ran'))
  await app.anomaly.contain.blockPrincipal('u-1', { reason: 'test', by: 'op' })
  const reply = await app.inject({ url: '/', headers: { 'x-user': 'u-1' } })
  t.equal(reply.statusCode, 403)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_BLOCKED')
})

await t.test(
  'a principal mapping feeds the rules, and its failure breaks no request',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    let isBroken = false
    await app.register(anomalyGuard, {
      mode: 'enforce',
      rules: [rules.flood({ limit: 2, respond: ['block-principal'] })],
      principal: async (request) => {
        if (isBroken) throw new Error('the login is down')
        return principal(request)
      },
    })
    app.get('/', async () => 'here')
    const send = (user: string) => app.inject({ url: '/', headers: { 'x-user': user } })
    isBroken = true
    t.equal((await send('u-2')).statusCode, 200)
    isBroken = false
    for (let sent = 0; sent < 2; sent++) t.equal((await send('u-1')).statusCode, 200)
    t.equal((await send('u-1')).statusCode, 403)
    t.equal((await send('u-2')).statusCode, 200)
    isBroken = true
    t.equal((await send('u-1')).statusCode, 500, 'while a principal is blocked, it fails closed')
  },
)

await t.test('a containment that is lifted at once is not announced', async (t) => {
  const { app, send, eventsOf } = await build(t)
  const made = app.anomaly.contain.blockAddress('192.0.2.7', { reason: 'test', by: 'op' })
  const [block] = app.anomaly.contain.list()
  await app.anomaly.contain.lift(block!.id, { by: 'op' })
  await made
  t.equal((await send('/', '192.0.2.7')).statusCode, 200)
  t.same(app.anomaly.contain.list(), [])
  t.same(eventsOf('anomaly_guard.contained'), [])
})

await t.test('lockdown refuses all but open routes, allowed addresses and the token', async (t) => {
  const token = 'b'.repeat(40)
  const built = await build(t, {
    allow: ['198.51.100.0/24'],
    breakGlassSha256: createHash('sha256').update(token).digest('hex'),
  })
  const { app, send, handled, eventsOf } = built
  await t.rejects(app.anomaly.contain.lockdown({ reason: 'nobody and nothing' }), {
    code: 'PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED',
    statusCode: 409,
  })
  const { containment } = await app.anomaly.contain.lockdown({ reason: 'breach', by: 'op' })
  assertRefused(t, built, await send('/'), 423, 'LOCKDOWN')
  const wrong = await send('/', '192.0.2.1', { headers: { 'break-glass': 'c'.repeat(40) } })
  assertRefused(t, built, wrong, 423, 'LOCKDOWN', 'a wrong token')
  t.equal((await send('/health')).statusCode, 200, 'an open route')
  t.equal((await send('/', '198.51.100.9')).statusCode, 200, 'an allowed address')
  const passed = await send('/', '192.0.2.1', { headers: { 'break-glass': token } })
  t.equal(passed.statusCode, 200, 'the token')
  t.equal(eventsOf('anomaly_guard.break_glass_used').length, 1)
  t.equal(handled.length, 3)
  await app.anomaly.contain.lift(containment!.id, { by: 'op' })
  t.equal((await send('/')).statusCode, 200)
})

await t.test('read-only refuses what changes something', async (t) => {
  const built = await build(t)
  const { app, send, handled } = built
  await app.anomaly.contain.readOnly({ reason: 'migration', by: 'op', ttlMs: 60_000 })
  const refused = await send('/', '192.0.2.1', { method: 'POST' })
  assertRefused(t, built, refused, 423, 'READ_ONLY')
  t.equal(refused.headers['retry-after'], '60')
  t.equal((await send('/')).statusCode, 200)
  t.equal(handled.length, 1)
})

await t.test(
  'a tightened client keeps few requests a minute, where no port limits it',
  async (t) => {
    const built = await build(t, { contain: { tightenedLimit: 3 } })
    const { app, send, clock, handled } = built
    await app.anomaly.contain.tighten('address:192.0.2.7', { reason: 'test', by: 'op' })
    for (let sent = 0; sent < 3; sent++) t.equal((await send('/', '192.0.2.7')).statusCode, 200)
    handled.length = 0
    const refused = await send('/', '192.0.2.7')
    assertRefused(t, built, refused, 429, 'TIGHTENED')
    t.equal(refused.headers['retry-after'], '60')
    clock.advance(60_001)
    t.equal((await send('/', '192.0.2.7')).statusCode, 200)
    await app.anomaly.contain.tighten('principal:u-1', { reason: 'test', by: 'op' })
    const asUser = () => send('/', '192.0.2.9', { headers: { 'x-user': 'u-1' } })
    for (let sent = 0; sent < 3; sent++) t.equal((await asUser()).statusCode, 200)
    t.equal((await asUser()).statusCode, 429)
  },
)

await t.test(
  'a tightened client keeps its limit in every minute, however often it asks',
  async (t) => {
    const { app, send, clock } = await build(t, { contain: { tightenedLimit: 3 } })
    await app.anomaly.contain.tighten('address:192.0.2.7', { reason: 'test', by: 'op' })
    const answered: number[] = []
    for (let minute = 0; minute < 4; minute++) {
      answered.push(0)
      for (let second = 0; second < 60; second += 6) {
        if ((await send('/', '192.0.2.7')).statusCode === 200) answered[minute]!++
        clock.advance(6000)
      }
    }
    t.same(answered, [3, 3, 3, 3])
  },
)

await t.test('nothing contains an allowed client, whatever it does and who it is', async (t) => {
  const actions = {
    login: { url: '/login', method: 'POST' },
    export: { url: '/export', method: 'GET' },
    scan: { url: '/.env', method: 'GET' },
    inject: { url: '/?q=%3Cscript%3E', method: 'GET' },
  } as const
  const allowed = fc.constantFrom('192.0.2.1', '2001:db8::1')
  const order = fc.constantFrom('address', 'block', 'principal', 'tighten', 'lockdown', 'read-only')
  await fc.assert(
    fc.asyncProperty(
      allowed,
      fc.array(fc.constantFrom('login', 'export', 'scan', 'inject'), { maxLength: 4 }),
      fc.array(order, { maxLength: 3 }),
      fc.constantFrom('u-1', undefined),
      async (address, done, orders, user) => {
        const built = await build(t, { allow: ['192.0.2.0/24', '2001:db8::1'] })
        const { app, send } = built
        const headers: Record<string, string> = user === undefined ? {} : { 'x-user': user }
        for (const action of done) {
          const { url, method } = actions[action]
          for (let times = 0; times < 26; times++) await send(url, address, { method, headers })
        }
        t.same(app.anomaly.contain.list(), [], `${done.join()} by ${user} at ${address}`)
        const by = { reason: 'test', by: 'op' }
        const { contain } = app.anomaly
        for (const each of orders) {
          if (each === 'address') await contain.blockAddress(address, by)
          if (each === 'block') await contain.blockAddress('0.0.0.0/0', by)
          if (each === 'principal') await contain.blockPrincipal('u-1', by)
          if (each === 'tighten') await contain.tighten('principal:u-1', by)
          if (each === 'lockdown') await contain.lockdown(by)
          if (each === 'read-only') await contain.readOnly(by)
        }
        for (let times = 0; times < 32; times++) {
          const reply = await send('/', address, { method: 'POST', headers })
          if (reply.statusCode !== 200)
            throw new Error(`${reply.statusCode} after ${orders.join()}`)
        }
        await app.close()
      },
    ),
    { numRuns: runs(6, 200) },
  )
})

await t.test('the neighbour of an allowed IPv6 address is contained', async (t) => {
  const built = await build(t, { allow: ['2001:db8::1'] })
  for (let attempt = 0; attempt < 5; attempt++) await built.failLogin('2001:db8::bad')
  built.handled.length = 0
  assertRefused(t, built, await built.send('/', '2001:db8::bad'), 403, 'BLOCKED')
  t.equal((await built.send('/', '2001:db8::1')).statusCode, 200)
})

await t.test('the break-glass token passes the inspection and the countries, too', async (t) => {
  const token = 'b'.repeat(40)
  const built = await build(t, {
    breakGlassSha256: createHash('sha256').update(token).digest('hex'),
    geo: { lookup: { countryOf: () => 'DE' }, deny: ['DE'] },
  })
  const headers = { 'break-glass': token }
  t.equal((await built.send('/?q=%3Cscript%3E', '192.0.2.1', { headers })).statusCode, 200)
  t.same(
    built.eventsOf('anomaly_guard.break_glass_used').map(({ details }) => details),
    [
      { containmentId: null, kind: 'geo' },
      { containmentId: null, kind: 'inspection' },
    ],
  )
  built.handled.length = 0
  assertRefused(t, built, await built.send('/'), 403, 'REFUSED')
})

await t.test('a blocked principal is refused, in whichever hook the login finds it', async (t) => {
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(anomalyGuard, { mode: 'enforce', behaviour: { enabled: false } })
    app.get('/', { [hook]: loginMallory }, async () => t.fail(`${hook}: the handler ran`))
    await app.anomaly.contain.blockPrincipal('mallory', { reason: 'test', by: 'op' })
    const reply = await app.inject('/')
    t.equal(reply.statusCode, 403, hook)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_BLOCKED')
  }
})

await t.test('a user whose id is an address counts apart from that address', async (t) => {
  const { app, send } = await build(t)
  const headers = { 'x-user': '203.0.113.5' }
  for (let sent = 0; sent < 9; sent++) await send('/export', '198.51.100.9', { headers })
  await send('/export', '203.0.113.5')
  t.same(app.anomaly.contain.list(), [])
})

await t.test(
  'ids are watched in every parameter and in the query members of a route',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(anomalyGuard, {
      rules: [rules.enumeration()],
      behaviour: { enabled: false },
    })
    app.get('/users/:userId/documents/:n', answerNothing)
    app.get('/invoice', { config: { anomaly: { ids: ['id'] } } }, answerNothing)
    const found = async () => {
      await app.anomaly.settle()
      return (await app.anomaly.timeline(0)).map(({ route }) => route)
    }
    for (let id = 0; id < 49; id++) await app.inject(`/users/${id}/documents/1`)
    for (let id = 0; id < 49; id++) await app.inject(`/invoice?id=${id}`)
    t.same(await found(), [])
    await app.inject('/users/49/documents/1')
    await app.inject('/invoice?id=49')
    t.same(await found(), ['GET /users/:userId/documents/:n', 'GET /invoice'])
  },
)

await t.test('readers of a web app are no scanners, probes are', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard, { rules: [rules.scanner()], behaviour: { enabled: false } })
  app.setNotFoundHandler(async (request, reply) =>
    reply.code(/^\/(a|gone)/.test(request.url) ? 404 : 200).send(),
  )
  const detected = async () => {
    await app.anomaly.settle()
    return (await app.anomaly.timeline(0)).length
  }
  for (let page = 0; page < 20; page++) await app.inject(`/articles/${page}`.replace('/a', '/b'))
  for (let chunk = 0; chunk < 20; chunk++) await app.inject(`/assets/${chunk}.3f9a.js`)
  t.equal(await detected(), 0)
  for (let probe = 0; probe < 15; probe++) await app.inject(`/shop${probe}/wp-login.php`)
  t.equal(await detected(), 1)
  for (let path = 0; path < 15; path++) {
    await app.inject({ url: `/gone/${path}`, remoteAddress: '192.0.2.9' })
  }
  t.equal(await detected(), 2)
})

await t.test('an image in a comment cannot lock its readers out', async (t) => {
  const { app, send } = await build(t)
  const headers = {
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'no-cors',
    'sec-fetch-dest': 'image',
  }
  for (let image = 0; image < 20; image++) await send(`/x${image}/.env`, '203.0.113.6', { headers })
  t.equal((await send('/', '203.0.113.6')).statusCode, 200)
  t.same(app.anomaly.contain.list(), [])
})

await t.test('a client that forges the headers of a browser is contained', async (t) => {
  const { app, send } = await build(t)
  const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }
  const payload = { account: 'alice', password: 'guess' }
  for (let attempt = 0; attempt < 5; attempt++) {
    await send('/login', '203.0.113.6', { method: 'POST', headers, payload })
  }
  t.match(app.anomaly.contain.list(), [{ kind: 'block' }], 'no page can send JSON unasked')
  const sameSite = { ...headers, 'sec-fetch-site': 'same-origin' }
  for (let attempt = 0; attempt < 5; attempt++) {
    await send('/login', '203.0.113.7', { method: 'POST', headers: sameSite })
  }
  t.equal(app.anomaly.contain.list().length, 2, 'nor does a page embed what it posts')
})

await t.test('another site cannot lock a visitor out', async (t) => {
  const { app, send } = await build(t)
  const headers = { 'sec-fetch-site': 'cross-site' }
  for (let image = 0; image < 5; image++) {
    const reply = await send('/?q=%3Cscript%3E', '203.0.113.6', { headers })
    t.equal(reply.statusCode, 403)
  }
  for (let attempt = 0; attempt < 5; attempt++) {
    await send('/login', '203.0.113.6', { method: 'POST', headers })
  }
  t.equal((await send('/', '203.0.113.6')).statusCode, 200)
  t.same(app.anomaly.contain.list(), [])
  await app.anomaly.settle()
  const found = (await app.anomaly.timeline(0)).map(({ rule }) => rule)
  t.same(found.toSorted(), ['brute-force', 'inspection', 'payloads'], 'it is recorded')
})

await t.test('a port tightens single clients, and the guard a block of them', async (t) => {
  const calls: unknown[] = []
  const { app, send } = await build(t, {
    tighten: (...args) => calls.push(args),
    contain: { tightenedLimit: 2 },
  })
  const order = { reason: 'test', by: 'op', ttlMs: 60_000 }
  const { contain } = app.anomaly
  await contain.tighten('address:2001:db8:0:1::/64', order)
  await contain.tighten('principal:u-1', order)
  await contain.tighten('address:192.0.2.0/24', order)
  t.same(calls, [
    [{ ip: '2001:db8:0:1::' }, 0.1, 60_000],
    [{ principal: 'u-1' }, 0.1, 60_000],
  ])
  const statuses = async (address: string) => {
    const replies = []
    for (let count = 0; count < 3; count++) replies.push((await send('/', address)).statusCode)
    return replies
  }
  t.same(await statuses('192.0.2.9'), [200, 200, 429])
  t.same(await statuses('2001:db8:0:1::7'), [200, 200, 200], 'the port limits it')
})

await t.test('tighten, stepUp and revoke are carried out by the ports', async (t) => {
  const calls: unknown[][] = []
  const { app, send } = await build(t, {
    tighten: (...args) => calls.push(['tighten', ...args]),
    stepUp: async (...args) => calls.push(['stepUp', ...args]),
    revoke: (...args) => calls.push(['revoke', ...args]),
  })
  const { contain } = app.anomaly
  const order = { reason: 'test', by: 'op', ttlMs: 60_000 }
  const { containment } = await contain.tighten('address:192.0.2.7', { ...order, factor: 0.5 })
  const stepUp = await contain.stepUp('u-1', order)
  await contain.revoke('u-1', order)
  await contain.lift(containment!.id, { by: 'op' })
  await contain.lift(stepUp.containment!.id, { by: 'op' })
  t.same(calls, [
    ['tighten', { ip: '192.0.2.7' }, 0.5, 60_000],
    ['stepUp', 'u-1', 60_000],
    ['revoke', 'u-1', 'test'],
    ['tighten', { ip: '192.0.2.7' }, 1, 1],
    ['stepUp', 'u-1', 0],
  ])
  for (let sent = 0; sent < 40; sent++) await send('/', '192.0.2.7')
  t.equal((await send('/', '192.0.2.7')).statusCode, 200, 'the guard itself limits nothing')
})

await t.test('a port that throws or never answers breaks neither request nor guard', async (t) => {
  const { app, clock } = await build(t, {
    stepUp: () => {
      throw new Error('down')
    },
    revoke: () => new Promise(() => {}),
  })
  const failing = app.anomaly.contain.stepUp('u-1', { reason: 'test', by: 'op' })
  t.equal((await failing).containment?.kind, 'step-up')
  const hanging = app.anomaly.contain.revoke('u-1', { reason: 'test', by: 'op' })
  while (app.anomaly.contain.list().every(({ isProvisional }) => isProvisional)) {
    await new Promise(setImmediate)
  }
  await new Promise(setImmediate)
  clock.advance(5000)
  t.equal((await hanging).containment?.kind, 'revoke')
})

await t.test('rules of the user count signals of the user', async (t) => {
  const coupons = rules.define('coupon-guessing', {
    on: 'coupon',
    by: 'client',
    limit: 3,
    withinMs: 60_000,
    respond: ['block-address', 'block-principal'],
  })
  const { app, send, eventsOf } = await build(t, { rules: [coupons] })
  app.anomaly.rules.forEach(({ name, mode }) => t.equal(mode, 'enforce', name))
  const other = Fastify()
  t.after(() => other.close())
  await other.register(anomalyGuard, { rules: [coupons], mode: 'enforce' })
  other.get('/coupon', async (request) => {
    request.anomaly.fail('coupon')
    request.anomaly.note('UPPER CASE')
    return {}
  })
  for (let tries = 0; tries < 3; tries++) t.equal((await other.inject('/coupon')).statusCode, 200)
  const refused = await other.inject('/coupon')
  t.equal(refused.statusCode, 403)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_BLOCKED')
  t.equal((await send('/')).statusCode, 200)
  t.same(eventsOf('anomaly_guard.contained'), [])
})

await t.test('events of other plugins are signals, the own ones are not', async (t) => {
  const built = await build(t, { events: { 'kit.store_lost': { signal: 'login-failed' } } })
  const { app, send } = built
  useSecurityEvents(app, kitEvents)
  for (let emitted = 0; emitted < 5; emitted++) {
    app.securityEvents.emit('kit.store_lost', { ip: '192.0.2.7', details: { reason: 'x' } })
  }
  assertRefused(t, built, await send('/', '192.0.2.7'), 403, 'BLOCKED')
})

await t.test(
  'an account that many addresses attack demands a proof before the password',
  async (t) => {
    const app = Fastify({ trustProxy: 'loopback' })
    t.after(() => app.close())
    let checked = 0
    await app.register(anomalyGuard, {
      mode: 'enforce',
      behaviour: { enabled: false },
      challenge: { difficulty: 1 },
      secret: 's'.repeat(32),
    })
    const asked: boolean[] = []
    app.post<{ Body: { account: string } }>(
      '/login',
      { config: { anomaly: { account: accountOf } } },
      async (request, reply) => {
        checked++
        request.anomaly.fail('login', { account: request.body.account })
        return reply.code(401).send({})
      },
    )
    app.post('/own', async (request) => {
      asked.push(request.anomaly.isUnderAttack('login', { account: 'alice' }))
      return {}
    })
    const send = (url: string, host: number, name: unknown) =>
      app.inject({
        method: 'POST',
        url,
        payload: { account: name },
        headers: { 'x-forwarded-for': `198.51.${host >> 8}.${host & 255}` },
      })
    await send('/own', 999, 'alice')
    for (let host = 0; host < 500; host++) {
      // The name is written in several ways.
      await send('/login', host, ['alice', 'Alice', 'ALICE '][host % 3])
    }
    t.equal(checked, 8, 'of 500 guesses, those until the rule saw 8 addresses')
    const refused = await send('/login', 999, 'alice')
    t.equal(refused.statusCode, 428)
    t.equal(refused.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED')
    t.equal(checked, 8)
    t.equal((await send('/login', 999, 'bob')).statusCode, 401, 'another account')
    t.equal((await send('/login', 999, { no: 'text' })).statusCode, 401, 'no text')
    await send('/own', 999, 'alice')
    t.same(asked, [false, true])
    const [measure] = app.anomaly.contain.list().filter(({ target }) => target.type === 'account')
    t.equal(measure?.kind, 'challenge')
    await app.anomaly.contain.lift(measure!.id, { by: 'op' })
    t.equal((await send('/login', 999, 'alice')).statusCode, 401, 'lifted')
  },
)

/** A client of its own. */
const addressOf = (host: number) => ({ 'x-forwarded-for': `198.51.100.${host}` })

await t.test(
  'one password on many accounts is seen from many addresses, by an event alone',
  async (t) => {
    const app = Fastify({ trustProxy: 'loopback' })
    t.after(() => app.close())
    await app.register(anomalyGuard, {
      mode: 'enforce',
      behaviour: { enabled: false },
      challenge: { difficulty: 1 },
      events: { 'kit.store_lost': { signal: 'login-failed' } },
    })
    const events = useSecurityEvents(app, kitEvents)
    const heard: string[] = []
    app.securityEvents.on('*', (event) => void heard.push(JSON.stringify(event)))
    type Login = { Body: { account: string; password: unknown } }
    const anomaly = {
      account: accountOf,
      secret: ({ body }: { body: unknown }) => (body as Login['Body']).password,
    }
    app.post<Login>('/login', { config: { anomaly } }, async (request, reply) => {
      events.emit('kit.store_lost', { details: { reason: 'x' } }, request)
      return reply.code(401).send({})
    })
    const guess = (host: number, password: unknown) =>
      app.inject({
        method: 'POST',
        url: '/login',
        payload: { account: `user-${host}`, password },
        headers: addressOf(host),
      })
    const pass = async (host: number) =>
      (await app.inject({ url: '/nowhere', headers: addressOf(host) })).statusCode
    for (let host = 0; host < 40; host++) await guess(host, `typed by ${host}`)
    for (let host = 40; host < 60; host++) await guess(host, { no: 'text' })
    for (let host = 60; host < 67; host++) await guess(host, 'Summer 2027!')
    t.same(app.anomaly.contain.list(), [], 'different passwords, and one on seven accounts')
    await guess(67, 'Summer 2027!')
    t.equal(await pass(67), 428, 'the eighth account is challenged')
    t.equal(await pass(60), 404, 'who came before is not')
    await guess(68, 'Summer 2027!')
    t.equal(await pass(68), 428)
    t.equal(await pass(99), 404)
    t.notMatch(heard.join(''), 'Summer')
    t.match(
      heard.filter((text) => text.includes('anomaly_guard.detected')).join(''),
      'password_spraying',
    )
  },
)

await t.test('without a challenge, the logins of an attacked account are limited', async (t) => {
  const app = Fastify({ trustProxy: 'loopback' })
  t.after(() => app.close())
  await app.register(anomalyGuard, {
    mode: 'enforce',
    behaviour: { enabled: false },
    contain: { tightenedLimit: 5 },
    tighten: () => {},
  })
  app.post(
    '/login',
    { config: { anomaly: { account: () => 'alice' } } },
    async (request, reply) => {
      request.anomaly.fail('login', { account: 'alice' })
      return reply.code(401).send({})
    },
  )
  const codes: number[] = []
  for (let host = 0; host < 100; host++) {
    const headers = { 'x-forwarded-for': `198.51.100.${host}` }
    codes.push((await app.inject({ method: 'POST', url: '/login', headers })).statusCode)
  }
  t.equal(codes.filter((code) => code === 401).length, 8 + 5)
  t.equal(codes.at(-1), 429)
})

await t.test('one failure counts once, however many tell of it', async (t) => {
  const app = Fastify({ genReqId: () => 'chosen by the client' })
  t.after(() => app.close())
  const plain = Fastify()
  t.after(() => plain.close())
  for (const [server, expected] of [
    [plain, [401, 401, 401, 401, 401, 403]],
    [app, [401, 401, 401, 401, 401, 403]],
  ] as const) {
    await server.register(anomalyGuard, {
      mode: 'enforce',
      behaviour: { enabled: false },
      events: {
        'kit.store_lost': { signal: 'login-failed' },
        'kit.store_recovered': { signal: 'login-failed' },
      },
    })
    const events = useSecurityEvents(server, kitEvents)
    server.post<{ Querystring: { times?: string } }>('/login', async (request, reply) => {
      events.emit('kit.store_lost', { details: { reason: 'x' } }, request)
      events.emit('kit.store_recovered', { details: { downMs: 1 } }, request)
      for (let time = Number(request.query.times ?? 1); time > 0; time--) {
        request.anomaly.fail('login', { account: 'alice' })
      }
      return reply.code(401).send({})
    })
    const codes: number[] = []
    for (let attempt = 0; attempt < 6; attempt++) {
      codes.push((await server.inject({ method: 'POST', url: '/login' })).statusCode)
    }
    t.same(codes, expected)
    const batch = { method: 'POST', url: '/login?times=5', remoteAddress: '192.0.2.9' } as const
    await server.inject(batch)
    t.equal((await server.inject(batch)).statusCode, 403, 'a batch of five guesses counts five')
  }
})

await t.test('a limit that the guard has lowered itself feeds no rule', async (t) => {
  const { app } = await build(t, {
    events: { 'kit.store_lost': { signal: 'rate-limited' } },
    rules: [rules.limitAbuse({ limit: 3 })],
  })
  useSecurityEvents(app, kitEvents)
  const exceed = (ip: string) =>
    app.securityEvents.emit('kit.store_lost', { ip, details: { reason: 'x' } })
  await app.anomaly.contain.tighten('address:192.0.2.7', { reason: 'test', by: 'op' })
  for (let times = 0; times < 5; times++) exceed('192.0.2.7')
  t.equal(app.anomaly.impact('limit-abuse').detections, 0)
  for (let times = 0; times < 3; times++) exceed('192.0.2.8')
  t.equal(app.anomaly.impact('limit-abuse').detections, 1)
})

await t.test('an option or a rule of a route that cannot be read stops the boot', async (t) => {
  const refused: readonly [object, RegExp][] = [
    [{ mod: 'shadow' }, /did you mean "mode"/],
    [{ mode: 'on' }, /"mode" must be one of/],
    [{ allow: ['10.0.0.1/8'] }, /"allow\[0\]" has bits set behind its prefix/],
    [{ rules: [{}] }, /"rules\[0\]" must be made by "rules"/],
    [{ rules: [{ name: 'x' }] }, /"rules\[0\]" must be made by "rules"/],
    [{ events: { x: { signal: 5 } } }, /must be null or an object with "signal"/],
    [{ contain: { stepsMs: [] } }, /"contain.stepsMs" must be a list of durations/],
    [{ secret: 'short' }, /"secret" must have 32 to/],
    [{ breakGlassSha256: 'token' }, /a SHA-256 of 64/],
    [{ events: { x: 1 } }, /must be null or an object with "signal"/],
    [{ behaviour: { features: [{}] } }, /must be an object with a "name"/],
    [{ rules: [rules.flood(), rules.flood()] }, /two rules are named "flood"/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(anomalyGuard, options as never)
      },
      { code: 'PARAPET_ANOMALY_GUARD_INVALID_OPTION', statusCode: 500, message },
    )
  }
  for (const rule of [true, [], { tag: 'UPPER' }, { inspect: true }, { open: 1 }, { tags: 'x' }]) {
    const { app } = { app: Fastify() }
    t.after(() => app.close())
    await app.register(anomalyGuard)
    t.throws(() => app.get('/x', { config: { anomaly: rule as never } }, async () => 'x'), {
      code: 'PARAPET_ANOMALY_GUARD_INVALID_RULE',
      statusCode: 500,
    })
  }
})

await t.test(
  'a route with a rule that was declared before the plugin was ready is refused',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    void app.register(anomalyGuard)
    app.get('/x', { config: { anomaly: { tag: 'export' } } }, async () => t.fail('the handler ran'))
    const reply = await app.inject('/x')
    t.equal(reply.statusCode, 500)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_INVALID_RULE')
  },
)

await t.test(
  'the plugin affects the context in which it is registered, and no other',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(async (child) => {
      await child.register(anomalyGuard)
      child.get('/inside', async () => t.fail('it ran'))
      await child.anomaly.contain.lockdown({ reason: 'test', by: 'op' })
    })
    app.get('/outside', async () => 'outside')
    t.equal((await app.inject('/inside')).statusCode, 423)
    t.equal((await app.inject('/outside')).statusCode, 200)
    t.notOk(app.hasDecorator('anomaly'))
  },
)

await t.test('a typo in what the inspection exempts stops the boot', async (t) => {
  const register = async (inspect: unknown) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(anomalyGuard, { inspect: inspect as object })
    return app
  }
  const badFields = [
    { 'boddy.html': 'skip' },
    { 'body.html': 'skp' },
    { 'body.*.html': 'skip' },
    { 'header.Referer': 'skip' },
    { query: 'skip' },
    { 'body.': 'skip' },
    { '': 'skip' },
    ['body.html'],
  ]
  for (const inspect of [{ without: ['sql'] }, ...badFields.map((fields) => ({ fields }))]) {
    const name = JSON.stringify(inspect)
    await t.rejects(register(inspect), { code: 'PARAPET_ANOMALY_GUARD_INVALID_OPTION' }, name)
    t.throws(() => createInspector(inspect as object), {
      code: 'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT',
    })
    const app = await register({})
    t.throws(() => app.get('/x', { config: { anomaly: { inspect } as never } }, async () => 'x'), {
      code: 'PARAPET_ANOMALY_GUARD_INVALID_RULE',
      message: /"inspect\.(?:fields|without)" (?:has|must be)/,
    })
  }
  const good = {
    'body.html': 'skip',
    'body.items.*': 'base64',
    'body.*': 'skip',
    'query.a.b': 'skip',
    'query.q (name)': 'skip',
    'header.referer': 'skip',
    'cookie.*': 'skip',
    path: 'skip',
    body: 'skip',
  } as const
  await register({ fields: good, without: ['protocol', 'ssrf'] })
})

const closed = (properties: object) =>
  ({ type: 'object', additionalProperties: false, properties }) as const

await t.test('a route exempts no field that its schema excludes', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard)
  const text = { type: 'string' }
  const part = closed({ html: text, any: { type: 'object' } })
  const body = closed({ article: part, parts: { type: 'array', items: part }, ref: { $ref: 'x#' } })
  app.addSchema({ $id: 'x', type: 'object' })
  const declare = (url: string, location: string) =>
    app.post(
      url,
      {
        schema: { body, querystring: closed({ q: text }) },
        config: { anomaly: { inspect: { fields: { [location]: 'skip' } } } },
      },
      async () => 'ok',
    )
  const good = ['article.html', 'article.*', '*', 'parts.html', 'article.any.x', 'ref.x']
  for (const [index, name] of good.entries()) declare(`/${index}`, `body.${name}`)
  declare('/query', 'query.q')
  for (const location of ['body.artcle.html', 'body.article.htm', 'body.parts.0', 'query.p']) {
    t.throws(() => declare('/bad', location), {
      code: 'PARAPET_ANOMALY_GUARD_INVALID_RULE',
      message: /has the location ".*", which the schema excludes/,
    })
  }
})
