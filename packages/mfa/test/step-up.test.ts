import { mfa } from '@parapet/mfa'
import Fastify from 'fastify'
import t from 'tap'
import { passkeyIdOf } from '../src/passkeys/passkey.ts'
import { RELYING_PARTY } from './authenticator.ts'
import {
  build,
  challengeFor,
  createApp,
  enrol,
  enrolPasskey,
  KEYS,
  codeAt,
  outcome,
  post,
} from './helpers.ts'

const passkeys = RELYING_PARTY

await t.test(
  'a route that requires a recent proof refuses with the challenge of RFC 9470',
  async (t) => {
    const built = await build(t)
    const { app, as, clock, events } = built
    const handled: string[] = []
    app.delete('/account', { config: { mfa: { maxAgeSeconds: 300 } } }, async () => {
      handled.push('account')
      return 'gone'
    })
    app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
    const { secret } = await enrol(built, 'alice')
    const refused = await as('alice', { method: 'DELETE', url: '/account' })
    t.equal(outcome(refused), '401 STEP_UP_REQUIRED')
    t.equal(
      refused.headers['www-authenticate'],
      'Bearer error="insufficient_user_authentication", ' +
        'error_description="A stronger or more recent authentication is needed", ' +
        'acr_values="aal2", max_age="300"',
    )
    t.same(handled, [], 'the handler did not run')
    t.match(events.at(-1), { type: 'mfa.challenged', details: { reason: 'unproved', acr: 'aal2' } })
    await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
    t.equal(outcome(await as('alice', { method: 'DELETE', url: '/account' })), '200')
    const other = await as('alice', { method: 'DELETE', url: '/account', session: 's2' })
    t.equal(outcome(other), '401 STEP_UP_REQUIRED', 'another session needs its own proof')
    clock.advance(300_001)
    t.equal(
      outcome(await as('alice', { method: 'DELETE', url: '/account' })),
      '401 STEP_UP_REQUIRED',
    )
    t.equal(outcome(await as('alice', { url: '/reports' })), '200')
    clock.advance(43_200_000)
    t.equal(
      outcome(await as('alice', { url: '/reports' })),
      '401 STEP_UP_REQUIRED',
      'every proof expires',
    )
  },
)

await t.test('a route with a rule is refused without a login, a factor or a session', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  const anonymous = await app.inject('/reports')
  t.equal(outcome(anonymous), '401 LOGIN_REQUIRED')
  const unenrolled = await as('bob', { url: '/reports' })
  t.equal(outcome(unenrolled), '403 ENROLMENT_REQUIRED')
  const { secret } = await enrol(built, 'alice')
  const verified = post('/mfa/verify', { code: codeAt(secret, clock.now()) })
  t.equal(outcome(await as('alice', { ...verified, session: '' })), '403 SESSION_REQUIRED')
  t.equal(outcome(await as('alice', { url: '/reports', session: '' })), '403 SESSION_REQUIRED')
  t.equal(outcome(await as('alice', verified)), '200', 'the code was not used up')
})

