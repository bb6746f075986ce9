/** What fails is tried again, seen by officers, and never quotes the subject. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSqlClient } from '@parapet/kit'
import { createMemoryRecords, signWebhook, type SubjectMessage } from '@parapet/privacy'
import { Pool } from 'pg'
import t from 'tap'
import { createSqlRecords } from '../src/storage/records-postgres.ts'
import {
  createApp,
  createTable,
  DAY,
  fresh,
  openConfirmed,
  passTime,
  post,
  runTick,
  waitFor,
  type TestApp,
} from './helpers.ts'

const quote = () => Promise.reject(new Error('550 ann@acme.example is unknown'))

const rest = async () => {
  for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Lets jobs run that wait for their next attempt, until the condition holds. */
async function untilLater(app: TestApp, condition: () => boolean | Promise<boolean>) {
  for (let round = 0; !(await condition()); round++) {
    if (round > 60) throw new Error('the condition was not met')
    app.clock.advance(DAY / 10)
    await rest()
    await runTick(app)
    await rest()
  }
}

await t.test(
  'a source that cannot be collected is reported, and does not stop the others',
  async (t) => {
    let isAway = true
    const bad = createTable('bad', {
      collect: () => {
        if (isAway) throw Object.assign(new Error('no row of ann@acme.example'), { code: 'EAWAY' })
        return [{ note: 'here' }]
      },
    })
    const users = createTable('users')
    users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
    const app = await createApp(t, { sources: [bad.source, users.source] })
    const id = await openConfirmed(app, 'ann', 'access')
    await app.until(id, 'partial')
    const { body } = await app.send('officer', `/privacy/admin/requests/${id}`)
    const failed = { name: 'bad', kind: 'source', status: 'failed', attempts: 1, error: 'EAWAY' }
    t.same(body.parts, [failed])
    t.match(
      app.events.filter(({ type }) => type === 'privacy.part_failed'),
      [{ details: { request: id, type: 'access', part: 'bad', attempts: 1, reason: 'EAWAY' } }],
    )
    const { archive } = (await app.app.privacy.findRequest(id))!
    t.same(
      archive?.sources.map(({ name }) => name),
      ['users', 'privacy'],
    )
    isAway = false
    t.equal((await app.send('officer', post(`/privacy/admin/requests/${id}/retry`))).status, 200)
    await app.until(id, 'ready')
    t.match((await app.app.privacy.findRequest(id))!.parts, [{ name: 'bad', status: 'done' }])
  },
)

await t.test('a source that collects something else than records is named', async (t) => {
  for (const [collected, problem] of [
    [undefined, /"bad" is invalid: it returns something else/],
    [Promise.resolve([]), /"bad" is invalid: it returns something else/],
    [[undefined], /"bad" is invalid: it collects a record that is no object/],
    [['ann'], /"bad" is invalid: it collects a record that is no object/],
    [[{ id: 10n }], /"bad" is invalid: it collects a record that is no JSON/],
  ] as const) {
    const bad = createTable('bad', { collect: (() => collected) as never })
    const app = await createApp(t, { sources: [bad.source] })
    const logged: string[] = []
    app.app.log.error = ({ err }: { err: Error }) => void logged.push(err.message)
    const id = await openConfirmed(app, 'ann', 'access')
    await app.until(id, 'partial')
    t.match(logged, [problem])
    t.match((await app.app.privacy.findRequest(id))!.parts, [
      { name: 'bad', error: 'PARAPET_PRIVACY_INVALID_SOURCE' },
    ])
  }
})

await t.test('no job and no response quotes what a function says of the subject', async (t) => {
  const bad = createTable('bad', { remove: quote, rectify: quote })
  const app = await createApp(t, {
    approve: [],
    sources: [bad.source],
    deliver: quote,
    findSubject: quote,
    removeAfterDays: 0,
  })
  const refused = await app.send('ann', post('/privacy/requests', { type: 'restriction' }))
  t.match(refused, { status: 503, body: { code: 'PARAPET_PRIVACY_FAILED' } })
  t.notMatch(refused.raw.toString(), /acme/)
  const contact = { type: 'access', contact: 'ann@acme.example' }
  t.equal((await app.send(null, post('/privacy/requests/by-contact', contact))).status, 202)
  await app.app.privacy.request({ subject: 'ann', type: 'restriction' })
  const changes = { bad: { note: 'x' } }
  await app.app.privacy.request({ subject: 'ann', type: 'rectification', details: { changes } })
  const { id } = await app.app.privacy.request({ subject: 'ann', type: 'erasure' })
  await untilLater(app, async () => (await app.app.privacy.findRequest(id))!.state === 'completed')
  const logged = () => app.jobErrors.map((error) => String((error as Error).stack))
  for (const expected of [
    'The option "findSubject" failed: Error',
    'The option "deliver" failed: Error',
    'The removal failed: bad',
  ]) {
    await untilLater(app, () => logged().some((text) => text.includes(expected)))
  }
  t.notMatch(JSON.stringify([logged(), app.events]), /acme/)
})

