/** Attacks on the guard itself, and how it lives beside others. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createManualClock, declarePhase } from '@parapet/kit'
import { acceptForgedAddresses, anomalyGuard, rules } from '@parapet/anomaly-guard'
import Fastify, { type FastifyServerOptions } from 'fastify'
import t from 'tap'
import { assertRefused, build } from './support.ts'

const by = 'op'

await t.test('registering the plugin after the login stops the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  declarePhase(app, '@parapet/sessions', 'authentication')
  await t.rejects(
    async () => {
      await app.register(anomalyGuard)
    },
    { code: 'PARAPET_KIT_WRONG_ORDER', statusCode: 500 },
  )
})

await t.test('a client cannot choose its address where no proxy is trusted', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard)
  app.get('/', async () => t.fail('the handler ran'))
  await app.anomaly.contain.blockAddress('127.0.0.1', { reason: 'test', by })
  const headers = {
    'x-forwarded-for': '192.0.2.1',
    'x-real-ip': '192.0.2.1',
    forwarded: 'for=192.0.2.1',
  }
  const reply = await app.inject({ url: '/', headers })
  t.equal(reply.statusCode, 403)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_ANOMALY_GUARD_BLOCKED')
})

await t.test(
  'other spellings of an address, and its neighbours in a /64, are one client',
  async (t) => {
    const built = await build(t)
    const { app, send } = built
    await app.anomaly.contain.blockAddress('192.0.2.7', { reason: 'test', by })
    await app.anomaly.contain.blockAddress('2001:db8:0:1::5', { reason: 'test', by })
    for (const address of [
      '::ffff:192.0.2.7',
      '64:ff9b::192.0.2.7',
      '2001:db8:0:1::5',
      '2001:DB8:0:1:ffff::1',
    ]) {
      assertRefused(t, built, await send('/', address), 403, 'BLOCKED', address)
    }
    t.equal((await send('/', '2001:db8:0:2::5')).statusCode, 200)
  },
)

await t.test(
  'a refused request is refused before its body is read, and before routing fails',
  async (t) => {
    const built = await build(t)
    const { app, send } = built
    await app.anomaly.contain.blockAddress('192.0.2.7', { reason: 'test', by })
    const json = { 'content-type': 'application/json' }
    const body = { method: 'POST', headers: json, payload: '{"broken":' } as const
    assertRefused(
      t,
      built,
      await send('/login', '192.0.2.7', body),
      403,
      'BLOCKED',
      'a broken body',
    )
    assertRefused(t, built, await send('/no-such', '192.0.2.7'), 403, 'BLOCKED', 'no route')
    const options = await send('/', '192.0.2.7', { method: 'OPTIONS' })
    assertRefused(t, built, options, 403, 'BLOCKED', 'OPTIONS')
  },
)

await t.test(
  'an attack in a payload is refused in mode enforce only, and exempt where declared',
  async (t) => {
    const attack = { comment: "' UNION SELECT password FROM users--" }
    const post = { method: 'POST', payload: attack } as const
    const quiet = await build(t, { mode: 'shadow' })
    t.equal((await quiet.send('/', '192.0.2.7', post)).statusCode, 200)
    await quiet.app.anomaly.settle()
    t.match(await quiet.app.anomaly.timeline(0), [{ rule: 'inspection', label: 'payload_attack' }])

    const built = await build(t)
    assertRefused(t, built, await built.send('/', '192.0.2.7', post), 403, 'REFUSED')
    await built.app.anomaly.settle()
    const [found] = await built.app.anomaly.timeline(0)
    const { sentences } = await built.app.anomaly.explain(found!.id)
    t.match(sentences.join('\n'), /body\.comment looks like sqli/)
    t.notMatch(sentences.join('\n'), /UNION SELECT|password/i, 'the payload is not kept')
    const allowed = await build(t, { allow: ['192.0.2.7'] })
    t.equal((await allowed.send('/', '192.0.2.7', post)).statusCode, 200, 'an allowed address')
    const exempt = await build(t, { inspect: { fields: { 'body.comment': 'skip' } } })
    t.equal((await exempt.send('/', '192.0.2.7', post)).statusCode, 200, 'an exempt field')

    const app = Fastify()
    t.after(() => app.close())
    await app.register(anomalyGuard, { mode: 'enforce' })
    const off = { config: { anomaly: { inspect: false } } } as const
    const fields = {
      config: { anomaly: { inspect: { fields: { 'body.comment': 'skip' } } } },
    } as const
    app.post('/off', off, async () => 'ok')
    app.post('/fields', fields, async () => 'ok')
    app.addContentTypeParser('application/octet-stream', (_request, payload, parsed) => {
      parsed(null, payload)
    })
    app.post('/upload', async (request) => {
      const chunks: Buffer[] = []
      for await (const chunk of request.body as AsyncIterable<Buffer>) chunks.push(chunk)
      return Buffer.concat(chunks).toString()
    })
    const upload = {
      method: 'POST',
      url: '/upload',
      headers: { 'content-type': 'application/octet-stream' },
      payload: 'hello',
    } as const
    for (let i = 0; i < 4; i++) t.equal((await app.inject(upload)).body, 'hello', 'a stream')
    const referer = 'https://shop.example/search?q=pot+roast.&next=../../a'
    for (let i = 0; i < 4; i++) {
      const { statusCode } = await app.inject({ url: '/none.css', headers: { referer } })
      t.equal(statusCode, 404, 'a file of a page whose address has an unlucky word')
    }
    for (const url of ['/off', '/fields']) {
      t.equal((await app.inject({ method: 'POST', url, payload: attack })).statusCode, 200, url)
    }
  },
)

await t.test('three attacks in payloads block the address', async (t) => {
  const built = await build(t)
  const post = { method: 'POST', payload: { q: '<script>alert(1)</script>' } } as const
  for (let sent = 0; sent < 3; sent++) {
    t.equal((await built.send('/', '192.0.2.7', post)).statusCode, 403)
  }
  assertRefused(t, built, await built.send('/', '192.0.2.7'), 403, 'BLOCKED')
})

await t.test('countries are refused by the geo rules, in mode enforce', async (t) => {
  const lookup = { countryOf: (address: string) => (address.startsWith('192.') ? 'AA' : 'DE') }
  const geo = { lookup, deny: ['AA'] }
  const built = await build(t, { geo })
  assertRefused(t, built, await built.send('/', '192.0.2.7'), 403, 'REFUSED')
  t.equal((await built.send('/', '198.51.100.1')).statusCode, 200)
  const quiet = await build(t, { geo: { ...geo, mode: 'alert' } })
  t.equal((await quiet.send('/', '192.0.2.7')).statusCode, 200)
  await quiet.app.anomaly.settle()
  t.equal((await quiet.app.anomaly.timeline(0))[0]?.rule, 'geo')
  const only = await build(t, { geo: { lookup, allow: ['DE'] } })
  t.equal((await only.send('/', '192.0.2.7')).statusCode, 403)
})

await t.test(
  'a session that another client uses is a theft, and its sessions are revoked',
  async (t) => {
    const revoked: string[] = []
    const stepped: string[] = []
    const { app, send } = await build(t, {
      revoke: (id) => void revoked.push(id),
      stepUp: (id) => void stepped.push(id),
    })
    const use = (address: string, agent: string) =>
      send('/', address, { headers: { 'x-user': 'u-1', 'x-session': 's-1', 'user-agent': agent } })
    await use('192.0.2.1', 'Firefox')
    await use('192.0.2.2', 'Firefox')
    await app.anomaly.settle()
    t.same(revoked, [], 'a phone that changes the network')
    await use('203.0.113.5', 'curl')
    await app.anomaly.settle()
    t.same([revoked, stepped], [['u-1'], ['u-1']])
    t.match(app.anomaly.incidents(), [{ pattern: 'account_takeover', severity: 'critical' }])
  },
)

await t.test('behaviour is learnt, scored and explained; the event loop is not held', async (t) => {
  const clock = createManualClock()
  const { app, send } = await build(t, {
    clock,
    mode: 'alert',
    rules: [],
    behaviour: { seed: 1, contaminationRatio: 0.01, windowMs: 10_000 },
  })
  t.equal(app.anomaly.learning, 'cold')
  for (let round = 0; round < 60; round++) {
    for (let client = 0; client < 50; client++) {
      await send(`/items/${client % 7}`, `10.0.${round % 4}.${client}`)
    }
    clock.advance(5000)
  }
  // Each turn of the event loop learns for a millisecond at most.
  for (let turn = 0; turn < 10_000 && app.anomaly.learning === 'cold'; turn++) {
    await new Promise(setImmediate)
  }
  t.not(app.anomaly.learning, 'cold')
  // A client that does what no other did, again and again, until scores count.
  for (let round = 0; round < 60 && app.anomaly.learning !== 'ready'; round++) {
    for (let client = 0; client < 50; client++) {
      await send(`/items/${client % 7}`, `10.0.${round % 4}.${client}`)
    }
    clock.advance(5000)
  }
  t.equal(app.anomaly.learning, 'ready')
  for (let sent = 0; sent < 200; sent++) await send(`/no/${sent}`, '203.0.113.5')
  await app.anomaly.settle()
  const [found] = await app.anomaly.timeline(0)
  t.match(found, { rule: 'behaviour', label: 'unusual_behaviour' })
  const { sentences } = await app.anomaly.explain(found!.id)
  t.match(sentences.join('\n'), / is [\d.e+]+, usually .*% of the score/)
})

await t.test('hostile signals break no request', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard, { mode: 'enforce', rules: [...rules.all()] })
  const odd = ['', 'constructor', '__proto__', '\0', '\ud800', 'x'.repeat(100_000), ' ', 'ı', 'K']
  app.get<{ Params: { id: string } }>('/odd/:id', async (request) => {
    for (const text of odd) {
      request.anomaly.fail('login', { account: text, secret: text })
      request.anomaly.fail(text, { account: text })
      request.anomaly.note(text, { resource: text, amount: Number.NaN })
      request.anomaly.measure(text, Number.POSITIVE_INFINITY)
    }
    return 'ok'
  })
  for (const id of odd.map((text) => encodeURIComponent(text.toWellFormed().slice(0, 90) || 'x'))) {
    t.match((await app.inject(`/odd/${id}`)).statusCode, /200|403/)
  }
})

await t.test('a server on a UNIX socket serves, although its peers have no address', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(anomalyGuard, {
    mode: 'enforce',
    behaviour: { enabled: false },
    allow: ['192.0.2.1', '2001:db8::1'],
    geo: { lookup: { countryOf: () => 'DE' }, deny: ['FR'] },
    rules: [rules.bruteForce()],
  })
  app.post('/login', async (request, reply) => {
    request.anomaly.fail('login', { account: 'alice' })
    return reply.code(401).send({})
  })
  const socketPath = join(tmpdir(), `anomaly-guard-${randomUUID()}.sock`)
  await app.listen({ path: socketPath })
  const statuses = []
  for (let attempt = 0; attempt < 6; attempt++) {
    const [response] = (await once(
      request({ socketPath, path: '/login', method: 'POST' }).end(),
      'response',
    )) as [IncomingMessage]
    response.resume()
    statuses.push(response.statusCode)
  }
  t.same(
    statuses,
    Array.from({ length: 6 }, () => 401),
    'and nobody is contained for all',
  )
  t.same(app.anomaly.contain.list(), [])
})

await t.test('clients that can choose their address stop the boot', async (t) => {
  const start = async (
    trustProxy: NonNullable<FastifyServerOptions['trustProxy']>,
    options = {},
  ) => {
    const app = Fastify({ trustProxy })
    t.after(() => app.close())
    await app.register(anomalyGuard, options)
  }
  for (const trustProxy of [true, '0.0.0.0/1,128.0.0.0/1', () => true]) {
    await t.rejects(start(trustProxy), {
      code: 'PARAPET_ANOMALY_GUARD_TRUSTS_EVERY_PROXY',
      statusCode: 500,
    })
  }
  await t.resolves(start(['10.0.0.0/8']))
  await t.resolves(start(true, { [acceptForgedAddresses]: true }))
})

await t.test('neither accounts nor passwords are in events, anomalies or errors', async (t) => {
  const { app, events, failLogin, send } = await build(t)
  for (let attempt = 0; attempt < 6; attempt++) {
    await failLogin('192.0.2.7', 'alice@example.org', 'hunter2-secret')
  }
  await app.anomaly.settle()
  const reply = await send('/', '192.0.2.7')
  const timeline = await app.anomaly.timeline(0)
  const everything = JSON.stringify([events, timeline, app.anomaly.incidents(), reply.body])
  t.notMatch(everything, /alice|hunter2/)
})
