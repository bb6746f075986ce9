import { declarePhase } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import Fastify from 'fastify'
import t from 'tap'
import { begin, build, codeAt, createApp, enrol, KEYS, post, wrongCode } from './helpers.ts'

const code = (reply: { json: () => unknown }) => (reply.json() as { code?: string }).code

await t.test('begin shows a secret, its URI, a QR code twice and eight backup codes', async (t) => {
  const { as } = await build(t, { backupCodes: 8 })
  const reply = await as('alice', post('/mfa/totp'))
  t.equal(reply.statusCode, 201)
  t.equal(reply.headers['cache-control'], 'no-store')
  const begun = reply.json<{
    secret: string
    uri: string
    qr: { dataUrl: string; svg: string }
    backupCodes: string[]
  }>()
  t.match(begun.secret, /^[A-Z2-7]{32}$/, '160 bits')
  t.match(begun.uri, /^otpauth:\/\/totp\/Acme:alice\?issuer=Acme&secret=/)
  t.match(begun.qr.dataUrl, /^data:image\/png;base64,/)
  t.match(begun.qr.svg, /^<svg /)
  t.equal(new Set(begun.backupCodes).size, 8)
  t.equal((await as('alice', { url: '/mfa' })).json<{ enrolled: boolean }>().enrolled, false)
})

await t.test('an old factor works until the new one is confirmed, and not after', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const old = await enrol(built, 'alice')
  const { ticket, secret } = await begin(built, 'alice', old.secret)
  t.equal((await app.mfa.verify('alice', codeAt(old.secret, clock.now()))).driftSteps, 0)
  clock.advance(30_000)
  await app.mfa.totp.confirm('alice', ticket, codeAt(secret, clock.now()))
  clock.advance(30_000)
  await t.rejects(app.mfa.verify('alice', codeAt(old.secret, clock.now())), {
    code: 'PARAPET_MFA_CODE_REFUSED',
    statusCode: 403,
  })
  await t.rejects(app.mfa.verify('alice', old.backupCodes[0]!), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  clock.advance(30_000)
  t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
})