await t.test('the answer of a processor counts also while its notice is being sent', async (t) => {
  const secret = 'x'.repeat(40)
  let app: TestApp | undefined
  const answered: number[] = []
  const answer = async (notice: string) => {
    const { id } = JSON.parse(notice) as { id: string }
    const body = JSON.stringify({ id, status: 'erased' })
    const signed = signWebhook('a', body, secret, app!.clock.now())
    const headers = { ...signed, 'content-type': 'application/json' }
    const url = '/privacy/processors/crm/answers'
    const reply = await app!.app.inject({ method: 'POST', url, payload: body, headers })
    answered.push(reply.statusCode)
  }
  const server = createServer((request, response) => {
    let notice = ''
    request.on('data', (chunk: Buffer) => (notice += chunk.toString()))
    request.on('end', () => void answer(notice).then(() => response.end('{}')))
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  app = await createApp(t, { processors: [{ name: 'crm', url, secret }] })
  const closed = new Promise<void>((resolve) => {
    app.app.securityEvents.on('privacy.request_closed', () => resolve())
  })
  const { id } = await app.app.privacy.request({ subject: 'ann', type: 'erasure' })
  await closed
  await app.until(id, 'completed')
  t.same(answered, [204])
  t.match((await app.app.privacy.findRequest(id))!.parts[0], { name: 'crm', status: 'done' })
})

await t.test('an erasure waits for its announcement, until it is sent or given up', async (t) => {
  for (const isSent of [true, false]) {
    let attempts = 0
    const users = createTable('users')
    users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
    const sent: SubjectMessage[] = []
    const app = await createApp(t, {
      sources: [users.source],
      records: createMemoryRecords(),
      deliver: async (message) => {
        if (message.kind === 'running' && (++attempts < 3 || !isSent)) throw new Error('away')
        sent.push(message)
      },
    })
    const { id } = await app.app.privacy.request({ subject: 'ann', type: 'erasure' })
    await waitFor(() => attempts > 1)
    await passTime(app, 0)
    t.same(users.plans, [], 'nothing is erased yet')
    await untilLater(
      app,
      async () => (await app.app.privacy.findRequest(id))!.state === 'completed',
    )
    t.same(
      sent.map(({ kind }) => kind).filter((kind) => kind === 'running'),
      isSent ? ['running'] : [],
    )
    t.equal(attempts, isSent ? 3 : 15)
    t.equal(users.plans.length, 1)
  }
})

await t.test('a consent ends with an erasure, and its history says why', async (t) => {
  const news = { title: 'News', noticeVersion: '1', noticeText: 'x' }
  const app = await createApp(t, { purposes: { news, ads: news, old: news } })
  const { consents } = app.app.privacy
  const decide = (purpose: string, state: 'granted' | 'withdrawn') =>
    consents.record({ subject: 'ann', purpose, state, by: 'subject', ip: '192.0.2.1' })
  await decide('news', 'granted')
  await decide('old', 'granted')
  await decide('old', 'withdrawn')
  t.ok(await consents.has('ann', 'news'))
  const { id } = await app.app.privacy.request({ subject: 'ann', type: 'erasure' })
  await app.until(id, 'completed')
  t.notOk(await consents.has('ann', 'news'))
  const history = (await consents.history('ann')).map(
    ({ purpose, state, by }) => `${purpose} ${state} ${by}`,
  )
  t.same(history.toSorted(), [
    'news granted subject',
    'news withdrawn erasure',
    'old granted subject',
    'old withdrawn subject',
  ])
})

await t.test('a sweep that is given up is asked to stop', async (t) => {
  let stopped = false
  const slow = createTable('slow', {
    retentionDays: 1,
    sweep: ({ signal }) =>
      new Promise(() => signal.addEventListener('abort', () => (stopped = true))),
  })
  const app = await createApp(t, { sources: [slow.source], partDeadlineMs: 1000 })
  const sweeping = app.app.privacy.sweep({ dryRun: false })
  await passTime(app, 1000)
  t.match((await sweeping).sources[0], { source: 'slow', error: 'PARAPET_PRIVACY_TIMEOUT' })
  t.ok(stopped)
})

await t.test('a correction that is given up is asked to stop', async (t) => {
  let stopped = false
  const rectify = (_subject: string, _changes: object, { signal }: { signal: AbortSignal }) =>
    new Promise<void>(() => signal.addEventListener('abort', () => (stopped = true)))
  const slow = createTable('slow', { rectify })
  const app = await createApp(t, { sources: [slow.source], approve: [], partDeadlineMs: 30_000 })
  const details = { changes: { slow: { note: 'x' } } }
  const { id } = await app.app.privacy.request({ subject: 'ann', type: 'rectification', details })
  await passTime(app, 0)
  app.clock.advance(20_000)
  await rest()
  t.notOk(stopped, 'not after the shorter time of the options')
  await passTime(app, 10_000)
  await app.until(id, 'partial')
  t.ok(stopped)
})

const none = async () => {}

await t.test('ports that lack a method are refused at boot', async (t) => {
  const records = { insert: none, find: none, save: none, list: none, missing: none }
  await t.rejects(createApp(t, { records: records as never }), { message: /"records".*remove/ })
  const store = { publish: none, subscribe: none }
  await t.rejects(createApp(t, { store: store as never }), { message: /"store".*count/ })
})

await t.test(
  'requests that ended long ago are deleted, and the ledger proves what it proved',
  async (t) => {
    const app = await createApp(t, {
      requestsKeptDays: 4,
      approve: ['objection'],
      // That of the night must not be faster.
      sweepDryRun: true,
    })
    const { privacy } = app.app
    const ask = async (subject: string, type: 'erasure' | 'restriction', state = 'completed') => {
      const { id } = await privacy.request({ subject, type })
      await app.until(id, state)
      await app.untilSent(id)
      return id
    }
    const erased = await ask('ann', 'erasure')
    const held = await ask('bob', 'restriction')
    const open = await app.send('eve', post('/privacy/requests', { type: 'access' }, fresh))
    await privacy.holds.place({ subject: 'bob', reason: 'r', basis: 'b' })
    app.clock.advance(2 * DAY)
    await runTick(app)
    const late = await ask('dan', 'restriction')
    app.clock.advance(2 * DAY)
    const own = async (dryRun: boolean) =>
      (await privacy.sweep({ dryRun })).sources.find(({ source }) => source === 'privacy')
    t.match(await own(false), { found: 0 }, 'four days are not over')
    app.clock.advance(1)
    t.match(await own(true), { found: 2, removed: 0 }, 'with the one that is held')
    t.ok(await privacy.findRequest(erased))
    t.match(await own(false), { found: 2, removed: 1 })
    t.equal(await privacy.findRequest(erased), null)
    t.match(await privacy.findRequest(open.body.id), { state: 'expired' }, 'it ended later')
    t.ok(await privacy.findRequest(held), 'a legal hold wins')
    t.ok(await privacy.findRequest(late))
    t.same(await privacy.replay(), { entries: 0, subjects: 0 })
    t.match(privacy.register().activities.at(-1), { name: 'privacy', retention: '4 days' })
  },
)

await t.test('requests are kept for ever where the application wants it', async (t) => {
  const { app } = await createApp(t, { requestsKeptDays: 0 })
  t.same((await app.privacy.sweep({ dryRun: false })).sources, [])
  t.match(app.privacy.register().activities.at(-1), { retention: 'as long as the account' })
})

await t.test('a database that is away is a 503, and says nothing of where it is', async (t) => {
  const pool = new Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
  t.after(() => pool.end())
  const news = { title: 'News', noticeVersion: '1', noticeText: 'x' }
  const app = await createApp(
    t,
    { records: createSqlRecords(createSqlClient(pool)), purposes: { news } },
    (routes) => routes.get('/letter', { config: { consent: 'news' } }, async () => 'sent'),
  )
  for (const url of ['/letter', '/privacy/requests', '/privacy/consents']) {
    const reply = await app.send('ann', url)
    t.match(reply, { status: 503, body: { code: 'PARAPET_PRIVACY_UNAVAILABLE' } })
    t.notMatch(reply.raw.toString(), /127/)
  }
})
