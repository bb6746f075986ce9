import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createMemoryJobs, createManualClock } from '@parapet/kit'
import {
  createMemoryLedger,
  createMemoryRecords,
  privacy,
  signWebhook,
  verifyReceipt,
  verifyWebhook,
  type PrivacyOptions,
} from '@parapet/privacy'
import { runs } from '@parapet/testing'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import {
  CONTROLLER,
  createApp,
  createTable,
  DAY,
  KEYS,
  MINUTE,
  openConfirmed,
  passTime,
  post,
  runTick,
  SECRET,
  waitFor,
} from './helpers.ts'

await t.test(
  'an erasure runs through every source, and its receipt verifies offline',
  async (t) => {
    const forgotten: string[] = []
    const forget = async (subject: string) => void forgotten.push(subject)
    const app = await createApp(t, { forget })
    app.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'likes tea' }])
    app.tables.users.rows.set('bob', [{ email: 'bob@acme.example', note: 'likes milk' }])
    const id = await openConfirmed(app, 'ann', 'erasure')
    await app.until(id, 'completed')
    const [row] = app.tables.users.rows.get('ann')!
    t.match(row, { email: /^erased-[0-9a-f]{32}@erased\.invalid$/, note: null })
    t.match(app.tables.users.rows.get('bob'), [{ note: 'likes milk' }], 'others are left alone')
    t.same(forgotten, ['ann'])
    const body = (await app.app.privacy.findRequest(id))!
    t.same(
      body.parts.map(({ name, status }) => [name, status]),
      [
        ['users', 'done'],
        ['orders', 'done'],
        ['privacy', 'done'],
        ['keys', 'done'],
      ],
    )
    t.equal(body.sealed, null, 'the id of the subject is dropped')
    t.notMatch(JSON.stringify(body), /"ann"/)
    const { keys } = (await app.send(null, '/privacy/keys')).body as unknown as {
      keys: { kid: string }[]
    }
    const receipt = verifyReceipt(body.receipt!, keys)!
    t.match(receipt, { jti: id, iss: 'Acme', sub: body.reference })
    t.match(receipt.parts.find(({ name }) => name === 'privacy')!.retained, [
      { field: 'requests' },
      {},
    ])
    t.equal(verifyReceipt(`${body.receipt!.slice(0, -4)}AAAA`, keys), null)
    t.equal(verifyReceipt(body.receipt!.replace(/\.[^.]+\./, '.e30.'), keys), null)
    t.match(
      app.events.map(({ type }) => type),
      ['privacy.request_opened', 'privacy.erased', 'privacy.request_closed'],
    )
  },
)

await t.test('a part that fails is tried again, and reported each time', async (t) => {
  let failures = 3
  const orders = createTable('orders', {
    async erase(subject) {
      if (failures-- > 0)
        throw Object.assign(new Error(`cannot reach ${subject}`), { code: 'EAWAY' })
      orders.rows.delete(subject)
    },
  })
  const users = createTable('users')
  const app = await createApp(t, { sources: [users.source, orders.source] })
  users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  orders.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const id = await openConfirmed(app, 'ann', 'erasure')
  for (const [attempts, wait] of [
    [1, MINUTE],
    [2, 2 * MINUTE],
    [3, 4 * MINUTE],
  ] as const) {
    await waitFor(async () => {
      const body = (await app.app.privacy.findRequest(id))!
      return body.state === 'partial' && body.parts.some((part) => part.attempts === attempts)
    })
    const view = await app.send('officer', `/privacy/admin/requests/${id}`)
    const part = view.body.parts.find(({ name }) => name === 'orders')!
    t.match(part, { status: 'failed', attempts, error: 'EAWAY' })
    t.notOk(view.body.receipt, 'there is no receipt for half an erasure')
    await passTime(app, wait)
  }
  await app.until(id, 'completed')
  t.equal(users.plans.length, 1, 'a source that has succeeded is not asked again')
  const failed = app.events.filter(({ type }) => type === 'privacy.erasure_failed')
  t.match(
    failed,
    [1, 2, 3].map((attempts) => ({ details: { part: 'orders', attempts, reason: 'EAWAY' } })),
  )
  t.notMatch(JSON.stringify(failed), /cannot reach/, 'a message may quote personal data')
})