await t.test('a typo does not end an enrolment; ten minutes do', async (t) => {
  const { app, clock } = await build(t)
  const { ticket, secret } = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
  await t.rejects(app.mfa.totp.confirm('alice', ticket, wrongCode(secret, clock.now())), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  await t.rejects(app.mfa.totp.confirm('alice', ticket, 'not digits'), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  t.ok(await app.mfa.totp.confirm('alice', ticket, codeAt(secret, clock.now())))
  const late = await app.mfa.totp.begin({ id: 'bob', name: 'bob' })
  clock.advance(600_000)
  await t.rejects(app.mfa.totp.confirm('bob', late.ticket, codeAt(late.secret, clock.now())), {
    code: 'PARAPET_MFA_TICKET_REFUSED',
    statusCode: 409,
  })
})

await t.test('drift is learned: two steps at first, then one around it, and zero', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const { secret } = await enrol(built, 'alice', -2)
  const status = await app.mfa.status('alice')
  t.equal(status.totp?.driftSteps, -2, 'a lagging phone is told')
  clock.advance(300_000)
  await t.rejects(app.mfa.verify('alice', codeAt(secret, clock.now(), 1)), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  t.equal((await app.mfa.verify('alice', codeAt(secret, clock.now(), -1))).driftSteps, -1)
  clock.advance(300_000)
  t.equal((await app.mfa.verify('alice', codeAt(secret, clock.now(), 0))).driftSteps, 0)
  clock.advance(300_000)
  await t.rejects(app.mfa.verify('alice', codeAt(secret, clock.now(), -2)), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
})

await t.test('a code works once, also the one that confirmed, and says so', async (t) => {
  const built = await build(t)
  const { as, events, clock } = built
  const begun = (await as('alice', post('/mfa/totp'))).json<{ ticket: string; secret: string }>()
  const first = codeAt(begun.secret, clock.now())
  const payload = { ticket: begun.ticket, code: first }
  t.match((await as('alice', post('/mfa/totp/confirm', payload))).json(), { aal: 2 })
  const replay = await as('alice', post('/mfa/verify', { code: first }))
  t.equal(replay.statusCode, 409)
  t.match(replay.json(), { code: 'PARAPET_MFA_CODE_USED', detail: /used already/ })
  t.match(
    events.map(({ type }) => type),
    ['mfa.enrolled', 'mfa.verified', 'mfa.replayed'],
  )
  clock.advance(30_000)
  const next = await as(
    'alice',
    post('/mfa/verify', { code: ` ${codeAt(begun.secret, clock.now())} ` }),
  )
  t.equal(next.statusCode, 200)
  t.match(next.json(), { method: 'totp', amr: ['pwd', 'otp', 'mfa'], backupCodesLeft: 4 })
})

await t.test(
  'a backup code works once, in any spelling, and a typo costs no attempt',
  async (t) => {
    const built = await build(t)
    const { as, events, notices } = built
    const { backupCodes } = await enrol(built, 'alice')
    const typo = backupCodes[0]!.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
    for (let i = 0; i < 30; i++) {
      const reply = await as('alice', post('/mfa/verify', { code: typo }))
      t.equal(reply.statusCode, 400)
      t.equal(code(reply), 'PARAPET_MFA_CODE_MISTYPED')
    }
    const typed = backupCodes[0]!.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o')
    const used = await as('alice', post('/mfa/verify', { code: typed }))
    t.equal(used.statusCode, 200)
    t.match(used.json(), { method: 'backup-code', backupCodesLeft: 3, driftSteps: null })
    t.match(events.at(-2), { type: 'mfa.backup_code_used', details: { left: 3 } })
    t.match(notices.at(-1), { kind: 'backup_code_used', userId: 'alice' })
    const again = await as('alice', post('/mfa/verify', { code: backupCodes[0] }))
    t.equal(again.statusCode, 403)
    t.equal(code(again), 'PARAPET_MFA_CODE_REFUSED')
  },
)

await t.test('new backup codes replace all old ones at once', async (t) => {
  const built = await build(t)
  const { app } = built
  const { backupCodes } = await enrol(built, 'alice')
  const fresh = await app.mfa.backupCodes.replace('alice')
  t.equal(fresh.length, 4)
  await t.rejects(app.mfa.verify('alice', backupCodes[3]!), { code: 'PARAPET_MFA_CODE_REFUSED' })
  t.equal((await app.mfa.verify('alice', fresh[3]!)).backupCodesLeft, 3)
  await t.rejects(app.mfa.backupCodes.replace('nobody'), {
    code: 'PARAPET_MFA_NOT_FOUND',
    statusCode: 404,
  })
})

const ip = (i: number) => `192.0.2.${i}`

await t.test('wrong codes make waits that grow, and a right one ends them', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret } = await enrol(built, 'alice')
  const attempt = (text: string, ip: string) =>
    as('alice', { ...post('/mfa/verify', { code: text }), ip })
  const bad = () => wrongCode(secret, clock.now())
  for (let i = 0; i < 5; i++) t.equal((await attempt(bad(), ip(i))).statusCode, 403)
  for (const [i, wait] of [30, 60, 120, 240].entries()) {
    const held = await attempt(codeAt(secret, clock.now()), ip(10 + i))
    t.equal(held.statusCode, 429, 'even the right code waits')
    t.equal(code(held), 'PARAPET_MFA_THROTTLED')
    t.equal(held.headers['retry-after'], String(wait))
    clock.advance(wait * 1000)
    t.equal((await attempt(bad(), ip(20 + i))).statusCode, 403)
  }
  clock.advance(480_000)
  t.equal((await attempt(codeAt(secret, clock.now()), ip(30))).statusCode, 200)
  t.equal((await attempt(bad(), ip(31))).statusCode, 403, 'and the count starts anew')
  t.equal((await attempt(bad(), ip(32))).statusCode, 403)
})

await t.test(
  'a hundred wrong codes in a row disable the factor until it is enrolled anew',
  async (t) => {
    const built = await build(t)
    const { app, clock, events, notices } = built
    const { secret, backupCodes } = await enrol(built, 'alice')
    for (let i = 0; i < 100; i++) {
      await t.rejects(app.mfa.verify('alice', wrongCode(secret, clock.now())), {
        code: 'PARAPET_MFA_CODE_REFUSED',
      })
      clock.advance(3_600_000)
    }
    const locked = events.filter(({ type }) => type === 'mfa.locked')
    t.match(locked, [{ details: { method: 'totp', failures: 100 } }], 'told once')
    t.equal(notices.filter(({ kind }) => kind === 'locked').length, 1)
    clock.advance(100 * 86_400_000)
    await t.rejects(app.mfa.verify('alice', codeAt(secret, clock.now())), {
      code: 'PARAPET_MFA_LOCKED',
      statusCode: 423,
    })
    t.equal((await app.mfa.status('alice')).totpLocked, true)
    t.ok(await app.mfa.verify('alice', backupCodes[0]!), 'another factor still works')
    const anew = await enrol(built, 'alice')
    t.ok(await app.mfa.verify('alice', codeAt(anew.secret, clock.now())))
  },
)

await t.test('whatever succeeds between, 150 wrong codes in 30 days are the most', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const { secret } = await enrol(built, 'alice')
  const start = clock.now()
  let wrong = 0
  for (;;) {
    const attempt = await app.mfa
      .verify('alice', wrongCode(secret, clock.now()))
      .catch((error: { code: string; headers?: Record<string, string> }) => error)
    if ('code' in attempt && attempt.code === 'PARAPET_MFA_THROTTLED') {
      t.ok(
        Number(attempt.headers?.['retry-after']) > 20 * 86_400,
        'until the oldest are 30 days old',
      )
      break
    }
    wrong++
    if (wrong % 4 === 0) {
      // The owner comes by and ends the waits, as helps the attacker most.
      clock.advance(30_000)
      t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
      clock.advance(3_600_000)
    }
  }
  t.equal(wrong, 150)
  clock.advance(start + 32 * 86_400_000 - clock.now())
  t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
})

