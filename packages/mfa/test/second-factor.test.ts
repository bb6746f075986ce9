import { createMemoryStore } from '@parapet/kit'
import { createStoreAccounts, type SecondFactorContext } from '@parapet/mfa'
import t from 'tap'
import { RELYING_PARTY } from './authenticator.ts'
import { build, codeAt, enrol, enrolPasskey, outcome, wrongCode, type Built } from './helpers.ts'

/** The context that a login plugin passes. */
function contextOf(headers: Record<string, string> = {}, amr = ['pwd']) {
  const sent: string[] = []
  const setHeader = (name: string, value: string) => void sent.push(`${name}: ${value}`)
  const context: SecondFactorContext = { request: { ip: '192.0.2.1', headers }, amr, setHeader }
  return { context, sent }
}

/** An app whose session `s1` begins by the second step of a login. */
async function buildWithReports(t: Parameters<typeof build>[0], options: object = {}) {
  const built = await build(t, { passkeys: RELYING_PARTY, ...options })
  built.app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  built.app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
  const ask = async (url: string, session = 's1') =>
    outcome(await built.as('alice', { url, session }))
  return { ...built, ask }
}

await t.test('a user without a factor has no second step, and others learn theirs', async (t) => {
  const built = await build(t, { passkeys: RELYING_PARTY })
  const { secondFactor } = built.app.mfa
  const { context } = contextOf()
  t.same(await secondFactor.methodsOf('alice', context), [])
  await enrol(built, 'alice')
  t.same(await secondFactor.methodsOf('alice', context), ['totp', 'backup-code'])
  await enrolPasskey(built, 'alice')
  t.same(await secondFactor.methodsOf('alice', context), ['totp', 'passkey', 'backup-code'])
  await enrolPasskey(built, 'bob')
  t.same(await secondFactor.methodsOf('bob', context), ['passkey'])
})

await t.test('no factor that cannot be shown now lets the first step alone log in', async (t) => {
  const accounts = createStoreAccounts(createMemoryStore())
  const built = await build(t, { accounts, passkeys: RELYING_PARTY })
  await enrolPasskey(built, 'alice')
  const later = await build(t, { accounts })
  const { secondFactor } = later.app.mfa
  const { context } = contextOf()
  t.same(await secondFactor.methodsOf('alice', context), ['passkey'], 'passkeys were switched off')
  await t.rejects(secondFactor.passkeyOptions('alice', context), {
    code: 'PARAPET_MFA_INVALID_ARGUMENT',
  })
  const { secret } = await enrol(built, 'bob')
  for (let i = 0; i < 100; i++) {
    await built.app.mfa.verify('bob', wrongCode(secret, built.clock.now())).catch(() => null)
    built.clock.advance(3_600_000)
  }
  const methods = await built.app.mfa.secondFactor.methodsOf('bob', context)
  t.ok(methods.includes('totp'), 'a disabled app is listed')
})

await t.test('a code in the second step starts the session at its true level', async (t) => {
  const { app, clock, ask, ...built } = await buildWithReports(t)
  const { secret, backupCodes } = await enrol({ app, clock }, 'alice')
  const { context, sent } = contextOf()
  const code = codeAt(secret, clock.now())
  const result = await app.mfa.secondFactor.verify('alice', { code }, context)
  t.match(result, { amr: ['pwd', 'otp', 'mfa'], acr: 'aal2', authenticatedAt: clock.now() })
  t.equal(await ask('/reports'), '401 STEP_UP_REQUIRED', 'before the session is bound')
  await result.bind('s1')
  t.equal(await ask('/reports'), '200')
  t.equal(await ask('/reports', 's2'), '401 STEP_UP_REQUIRED', 'another session')
  t.same(sent, [], 'no device is remembered')
  const again = { code: backupCodes[0]! }
  const weak = await app.mfa.secondFactor.verify('alice', again, contextOf({}, ['sms']).context)
  t.match(weak, { acr: 'aal1', amr: ['sms', 'otp'] })
  await weak.bind('s3')
  t.equal(await ask('/reports', 's3'), '401 STEP_UP_REQUIRED', 'two things that the user has')
  t.match(built.events.at(-1), { type: 'mfa.challenged', details: { reason: 'unproved' } })
})

