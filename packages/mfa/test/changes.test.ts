/** What a change of factors ends, and who may make one. */
import { createMemoryStore, createManualClock } from '@parapet/kit'
import { createStoreAccounts } from '@parapet/mfa'
import t from 'tap'
import { hashText } from '../src/digest.ts'
import { createMarks } from '../src/proof.ts'
import { compileRequirement, satisfies } from '../src/step-up.ts'
import { Authenticator, ORIGIN, RP_ID } from './authenticator.ts'
import { begin, build, codeAt, enrol, post, type Built } from './helpers.ts'

const passkeys = { rpId: RP_ID, origins: [ORIGIN] }
const codeOf = (reply: { json: () => unknown }) => (reply.json() as { code?: string }).code

async function enrolPasskey({ app }: Built, user: string, device = new Authenticator()) {
  const options = await app.mfa.passkeys.registrationOptions({ id: user, name: user })
  device.userHandle = options.user.id
  await app.mfa.passkeys.register(user, device.create({ challenge: options.challenge }), 'Key')
  return device
}

/** Every way in which the factors of an account change. */
const CHANGES: Record<string, (built: Built, device: Authenticator) => Promise<unknown>> = {
  'a reset': ({ app }) => app.mfa.reset('alice', 'support'),
  'another app': (built) => enrol(built, 'alice'),
  'no app any longer': ({ app }) => app.mfa.totp.remove('alice'),
  'a passkey more': (built) => enrolPasskey(built, 'alice'),
  'a passkey less': ({ app }, { id }) => app.mfa.passkeys.revoke('alice', id),
  'new backup codes': ({ app }) => app.mfa.backupCodes.replace('alice'),
}

for (const [what, change] of Object.entries(CHANGES)) {
  await t.test(`${what} ends what was begun or proved before`, async (t) => {
    const built = await build(t, { passkeys })
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
    t.not((await as('alice', { url: '/reports' })).statusCode, 200)
  })
}

await t.test('new backup codes end the sessions that an old one has proved', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret, backupCodes } = await enrol(built, 'alice')
  const stolen = { code: backupCodes[0], rememberDevice: true }
  await as('alice', { ...post('/mfa/verify', stolen), session: 'thief' })
  t.equal((await as('alice', { url: '/reports', session: 'thief' })).statusCode, 200)
  await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.equal((await as('alice', post('/mfa/backup-codes'))).statusCode, 201)
  t.equal((await as('alice', { url: '/reports', session: 'thief' })).statusCode, 401)
  t.equal((await as('alice', { url: '/reports' })).statusCode, 200)
  t.same(await app.mfa.devices.list('alice'), [])
})