await t.test(
  'a role requires a factor on every route, after a grace period for enrolment',
  async (t) => {
    const built = await build(t, {
      roles: { admin: { graceSeconds: 3600 }, root: { maxAgeSeconds: 60 } },
    })
    const { app, as, clock } = built
    app.get('/plain', async () => 'plain')
    app.get('/open', { config: { mfa: 'open' } }, async () => 'open')
    t.equal(outcome(await as('carol', { url: '/plain', roles: 'user' })), '200')
    const graced = await as('carol', { url: '/plain', roles: 'user,admin' })
    t.equal(outcome(graced), '200')
    t.equal(graced.headers['mfa-enrolment-due'], new Date(clock.now() + 3_600_000).toUTCString())
    clock.advance(3_600_000)
    const late = await as('carol', { url: '/plain', roles: 'admin' })
    t.equal(outcome(late), '403 ENROLMENT_REQUIRED')
    t.equal(outcome(await as('carol', { url: '/open', roles: 'admin' })), '200')
    t.equal(outcome(await as('carol', { url: '/mfa', roles: 'admin' })), '200')
    t.equal(
      outcome(await as('carol', { url: '/nowhere', roles: 'admin' })),
      '403 ENROLMENT_REQUIRED',
    )
    const { secret } = await enrol(built, 'carol')
    t.equal(outcome(await as('carol', { url: '/plain', roles: 'admin' })), '401 STEP_UP_REQUIRED')
    await as('carol', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
    t.equal(outcome(await as('carol', { url: '/plain', roles: 'admin' })), '200')
    t.equal(outcome(await as('carol', { url: '/plain', roles: 'admin,root' })), '200')
    clock.advance(60_001)
    t.equal(
      outcome(await as('carol', { url: '/plain', roles: 'admin,root' })),
      '401 STEP_UP_REQUIRED',
      'the strictest role decides',
    )
    t.equal(outcome(await as('carol', { url: '/plain', roles: 'admin' })), '200')
  },
)

await t.test('only a user who never had a factor gets a grace period', async (t) => {
  const built = await build(t, { roles: { admin: { graceSeconds: 3600 } } })
  const { app, as } = built
  app.get('/plain', async () => 'plain')
  const ask = async () => as('alice', { url: '/plain', roles: 'admin' })
  t.equal(outcome(await ask()), '200')
  await enrol(built, 'alice')
  t.equal(outcome(await ask()), '401 STEP_UP_REQUIRED')
  await app.mfa.totp.remove('alice')
  t.equal(outcome(await ask()), '403 ENROLMENT_REQUIRED')
  await enrol(built, 'alice')
  await app.mfa.reset('alice', 'support')
  t.equal(outcome(await ask()), '403 ENROLMENT_REQUIRED', 'after a reset')
})

await t.test(
  'during the grace period for a passkey, the existing factor must be shown',
  async (t) => {
    const roles = { admin: { phishingResistant: true, graceSeconds: 3600 } }
    const built = await build(t, { passkeys, roles })
    const { app, as, clock } = built
    app.get('/plain', async () => 'plain')
    const ask = async () => as('alice', { url: '/plain', roles: 'admin' })
    const { secret } = await enrol(built, 'alice')
    const asked = await ask()
    t.equal(outcome(asked), '401 STEP_UP_REQUIRED')
    t.match(asked.headers['www-authenticate'], /acr_values="aal2"/)
    await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
    const graced = await ask()
    t.equal(outcome(graced), '200')
    t.ok(graced.headers['mfa-enrolment-due'])
    clock.advance(3_600_000)
    t.equal(outcome(await ask()), '403 ENROLMENT_REQUIRED')
  },
)

await t.test('a role that requires passkeys lets a user with codes enrol one', async (t) => {
  const built = await build(t, { passkeys, roles: { admin: { phishingResistant: true } } })
  const { app, as, clock } = built
  app.get('/plain', async () => 'plain')
  const { secret } = await enrol(built, 'alice')
  const roles = 'admin'
  await as('alice', { ...post('/mfa/verify', { code: codeAt(secret, clock.now()) }), roles })
  const unable = await as('alice', { url: '/plain', roles })
  t.equal(outcome(unable), '403 ENROLMENT_REQUIRED')
  t.equal(outcome(await as('alice', { ...post('/mfa/passkeys/options'), roles })), '200')
  const device = await enrolPasskey(built, 'alice')
  t.equal(outcome(await as('alice', { url: '/plain', roles })), '401 STEP_UP_REQUIRED')
  const challenge = await challengeFor(built, 'alice')
  await as('alice', {
    ...post('/mfa/passkeys/verify', { response: device.get({ challenge }) }),
    roles,
  })
  t.equal(outcome(await as('alice', { url: '/plain', roles })), '200')
})

await t.test(
  'a session that logged in with a passkey keeps its level with a recent code',
  async (t) => {
    const built = await build(t, { passkeys })
    const { app, as, clock } = built
    app.get('/fresh', { config: { mfa: { maxAgeSeconds: 60 } } }, async () => 'fresh')
    app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
    const { secret } = await enrol(built, 'alice')
    const device = await enrolPasskey(built, 'alice')
    const amr = 'hwk'
    const verify = () =>
      as('alice', { ...post('/mfa/verify', { code: codeAt(secret, clock.now()) }), amr })
    t.equal(outcome(await verify()), '403 PROOF_INSUFFICIENT', 'two possession factors')
    t.equal(outcome(await as('alice', { url: '/fresh' })), '401 STEP_UP_REQUIRED')
    const answer = device.get({ challenge: await challengeFor(built, null) })
    await app.mfa.assure(await app.mfa.passkeys.verify(null, answer), 's1')
    clock.advance(120_000)
    t.equal(outcome(await as('alice', { url: '/fresh' })), '401 STEP_UP_REQUIRED')
    t.match((await verify()).json(), { aal: 2 }, 'the session keeps its level')
    t.equal(outcome(await as('alice', { url: '/fresh' })), '200')
    t.equal(outcome(await as('alice', { url: '/strict' })), '200', 'the proof by passkey is kept')
  },
)

await t.test('changing factors requires a proof of the last five minutes', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret } = await enrol(built, 'alice')
  const changes: ['POST' | 'DELETE', string][] = [
    ['POST', '/mfa/totp'],
    ['DELETE', '/mfa/totp'],
    ['POST', '/mfa/backup-codes'],
  ]
  for (const [method, url] of changes) {
    const reply = await as('alice', { method, url })
    t.equal(outcome(reply), '401 STEP_UP_REQUIRED', `${method} ${url}`)
  }
  await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.equal(outcome(await as('alice', post('/mfa/backup-codes'))), '201')
  t.equal(outcome(await as('alice', { method: 'DELETE', url: '/mfa/totp' })), '204')
  t.equal(outcome(await as('alice', { method: 'DELETE', url: '/mfa/totp' })), '404 NOT_FOUND')
})

