import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { createMemoryStore } from '@parapet/kit'
import { createMemoryRecords, privacy } from '@parapet/privacy'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { ConsentCache } from '../src/consent/consent-cache.ts'
import { CONTROLLER, createApp, DAY, KEYS, SECRET } from './helpers.ts'

const purposes = {
  marketing_emails: { title: 'News by e-mail', noticeVersion: '7', noticeText: 'We send news.' },
  analytics: {
    title: 'Statistics',
    noticeVersion: '2',
    noticeText: 'We count visits.',
    honoursGpc: true,
    expiresAfterDays: 10,
  },
}

async function build(t: Test, options = {}) {
  let runs = 0
  const handler = async () => {
    runs += 1
    return 'done'
  }
  const test = await createApp(t, { purposes, ...options }, (app) => {
    app.get('/news', { config: { consent: 'marketing_emails' } }, handler)
    app.get('/count', { config: { consent: 'analytics' } }, handler)
    app.get('/both', { config: { consent: ['marketing_emails', 'analytics'] } }, handler)
    app.get('/free', handler)
  })
  const give = (as: string, purpose: keyof typeof purposes, state = 'granted') =>
    test.send(as, {
      method: 'PUT',
      url: `/privacy/consents/${purpose}`,
      payload: { state, noticeVersion: purposes[purpose].noticeVersion },
      headers: { 'user-agent': 'Firefox' },
    })
  const withdraw = (as: string, purpose: string) =>
    test.send(as, { method: 'DELETE', url: `/privacy/consents/${purpose}` })
  return { ...test, give, withdraw, runs: () => runs }
}

const refused = { status: 403, body: { code: 'PARAPET_PRIVACY_CONSENT_REQUIRED' } }

await t.test('a route answers while the consent is in force, and at no other time', async (t) => {
  const { send, give, withdraw, runs } = await build(t)
  t.match(await send('ann', '/news'), refused)
  t.equal((await give('ann', 'marketing_emails', 'refused')).status, 200)
  t.match(await send('ann', '/news'), refused)
  t.match(await give('ann', 'marketing_emails'), { body: { state: 'granted' } })
  t.equal((await send('ann', '/news')).status, 200)
  t.match(await send('bob', '/news'), refused, 'a consent is of one subject')
  t.equal(runs(), 1)
  t.match(await withdraw('ann', 'marketing_emails'), { status: 200, body: { state: 'withdrawn' } })
  t.match(await send('ann', '/news'), refused, 'at once, although the answer was cached')
  t.equal(runs(), 1, 'the handler ran for the consent only')
  t.equal((await send(null, '/free')).status, 200)
})

await t.test('a request without a login is refused, and so is one purpose of two', async (t) => {
  const { send, give, runs, events } = await build(t)
  t.match(await send(null, '/news'), refused)
  await give('ann', 'analytics')
  t.match(await send('ann', '/both'), refused)
  t.equal(runs(), 0)
  t.match(
    events.filter(({ type }) => type === 'privacy.consent_refused'),
    [
      { details: { purpose: 'marketing_emails', reason: 'anonymous' } },
      { details: { purpose: 'marketing_emails', reason: 'absent' } },
    ],
  )
  await give('ann', 'marketing_emails')
  t.equal((await send('ann', '/both')).status, 200)
})

await t.test('Sec-GPC refuses the purposes that honour it', async (t) => {
  const { send, give, runs } = await build(t)
  await give('ann', 'analytics')
  await give('ann', 'marketing_emails')
  t.equal((await send('ann', '/count')).status, 200)
  const gpc = { 'sec-gpc': '1' }
  t.match(await send('ann', { url: '/count', headers: gpc }), refused)
  t.match(await send('ann', { url: '/both', headers: gpc }), refused)
  t.equal((await send('ann', { url: '/news', headers: gpc })).status, 200)
  for (const value of ['1, 1', '1,0', '0, 1']) {
    const headers = { 'sec-gpc': value }
    t.match(await send('ann', { url: '/count', headers }), refused, `sent twice: ${value}`)
  }
  for (const value of ['0', '', '11', 'true']) {
    const headers = { 'sec-gpc': value }
    t.equal((await send('ann', { url: '/count', headers })).status, 200, value)
  }
  t.equal(runs(), 6)
})

await t.test('a consent expires when its purpose says so, also in the cache', async (t) => {
  const { send, give, clock } = await build(t, { consentCacheMs: 60_000 })
  await give('ann', 'analytics')
  clock.advance(10 * DAY - 1000)
  t.equal((await send('ann', '/count')).status, 200)
  clock.advance(1000)
  t.match(await send('ann', '/count'), refused)
})

