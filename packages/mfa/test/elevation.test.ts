import type { Elevate, MfaOptions } from '@parapet/mfa'
import t, { type Test } from 'tap'
import { RELYING_PARTY } from './authenticator.ts'
import { build, challengeFor, codeAt, enrol, enrolPasskey, outcome, post } from './helpers.ts'

/** An app with two routes; `elevate` starts the session `renewed` unless the test gives another. */
async function buildElevating(t: Test, elevate?: Elevate, options: Partial<MfaOptions> = {}) {
  const built = await build(t, {
    passkeys: RELYING_PARTY,
    ...options,
    elevate:
      elevate ??
      (async (proof) => {
        await built.app.mfa.assure(proof, 'renewed')
        return { access_token: 'new', expires_in: 900 }
      }),
  })
  const { app, as } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
  const ask = async (session: string, url = '/reports') =>
    outcome(await as('alice', { url, session }))
  return { ...built, ask }
}

await t.test('a proof renews the session, and tokens taken before it are not lifted', async (t) => {
  const shown: unknown[] = []
  const elevate: Elevate = async (proof, request) => {
    shown.push({ ...proof, url: request.url })
    await built.app.mfa.assure(proof, 'renewed')
    return { access_token: 'new', expires_in: 900 }
  }
  const built = await buildElevating(t, elevate)
  const { as, clock, ask } = built
  const { secret } = await enrol(built, 'alice')
  const verify = post('/mfa/verify', { code: codeAt(secret, clock.now()) })
  const reply = await as('alice', verify)
  t.equal(outcome(reply), '200')
  t.match(reply.json(), { access_token: 'new', expires_in: 900, method: 'totp', aal: 2 })
  t.match(shown, [{ userId: 'alice', sessionId: 's1', url: '/mfa/verify', aal: 2 }])
  t.equal(await ask('s1'), '401 STEP_UP_REQUIRED', 'the token from before the proof')
  t.equal(await ask('renewed'), '200')
})

await t.test('the first code of an app and a passkey renew the session, too', async (t) => {
  const built = await buildElevating(t)
  const { app, as, clock, ask } = built
  const begun = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
  const confirm = { ticket: begun.ticket, code: codeAt(begun.secret, clock.now()) }
  t.match((await as('alice', post('/mfa/totp/confirm', confirm))).json(), { access_token: 'new' })
  t.equal(await ask('s1'), '401 STEP_UP_REQUIRED')
  const device = await enrolPasskey(built, 'alice')
  const response = device.get({ challenge: await challengeFor(built, 'alice') })
  const reply = await as('alice', post('/mfa/passkeys/verify', { response }))
  t.match(reply.json(), { access_token: 'new', method: 'passkey' })
  t.equal(await ask('s1', '/strict'), '401 STEP_UP_REQUIRED')
  t.equal(await ask('renewed', '/strict'), '200')
})

await t.test('what the session has shown before moves to the renewed one', async (t) => {
  const built = await buildElevating(t)
  const { app, as, clock, ask } = built
  const { secret } = await enrol(built, 'alice')
  const device = await enrolPasskey(built, 'alice')
  const answer = device.get({ challenge: await challengeFor(built, null) })
  await app.mfa.assure(await app.mfa.passkeys.verify(null, answer), 's1')
  t.equal(await ask('s1', '/strict'), '200')
  const code = codeAt(secret, clock.now())
  // Two possession factors, but the session has its level from the passkey.
  const reply = await as('alice', { ...post('/mfa/verify', { code }), amr: 'hwk' })
  t.match(reply.json(), { aal: 2, access_token: 'new' })
  t.equal(await ask('renewed', '/strict'), '200')
  t.equal(await ask('s1', '/strict'), '401 STEP_UP_REQUIRED')
})

await t.test('a session of another login goes on under its id', async (t) => {
  const built = await buildElevating(t, async () => null)
  const { secret } = await enrol(built, 'alice')
  const verify = post('/mfa/verify', { code: codeAt(secret, built.clock.now()) })
  t.equal(outcome(await built.as('alice', verify)), '200')
  t.equal(await built.ask('s1'), '200')
})

await t.test('an elevate that keeps the id or forgets the proof lifts nothing', async (t) => {
  const faults: Elevate[] = [
    async () => ({ access_token: 'x' }),
    async (proof) => {
      await t.rejects(app.mfa.assure(proof, 's1'), {
        code: 'PARAPET_MFA_INVALID_ARGUMENT',
        message: /"elevate" must call .* id of a new session, got the id of the old one$/,
      })
      return {}
    },
  ]
  let current = faults[0]!
  const built = await buildElevating(t, async (...call) => current(...call))
  const { app, as, clock, ask } = built
  const { secret } = await enrol(built, 'alice')
  for (const elevate of faults) {
    current = elevate
    const reply = await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
    t.equal(outcome(reply), '500 INVALID_ARGUMENT')
    t.notMatch(reply.body, /access_token/)
    t.equal(await ask('s1'), '401 STEP_UP_REQUIRED')
    clock.advance(30_000)
  }
})

const ended: Elevate = async () => {
  throw Object.assign(new Error('the session has ended'), { statusCode: 401 })
}

await t.test('a session that has ended, and an elevate that hangs, lift nothing', async (t) => {
  let current: Elevate = ended
  const built = await buildElevating(t, async (...call) => current(...call))
  const { as, clock, ask } = built
  const { secret } = await enrol(built, 'alice')
  const verify = () => as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.match(outcome(await verify()), /^401/)
  t.equal(await ask('s1'), '401 STEP_UP_REQUIRED')
  clock.advance(30_000)
  let call: () => void
  const called = new Promise<void>((resolve) => (call = resolve))
  current = async () => {
    call()
    return new Promise(() => {})
  }
  const reply = verify()
  await called
  clock.advance(10_000)
  t.equal(outcome(await reply), '503 TIMEOUT')
  t.equal(await ask('s1'), '401 STEP_UP_REQUIRED')
})
