/** Ports that hang or fail, clocks that jump, and work that overlaps: each was a fault once. */
import { createManualClock, createMemoryStore } from '@parapet/kit'
import { createMemoryLedger, createMemoryRecords, type PrivacyOptions } from '@parapet/privacy'
import t from 'tap'
import { createMemoryParts } from '../src/export/archive-parts.ts'
import { writeArchive } from '../src/export/archive.ts'
import { noProgress } from '../src/export/collect.ts'
import { writeCsvRow } from '../src/export/csv.ts'
import {
  createApp,
  createTable,
  DAY,
  fresh,
  MINUTE,
  openConfirmed,
  passTime,
  post,
  runTick,
  waitFor,
} from './helpers.ts'

function createGate() {
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { open, opened }
}

const never = () => new Promise<never>(() => undefined)
const HOUR = 3_600_000
const row = { email: 'ann@acme.example', note: 'n' }
const purposes = { mail: { title: 'Mail', noticeVersion: '1', noticeText: 'We send mail.' } }

await t.test('an export that runs during an erasure leaves no part behind', async (t) => {
  const parts = createMemoryParts()
  const keys: { request: string; source: string; part: number }[] = []
  const [begun, gate] = [createGate(), createGate()]
  const app = await createApp(t, {
    archives: {
      ...parts,
      async write(key, sealed) {
        begun.open()
        await gate.opened
        keys.push(key)
        await parts.write(key, sealed)
      },
    },
  })
  app.tables.users.rows.set('ann', [row])
  await openConfirmed(app, 'ann', 'access')
  await begun.opened
  const id = await openConfirmed(app, 'ann', 'erasure')
  await waitFor(async () => {
    const body = (await app.app.privacy.findRequest(id))!
    return body.state === 'completed' || body.state === 'partial'
  })
  gate.open()
  await waitFor(() => keys.length > 0)
  await passTime(app, MINUTE)
  await app.until(id, 'completed')
  for (const key of keys) t.equal(await parts.read(key), null, `${key.source} ${key.part}`)
  t.equal(keys.length, 1, 'the export stops')
})

await t.test('a source that is registered while an erasure waits is erased as well', async (t) => {
  const records = createMemoryRecords()
  const first = await createApp(t, { records })
  const hold = await first.app.privacy.holds.place({ subject: 'ann', reason: 'r', basis: 'b' })
  const id = await openConfirmed(first, 'ann', 'erasure')
  await first.until(id, 'held')
  const [users, invoices] = [createTable('users'), createTable('invoices')]
  const second = await createApp(t, { records, sources: [users.source, invoices.source] })
  invoices.rows.set('ann', [row])
  await second.app.privacy.holds.release(hold.id, 'over')
  await waitFor(async () => {
    const { state } = (await second.app.privacy.findRequest(id))!
    return state === 'completed' || state === 'partial'
  })
  t.match(invoices.rows.get('ann'), [{ note: null }])
})

await t.test('a request that cannot be looked after does not stop the others', async (t) => {
  const parts = createMemoryParts()
  const app = await createApp(t, {
    archives: { ...parts, removeAll: () => Promise.reject(new Error('away')) },
  })
  const access = await openConfirmed(app, 'ann', 'access')
  await app.until(access, 'ready')
  app.clock.advance(1000)
  const other = await app.send('bob', post('/privacy/requests', { type: 'restriction' }))
  app.clock.advance(8 * DAY)
  await app.jobs.enqueue('privacy.tick', {}, { key: 'k' })
  await waitFor(async () => (await app.jobs.find('privacy.tick', 'k'))!.attempts > 0)
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.equal((await app.app.privacy.findRequest(other.body.id))!.state, 'expired')
})

await t.test('a hold that is placed during a removal stops the rest of it', async (t) => {
  const removed: string[] = []
  const users = createTable('users', {
    remove: async () => {
      removed.push('users')
      await app.app.privacy.holds.place({ subject: 'ann', reason: 'r', basis: 'b' })
    },
  })
  const orders = createTable('orders', { remove: async () => void removed.push('orders') })
  const app = await createApp(t, { sources: [users.source, orders.source] })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  app.clock.advance(31 * DAY)
  await runTick(app)
  await waitFor(() => removed.length > 0)
  await waitFor(async () => (await app.app.privacy.findRequest(id))!.leaseUntil === 0)
  t.same(removed, ['users'])
  t.ok((await app.app.privacy.findRequest(id))!.removeAt, 'it is not done')
})