await t.test('if a role requires passkeys, a code is not enough to change factors', async (t) => {
  const roles = { admin: { phishingResistant: true } }
  const built = await build(t, { passkeys, roles, adminRoles: ['admin'] })
  const { app, as, clock } = built
  const { secret } = await enrol(built, 'alice')
  const admin = { roles: 'admin' }
  await as('alice', { ...post('/mfa/verify', { code: codeAt(secret, clock.now()) }), ...admin })
  const url = '/mfa/passkeys/options'
  t.equal(outcome(await as('alice', { ...post(url), ...admin })), '200', 'the first passkey')
  const device = await enrolPasskey(built, 'alice')
  const changes: ['POST' | 'DELETE', string][] = [
    ['POST', url],
    ['POST', '/mfa/totp'],
    ['POST', '/mfa/backup-codes'],
    ['DELETE', `/mfa/passkeys/${passkeyIdOf(device.id)}`],
    ['DELETE', '/mfa/users/bob'],
  ]
  for (const [method, changed] of changes) {
    const reply = await as('alice', { method, url: changed, ...admin })
    t.equal(outcome(reply), '401 STEP_UP_REQUIRED', `${method} ${changed}`)
  }
  t.equal((await app.mfa.passkeys.list('alice')).length, 1, 'nothing was revoked')
  const { challenge } = await app.mfa.passkeys.assertionOptions('alice')
  const answer = { response: device.get({ challenge }) }
  await as('alice', { ...post('/mfa/passkeys/verify', answer), ...admin })
  t.equal(outcome(await as('alice', { ...post(url), ...admin })), '200')
  t.equal(outcome(await as('alice', { method: 'DELETE', url: '/mfa/users/bob', ...admin })), '204')
})

