/** Factors of another system: any form of app, backup codes, and a report. */
import { Secret, TOTP } from 'otpauth'
import t from 'tap'
import { build, codeAt, enrol, outcome, post } from './helpers.ts'

const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'

function codeOf(now: number, form: { algorithm?: string; digits?: number; period?: number } = {}) {
  return new TOTP({ secret: Secret.fromBase32(secret), ...form }).generate({ timestamp: now })
}

await t.test('apps of every algorithm, length and period verify after the import', async (t) => {
  const { app, clock, events, notices } = await build(t)
  const forms = [
    { userId: 'plain', totp: { secret }, form: {} },
    {
      userId: 'sha256',
      totp: { secret, algorithm: 'HmacSHA256', digits: 8 },
      form: { algorithm: 'SHA256', digits: 8 },
    },
    {
      userId: 'sha512',
      totp: { secret, algorithm: 'sha-512', digits: 7, periodSeconds: 60 },
      form: { algorithm: 'SHA512', digits: 7, period: 60 },
    },
    { userId: 'typed', totp: { secret: 'jbsw y3dp-ehpk 3pxp jbsw y3dp ehpk 3pxp====' }, form: {} },
  ]
  const report = await app.mfa.importFactors(forms.map(({ userId, totp }) => ({ userId, totp })))
  t.same(report, { imported: 4, skipped: 0, weakSecrets: 0, refused: 0, faults: [] })
  for (const { userId, form } of forms) {
    const code = codeOf(clock.now(), form)
    t.match(await app.mfa.verify(userId, code), { proof: { method: 'totp', userId } }, userId)
    await t.rejects(app.mfa.verify(userId, code), { code: 'PARAPET_MFA_CODE_USED' })
    await t.rejects(app.mfa.verify(userId, '000000'), { code: 'PARAPET_MFA_CODE_REFUSED' })
  }
  t.equal(events.filter(({ type }) => type === 'mfa.imported').length, 4)
  t.same(notices, [], 'nobody is notified of a migration')
  t.equal(JSON.stringify(events).includes(secret), false)
})

await t.test('backup codes work once, as their users type them', async (t) => {
  const { app, as } = await build(t)
  const backupCodes = ['a1b2c3d4e5', 'F6G7-H8J9-K0', 'correct-horse']
  const report = await app.mfa.importFactors([{ userId: 'ada', totp: { secret }, backupCodes }])
  t.equal(report.imported, 1)
  t.match(await app.mfa.status('ada'), { enrolled: true, backupCodesLeft: 3 })
  t.match(await app.mfa.verify('ada', 'A1B2 C3D4 E5'), { backupCodesLeft: 2 })
  await t.rejects(app.mfa.verify('ada', 'a1b2c3d4e5'), { code: 'PARAPET_MFA_CODE_REFUSED' })
  const codes = ['f6g7h8j9k0', 'correct horse']
  t.equal(outcome(await as('ada', post('/mfa/recover', { codes }))), '204')
  t.match(await app.mfa.status('ada'), { enrolled: false, backupCodesLeft: 0 })
})

await t.test('the report names what cannot be imported, and the others are', async (t) => {
  const built = await build(t)
  const { app } = built
  await enrol(built, 'enrolled')
  const short = 'JBSWY3DPEHPK3PXP'
  const users = [
    { userId: '', totp: { secret } },
    { userId: 'a\0b', totp: { secret } },
    { userId: 'no-base32', totp: { secret: 'not base32!' } },
    { userId: 'too-short', totp: { secret: 'JBSWY3DP' } },
    { userId: 'md5', totp: { secret, algorithm: 'MD5' } },
    { userId: 'four', totp: { secret, digits: 4 } },
    { userId: 'slow', totp: { secret, periodSeconds: 300 } },
    { userId: 'weak-codes', totp: { secret }, backupCodes: ['1234'] },
    { userId: 'digits', totp: { secret }, backupCodes: ['12345678'] },
    { userId: 'twice', totp: { secret }, backupCodes: ['abcdefgh', 'ABCD-EFGH'] },
    { userId: 'codes-only', backupCodes: ['abcdefghij'] },
    null as never,
    { userId: 'period', totp: { secret, period: 60 } } as never,
    { userId: 'codes', totp: { secret }, backupcodes: ['a1b2c3d4e5'] } as never,
    { userId: 'text', totp: secret as never },
    { userId: 'number', totp: { secret: 5 as never } },
    { userId: 'nothing', totp: null, backupCodes: null },
    { userId: 'enrolled', totp: { secret } },
    { userId: 'weak', totp: { secret: short } },
    { userId: 'fine', totp: { secret } },
  ]
  const report = await app.mfa.importFactors(users)
  const { faults, ...counts } = report
  t.same(counts, { imported: 2, skipped: 1, weakSecrets: 1, refused: 17 })
  t.same(
    faults.map(({ index, reason }) => [index, reason]),
    [
      [0, 'user_id'],
      [1, 'user_id'],
      [2, 'secret'],
      [3, 'secret'],
      [4, 'algorithm'],
      [5, 'digits'],
      [6, 'period'],
      [7, 'backup_codes'],
      [8, 'backup_codes'],
      [9, 'backup_codes'],
      [10, 'no_factor'],
      [11, 'user_id'],
      [12, 'member'],
      [13, 'member'],
      [14, 'member'],
      [15, 'secret'],
      [16, 'no_factor'],
    ],
  )
  t.equal(JSON.stringify(report).includes('JBSW'), false, 'the report has no secret')
  t.match(await app.mfa.importFactors(users.slice(-2)), { imported: 0, skipped: 2 }, 'again')
})