await t.test(
  'a source that says nothing is left undone: what remains fails the part',
  async (t) => {
    const users = createTable('users', { erase: async () => undefined })
    const app = await createApp(t, { sources: [users.source] })
    users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
    const id = await openConfirmed(app, 'ann', 'erasure')
    await app.until(id, 'partial')
    const [part] = (await app.app.privacy.findRequest(id))!.parts
    t.match(part, { name: 'users', status: 'failed', error: 'DATA_LEFT' })
  },
)

await t.test('a source that never answers is given up after its deadline', async (t) => {
  const users = createTable('users', { erase: () => new Promise(() => undefined) })
  const app = await createApp(t, { sources: [users.source], partDeadlineMs: 5000 })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await waitFor(async () => (await app.app.privacy.findRequest(id))!.leaseUntil > 0)
  await waitFor(async () => {
    app.clock.advance(1000)
    return (await app.app.privacy.findRequest(id))!.state === 'partial'
  })
  t.match((await app.app.privacy.findRequest(id))!.parts[0], { error: 'PARAPET_PRIVACY_TIMEOUT' })
})

await t.test('a legal hold wins over an erasure, until it is released', async (t) => {
  const app = await createApp(t)
  app.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const hold = { subject: 'ann', reason: 'lawsuit 7', basis: 'GDPR, article 17(3)(e)' }
  const placed = await app.send('officer', post('/privacy/admin/holds', hold))
  t.equal(placed.status, 201)
  t.notMatch(JSON.stringify(placed.body), /"ann"/)
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'held')
  t.same(app.tables.users.plans, [], 'no source was touched')
  await app.untilSent(id)
  t.match(app.messages.at(-1), { kind: 'held', subject: 'ann' })
  await runTick(app)
  t.equal((await app.app.privacy.findRequest(id))!.state, 'held')
  const url = `/privacy/admin/holds/${placed.body.id}/release`
  t.equal((await app.send('officer', post(url, { reason: 'settled' }))).status, 200)
  await app.until(id, 'completed')
  t.equal((await app.send('officer', post(url, { reason: 'again' }))).status, 404)
})

await t.test('a hold that is placed during an erasure stops the rest of it', async (t) => {
  const users = createTable('users')
  const orders = createTable('orders')
  const app = await createApp(t, {
    sources: [
      {
        ...users.source,
        async erase(...call) {
          await users.source.erase!(...call)
          await app.app.privacy.holds.place({ subject: 'ann', reason: 'r', basis: 'b' })
        },
      },
      orders.source,
    ],
  })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'held')
  t.same(orders.plans, [])
})

await t.test(
  'what was anonymised is removed after the grace period, unless it is held',
  async (t) => {
    const removed: string[] = []
    const users = createTable('users', { remove: async (subject) => void removed.push(subject) })
    const app = await createApp(t, { sources: [users.source], removeAfterDays: 30 })
    const id = await openConfirmed(app, 'ann', 'erasure')
    await app.until(id, 'completed')
    app.clock.advance(29 * DAY)
    await runTick(app)
    t.same(removed, [])
    const hold = await app.app.privacy.holds.place({ subject: 'ann', reason: 'r', basis: 'b' })
    app.clock.advance(2 * DAY)
    await runTick(app)
    await waitFor(async () => (await app.app.privacy.findRequest(id))!.leaseUntil === 0)
    t.same(removed, [])
    await app.app.privacy.holds.release(hold.id, 'over')
    app.clock.advance(DAY)
    await runTick(app)
    await waitFor(() => removed.length === 1)
    await waitFor(async () => (await app.app.privacy.findRequest(id))!.sealed === null)
    t.match(app.events.at(-1), { type: 'privacy.removed', details: { request: id, sources: 1 } })
  },
)

