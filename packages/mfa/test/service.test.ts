import t from 'tap'
import { build, codeAt, enrol, outcome, post } from './helpers.ts'

await t.test(
  'a reset by an administrator removes the factors, revokes the sessions and notifies the user',
  async (t) => {
    const revoked: string[] = []
    const built = await build(t, {
      adminRoles: ['support'],
      revokeSessions: async (userId) => void revoked.push(userId),
    })
    const { app, as, clock, events, notices } = built
    app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
    const alice = await enrol(built, 'alice')
    await as('alice', post('/mfa/verify', { code: codeAt(alice.secret, clock.now()) }))
    t.equal(outcome(await as('alice', { url: '/reports' })), '200')
    const reset = { method: 'DELETE', url: '/mfa/users/alice' } as const
    t.equal(outcome(await as('mallory', { ...reset, roles: 'user' })), '403 FORBIDDEN')
    t.equal(outcome(await as('dora', { ...reset, roles: 'support' })), '403 ENROLMENT_REQUIRED')
    const dora = await enrol(built, 'dora')
    const unproved = await as('dora', { ...reset, roles: 'support' })
    t.equal(outcome(unproved), '401 STEP_UP_REQUIRED')
    t.equal((await app.mfa.status('alice')).enrolled, true, 'no refused reset removed a factor')
    await as('dora', post('/mfa/verify', { code: codeAt(dora.secret, clock.now()) }))
    const done = await as('dora', { ...reset, roles: 'support' })
    t.equal(outcome(done), '204')
    t.equal(done.body, '', 'the response has no body')
    t.match(events.at(-1), {
      type: 'mfa.reset',
      principalId: 'alice',
      details: { by: 'dora', recovery: false },
    })
    t.match(notices.at(-1), { kind: 'reset', userId: 'alice', by: 'dora' })
    t.same(revoked, ['alice'])
    t.equal(outcome(await as('alice', { url: '/reports' })), '403 ENROLMENT_REQUIRED')
    t.match(await app.mfa.status('alice'), { enrolled: false, backupCodesLeft: 0 })
    await t.rejects(app.mfa.reset('alice', ''), { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
  },
)

await t.test('a user who lost every factor recovers with two different backup codes', async (t) => {
  const revoked: string[] = []
  const built = await build(t, { revokeSessions: async (userId) => void revoked.push(userId) })
  const { app, as, notices } = built
  const { backupCodes } = await enrol(built, 'alice')
  const [one, two] = backupCodes
  const recover = (...codes: (string | undefined)[]) => as('alice', post('/mfa/recover', { codes }))
  t.equal(outcome(await recover(one)), '400 FST_ERR_VALIDATION')
  t.equal(outcome(await recover(one, one?.toLowerCase())), '400 CODE_MISTYPED')
  t.equal((await app.mfa.status('alice')).enrolled, true, 'a refused recovery removed nothing')
  t.equal(outcome(await recover(one, two)), '204')
  t.same(revoked, ['alice'])
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

await t.test('a failing notify does not fail the request', async (t) => {
  const built = await build(t, {
    notify: () => {
      throw new Error('the mail server is down')
    },
  })
  t.ok(await enrol(built, 'alice'))
})

await t.test(
  'arguments of the wrong type are refused, and no account name breaks the QR code',
  async (t) => {
    const { app, as } = await build(t, { adminRoles: ['admin'] })
    const { mfa } = app
    const invalid = { code: 'PARAPET_MFA_INVALID_ARGUMENT' }
    for (const value of [undefined, null, 123456, {}] as never[]) {
      await t.rejects(mfa.verify('alice', value), invalid)
      await t.rejects(mfa.totp.confirm('alice', 'ticket', value), invalid)
      await t.rejects(mfa.recover('alice', [value, value]), invalid)
      await t.rejects(mfa.totp.begin({ id: value, name: 'alice' }), invalid)
      await t.rejects(mfa.totp.begin({ id: 'alice', name: value }), invalid)
    }
    for (const name of ['名'.repeat(300), '👩‍💻'.repeat(200), 'a\uD800b', '', ':', '%zz']) {
      const { uri } = await mfa.totp.begin({ id: 'alice', name })
      t.ok(new URL(uri).href.length < 1500)
    }
    const nul = await as('dora', { method: 'DELETE', url: '/mfa/users/%00', roles: 'admin' })
    t.equal(outcome(nul), '400 FST_ERR_VALIDATION')
  },
)

await t.test('a user id that cannot be stored is refused', async (t) => {
  const { app } = await build(t)
  for (const id of ['', 'x'.repeat(301), 'a\0b', '\uD800', 1 as never]) {
    await t.rejects(app.mfa.status(id), { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
  }
})