await t.test('a device is remembered for a proof of its own user only', async (t) => {
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

await t.test('grace is for who never had a factor', async (t) => {
  const built = await build(t, { roles: { admin: { graceSeconds: 3600 } } })
  const { app, as } = built
  app.get('/plain', async () => 'plain')
  const ask = async () => as('alice', { url: '/plain', roles: 'admin' })
  t.equal((await ask()).statusCode, 200)
  await enrol(built, 'alice')
  t.equal((await ask()).statusCode, 401)
  await app.mfa.totp.remove('alice')
  t.equal(codeOf(await ask()), 'PARAPET_MFA_ENROLMENT_REQUIRED')
  await enrol(built, 'alice')
  await app.mfa.reset('alice', 'support')
  t.equal(codeOf(await ask()), 'PARAPET_MFA_ENROLMENT_REQUIRED', 'nor does a reset open it')
})

await t.test('while a passkey is only due, what there is must be shown', async (t) => {
  const roles = { admin: { phishingResistant: true, graceSeconds: 3600 } }
  const built = await build(t, { passkeys, roles })
  const { app, as, clock } = built
  app.get('/plain', async () => 'plain')
  const ask = async () => as('alice', { url: '/plain', roles: 'admin' })
  const { secret } = await enrol(built, 'alice')
  const asked = await ask()
  t.equal(asked.statusCode, 401)
  t.match(asked.headers['www-authenticate'], /acr_values="aal2"/)
  await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  const graced = await ask()
  t.equal(graced.statusCode, 200)
  t.ok(graced.headers['mfa-enrolment-due'])
  clock.advance(3_600_000)
  t.equal(codeOf(await ask()), 'PARAPET_MFA_ENROLMENT_REQUIRED')
})

await t.test('where a role asks for passkeys, a code changes no factors', async (t) => {
  const roles = { admin: { phishingResistant: true } }
  const built = await build(t, { passkeys, roles, adminRoles: ['admin'] })
  const { app, as, clock } = built
  const { secret } = await enrol(built, 'alice')
  const admin = { roles: 'admin' }
  await as('alice', { ...post('/mfa/verify', { code: codeAt(secret, clock.now()) }), ...admin })
  const url = '/mfa/passkeys/options'
  t.equal((await as('alice', { ...post(url), ...admin })).statusCode, 200, 'the first one')
  const device = await enrolPasskey(built, 'alice')
  const changes: ['POST' | 'DELETE', string][] = [
    ['POST', url],
    ['POST', '/mfa/totp'],
    ['POST', '/mfa/backup-codes'],
    ['DELETE', `/mfa/passkeys/${device.id}`],
    ['DELETE', '/mfa/users/bob'],
  ]
  const attempt = async (status: (url: string) => number) => {
    for (const [method, url] of changes) {
      const reply = await as('alice', { method, url, ...admin })
      t.equal(reply.statusCode, status(url), `${method} ${url}`)
    }
  }
  await attempt(() => 401)
  const { challenge } = await app.mfa.passkeys.assertionOptions('alice')
  const answer = { response: device.get({ challenge }) }
  await as('alice', { ...post('/mfa/passkeys/verify', answer), ...admin })
  t.equal((await as('alice', { ...post(url), ...admin })).statusCode, 200)
  t.equal(
    (await as('alice', { method: 'DELETE', url: '/mfa/users/bob', ...admin })).statusCode,
    204,
  )
})

await t.test('a passkey is in an account once, whatever was begun at once', async (t) => {
  const built = await build(t, { passkeys })
  const { app } = built
  const device = new Authenticator()
  const options = () => app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'alice' })
  const challenges = [(await options()).challenge, (await options()).challenge]
  const attempts = challenges.map((challenge) =>
    app.mfa.passkeys.register('alice', device.create({ challenge }), 'Key'),
  )
  const settled = await Promise.allSettled(attempts)
  t.same(settled.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  t.equal((await app.mfa.passkeys.list('alice')).length, 1)
})

await t.test('an index that outlived its account keeps nobody from the own passkey', async (t) => {
  const store = createMemoryStore()
  const built = await build(t, { passkeys, accounts: createStoreAccounts(store) })
  const device = new Authenticator()
  await store.set(`mfa:credential:${hashText(device.id)}`, 'alice', 60_000)
  t.ok(await enrolPasskey(built, 'alice', device))
  const other = new Authenticator()
  await store.set(`mfa:credential:${hashText(other.id)}`, 'mallory', 60_000)
  await t.rejects(enrolPasskey(built, 'alice', other), { code: 'PARAPET_MFA_PASSKEY_NOT_ADDED' })
})

await t.test('a proof from a clock that ran ahead is none when it is set right', async (t) => {
  const hour = 3_600_000
  const clock = createManualClock()
  const store = createMemoryStore()
  let ahead = 13 * hour
  const marks = createMarks(store, 12 * hour, () => clock.now() + ahead)
  const mark = { method: 'totp', aal: 2, phishingResistant: false } as const
  await marks.set('alice', 's1', { ...mark, provedAt: clock.now() + ahead })
  t.equal((await marks.find('alice', 's1')).length, 1)
  ahead = 0
  t.same(await marks.find('alice', 's1'), [])
  const rule = compileRequirement({ maxAgeSeconds: 300 }, null)
  const freshAt = (offset: number) =>
    satisfies({ ...mark, provedAt: clock.now() + offset }, rule, clock.now())
  t.same([-300_001, -300_000, 0, 300_000, 300_001].map(freshAt), [false, true, true, true, false])
})