await t.test('one address waits, over all accounts', async (t) => {
  const { as, clock } = await build(t)
  const attempt = (user: string, ip: string) =>
    as(user, { ...post('/mfa/verify', { code: '000000' }), ip })
  for (let i = 0; i < 20; i++) t.equal((await attempt(`user-${i}`, '192.0.2.1')).statusCode, 403)
  const held = await attempt('user-21', '192.0.2.1')
  t.equal(held.statusCode, 429)
  t.equal(held.headers['retry-after'], '30')
  t.equal((await attempt('user-21', '192.0.2.2')).statusCode, 403)
  clock.advance(30_000)
  t.equal((await attempt('user-22', '192.0.2.1')).statusCode, 403)
})

await t.test('right codes do not count against an address', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret } = await enrol(built, 'alice')
  for (let i = 0; i < 40; i++) {
    const reply = await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
    t.equal(reply.statusCode, 200)
    clock.advance(30_000)
  }
})

await t.test('a route may ask for a fresh proof, and says how (RFC 9470)', async (t) => {
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
  t.equal(refused.statusCode, 401)
  t.equal(code(refused), 'PARAPET_MFA_STEP_UP_REQUIRED')
  t.equal(
    refused.headers['www-authenticate'],
    'Bearer error="insufficient_user_authentication", ' +
      'error_description="A stronger or more recent authentication is needed", ' +
      'acr_values="aal2", max_age="300"',
  )
  t.same(handled, [], 'the handler did not run')
  t.match(events.at(-1), { type: 'mfa.challenged', details: { reason: 'unproved', acr: 'aal2' } })
  await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.equal((await as('alice', { method: 'DELETE', url: '/account' })).statusCode, 200)
  const other = await as('alice', { method: 'DELETE', url: '/account', session: 's2' })
  t.equal(other.statusCode, 401, 'another session proves for itself')
  clock.advance(300_001)
  t.equal((await as('alice', { method: 'DELETE', url: '/account' })).statusCode, 401)
  t.equal((await as('alice', { url: '/reports' })).statusCode, 200)
  clock.advance(43_200_000)
  t.equal((await as('alice', { url: '/reports' })).statusCode, 401, 'no proof lasts for ever')
})

