import t from 'tap'
import { passkeyIdOf } from '../src/passkeys/passkey.ts'
import { hashText } from '../src/tokens/hash-text.ts'
import { createMemoryStore } from '@parapet/kit'
import { createStoreAccounts } from '@parapet/mfa'
import { Authenticator, FLAGS, RELYING_PARTY } from './authenticator.ts'
import { build, challengeFor, enrolPasskey, outcome, post } from './helpers.ts'

const passkeys = RELYING_PARTY

await t.test('a passkey is enrolled, listed, verified, renamed and revoked', async (t) => {
  const built = await build(t, { passkeys })
  const { app, as, events } = built
  app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
  const begun = await as('alice', post('/mfa/passkeys/options'))
  const options = begun.json<{ challenge: string; user: { id: string; name: string } }>()
  t.match(options, {
    rp: { id: 'example.org', name: 'Acme' },
    user: { name: 'alice' },
    attestation: 'none',
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
  })
  t.equal(Buffer.from(options.user.id, 'base64url').length, 32, 'a random handle')
  const device = new Authenticator()
  device.userHandle = options.user.id
  const made = { name: 'Laptop', response: device.create({ challenge: options.challenge }) }
  const added = await as('alice', post('/mfa/passkeys', made))
  t.equal(outcome(added), '201')
  t.notMatch(added.body, /publicKey/)
  const strict = await as('alice', { url: '/strict' })
  t.match(strict.headers['www-authenticate'], /acr_values="phr"/)
  const asked = (await as('alice', post('/mfa/passkeys/verify/options'))).json<{
    challenge: string
  }>()
  t.match(asked, { allowCredentials: [{ id: device.id }], userVerification: 'required' })
  const answer = { response: device.get({ challenge: asked.challenge, counter: 1 }) }
  const proved = await as('alice', post('/mfa/passkeys/verify', answer))
  t.equal(outcome(proved), '200')
  t.match(proved.json(), { method: 'passkey', aal: 2, amr: ['pwd', 'hwk', 'user', 'mfa'] })
  t.equal(outcome(await as('alice', { url: '/strict' })), '200')
  const replay = await as('alice', post('/mfa/passkeys/verify', answer))
  t.equal(outcome(replay), '409 CHALLENGE_REFUSED')
  t.match(events.at(-1), { type: 'mfa.replayed', details: { method: 'passkey' } })
  const id = passkeyIdOf(device.id)
  t.match(added.json(), { id, credentialId: device.id })
  const url = `/mfa/passkeys/${id}`
  t.equal(outcome(await as('alice', { method: 'PATCH', url, payload: { name: 'Work' } })), '204')
  t.match((await as('alice', { url: '/mfa' })).json(), {
    enrolled: true,
    passkeys: [{ name: 'Work' }],
  })
  t.equal(outcome(await as('alice', { method: 'DELETE', url })), '204')
  t.equal(outcome(await as('alice', { method: 'DELETE', url })), '404 NOT_FOUND')
  await t.rejects(app.mfa.passkeys.revoke('alice', id), { code: 'PARAPET_MFA_NOT_FOUND' })
  await t.rejects(app.mfa.passkeys.rename('alice', id, 'x'), {
    code: 'PARAPET_MFA_NOT_FOUND',
  })
  const late = device.get({ challenge: await challengeFor(built, 'alice'), counter: 2 })
  await t.rejects(app.mfa.passkeys.verify('alice', late), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
})

await t.test('a page in a frame of an allowed site may use passkeys', async (t) => {
  const topOrigin = 'https://portal.example.com'
  const built = await build(t, { passkeys: { ...passkeys, topOrigins: [topOrigin] } })
  const device = await enrolPasskey(built, 'alice')
  const challenge = await challengeFor(built, 'alice')
  const answer = device.get({ challenge, crossOrigin: true, topOrigin })
  t.ok(await built.app.mfa.passkeys.verify('alice', answer))
})

await t.test('an enrolment with any fault is refused', async (t) => {
  const built = await build(t, { passkeys })
  const { app } = built
  const fresh = async () =>
    (await app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'alice' })).challenge
  const device = new Authenticator()
  const { UP, UV } = FLAGS
  const refused: Record<string, object> = {
    'another origin': { origin: 'https://example.org.evil.test' },
    'a page in a frame': { crossOrigin: true },
    'a page in a named frame': { crossOrigin: true, topOrigin: 'https://evil.test' },
    'a top origin without a frame': { topOrigin: 'https://evil.test' },
    'another relying party': { rpId: 'evil.test' },
    'no user verified': { flags: UP },
    'no user present': { flags: UV },
    'the other ceremony': { type: 'webauthn.get' },
  }
  for (const [name, fault] of Object.entries(refused)) {
    const response = device.create({ challenge: await fresh(), ...fault })
    await t.rejects(
      app.mfa.passkeys.register('alice', response, 'x'),
      {
        code: 'PARAPET_MFA_PASSKEY_REFUSED',
        statusCode: 403,
      },
      name,
    )
  }
  const renamed = { ...device.create({ challenge: await fresh() }), id: 'AAAA', rawId: 'AAAA' }
  await t.rejects(app.mfa.passkeys.register('alice', renamed, 'x'), {
    code: 'PARAPET_MFA_PASSKEY_REFUSED',
  })
  const challenge = await fresh()
  await t.rejects(app.mfa.passkeys.register('bob', device.create({ challenge }), 'x'), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
  for (const response of [null, {}, { response: {} }, { response: { clientDataJSON: 'e30' } }]) {
    await t.rejects(app.mfa.passkeys.register('alice', response, 'x'), {
      code: 'PARAPET_MFA_CHALLENGE_REFUSED',
    })
  }
  await enrolPasskey(built, 'alice', device)
  const again = await app.mfa.passkeys.registrationOptions({ id: 'bob', name: 'bob' })
  t.same(again.excludeCredentials, [])
  await t.rejects(
    app.mfa.passkeys.register('bob', device.create({ challenge: again.challenge }), 'x'),
    { code: 'PARAPET_MFA_PASSKEY_NOT_ADDED', statusCode: 409 },
  )
  for (let i = 1; i < 20; i++) await enrolPasskey(built, 'alice')
  await t.rejects(enrolPasskey(built, 'alice'), { code: 'PARAPET_MFA_PASSKEY_NOT_ADDED' })
  t.equal((await app.mfa.passkeys.list('alice')).length, 20)
})