await t.test('consents and other requests of the subject are erased as well', async (t) => {
  const purposes = { mail: { title: 'Mail', noticeVersion: '1', noticeText: 'We send mail.' } }
  const app = await createApp(t, { purposes })
  await app.app.privacy.consents.record({
    subject: 'ann',
    purpose: 'mail',
    state: 'granted',
    by: 'subject',
    ip: '192.0.2.7',
  })
  const access = await openConfirmed(app, 'ann', 'access')
  await app.until(access, 'ready')
  const { link } = (
    await app.send(
      'ann',
      post(`/privacy/requests/${access}/link`, undefined, { 'x-proof': 'fresh' }),
    )
  ).body
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  t.match(await app.app.privacy.consents.history('ann'), [
    { state: 'withdrawn', by: 'erasure', sealed: null },
    { state: 'granted', by: 'subject', sealed: null },
  ])
  t.equal((await app.app.privacy.findRequest(access))!.state, 'completed')
  t.equal((await app.send(null, post('/privacy/archives', { link }))).status, 404)
})

await t.test('a processor gets a signed webhook, and its answer changes the receipt', async (t) => {
  const secret = 'a secret of thirty-two characters'
  const notices: { headers: Record<string, unknown>; body: string }[] = []
  let status = 503
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      notices.push({ headers: request.headers, body })
      response.writeHead(status).end('{"status":"accepted"}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => server.close(resolve)))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/erasures`
  const app = await createApp(t, {
    processors: [{ name: 'crm', url, secret, subjectOf: (subject) => `crm-${subject}` }],
  })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'partial')
  t.match((await app.app.privacy.findRequest(id))!.parts[0], { name: 'crm', error: 'HTTP_503' })
  status = 202
  await passTime(app, MINUTE)
  await app.until(id, 'completed')
  const { headers, body } = notices.at(-1)!
  t.same(JSON.parse(body), { type: 'privacy.erasure', id, subject: 'crm-ann' })
  t.ok(verifyWebhook(headers, body, secret, app.clock.now()))
  t.notOk(verifyWebhook(headers, `${body} `, secret, app.clock.now()))
  t.notOk(verifyWebhook(headers, body, secret, app.clock.now() + 301_000), 'it is too old')
  const keys = [app.app.privacy.publicKey]
  const outcome = async () =>
    verifyReceipt((await app.app.privacy.findRequest(id))!.receipt!, keys)!.parts[0]!.outcome
  t.equal(await outcome(), 'told')

  const answer = JSON.stringify({ id, status: 'erased' })
  const reply = (signature: object, payload = answer) =>
    app.app.inject({
      method: 'POST',
      url: '/privacy/processors/crm/answers',
      headers: { 'content-type': 'application/json', ...signature },
      payload,
    })
  const signed = signWebhook('m1', answer, secret, app.clock.now())
  const forged = signWebhook('m1', answer, 'another secret of 32 characters!!', app.clock.now())
  for (const refused of [await reply(forged), await reply({}), await reply(signed, `${answer} `)]) {
    t.equal(refused.statusCode, 401)
    t.equal(refused.json<{ code: string }>().code, 'PARAPET_PRIVACY_ANSWER_REFUSED')
  }
  t.equal(await outcome(), 'told')
  t.equal((await reply(signed)).statusCode, 204)
  t.equal((await reply(signed)).statusCode, 204, 'an answer may be sent again')
  t.equal(await outcome(), 'erased')
})

/** Five sources on one durable storage; the process is killed between any two calls. */
await t.test(
  'an erasure that is killed at any point ends complete, each source as planned',
  async (t) => {
    for (let round = 0; round < runs(25, 200); round++) await killAndFinish(t, round)
  },
)