await t.test(
  'without a login, a factor or a session, a route that asks stays closed',
  async (t) => {
    const built = await build(t)
    const { app, as, clock } = built
    app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
    const anonymous = await app.inject('/reports')
    t.equal(anonymous.statusCode, 401)
    t.equal(code(anonymous), 'PARAPET_MFA_LOGIN_REQUIRED')
    const unenrolled = await as('bob', { url: '/reports' })
    t.equal(unenrolled.statusCode, 403)
    t.equal(code(unenrolled), 'PARAPET_MFA_ENROLMENT_REQUIRED')
    const { secret } = await enrol(built, 'alice')
    const verified = post('/mfa/verify', { code: codeAt(secret, clock.now()) })
    t.equal((await as('alice', { ...verified, session: '' })).statusCode, 200)
    t.equal((await as('alice', { url: '/reports', session: '' })).statusCode, 401)
  },
)

await t.test('the level is computed from what was shown, not from what is said', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret } = await enrol(built, 'alice')
  const levels: Record<string, number> = {
    pwd: 2,
    'pwd,mfa': 2,
    swk: 1,
    'hwk,mfa': 1,
    mfa: 1,
    fpt: 2,
    oidc: 2,
    'oidc,otp': 2,
  }
  for (const [amr, aal] of Object.entries(levels)) {
    const payload = { code: codeAt(secret, clock.now()) }
    t.match((await as('alice', { ...post('/mfa/verify', payload), amr })).json(), { aal }, amr)
    clock.advance(30_000)
  }
})

await t.test('a role asks on every route, with a grace period to enrol in', async (t) => {
  const built = await build(t, {
    roles: { admin: { graceSeconds: 3600 }, root: { maxAgeSeconds: 60 } },
  })
  const { app, as, clock } = built
  app.get('/plain', async () => 'plain')
  app.get('/open', { config: { mfa: 'open' } }, async () => 'open')
  t.equal((await as('carol', { url: '/plain', roles: 'user' })).statusCode, 200)
  const graced = await as('carol', { url: '/plain', roles: 'user,admin' })
  t.equal(graced.statusCode, 200)
  t.equal(graced.headers['mfa-enrolment-due'], new Date(clock.now() + 3_600_000).toUTCString())
  clock.advance(3_600_000)
  const late = await as('carol', { url: '/plain', roles: 'admin' })
  t.equal(late.statusCode, 403)
  t.equal(code(late), 'PARAPET_MFA_ENROLMENT_REQUIRED')
  t.equal((await as('carol', { url: '/open', roles: 'admin' })).statusCode, 200)
  t.equal((await as('carol', { url: '/mfa', roles: 'admin' })).statusCode, 200)
  t.equal((await as('carol', { url: '/nowhere', roles: 'admin' })).statusCode, 403)
  const { secret } = await enrol(built, 'carol')
  t.equal((await as('carol', { url: '/plain', roles: 'admin' })).statusCode, 401)
  await as('carol', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.equal((await as('carol', { url: '/plain', roles: 'admin' })).statusCode, 200)
  t.equal((await as('carol', { url: '/plain', roles: 'admin,root' })).statusCode, 200)
  clock.advance(60_001)
  t.equal(
    (await as('carol', { url: '/plain', roles: 'admin,root' })).statusCode,
    401,
    'the strictest',
  )
  t.equal((await as('carol', { url: '/plain', roles: 'admin' })).statusCode, 200)
})

await t.test('a remembered device stands in where freshness is not asked for', async (t) => {
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
  t.equal((await later({})).statusCode, 200)
  t.equal((await later({ cookie: '' }, '/reports')).statusCode, 200, 'the session has it now')
  const updated = { 'user-agent': 'Browser/1.3 (System 11)' }
  t.equal((await later(updated, '/reports', 's3')).statusCode, 200, 'an update')
  t.equal((await later({ 'user-agent': 'Other' }, '/reports', 's4')).statusCode, 401)
  t.equal((await later({}, '/fresh', 's5')).statusCode, 401)
  await enrol(built, 'bob')
  t.equal((await later({}, '/reports', 's6', 'bob')).statusCode, 401, "another user's")
  const { devices } = (await as('alice', { url: '/mfa' })).json<{
    devices: { id: string; label: string }[]
  }>()
  t.match(devices, [{ label: 'Browser/1.2 (System 10)' }])
  const revoked = await as('alice', { method: 'DELETE', url: `/mfa/devices/${devices[0]!.id}` })
  t.equal(revoked.statusCode, 204)
  t.match(events.at(-1), { type: 'mfa.device_revoked', details: { devices: 1 } })
  t.equal((await later({}, '/reports', 's2')).statusCode, 401, 'the session has lost it')
  t.equal((await later({}, '/reports', 's7')).statusCode, 401)
  t.equal((await as('alice', { method: 'DELETE', url: '/mfa/devices/nothing' })).statusCode, 404)
})

await t.test('changing factors needs a proof of the last five minutes', async (t) => {
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
    t.equal(reply.statusCode, 401, `${method} ${url}`)
    t.equal(code(reply), 'PARAPET_MFA_STEP_UP_REQUIRED')
  }
  await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.equal((await as('alice', post('/mfa/backup-codes'))).statusCode, 201)
  t.equal((await as('alice', { method: 'DELETE', url: '/mfa/totp' })).statusCode, 204)
  t.equal((await as('alice', { method: 'DELETE', url: '/mfa/totp' })).statusCode, 404)
})