await t.test('a route that was declared before the plugin was registered is refused', async (t) => {
  const app = createApp(t)
  const reasons: string[] = []
  void app.register(mfa, { issuer: 'Acme', keys: KEYS })
  app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  await app.ready()
  app.securityEvents.on('mfa.challenged', ({ details }) => void reasons.push(details.reason))
  const reply = await app.inject({ url: '/reports', headers: { 'x-user': 'alice' } })
  t.equal(outcome(reply), '401 STEP_UP_REQUIRED')
  t.same(reasons, ['missed'])
})

await t.test(
  'a route is refused before its body is read, in every spelling of its path',
  async (t) => {
    const app = Fastify({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } })
    t.after(() => app.close())
    await app.register(mfa, {
      issuer: 'Acme',
      keys: KEYS,
      principal: () => ({ id: 'alice', roles: ['__proto__', 'constructor'], sessionId: 's1' }),
      roles: { admin: {} },
    })
    app.addContentTypeParser('text/plain', async () => t.fail('the body was parsed'))
    const config = Object.freeze({ mfa: 'required' as const })
    app.route({
      method: ['GET', 'POST'],
      url: '/reports',
      config,
      handler: () => t.fail('the handler ran'),
    })
    for (const url of ['/reports', '/reports/', '/REPORTS', '/reports?x=1', '/%72eports']) {
      for (const method of ['GET', 'HEAD', 'POST'] as const) {
        const body =
          method === 'POST' ? { body: 'x', headers: { 'content-type': 'text/plain' } } : {}
        t.equal(
          outcome(await app.inject({ method, url, ...body })),
          method === 'HEAD' ? '403 without body' : '403 ENROLMENT_REQUIRED',
          `${method} ${url}`,
        )
      }
    }
    t.same(Reflect.ownKeys(config), ['mfa'], 'a shared config object is not changed')
  },
)

await t.test('a plugin registered in a child context protects only that context', async (t) => {
  const app = createApp(t)
  await app.register(async (child) => {
    await child.register(mfa, { issuer: 'Acme', keys: KEYS })
    child.get('/inside', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  })
  app.get('/outside', { config: { mfa: 'required' } }, async () => 'outside')
  t.equal(outcome(await app.inject('/inside')), '401 LOGIN_REQUIRED')
  t.equal(outcome(await app.inject('/outside')), '200', 'no rule outside')
  t.notOk(app.hasDecorator('mfa'))
})

await t.test(
  'a caller under suspicion shows a factor anew, on every route that is not open',
  async (t) => {
    const demands = new Map<string, number>()
    const built = await build(t, { demandedSince: ({ id }) => demands.get(id) ?? null })
    const { app, as, clock } = built
    app.get('/plain', async () => 'plain')
    app.get('/open', { config: { mfa: 'open' } }, async () => 'open')
    app.get('/required', { config: { mfa: 'required' } }, async () => 'required')
    const { secret } = await enrol(built, 'alice')
    const prove = () => as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
    await prove()
    const ask = async (url: string, user = 'alice') => outcome(await as(user, { url }))
    t.same([await ask('/plain'), await ask('/required')], ['200', '200'])
    clock.advance(60_000)
    demands.set('alice', clock.now())
    demands.set('bob', clock.now())
    clock.advance(1000)
    t.same(
      [await ask('/plain'), await ask('/required'), await ask('/open')],
      ['401 STEP_UP_REQUIRED', '401 STEP_UP_REQUIRED', '200'],
      'a proof from before does not count',
    )
    t.equal(await ask('/plain', 'bob'), '403 ENROLMENT_REQUIRED')
    t.equal(await ask('/plain', 'carol'), '200', 'another user')
    t.equal((await app.inject('/plain')).statusCode, 200, 'nobody')
    t.equal(outcome(await prove()), '200')
    t.same([await ask('/plain'), await ask('/required')], ['200', '200'])
    clock.advance(3_600_000)
    t.equal(await ask('/plain'), '200', 'one proof is enough')
    demands.set('alice', clock.now() - 1000)
    t.equal(await ask('/plain'), '401 STEP_UP_REQUIRED', 'another suspicion')
    demands.clear()
    t.same([await ask('/plain'), await ask('/plain', 'bob')], ['200', '200'])
  },
)