await t.test('the signature is checked before the counter, and a clone is reported', async (t) => {
  const built = await build(t, { passkeys })
  const { app, events } = built
  const device = await enrolPasskey(built, 'alice')
  const ask = async (fault: object = {}, user: string | null = 'alice') => {
    const answer = device.get({ challenge: await challengeFor(built, user), counter: 5, ...fault })
    return app.mfa.passkeys.verify(user, answer)
  }
  t.ok(await ask())
  const forged = device.get({ challenge: await challengeFor(built, 'alice'), counter: 5 })
  forged.response.signature = Buffer.alloc(70).toString('base64url')
  await t.rejects(app.mfa.passkeys.verify('alice', forged), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  t.match(
    events.at(-1),
    { severity: 'low', details: { reason: 'signature' } },
    'no false alarm about a clone',
  )
  await t.rejects(ask({ counter: 5 }), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  t.match(events.at(-1), { type: 'mfa.failed', severity: 'high', details: { reason: 'counter' } })
  await t.rejects(ask({ counter: 0 }), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  t.ok(await ask({ counter: 6 }))
  const { UP, UV, BE } = FLAGS
  const refused: Record<string, object> = {
    'another origin': { origin: 'https://evil.test' },
    'a frame': { crossOrigin: true },
    'another relying party': { rpId: 'evil.test' },
    'no user verified': { flags: UP },
    'no user present': { flags: UV },
    'a changed backup flag': { flags: UP | UV | BE },
    "another user's handle": { userHandle: Buffer.alloc(32).toString('base64url') },
    'the other ceremony': { type: 'webauthn.create' },
  }
  for (const [name, fault] of Object.entries(refused)) {
    await t.rejects(ask({ counter: 9, ...fault }), { code: 'PARAPET_MFA_PASSKEY_REFUSED' }, name)
  }
  await t.rejects(ask({ counter: 9, userHandle: null }, null), {
    code: 'PARAPET_MFA_PASSKEY_REFUSED',
  })
  const foreign = new Authenticator()
  const unknown = foreign.get({ challenge: await challengeFor(built, null) })
  await t.rejects(app.mfa.passkeys.verify(null, unknown), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  const swapped = device.get({ challenge: await challengeFor(built, null), counter: 9 })
  await t.rejects(app.mfa.passkeys.verify('alice', swapped), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
  t.equal((await ask({ counter: 9 }, null)).userId, 'alice')
})

await t.test('a challenge expires after five minutes', async (t) => {
  const { app, clock } = await build(t, { passkeys })
  const { challenge } = await app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'alice' })
  clock.advance(300_000)
  const response = new Authenticator().create({ challenge })
  await t.rejects(app.mfa.passkeys.register('alice', response, 'Key'), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
})

await t.test('of two concurrent enrolments of one passkey one succeeds', async (t) => {
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

await t.test(
  'a stale index entry does not stop a user from enrolling the own passkey',
  async (t) => {
    const store = createMemoryStore()
    const built = await build(t, { passkeys, accounts: createStoreAccounts(store) })
    const device = new Authenticator()
    await store.set(`mfa:credential:${hashText(device.id)}`, 'alice', 60_000)
    t.ok(await enrolPasskey(built, 'alice', device))
    const other = new Authenticator()
    await store.set(`mfa:credential:${hashText(other.id)}`, 'mallory', 60_000)
    await t.rejects(enrolPasskey(built, 'alice', other), { code: 'PARAPET_MFA_PASSKEY_NOT_ADDED' })
  },
)