await t.test(
  'an administrator resets: factors, devices and sessions end, the user is told',
  async (t) => {
    const killed: string[] = []
    const built = await build(t, {
      adminRoles: ['support'],
      revokeSessions: async (userId) => void killed.push(userId),
    })
    const { app, as, clock, events, notices } = built
    app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
    const alice = await enrol(built, 'alice')
    await as('alice', post('/mfa/verify', { code: codeAt(alice.secret, clock.now()) }))
    t.equal((await as('alice', { url: '/reports' })).statusCode, 200)
    const reset = { method: 'DELETE', url: '/mfa/users/alice' } as const
    t.equal(code(await as('mallory', { ...reset, roles: 'user' })), 'PARAPET_MFA_FORBIDDEN')
    t.equal(
      code(await as('dora', { ...reset, roles: 'support' })),
      'PARAPET_MFA_ENROLMENT_REQUIRED',
    )
    const dora = await enrol(built, 'dora')
    t.equal(code(await as('dora', { ...reset, roles: 'support' })), 'PARAPET_MFA_STEP_UP_REQUIRED')
    await as('dora', post('/mfa/verify', { code: codeAt(dora.secret, clock.now()) }))
    const done = await as('dora', { ...reset, roles: 'support' })
    t.equal(done.statusCode, 204)
    t.equal(done.body, '', 'nothing is shown')
    t.match(events.at(-1), {
      type: 'mfa.reset',
      principalId: 'alice',
      details: { by: 'dora', recovery: false },
    })
    t.match(notices.at(-1), { kind: 'reset', userId: 'alice', by: 'dora' })
    t.same(killed, ['alice'])
    t.equal(code(await as('alice', { url: '/reports' })), 'PARAPET_MFA_ENROLMENT_REQUIRED')
    t.match(await app.mfa.status('alice'), { enrolled: false, backupCodesLeft: 0 })
    await t.rejects(app.mfa.reset('alice', ''), { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
  },
)

await t.test('a user who lost every factor recovers with two different backup codes', async (t) => {
  const killed: string[] = []
  const built = await build(t, { revokeSessions: async (userId) => void killed.push(userId) })
  const { app, as, notices } = built
  const { backupCodes } = await enrol(built, 'alice')
  const [one, two] = backupCodes
  const recover = (...codes: (string | undefined)[]) => as('alice', post('/mfa/recover', { codes }))
  t.equal((await recover(one)).statusCode, 400)
  t.equal(code(await recover(one, one?.toLowerCase())), 'PARAPET_MFA_CODE_MISTYPED')
  t.equal((await recover(one, two)).statusCode, 204)
  t.same(killed, ['alice'])
  t.match(notices.at(-1), { kind: 'reset', by: 'alice' })
  t.equal((await app.mfa.status('alice')).enrolled, false)
})

await t.test('forget erases a user', async (t) => {
  const built = await build(t)
  await enrol(built, 'alice')
  await built.app.mfa.forget('alice')
  await built.app.mfa.forget('nobody')
  t.equal((await built.app.mfa.status('alice')).enrolled, false)
})

await t.test('a user who is not told does not stop anything, and the log says so', async (t) => {
  const built = await build(t, {
    notify: () => {
      throw new Error('the mail is down')
    },
  })
  t.ok(await enrol(built, 'alice'))
})

await t.test('settings that let a code be guessed refuse to start, with the figure', async (t) => {
  t.equal((await build(t)).app.mfa.guessProbability.toPrecision(3), '0.000750')
  const refused: [object, RegExp][] = [
    [
      { throttle: { failuresPer30Days: 1000 } },
      /probability 0.00499, above maxGuessProbability 0.001: 1000 attempts at 5 live codes of 6 digits/,
    ],
    [{ totp: { window: 5 } }, /probability 0.00165/],
    [{ maxGuessProbability: 0.0001 }, /probability 0.000750, above maxGuessProbability 0.0001/],
  ]
  for (const [options, message] of refused) {
    await t.rejects(build(t, options), { code: 'PARAPET_MFA_GUESSABLE', statusCode: 500, message })
  }
  const strong = await build(t, { totp: { digits: 8 }, throttle: { failuresPer30Days: 10_000 } })
  t.equal(strong.app.mfa.guessProbability.toPrecision(3), '0.000500')
})

await t.test('without a key, or with a wrong option, nothing starts', async (t) => {
  const refused: [object, string, RegExp][] = [
    [{ issuer: 'Acme' }, 'PARAPET_MFA_NO_KEY', /generateCipherKey/],
    [{ issuer: 'Acme', keys: 'secret' }, 'PARAPET_MFA_INVALID_OPTION', /keys: .*id:base64url/],
    [{ issuer: 'A:B', keys: KEYS }, 'PARAPET_MFA_INVALID_OPTION', /issuer/],
    [{ issuer: 'Acme', key: KEYS }, 'PARAPET_MFA_INVALID_OPTION', /did you mean "keys"/],
    [
      { issuer: 'Acme', keys: KEYS, cipher: { seal() {}, open() {} } },
      'PARAPET_MFA_INVALID_OPTION',
      /exclude each other/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, totp: { window: 0, learnedWindow: 1 } },
      'PARAPET_MFA_INVALID_OPTION',
      /at most totp.window, 0/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, throttle: { hardStop: 101 } },
      'PARAPET_MFA_INVALID_OPTION',
      /throttle.hardStop/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, maxGuessProbability: 1 },
      'PARAPET_MFA_INVALID_OPTION',
      /at most 0.01/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, passkeys: { rpId: 'a', origins: ['https://a/path'] } },
      'PARAPET_MFA_INVALID_OPTION',
      /origins\[0\]: must be an origin/,
    ],
    [
      {
        issuer: 'Acme',
        keys: KEYS,
        sql: { query() {}, transaction() {} },
        accounts: { load() {}, save() {}, findByCredential() {}, remove() {} },
      },
      'PARAPET_MFA_INVALID_OPTION',
      /exclude/,
    ],
  ]
  for (const [options, errorCode, message] of refused) {
    const app = createApp(t)
    await t.rejects(
      async () => {
        await app.register(mfa, options as never)
      },
      {
        code: errorCode,
        message,
      },
    )
  }
})