await t.test('an app of the user is kept unless it is to be replaced', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const own = await enrol(built, 'ada')
  clock.advance(60_000)
  t.equal((await app.mfa.importFactors([{ userId: 'ada', totp: { secret } }])).skipped, 1)
  t.ok(await app.mfa.verify('ada', codeAt(own.secret, clock.now())))
  async function* stream() {
    yield { userId: 'ada', totp: { secret } }
  }
  t.equal((await app.mfa.importFactors(stream(), { replace: true })).imported, 1)
  clock.advance(60_000)
  await t.rejects(app.mfa.verify('ada', codeAt(own.secret, clock.now())), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  t.ok(await app.mfa.verify('ada', codeOf(clock.now())))
})

await t.test('an import that is repeated brings no used code back', async (t) => {
  const { app } = await build(t)
  const backupCodes = ['a1b2c3d4e5', 'f6g7h8j9k0']
  const codes = { userId: 'ada', totp: null, backupCodes }
  t.equal(
    (await app.mfa.importFactors([{ userId: 'ada', totp: { secret }, backupCodes: null }]))
      .imported,
    1,
  )
  t.equal((await app.mfa.importFactors([codes])).imported, 1, 'codes of a user who has none')
  await app.mfa.verify('ada', 'a1b2c3d4e5')
  t.match(await app.mfa.importFactors([codes]), { imported: 0, skipped: 1 })
  await t.rejects(app.mfa.verify('ada', 'a1b2c3d4e5'), { code: 'PARAPET_MFA_CODE_REFUSED' })
  t.match(await app.mfa.importFactors([codes], { replace: true }), { imported: 1 })
  t.ok(await app.mfa.verify('ada', 'a1b2c3d4e5'), 'as "replace" says')
})

await t.test('a storage that fails refuses one user, not the import', async (t) => {
  let isDown = false
  const records = new Map<string, { version: number; sealed: string }>()
  const accounts = {
    load: async (userId: string) => {
      if (isDown) throw new Error('down')
      return records.get(userId) ?? null
    },
    save: async (userId: string, expected: number, sealed: string) => {
      records.set(userId, { version: expected + 1, sealed })
      return true
    },
    findByCredential: async () => null,
    remove: async () => {},
  }
  const { app } = await build(t, { accounts })
  function* users() {
    yield { userId: 'one', totp: { secret } }
    isDown = true
    yield { userId: 'two', totp: { secret } }
    isDown = false
    yield { userId: 'three', totp: { secret } }
  }
  t.match(await app.mfa.importFactors(users()), {
    imported: 2,
    refused: 1,
    faults: [{ index: 1, userId: 'two', reason: 'storage' }],
  })
})

await t.test('codes that the limits do not allow are refused', async (t) => {
  const { app } = await build(t, { totp: { digits: 8 }, maxGuessProbability: 0.0001 })
  const report = await app.mfa.importFactors([
    { userId: 'six', totp: { secret } },
    { userId: 'eight', totp: { secret, digits: 8 } },
  ])
  t.match(report, { imported: 1, faults: [{ userId: 'six', reason: 'guessable' }] })
})