await t.test('a removal that fails in one source goes on with the others', async (t) => {
  const removed: string[] = []
  const users = createTable('users', { remove: () => Promise.reject(new Error('away')) })
  const orders = createTable('orders', { remove: async () => void removed.push('orders') })
  const app = await createApp(t, { sources: [users.source, orders.source] })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  app.clock.advance(31 * DAY)
  await runTick(app)
  await waitFor(() => removed.length > 0)
  t.ok((await app.app.privacy.findRequest(id))!.removeAt, 'it is tried again')
})

await t.test('a legal hold in a restored backup wins over the ledger', async (t) => {
  const [ledger, records] = [createMemoryLedger(), createMemoryRecords()]
  const first = await createApp(t, { ledger })
  const id = await openConfirmed(first, 'ann', 'erasure')
  await first.until(id, 'completed')
  // The backup has the hold that was released before the erasure.
  const before = await createApp(t, { records })
  const hold = await before.app.privacy.holds.place({ subject: 'ann', reason: 'r', basis: 'b' })
  const users = createTable('users')
  users.rows.set('ann', [row])
  const second = await createApp(t, { ledger, records, sources: [users.source] })
  t.same(users.rows.get('ann'), [row], 'it is kept')
  await second.app.privacy.holds.release(hold.id, 'over')
  await waitFor(() => users.plans.length > 0)
})

await t.test('what a restore brought back is removed after the grace period, too', async (t) => {
  const ledger = createMemoryLedger()
  const first = await createApp(t, { ledger })
  const id = await openConfirmed(first, 'ann', 'erasure')
  await first.until(id, 'completed')
  const removed: string[] = []
  const users = createTable('users', { remove: async (subject) => void removed.push(subject) })
  users.rows.set('ann', [row])
  const second = await createApp(t, { ledger, sources: [users.source] })
  second.clock.advance(31 * DAY)
  await runTick(second)
  await waitFor(() => removed.length > 0)
  t.same(removed, ['ann'])
})

await t.test('an officer guard that never answers is given up', async (t) => {
  const app = await createApp(t, { officer: never, portDeadlineMs: 5000 })
  const reply = app.send('officer', '/privacy/admin/requests')
  await waitFor(() => {
    app.clock.advance(5000)
    return Promise.race([
      reply.then(() => true),
      new Promise<boolean>((r) => setImmediate(r, false)),
    ])
  })
  t.match(await reply, { status: 503, body: { code: 'PARAPET_PRIVACY_TIMEOUT' } })
})

await t.test('a ledger that never answers is given up, and nothing is erased', async (t) => {
  const app = await createApp(t, {
    ledger: { ...createMemoryLedger(), append: never },
    portDeadlineMs: 5000,
  })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await waitFor(async () => (await app.app.privacy.findRequest(id))!.leaseUntil > 0)
  await waitFor(async () => {
    app.clock.advance(1000)
    const { leaseUntil } = (await app.app.privacy.findRequest(id))!
    return leaseUntil === 0 || app.clock.now() > leaseUntil
  })
  t.equal((await app.app.privacy.findRequest(id))!.leaseUntil, 0)
  t.same(app.tables.users.plans, [])
})

await t.test('a decision counts although other instances cannot be told', async (t) => {
  const store = createMemoryStore()
  t.after(() => store.close())
  for (const publish of [() => Promise.reject(new Error('away')), never]) {
    const app = await createApp(t, {
      purposes,
      portDeadlineMs: 5000,
      store: Object.assign(Object.create(store) as typeof store, {
        publish,
        subscribe: async () => async () => undefined,
      }),
    })
    const reply = app.send('ann', {
      method: 'DELETE',
      url: '/privacy/consents/mail',
    })
    await waitFor(() => {
      app.clock.advance(5000)
      return Promise.race([
        reply.then(() => true),
        new Promise<boolean>((r) => setImmediate(r, false)),
      ])
    })
    t.match(await reply, { status: 200, body: { state: 'withdrawn' } })
    t.match(app.events, [{ type: 'privacy.consent_changed' }])
  }
})

