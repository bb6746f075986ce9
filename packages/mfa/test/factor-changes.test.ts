import t from 'tap'
import { passkeyIdOf } from '../src/passkeys/passkey.ts'
import { Authenticator, RELYING_PARTY } from './authenticator.ts'
import { begin, build, codeAt, enrol, enrolPasskey, outcome, post, type Built } from './helpers.ts'

/** Every way to change the factors of an account. */
const CHANGES: Record<string, (built: Built, device: Authenticator) => Promise<unknown>> = {
  'a reset': ({ app }) => app.mfa.reset('alice', 'support'),
  'replacing the app': (built) => enrol(built, 'alice'),
  'removing the app': ({ app }) => app.mfa.totp.remove('alice'),
  'adding a passkey': (built) => enrolPasskey(built, 'alice'),
  'revoking a passkey': ({ app }, { id }) => app.mfa.passkeys.revoke('alice', passkeyIdOf(id)),
  'new backup codes': ({ app }) => app.mfa.backupCodes.replace('alice'),
}

for (const [what, change] of Object.entries(CHANGES)) {
  await t.test(`${what} invalidates earlier proofs, tickets and challenges`, async (t) => {
    const built = await build(t, { passkeys: RELYING_PARTY })
    const { app, as, clock } = built
    app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
    const { secret } = await enrol(built, 'alice')
    const device = await enrolPasskey(built, 'alice')
    const { ticket, secret: pending } = await begin(built, 'alice')
    const { challenge } = await app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'a' })
    const { proof } = await app.mfa.verify('alice', codeAt(secret, clock.now()), { amr: ['pwd'] })
    await change(built, device)
    const code = codeAt(pending, clock.now())
    await t.rejects(app.mfa.totp.confirm('alice', ticket, code), {
      code: 'PARAPET_MFA_TICKET_REFUSED',
    })
    await t.rejects(
      app.mfa.passkeys.register('alice', new Authenticator().create({ challenge }), 'x'),
      {
        code: 'PARAPET_MFA_CHALLENGE_REFUSED',
      },
    )
    await t.rejects(app.mfa.assure(proof, 's1'), { code: 'PARAPET_MFA_STEP_UP_REQUIRED' })
    await t.rejects(app.mfa.devices.remember('alice', 'Browser', {}, proof), {
      code: 'PARAPET_MFA_STEP_UP_REQUIRED',
    })
    const reply = outcome(await as('alice', { url: '/reports' }))
    t.match(reply, /^(?:401 STEP_UP_REQUIRED|403 ENROLMENT_REQUIRED)$/)
  })
}

await t.test('new backup codes revoke what an old backup code has proved', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret, backupCodes } = await enrol(built, 'alice')
  const stolen = { code: backupCodes[0], rememberDevice: true }
  await as('alice', { ...post('/mfa/verify', stolen), session: 'thief' })
  t.equal(outcome(await as('alice', { url: '/reports', session: 'thief' })), '200')
  await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.equal(outcome(await as('alice', post('/mfa/backup-codes'))), '201')
  t.equal(outcome(await as('alice', { url: '/reports', session: 'thief' })), '401 STEP_UP_REQUIRED')
  t.equal(outcome(await as('alice', { url: '/reports' })), '200')
  t.same(await app.mfa.devices.list('alice'), [])
})

await t.test('replacing a factor revokes what it proved and every remembered device', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret } = await enrol(built, 'alice')
  const remember = { code: codeAt(secret, clock.now()), rememberDevice: true }
  await as('alice', { ...post('/mfa/verify', remember), session: 'thief' })
  t.equal(outcome(await as('alice', { url: '/reports', session: 'thief' })), '200')
  await enrol(built, 'alice')
  t.equal(outcome(await as('alice', { url: '/reports', session: 'thief' })), '401 STEP_UP_REQUIRED')
  t.same(await app.mfa.devices.list('alice'), [])
})

await t.test(
  'a notice says whether a factor is the first one, and from where it came',
  async (t) => {
    const built = await build(t, { passkeys: RELYING_PARTY })
    const { app, notices } = built
    app.post('/undo', async (request) => {
      await app.mfa.secondFactor.removeAll('alice', { request })
    })
    await enrol(built, 'alice')
    await enrolPasskey(built, 'alice')
    await app.mfa.backupCodes.replace('alice')
    const device = await enrolPasskey(built, 'bob')
    await enrol(built, 'bob')
    await app.mfa.passkeys.revoke('bob', passkeyIdOf(device.id))
    await app.mfa.totp.remove('bob', { ip: '192.0.2.9' })
    t.match(notices.at(-1), { kind: 'removed', factor: 'totp', ip: '192.0.2.9' })
    await enrol(built, 'bob')
    const firsts = notices.filter(({ isFirst }) => isFirst === true)
    t.same(
      firsts.map(({ kind, userId, factor }) => [kind, userId, factor]),
      [
        ['enrolled', 'alice', 'totp'],
        ['enrolled', 'bob', 'passkey'],
        ['enrolled', 'bob', 'totp'],
      ],
    )
    t.equal(outcome(await built.as('alice', post('/undo'))), '200')
    t.match(await app.mfa.status('alice'), { enrolled: false, backupCodesLeft: 0 })
    t.match(built.events.at(-1), { type: 'mfa.reset', details: { by: 'alice' } })
  },
)