await t.test(
  'every decision is a version; the notice that was shown is named by its hash',
  async (t) => {
    const { app, give, withdraw, send } = await build(t)
    await give('ann', 'marketing_emails')
    await withdraw('ann', 'marketing_emails')
    await give('ann', 'marketing_emails')
    const history = await app.privacy.consents.history('ann')
    t.same(
      history.map(({ version, state }) => [version, state]),
      [
        [3, 'granted'],
        [2, 'withdrawn'],
        [1, 'granted'],
      ],
    )
    t.equal(history[0]!.noticeHash, createHash('sha256').update('We send news.').digest('hex'))
    t.notMatch(JSON.stringify(history), /Firefox|127\.0\.0\.1/, 'what names a person is sealed')
    t.match(await send('ann', '/privacy/consents'), {
      body: {
        items: [
          { purpose: 'marketing_emails', state: 'granted', version: 3, isGranted: true },
          { purpose: 'analytics', state: null, version: 0, isGranted: false },
        ],
      },
    })
  },
)

await t.test('nobody consents to a notice that was replaced', async (t) => {
  const { send, runs } = await build(t)
  const payload = { state: 'granted', noticeVersion: '6' }
  const stale = await send('ann', {
    method: 'PUT',
    url: '/privacy/consents/marketing_emails',
    payload,
  })
  t.match(stale, { status: 409, body: { code: 'PARAPET_PRIVACY_CONFLICT' } })
  t.match(await send('ann', '/news'), refused)
  t.equal(runs(), 0)
})

await t.test('decisions at the same time get different versions', async (t) => {
  const { app, give } = await build(t)
  const states = Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? 'granted' : 'refused'))
  await Promise.all(states.map((state) => give('ann', 'marketing_emails', state)))
  const versions = (await app.privacy.consents.history('ann')).map(({ version }) => version)
  t.ok(versions.length >= 2)
  t.same(
    versions,
    versions.map((_, index) => versions.length - index),
  )
})

await t.test('the same decision again is answered by the one in force', async (t) => {
  const { app, give, withdraw, events } = await build(t)
  const replies = await Promise.all(
    Array.from({ length: 10 }, () => give('ann', 'marketing_emails')),
  )
  t.same(new Set(replies.map(({ body }) => body.id)).size, 1)
  t.match(replies[9], { status: 200, body: { state: 'granted', version: 1 } })
  await withdraw('ann', 'marketing_emails')
  t.match(await withdraw('ann', 'marketing_emails'), { status: 200, body: { version: 2 } })
  t.equal((await app.privacy.consents.history('ann')).length, 2)
  const changed = events.filter(({ type }) => type === 'privacy.consent_changed')
  t.equal(changed.length, 2, 'an event says that something has changed')
})

await t.test('another notice needs a new decision, and one that expires is renewed', async (t) => {
  const records = createMemoryRecords()
  const first = await build(t, { records })
  await first.give('ann', 'marketing_emails')
  await first.give('ann', 'analytics')
  first.clock.advance(DAY)
  t.match(await first.give('ann', 'analytics'), { body: { version: 2 } })
  t.match(await first.give('ann', 'analytics'), { body: { version: 2 } }, 'once a day')
  const changed = { ...purposes.marketing_emails, noticeText: 'We send news, and more.' }
  const second = await build(t, { records, purposes: { ...purposes, marketing_emails: changed } })
  t.match(await second.give('ann', 'marketing_emails'), { body: { version: 2 } })
})

await t.test(
  'one subject cannot fill the storage, and can always take a consent back',
  async (t) => {
    const { app, clock, give, withdraw, send } = await build(t, { consentsPerDay: 6 })
    for (let round = 0; round < 3; round++) {
      t.equal((await give('ann', 'marketing_emails')).status, 200)
      t.equal((await withdraw('ann', 'marketing_emails')).status, 200)
    }
    const refused = await give('ann', 'marketing_emails')
    t.match(refused, { status: 429, body: { code: 'PARAPET_PRIVACY_TOO_MANY_REQUESTS' } })
    t.equal(refused.headers['retry-after'], '86400')
    t.match(await send('ann', '/news'), { status: 403 })
    // Without a consent in force, another refusal changes nothing.
    for (let round = 0; round < 9; round++) {
      const state = await give('ann', 'marketing_emails', 'refused')
      t.match(state, { status: 200, body: { isGranted: false, version: 6 } })
    }
    t.equal((await give('ann', 'analytics')).status, 200, 'the first decision on a purpose')
    t.match(await withdraw('ann', 'analytics'), { status: 200, body: { state: 'withdrawn' } })
    t.equal((await app.privacy.consents.history('ann')).length, 8)
    t.equal((await give('bob', 'marketing_emails')).status, 200)
    clock.advance(DAY)
    t.equal((await give('ann', 'marketing_emails')).status, 200)
  },
)