await t.test(
  'a clock that was set back does not stop a request until it is late again',
  async (t) => {
    const records = createMemoryRecords()
    const gate = createGate()
    const hung = createTable('users', { erase: () => gate.opened })
    const first = await createApp(t, { records, sources: [hung.source] })
    first.clock.advance(DAY)
    const id = await openConfirmed(first, 'ann', 'erasure')
    await waitFor(async () => (await first.app.privacy.findRequest(id))!.leaseUntil > 0)
    // The next process has the right time.
    const second = await createApp(t, { records })
    await second.jobs.enqueue('privacy.run', { id })
    await waitFor(() => second.tables.users.plans.length > 0)
    gate.open()
  },
)

await t.test(
  'a token that a killed process did not send does not block the next one',
  async (t) => {
    const records = createMemoryRecords()
    const killed = await createApp(t, { records, deliver: never })
    void killed
      .send('ann', post('/privacy/requests', { type: 'restriction' }))
      .catch(() => undefined)
    await waitFor(async () => (await records.list('request', { limit: 1 })).length === 1)
    const app = await createApp(t, { records })
    const open = () => app.send('ann', post('/privacy/requests', { type: 'restriction' }))
    t.equal((await open()).status, 409, 'it may be on the way')
    app.clock.advance(MINUTE)
    t.equal((await open()).status, 201)
    app.clock.advance(MINUTE)
    t.equal((await open()).status, 409, 'a token that was sent counts')
  },
)

await t.test('the note of a subject does not outlive the request', async (t) => {
  const app = await createApp(t)
  const note = 'I am Ann, ann@acme.example'
  const id = await openConfirmed(app, 'ann', 'restriction', { note })
  await app.send('officer', post(`/privacy/admin/requests/${id}/approve`))
  await app.until(id, 'completed')
  t.notMatch(JSON.stringify(await app.app.privacy.holds.list()), /ann@/)
})

await t.test('an objection emits what it changes', async (t) => {
  const app = await createApp(t, { purposes, approve: [] })
  const id = await openConfirmed(app, 'ann', 'objection', { purposes: ['mail'] })
  await app.until(id, 'completed')
  t.ok(app.events.some(({ type }) => type === 'privacy.consent_changed'))
})

await t.test('the link of an archive that was deleted is answered as expired', async (t) => {
  const app = await createApp(t)
  const id = await openConfirmed(app, 'ann', 'access')
  await app.until(id, 'ready')
  const { link } = (await app.send('ann', post(`/privacy/requests/${id}/link`, undefined, fresh)))
    .body
  app.clock.advance(7 * DAY)
  await runTick(app)
  await app.until(id, 'completed')
  const expired = await app.send(null, post('/privacy/archives', { link }))
  t.match(expired, { status: 410, body: { code: 'PARAPET_PRIVACY_ARCHIVE_EXPIRED' } })
})

await t.test('a contact of any bytes is answered alike', async (t) => {
  const app = await createApp(t)
  for (const contact of ['a\0b', '\ud800', '\u212a@acme.example', '\u00a0', '__proto__']) {
    const body = { type: 'access', contact }
    const reply = await app.send(null, post('/privacy/requests/by-contact', body))
    t.match(reply, { status: 202, body: { accepted: true } }, JSON.stringify(contact))
  }
})