await t.test('a passkey in the second step is phishing-resistant', async (t) => {
  const { app, clock, ask } = await buildWithReports(t)
  const device = await enrolPasskey({ app }, 'alice')
  const { secondFactor } = app.mfa
  const { context } = contextOf()
  const options = await secondFactor.passkeyOptions('alice', context)
  t.match(options, { allowCredentials: [{ id: device.id }] })
  const passkey = device.get({ challenge: (options as { challenge: string }).challenge })
  await t.rejects(secondFactor.verify('bob', { passkey }, context), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
  const { challenge } = await app.mfa.passkeys.assertionOptions('alice')
  const shown = { passkey: device.get({ challenge }) }
  const result = await secondFactor.verify('alice', shown, context)
  t.match(result, { acr: 'phr', amr: ['pwd', 'hwk', 'user', 'mfa'], authenticatedAt: clock.now() })
  await result.bind('s1')
  t.equal(await ask('/strict'), '200')
})

await t.test('a refusal of the second step is the one of the factor', async (t) => {
  const built: Built = await build(t)
  const { secondFactor } = built.app.mfa
  const { secret } = await enrol(built, 'alice')
  const { context } = contextOf()
  const wrong = { code: wrongCode(secret, built.clock.now()) }
  await t.rejects(secondFactor.verify('alice', wrong, context), {
    code: 'PARAPET_MFA_CODE_REFUSED',
    statusCode: 403,
  })
  await t.rejects(secondFactor.verify('alice', { code: '12' }, context), {
    code: 'PARAPET_MFA_CODE_MISTYPED',
  })
  for (const neither of [{}, { code: '123456', passkey: {} }]) {
    await t.rejects(
      async () => {
        await secondFactor.verify('alice', neither, context)
      },
      { code: 'PARAPET_MFA_INVALID_ARGUMENT' },
    )
  }
  const code = codeAt(secret, built.clock.now())
  const result = await secondFactor.verify('alice', { code }, context)
  await built.app.mfa.reset('alice', 'support')
  await t.rejects(result.bind('s1'), { code: 'PARAPET_MFA_STEP_UP_REQUIRED' })
})

await t.test('a remembered device skips the second step until it is revoked', async (t) => {
  const built = await build(t)
  const { secondFactor, devices } = built.app.mfa
  const { secret } = await enrol(built, 'alice')
  const agent = { 'user-agent': 'Browser' }
  const first = contextOf(agent)
  const shown = { code: codeAt(secret, built.clock.now()), rememberDevice: true }
  await secondFactor.verify('alice', shown, first.context)
  t.match(first.sent, [/^set-cookie: __Host-parapet-device=[\w.-]{60}; Max-Age=2592000/])
  const cookie = first.sent[0]!.slice('set-cookie: '.length).split(';')[0]!
  const next = contextOf({ ...agent, cookie }).context
  t.same(await secondFactor.methodsOf('alice', next), [])
  await enrol(built, 'bob')
  t.ok((await secondFactor.methodsOf('bob', next)).length, 'the device of another user')
  t.ok((await secondFactor.methodsOf('alice', contextOf({ cookie }).context)).length)
  await devices.revoke('alice')
  t.same(await secondFactor.methodsOf('alice', next), ['totp', 'backup-code'])
})

await t.test('a login fails while the accounts cannot be read', async (t) => {
  const rows = createStoreAccounts(createMemoryStore())
  const accounts = { ...rows, load: async () => Promise.reject(new Error('down')) }
  const { app } = await build(t, { accounts })
  await t.rejects(app.mfa.secondFactor.methodsOf('alice', contextOf().context), {
    code: 'PARAPET_MFA_BUSY',
    statusCode: 503,
  })
})
