import t from 'tap'
import { build, codeAt, enrol, outcome, post } from './helpers.ts'

await t.test(
  'a remembered device replaces the factor unless a recent proof is required',
  async (t) => {
    const built = await build(t)
    const { app, as, clock, events } = built
    app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
    app.get('/fresh', { config: { mfa: { maxAgeSeconds: 300 } } }, async () => 'fresh')
    const { secret } = await enrol(built, 'alice')
    const agent = { 'user-agent': 'Browser/1.2 (System 10)' }
    const payload = { code: codeAt(secret, clock.now()), rememberDevice: true }
    const verified = await as('alice', { ...post('/mfa/verify', payload), headers: agent })
    const cookie = String(verified.headers['set-cookie'])
    t.match(
      cookie,
      /^__Host-parapet-device=[\w.-]{60}; Max-Age=2592000; Path=\/; Secure; HttpOnly; SameSite=Strict$/,
    )
    const device = cookie.split(';')[0]!
    const later = (headers: object, url = '/reports', session = 's2', user = 'alice') =>
      as(user, { url, session, headers: { cookie: device, ...agent, ...headers } })
    t.equal(outcome(await later({})), '200')
    t.equal(outcome(await later({})), '200', 'the session keeps the proof')
    t.equal(
      outcome(await later({ cookie: '' })),
      '401 STEP_UP_REQUIRED',
      'a token of the session without the cookie of the device',
    )
    const updated = { 'user-agent': 'Browser/1.3 (System 11)' }
    t.equal(
      outcome(await later(updated, '/reports', 's3')),
      '200',
      'after an update of the browser',
    )
    t.equal(
      outcome(await later({ 'user-agent': 'Other' }, '/reports', 's4')),
      '401 STEP_UP_REQUIRED',
    )
    t.equal(outcome(await later({}, '/fresh', 's5')), '401 STEP_UP_REQUIRED')
    await enrol(built, 'bob')
    t.equal(
      outcome(await later({}, '/reports', 's6', 'bob')),
      '401 STEP_UP_REQUIRED',
      'the device of another user',
    )
    const { devices } = (await as('alice', { url: '/mfa' })).json<{
      devices: { id: string; label: string }[]
    }>()
    t.match(devices, [{ label: 'Browser/1.2 (System 10)' }])
    const revoked = await as('alice', { method: 'DELETE', url: `/mfa/devices/${devices[0]!.id}` })
    t.equal(outcome(revoked), '204')
    t.match(events.at(-1), { type: 'mfa.device_revoked', details: { devices: 1 } })
    t.equal(
      outcome(await later({}, '/reports', 's2')),
      '401 STEP_UP_REQUIRED',
      'the session has lost the proof',
    )
    t.equal(outcome(await later({}, '/reports', 's7')), '401 STEP_UP_REQUIRED')
    t.equal(
      outcome(await as('alice', { method: 'DELETE', url: '/mfa/devices/nothing' })),
      '404 NOT_FOUND',
    )
  },
)

await t.test('a device is remembered only for a proof of the same user', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const { secret } = await enrol(built, 'alice')
  const { proof } = await app.mfa.verify('alice', codeAt(secret, clock.now()), { amr: ['pwd'] })
  await t.rejects(app.mfa.devices.remember('bob', 'Browser', {}, proof), {
    code: 'PARAPET_MFA_STEP_UP_REQUIRED',
  })
  await t.rejects(app.mfa.devices.remember('alice', 'Browser', {}, { ...proof }), {
    code: 'PARAPET_MFA_INVALID_ARGUMENT',
  })
  t.ok(await app.mfa.devices.remember('alice', 'Browser', {}, proof))
})

await t.test('a device cookie that is sent twice, altered or expired is ignored', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret } = await enrol(built, 'alice')
  const verify = post('/mfa/verify', { code: codeAt(secret, clock.now()), rememberDevice: true })
  const cookie = String((await as('alice', verify)).headers['set-cookie']).split(';')[0]!
  let asked = 0
  const ask = async (header: string) => {
    const session = `session-${++asked}`
    return outcome(await as('alice', { url: '/reports', session, headers: { cookie: header } }))
  }
  t.equal(await ask(`a=b; ${cookie}`), '200')
  t.equal(await ask(`${cookie}; ${cookie}`), '401 STEP_UP_REQUIRED', 'sent twice')
  t.equal(await ask(`\xa0${cookie}`), '401 STEP_UP_REQUIRED', '0xA0 makes it another name')
  t.equal(await ask(cookie.slice(0, -1)), '401 STEP_UP_REQUIRED', 'cut')
  t.equal(
    await ask(cookie.replace(/.$/, (end) => (end === 'A' ? 'B' : 'A'))),
    '401 STEP_UP_REQUIRED',
    'altered',
  )
  t.equal(await ask(cookie.replace('__Host-', '')), '401 STEP_UP_REQUIRED', 'no prefix')
  clock.advance(2_592_000_000)
  t.equal(await ask(cookie), '401 STEP_UP_REQUIRED', 'expired after 30 days')
  await app.mfa.devices.revoke('alice')
  t.same(await app.mfa.devices.list('alice'), [])
})
