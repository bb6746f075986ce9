import { createManualClock, createMemoryStore } from '@parapet/kit'
import type { MfaProof } from '@parapet/mfa'
import t from 'tap'
import { createProof } from '../src/proofs/proof.ts'
import { createSessionProofs } from '../src/proofs/session-proofs.ts'
import { compileRequirement, satisfies } from '../src/step-up/rules.ts'
import { build, codeAt, enrol, outcome, post } from './helpers.ts'

await t.test('the level of a proof follows from the flags and kinds of factors', async (t) => {
  const base = { userId: 'alice', provedAt: 1, epoch: 0 }
  const flags = (userVerified: boolean, backupEligible: boolean) =>
    createProof({
      ...base,
      method: 'passkey',
      before: [],
      passkey: { userVerified, backupEligible },
    })
  t.match(flags(true, false), { aal: 2, phishingResistant: true, amr: ['hwk', 'user', 'mfa'] })
  t.match(flags(true, true), { aal: 2, amr: ['swk', 'user', 'mfa'] })
  t.match(
    flags(false, true),
    { aal: 1, amr: ['swk'] },
    'without user verification it is one factor',
  )
  const otp = createProof({ ...base, method: 'totp', before: [] })
  t.match(otp, { aal: 1, phishingResistant: false, amr: ['otp'] })
  t.ok(Object.isFrozen(otp))
})

await t.test(
  'the level is computed from the factors shown, not from claims such as "mfa"',
  async (t) => {
    const built = await build(t)
    const { as, clock } = built
    const { secret } = await enrol(built, 'alice')
    const levels: Record<string, string> = {
      pwd: '200',
      'pwd,mfa': '200',
      'swk,user,mfa': '200',
      'hwk,user,mfa': '200',
      fpt: '200',
      oidc: '200',
      'oidc,otp': '200',
      swk: '403 PROOF_INSUFFICIENT',
      'hwk,user': '403 PROOF_INSUFFICIENT',
      'hwk,mfa': '403 PROOF_INSUFFICIENT',
      'user,mfa': '403 PROOF_INSUFFICIENT',
      mfa: '403 PROOF_INSUFFICIENT',
      otp: '403 PROOF_INSUFFICIENT',
      sms: '403 PROOF_INSUFFICIENT',
    }
    for (const [amr, expected] of Object.entries(levels)) {
      const verify = post('/mfa/verify', { code: codeAt(secret, clock.now()) })
      const reply = await as('alice', { ...verify, session: amr, amr })
      t.equal(outcome(reply), expected, amr)
      const { aal, detail } = reply.json<{ aal?: number; detail?: string }>()
      if (expected === '200') t.equal(aal, 2, amr)
      else t.match(detail, /only things that the user has.*verify a passkey .* password/, amr)
      clock.advance(30_000)
    }
  },
)

await t.test('a code without a login before it is a single factor', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret } = await enrol(built, 'alice')
  const { proof } = await app.mfa.verify('alice', codeAt(secret, clock.now()))
  t.equal(proof.aal, 1)
  await app.mfa.assure(proof, 's1')
  t.equal(outcome(await as('alice', { url: '/reports' })), '401 STEP_UP_REQUIRED')
})

await t.test('a session gets no proof that was forged or that a reset revoked', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret } = await enrol(built, 'alice')
  const { proof } = await app.mfa.verify('alice', codeAt(secret, clock.now()), { amr: ['pwd'] })
  for (const forged of [
    { ...proof },
    JSON.parse(JSON.stringify(proof)),
    null,
    'proof',
  ] as MfaProof[]) {
    await t.rejects(app.mfa.assure(forged, 's1'), { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
  }
  await app.mfa.assure(proof, 's1')
  t.equal(outcome(await as('alice', { url: '/reports' })), '200')
  await app.mfa.reset('alice', 'support')
  await t.rejects(app.mfa.assure(proof, 's1'), {
    code: 'PARAPET_MFA_STEP_UP_REQUIRED',
    statusCode: 401,
  })
  await enrol(built, 'alice')
  t.equal(outcome(await as('alice', { url: '/reports' })), '401 STEP_UP_REQUIRED')
})

await t.test(
  'a proof from a clock that ran ahead is ignored once the clock is right',
  async (t) => {
    const hour = 3_600_000
    const clock = createManualClock()
    const store = createMemoryStore()
    let ahead = 13 * hour
    const sessionProofs = createSessionProofs(store, 12 * hour, () => clock.now() + ahead)
    const proof = { method: 'totp', aal: 2, phishingResistant: false } as const
    await sessionProofs.set('alice', 's1', { ...proof, provedAt: clock.now() + ahead })
    t.equal((await sessionProofs.find('alice', 's1')).length, 1)
    ahead = 0
    t.same(await sessionProofs.find('alice', 's1'), [])
    const rule = compileRequirement({ maxAgeSeconds: 300 }, null)
    const freshAt = (offset: number) =>
      satisfies({ ...proof, provedAt: clock.now() + offset }, rule, clock.now())
    t.same([-300_001, -300_000, 0, 300_000, 300_001].map(freshAt), [false, true, true, true, false])
  },
)