await t.test('a rule that cannot be read stops the boot', async (t) => {
  const { app } = await build(t)
  const rules = [
    'closed',
    true,
    null,
    [],
    { maxAge: 300 },
    { maxAgeSeconds: 0 },
    { phishingResistant: 'yes' },
  ]
  for (const rule of rules) {
    t.throws(() => app.get('/broken', { config: { mfa: rule as never } }, async () => 'never'), {
      code: 'PARAPET_MFA_INVALID_RULE',
      message: /the route GET \/broken must be 'open', 'required' or/,
    })
  }
})

await t.test('a profile tightens the defaults, and what still deviates is told once', async (t) => {
  const bootOf = async (options: object) => {
    const lines: { msg: string; level: number; deviations?: string[] }[] = []
    const stream = { write: (line: string) => void lines.push(JSON.parse(line) as never) }
    const app = Fastify({ logger: { level: 'info', stream } })
    t.after(() => app.close())
    await app.register(mfa, { issuer: 'Acme', keys: KEYS, ...options })
    await app.ready()
    return lines.filter(({ deviations }) => deviations !== undefined)
  }
  const [none] = await bootOf({})
  t.match(none, {
    level: 30,
    deviations: [/ASVS 6.5.5.*150 s/, /remembered/, /remembered/, /2.2.2/, /4.6/, /6.3.7/, /7.4.3/],
  })
  const strict = {
    notify: () => {},
    revokeSessions: async () => {},
    passkeys: { rpId: 'localhost', origins: ['http://localhost'] },
  }
  t.same(await bootOf({ ...strict, profile: 'asvs' }), [])
  t.same(await bootOf({ ...strict, profile: 'aal2' }), [])
  const [loose] = await bootOf({
    ...strict,
    profile: 'asvs',
    totp: { window: 2 },
    proofMaxAgeSeconds: 100_000,
  })
  t.match(loose, { level: 40, deviations: [/ASVS 6.5.5/] })
  const [old] = await bootOf({ ...strict, profile: 'aal2', proofMaxAgeSeconds: 100_000 })
  t.match(old, { deviations: [/24 h/] })
  const roles = { admin: { graceSeconds: 60 }, root: {}, user: { graceSeconds: 1 } }
  for (const profile of ['aal2', 'asvs']) {
    const [graced] = await bootOf({ ...strict, profile, roles })
    t.match(graced, { deviations: [/graceSeconds.*: admin, user$/] }, profile)
  }
  const built = await build(t, { profile: 'asvs' })
  const { secret } = await enrol(built, 'alice')
  await t.rejects(built.app.mfa.verify('alice', codeAt(secret, built.clock.now(), 1)), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  const payload = { code: codeAt(secret, built.clock.now()), rememberDevice: true }
  const reply = await built.as('alice', post('/mfa/verify', payload))
  t.equal(reply.statusCode, 200)
  t.equal(reply.headers['set-cookie'], undefined, 'and remembers no device')
})

await t.test(
  'it stands after the login and before the input, and may be without routes',
  async (t) => {
    const app = createApp(t)
    declarePhase(app, '@parapet/input-guard', 'input')
    await t.rejects(
      async () => {
        await app.register(mfa, { issuer: 'Acme', keys: KEYS })
      },
      {
        code: 'PARAPET_KIT_WRONG_ORDER',
      },
    )
    const { app: bare } = await build(t, { routes: false })
    t.equal((await bare.inject('/mfa')).statusCode, 404)
    t.throws(() => bare.mfa.passkeys, { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
    const { as } = await build(t, { prefix: '/account/factors' })
    t.equal((await as('alice', { url: '/account/factors' })).statusCode, 200)
  },
)

await t.test(
  'a factor that goes takes along what it proved, and every remembered device',
  async (t) => {
    const built = await build(t)
    const { app, as, clock } = built
    app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
    const { secret } = await enrol(built, 'alice')
    const remember = { code: codeAt(secret, clock.now()), rememberDevice: true }
    await as('alice', { ...post('/mfa/verify', remember), session: 'thief' })
    t.equal((await as('alice', { url: '/reports', session: 'thief' })).statusCode, 200)
    await enrol(built, 'alice')
    t.equal((await as('alice', { url: '/reports', session: 'thief' })).statusCode, 401)
    t.same(await app.mfa.devices.list('alice'), [])
  },
)

await t.test('a code shown again is no wrong code', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const { secret } = await enrol(built, 'alice')
  const code = codeAt(secret, clock.now())
  await app.mfa.verify('alice', code)
  for (let i = 0; i < 20; i++) {
    await t.rejects(app.mfa.verify('alice', code), {
      code: 'PARAPET_MFA_CODE_USED',
      statusCode: 409,
    })
  }
  clock.advance(30_000)
  t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
})

await t.test('who is right in the end makes up for the own mistakes', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret, backupCodes } = await enrol(built, 'alice')
  const attempt = (code: string) => as('alice', { ...post('/mfa/verify', { code }), ip: ip(1) })
  for (let i = 0; i < 15; i++) {
    for (let j = 0; j < 2; j++) {
      t.equal((await attempt(wrongCode(secret, clock.now()))).statusCode, 403)
    }
    t.equal((await attempt(codeAt(secret, clock.now()))).statusCode, 200)
    clock.advance(30_000)
  }
  for (const code of backupCodes) t.equal((await attempt(code)).statusCode, 200)
})
