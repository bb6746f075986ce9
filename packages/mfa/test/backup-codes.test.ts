import { createHook } from 'node:async_hooks'
import t from 'tap'
import {
  createBackupCodes,
  hashBackupCode,
  hashBackupCodes,
  parseBackupCode,
  spendBackupCode,
} from '../src/backup-codes/backup-code.ts'
import { build, codeAt, enrol, outcome, post } from './helpers.ts'

await t.test(
  'a backup code works once, in any spelling, and a typing error is not counted',
  async (t) => {
    const built = await build(t)
    const { as, events, notices } = built
    const { backupCodes } = await enrol(built, 'alice')
    const typo = backupCodes[0]!.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
    for (let i = 0; i < 30; i++) {
      const reply = await as('alice', post('/mfa/verify', { code: typo }))
      t.equal(outcome(reply), '400 CODE_MISTYPED')
    }
    const typed = backupCodes[0]!.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o')
    const used = await as('alice', post('/mfa/verify', { code: typed }))
    t.equal(outcome(used), '200')
    t.match(used.json(), { method: 'backup-code', backupCodesLeft: 3, driftSteps: null })
    t.match(events.at(-2), { type: 'mfa.backup_code_used', details: { left: 3 } })
    t.match(notices.at(-1), { kind: 'backup_code_used', userId: 'alice' })
    const again = await as('alice', post('/mfa/verify', { code: backupCodes[0] }))
    t.equal(outcome(again), '403 CODE_REFUSED')
  },
)

await t.test('new backup codes replace all old ones', async (t) => {
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

await t.test('wrong backup codes cause waits for backup codes only', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const { secret, backupCodes } = await enrol(built, 'alice')
  const [wrong] = createBackupCodes(1)
  for (let i = 0; i < 5; i++) {
    await t.rejects(app.mfa.verify('alice', wrong!), { code: 'PARAPET_MFA_CODE_REFUSED' })
  }
  const held = { code: 'PARAPET_MFA_THROTTLED', headers: { 'retry-after': '30' } }
  await t.rejects(app.mfa.verify('alice', backupCodes[0]!), held)
  t.ok(
    await app.mfa.verify('alice', codeAt(secret, clock.now())),
    'the authenticator app is not affected',
  )
})

await t.test('right backup codes do not count as failures of the last 30 days', async (t) => {
  const throttle = { failuresPer30Days: 10 }
  const built = await build(t, { backupCodes: 20, throttle })
  const { backupCodes } = await enrol(built, 'alice')
  for (const code of backupCodes) t.ok(await built.app.mfa.verify('alice', code))
})

await t.test(
  'a backup code costs one scrypt run, right or wrong, and a typing error none',
  async (t) => {
    const built = await build(t)
    const { app } = built
    const { backupCodes } = await enrol(built, 'alice')
    let scrypts = 0
    const hook = createHook({
      init: (_id, type) => void (scrypts += Number(type === 'SCRYPTREQUEST')),
    })
    hook.enable()
    t.after(() => hook.disable())
    const costOf = async (user: string, code: string) => {
      scrypts = 0
      await app.mfa.verify(user, code).catch(() => null)
      return scrypts
    }
    t.equal(await costOf('alice', backupCodes[3]!), 1, 'right')
    t.equal(await costOf('alice', createBackupCodes(1)[0]!), 1, 'wrong')
    t.equal(await costOf('nobody', createBackupCodes(1)[0]!), 1, 'a user without codes')
    t.equal(
      await costOf(
        'alice',
        backupCodes[0]!.replace(/^./, (c) => (c === '0' ? '1' : '0')),
      ),
      0,
    )
  },
)

await t.test(
  'every wrong character, exchange of two, and wrong length is recognised as a typing error',
  async (t) => {
    const [code] = createBackupCodes(1)
    const plain = code!.replaceAll('-', '')
    t.match(code, /^[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{4}$/)
    t.equal(parseBackupCode(code!), plain)
    const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
    let missed = 0
    for (let at = 0; at < plain.length; at++) {
      for (const char of alphabet) {
        const typo = plain.slice(0, at) + char + plain.slice(at + 1)
        if (char !== plain[at] && parseBackupCode(typo) !== null) missed++
      }
      for (let other = at + 1; other < plain.length; other++) {
        const chars = plain.split('')
        chars[at] = plain[other]!
        chars[other] = plain[at]!
        if (plain[at] !== plain[other] && parseBackupCode(chars.join('')) !== null) missed++
      }
    }
    t.equal(missed, 0)
    for (const text of [
      '',
      plain.slice(1),
      `${plain}0`,
      plain.replace(/.$/, 'U'),
      '😀'.repeat(14),
    ]) {
      t.equal(parseBackupCode(text), null)
    }
  },
)

await t.test('a set stores hashes only, and a used code is removed from it', async (t) => {
  const codes = createBackupCodes(4)
  const set = await hashBackupCodes(codes, 1)
  const other = await hashBackupCodes(codes, 1)
  t.equal(Buffer.from(set.salt, 'base64url').length, 16)
  t.not(set.hashes[0], other.hashes[0], 'salted')
  t.notMatch(JSON.stringify(set), new RegExp(codes.map((code) => code.slice(0, 5)).join('|')))
  const hash = await hashBackupCode(codes[2]!, set.salt)
  const rest = spendBackupCode(set, hash)
  t.equal(rest?.hashes.length, 3)
  t.equal(spendBackupCode(rest!, hash), null)
})