async function killAndFinish(t: Test, round: number): Promise<void> {
  const clock = createManualClock()
  const [records, ledger] = [createMemoryRecords(), createMemoryLedger()]
  const tables = ['a', 'b', 'c', 'd', 'e'].map((name) => createTable(name))
  for (const { rows } of tables) rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  let failures = 3
  let steps = 0
  // Spread over the length of an erasure, without a pattern that fits it.
  let crashAt = 1 + ((round * 7919) % 90)
  const crashable = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name)
        if (typeof member !== 'function' || name === 'read' || name === 'subjects') return member
        return (...given: unknown[]): unknown => {
          // A dead process makes no further calls: they hang for ever.
          if (++steps >= crashAt) return new Promise(() => undefined)
          return (member as (...given: unknown[]) => unknown).apply(target, given)
        }
      },
    })
  const sources = (crash: <T extends object>(port: T) => T) =>
    tables.map(({ source }) => {
      const flaky = {
        ...source,
        erase: async (...call: Parameters<NonNullable<typeof source.erase>>) => {
          if (source.name === 'c' && failures-- > 0) throw new Error('away')
          await source.erase!(...call)
        },
      }
      const { erase, verifyErased } = crash({
        erase: flaky.erase,
        verifyErased: source.verifyErased!,
      })
      return { ...source, erase, verifyErased }
    })
  const start = async (crash: <T extends object>(port: T) => T) => {
    const jobs = createMemoryJobs({ clock, onNotice: () => undefined })
    const app = Fastify()
    const options: PrivacyOptions = {
      controller: CONTROLLER,
      secret: SECRET,
      keys: KEYS,
      clock,
      jobs,
      records: crash(records),
      ledger: crash(ledger),
      sources: sources(crash),
      deliver: async () => undefined,
    }
    await app.register(privacy, options)
    return { app, jobs }
  }

  // The request is stored, and nothing of it is carried out.
  const first = await start((port) => port)
  await first.app.ready()
  const { id } = await first.app.privacy.request({ subject: 'ann', type: 'erasure' })
  await first.app.close()

  const killed = await start(crashable)
  await killed.app.ready()
  void killed.jobs.start()
  void killed.jobs.enqueue('privacy.run', { id })
  let last = -1
  await waitFor(async () => {
    const quiet = steps === last
    last = steps
    const turns = Array.from({ length: 20 }, () => new Promise((resolve) => setImmediate(resolve)))
    for (const turn of turns) await turn
    return quiet && (steps >= crashAt || steps === last)
  })
  crashAt = 0

  const second = await start((port) => port)
  await second.app.ready()
  await second.jobs.start()
  await waitFor(async () => {
    clock.advance(MINUTE)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    return (await second.app.privacy.findRequest(id))!.state === 'completed'
  })
  const body = (await second.app.privacy.findRequest(id))!
  t.ok(
    body.parts.every(({ status }) => status === 'done'),
    `round ${round}: every part is done`,
  )
  for (const { rows, plans } of tables) {
    t.match(rows.get('ann'), [{ email: /@erased\.invalid$/, note: null }], `round ${round}`)
    t.ok(
      plans.every(({ key }) => key === id),
      'every attempt had the same plan',
    )
  }
  const receipt = verifyReceipt(body.receipt!, [second.app.privacy.publicKey])!
  t.equal(receipt.parts.length, 6)
  await second.app.close()
  await second.jobs.close()
}

await t.test('what a source can no longer erase is said in the receipt', async (t) => {
  const basis = 'records from before they were encrypted'
  const users = createTable('users', {
    verifyErased: async () => ({ remaining: 0, retained: { email: basis } }),
  })
  const app = await createApp(t, { sources: [users.source] })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  const retained = [{ field: 'email', basis }]
  const body = (await app.app.privacy.findRequest(id))!
  const receipt = verifyReceipt(body.receipt!, [app.app.privacy.publicKey])!
  t.same(receipt.parts.find(({ name }) => name === 'users')!.retained, retained)
  const { parts } = (await app.send('ann', `/privacy/requests/${id}`)).body
  t.match(
    parts.find(({ name }) => name === 'users'),
    { status: 'done', retained },
  )
})