await t.test('the history is read page by page, and an export has all of it', async (t) => {
  const { app } = await build(t, { consentsPerDay: 1000 })
  const { consents } = app.privacy
  const decision = { subject: 'ann', purpose: 'marketing_emails', by: 'subject' } as const
  for (let round = 0; round < 5; round++) {
    for (const state of ['granted', 'withdrawn'] as const) {
      await consents.record({ ...decision, state })
    }
  }
  const first = await consents.history('ann', { limit: 4 })
  const second = await consents.history('ann', { limit: 4, after: first.at(-1)! })
  const third = await consents.history('ann', { limit: 4, after: second.at(-1)! })
  const versions = [...first, ...second, ...third].map(({ version }) => version)
  t.same(versions, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
  await t.rejects(consents.history('bob', { after: first[0]! }), {
    code: 'PARAPET_PRIVACY_NOT_FOUND',
  })
})

await t.test('the receipt has the members of ISO/IEC TS 27560 in DPV', async (t) => {
  const { send, give } = await build(t)
  const none = await send('ann', '/privacy/consents/marketing_emails/receipt')
  t.match(none, { status: 404, body: { code: 'PARAPET_PRIVACY_NOT_FOUND' } })
  await give('ann', 'marketing_emails')
  const { status, headers, raw } = await send('ann', '/privacy/consents/marketing_emails/receipt')
  t.equal(status, 200)
  t.match(headers['content-type'], 'application/ld+json')
  const receipt = JSON.parse(raw.toString()) as object
  t.match(receipt, {
    '@type': 'dpv:ConsentReceipt',
    'dct:conformsTo': 'https://w3id.org/dpv/schema/dpv-27560#receipt',
    'dpv:hasRecordOfActivity': {
      '@type': 'dpv:ConsentRecord',
      'dpv:hasDataController': { 'dpv:hasName': 'Acme' },
      'dpv:hasJurisdiction': 'loc:IE',
      'dpv:hasProcess': { 'dpv:hasLegalBasis': 'dpv:Consent' },
      'dpv:hasNotice': { 'dct:hasVersion': '7' },
      'dpv:hasConsentStatus': [{ '@type': 'dpv:ConsentGiven' }],
    },
  })
  t.notMatch(raw.toString(), /"ann"/, 'the subject is a pseudonym')
})

await t.test('an unknown purpose is a 404, and in a rule it stops the boot', async (t) => {
  const { send } = await build(t)
  for (const purpose of ['nothing', 'constructor', '__proto__']) {
    const url = `/privacy/consents/${purpose}`
    t.match(await send('ann', { method: 'DELETE', url }), {
      status: 404,
      body: { code: 'PARAPET_PRIVACY_NOT_FOUND' },
    })
  }
  for (const rule of ['nothing', '', [], 7, ['analytics', 'constructor']]) {
    const { app } = { app: Fastify() }
    t.after(() => app.close())
    await app.register(privacy, base())
    t.throws(() => app.get('/x', { config: { consent: rule as string } }, async () => 'never'), {
      code: 'PARAPET_PRIVACY_INVALID_RULE',
      statusCode: 500,
      message: /the route GET \/x/,
    })
  }
})

await t.test('a route that was declared before the plugin is refused', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  let ran = false
  void app.register(privacy, base())
  app.get('/early', { config: { consent: 'analytics' } }, async () => {
    ran = true
  })
  const reply = await app.inject('/early')
  t.equal(reply.statusCode, 403)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_PRIVACY_CONSENT_REQUIRED')
  t.notOk(ran)
})

await t.test('a decision on one instance reaches the caches of the others', async (t) => {
  const [records, store] = [createMemoryRecords(), createMemoryStore()]
  t.after(() => store.close())
  const shared = { records, store, consentCacheMs: 60_000 }
  const [one, two] = [await build(t, shared), await build(t, shared)]
  await one.give('ann', 'marketing_emails')
  t.equal((await two.send('ann', '/news')).status, 200)
  await one.withdraw('ann', 'marketing_emails')
  t.match(await two.send('ann', '/news'), refused)
})

await t.test('an answer that was read before a decision is not kept', async (t) => {
  const clock = { now: () => 0, schedule: () => () => undefined }
  const cache = new ConsentCache(clock, 5000, 2)
  const gate = new EventEmitter()
  const reading = cache.load('ann', 'p', async () => {
    await once(gate, 'open')
    return { isGranted: true, expiresInMs: Infinity }
  })
  cache.drop('ann')
  gate.emit('open')
  t.equal(await reading, true)
  t.equal(cache.get('ann', 'p'), undefined)
  for (const subject of ['a', 'b', 'c']) {
    await cache.load(subject, 'p', async () => ({ isGranted: true, expiresInMs: Infinity }))
  }
  t.equal(cache.get('a', 'p'), undefined, 'it is bounded: the first one went')
  t.equal(cache.get('c', 'p'), true)
  cache.clear()
  t.equal(cache.get('c', 'p'), undefined)
})

await t.test('an asynchronous principal is loaded before the guard asks', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(privacy, {
    ...base(),
    principal: async () => ({ id: 'ann', roles: [] }),
  })
  app.get('/news', { config: { consent: 'marketing_emails' } }, async () => 'news')
  await app.ready()
  t.equal((await app.inject('/news')).statusCode, 403)
  const decision = { subject: 'ann', purpose: 'marketing_emails', by: 'subject' } as const
  await app.privacy.consents.record({ ...decision, state: 'granted' })
  t.equal((await app.inject('/news')).statusCode, 200)
})

function base() {
  return {
    controller: CONTROLLER,
    secret: SECRET,
    keys: KEYS,
    purposes,
    deliver: async () => undefined,
  }
}