await t.test('a formula behind a semicolon or a line end is defused', (t) => {
  for (const text of ['x;=1+1;y', 'x;\t=1', 'x\n=1', 'x\r\n"@a', 'x\t=1', 'x; -1', 'x;＝1']) {
    t.match(writeCsvRow(['a', text]), /^a,"[^]*'[=@\-＝]/, JSON.stringify(text))
  }
  t.equal(writeCsvRow(['a;b']), '"a;b"\r\n')
  t.end()
})

await t.test('an archive of many sources adds no listeners that stay', async (t) => {
  const sources = Array.from({ length: 20 }, (_, index) => ({
    progress: { ...noProgress(`s${index}`), isComplete: true },
    source: undefined,
  }))
  const warnings: Error[] = []
  const warn = (warning: Error) => void warnings.push(warning)
  process.on('warning', warn)
  t.after(() => process.off('warning', warn))
  const ports = { parts: createMemoryParts(), cipher: undefined!, clock: undefined!, deadlineMs: 1 }
  const content = { request: 'r', type: 'access', controller: 'c', createdAt: 1.7e12, sources }
  const stream = writeArchive(ports, content)
  let most = 0
  for await (const chunk of stream) {
    t.ok(chunk)
    most = Math.max(most, stream.listenerCount('close'))
  }
  await new Promise((resolve) => setImmediate(resolve))
  t.same(warnings, [])
  t.ok(most < 10, `${most} listeners`)
})

await t.test('functions of a source that return no promise are accepted', async (t) => {
  const removed: string[] = []
  const users = createTable('users', {
    erase: (() => undefined) as never,
    verifyErased: (() => ({ remaining: 0 })) as never,
    remove: ((subject: string) => void removed.push(subject)) as never,
  })
  const app = await createApp(t, { sources: [users.source], forget: (() => undefined) as never })
  const id = await openConfirmed(app, 'ann', 'erasure')
  await app.until(id, 'completed')
  app.clock.advance(31 * DAY)
  await runTick(app)
  await waitFor(() => removed.length > 0)
})

await t.test('a source that is given up is asked to stop', async (t) => {
  let signal: AbortSignal | undefined
  const users = createTable('users', {
    erase: (_subject, _plan, context) => {
      signal = context.signal
      return never()
    },
  })
  const app = await createApp(t, { sources: [users.source], partDeadlineMs: 5000 })
  await openConfirmed(app, 'ann', 'erasure')
  await waitFor(() => signal !== undefined)
  await passTime(app, 5000)
  t.match(signal!.reason, { code: 'PARAPET_PRIVACY_TIMEOUT' })
})

await t.test('a replay that hangs stops the boot, and says where', async (t) => {
  const ledger = createMemoryLedger()
  const first = await createApp(t, { ledger })
  const id = await openConfirmed(first, 'ann', 'erasure')
  await first.until(id, 'completed')
  const users = createTable('users')
  users.rows.set('ann', [row])
  async function* hang(): AsyncIterable<never> {
    yield await never()
  }
  const hung: [string, Partial<PrivacyOptions>][] = [
    ['ledger', { ledger: { ...ledger, read: hang } }],
    ['users', { ledger, sources: [{ ...users.source, subjects: hang }] }],
    ['forget', { ledger, sources: [users.source], forget: never }],
  ]
  for (const [name, options] of hung) {
    const clock = createManualClock()
    const booting = createApp(t, { ...options, clock, portDeadlineMs: 5000 }).catch(
      (error: unknown) => error,
    )
    const isOver = () =>
      Promise.race([
        booting.then(() => true),
        new Promise<boolean>((resolve) => setImmediate(resolve, false)),
      ])
    await waitFor(async () => {
      clock.advance(5000)
      return isOver()
    })
    t.match(await booting, { code: 'PARAPET_PRIVACY_TIMEOUT', message: name })
  }
})

await t.test('nobody can flood a mailbox by requests without a login', async (t) => {
  const app = await createApp(t)
  const ask = (contact: string, remoteAddress: string) => {
    const body = { type: 'access', contact }
    return app.send(null, {
      ...post('/privacy/requests/by-contact', body),
      remoteAddress,
    })
  }
  for (let count = 0; count < 40; count++) {
    t.equal((await ask('ann@acme.example', `192.0.2.${count}`)).status, 202)
  }
  await passTime(app, 0)
  t.match(app.messages, [{ kind: 'login', subject: 'ann' }])
  t.equal(app.messages.length, 1)
  app.clock.advance(HOUR)
  await ask('ann@acme.example', '192.0.2.1')
  await passTime(app, 0)
  t.equal(app.messages.length, 2, 'an hour later another one is sent')
})

await t.test('one address sends few requests without a login', async (t) => {
  const app = await createApp(t, { contactsPerHour: 3 })
  const ask = (host: string) =>
    app.send(null, {
      ...post('/privacy/requests/by-contact', { type: 'access', contact: 'nobody' }),
      remoteAddress: `2001:db8::${host}`,
    })
  for (const host of ['1', '2', '3']) t.equal((await ask(host)).status, 202)
  const refused = await ask('4')
  t.match(refused, { status: 429, body: { code: 'PARAPET_PRIVACY_TOO_MANY_REQUESTS' } })
  t.match(refused.headers['retry-after'], /^\d+$/)
  app.clock.advance(2 * HOUR)
  t.equal((await ask('4')).status, 202)
})

await t.test('a store that is down does not stop requests without a login', async (t) => {
  const store = createMemoryStore()
  t.after(() => store.close())
  for (const count of [never, () => Promise.reject(new Error('away'))]) {
    const app = await createApp(t, {
      portDeadlineMs: 5000,
      store: Object.assign(Object.create(store) as typeof store, {
        count,
        publish: async () => undefined,
        subscribe: async () => async () => undefined,
      }),
    })
    const body = { type: 'access', contact: 'ann@acme.example' }
    const reply = app.send(null, post('/privacy/requests/by-contact', body))
    await waitFor(() => {
      app.clock.advance(5000)
      return Promise.race([
        reply.then(() => true),
        new Promise<boolean>((r) => setImmediate(r, false)),
      ])
    })
    t.equal((await reply).status, 202)
  }
})

await t.test('a subject has one archive of a type, however often it asks', async (t) => {
  const parts = createMemoryParts()
  const app = await createApp(t, { archives: parts })
  app.tables.users.rows.set('ann', [row])
  const part = { source: 'users', part: 0 }
  const first = await openConfirmed(app, 'ann', 'access')
  await app.until(first, 'ready')
  const other = await openConfirmed(app, 'ann', 'portability')
  await app.until(other, 'ready')
  app.clock.advance(1000)
  const second = await openConfirmed(app, 'ann', 'access')
  await app.until(first, 'completed')
  t.equal(await parts.read({ request: first, ...part }), null)
  t.ok(await parts.read({ request: second, ...part }))
  t.ok(await parts.read({ request: other, ...part }), 'another type is kept')
})

await t.test(
  'where a token proves the identity, a message has the link of the archive',
  async (t) => {
    const app = await createApp(t, { verify: { access: 'token', portability: 'both' } })
    const id = await openConfirmed(app, 'ann', 'access')
    await app.until(id, 'ready')
    await waitFor(() => app.messages.some(({ kind }) => kind === 'ready'))
    const { token } = app.messages.find(({ kind }) => kind === 'ready')!
    const link = { link: token }
    t.match(await app.send(null, post('/privacy/archives', link)), { status: 200 })
    t.match(await app.send(null, post('/privacy/archives', link)), { status: 410 })
    const strong = await openConfirmed(app, 'ann', 'portability')
    await app.until(strong, 'ready')
    await waitFor(() =>
      app.messages.some(({ requestId, kind }) => requestId === strong && kind === 'ready'),
    )
    t.notOk(app.messages.findLast(({ kind }) => kind === 'ready')!.token, 'a login is needed, too')
  },
)

await t.test('a message about an archive is sent again if that fails', async (t) => {
  const sent: string[] = []
  let failures = 2
  const app = await createApp(t, {
    verify: { access: 'step-up' },
    async deliver({ kind }) {
      if (failures-- > 0) throw new Error('away')
      sent.push(kind)
    },
  })
  const opened = await app.send('ann', post('/privacy/requests', { type: 'access' }, fresh))
  await app.until(opened.body.id, 'ready')
  await waitFor(async () => {
    await passTime(app, MINUTE)
    return sent.length > 0
  })
  t.same(sent, ['ready'])
})

await t.test('an erasure is announced while the subject has an address', async (t) => {
  const order: string[] = []
  const users = createTable('users', { erase: async () => void order.push('erase') })
  const app = await createApp(t, {
    sources: [users.source],
    verify: { erasure: 'step-up' },
    deliver: async ({ kind }) => void order.push(kind),
  })
  const { body } = await app.send('ann', post('/privacy/requests', { type: 'erasure' }, fresh))
  await app.until(body.id, 'completed')
  await waitFor(() => order.includes('completed'))
  t.same(order, ['running', 'erase', 'completed'])
})
