import t from 'tap'
import { createBackupCodes, parseBackupCode } from '../src/backup-codes/backup-code.ts'
import { normalizeCode } from '../src/factors/typed-code.ts'
import { Authenticator, FLAGS, RELYING_PARTY } from './authenticator.ts'
import { build, challengeFor, codeAt, enrol, enrolPasskey, outcome, post } from './helpers.ts'

const passkeys = RELYING_PARTY
const ANDROID = `android:apk-key-hash:${'A'.repeat(43)}`

const signIn = async () => ({})
const arabic = (code: string) =>
  code.replaceAll(/\d/g, (digit) => String.fromCodePoint(0x660 + Number(digit)))
const wide = (code: string) =>
  code.replaceAll(/[0-9A-Z-]/g, (char) => String.fromCodePoint(char.codePointAt(0)! + 0xfee0))

await t.test('codes from every keyboard and clipboard are accepted', async (t) => {
  const spellings: Record<string, string> = {
    '458513': '458513',
    '458-513': '458513',
    '458\u2011513': '458513',
    '458\u2212513': '458513',
    '458\u00A0513': '458513',
    '\u200B458\u200D513\uFEFF': '458513',
    '\u202A458513\u202C': '458513',
    '４５８－５１３': '458513',
    '٤٥٨٥١٣': '458513',
    '۴۵۸۵۱۳': '458513',
    '४५८५१३': '458513',
    '458.513': '458.513',
    '458,513': '458,513',
    ['4'.repeat(65)]: '',
  }
  for (const [typed, plain] of Object.entries(spellings)) {
    t.equal(normalizeCode(typed), plain, JSON.stringify(typed))
  }
  const built = await build(t)
  const { as, clock } = built
  const { secret, backupCodes } = await enrol(built, 'alice')
  const verify = (code: string) => as('alice', post('/mfa/verify', { code }))
  for (const spell of [arabic, wide, (code: string) => code.replace(/^.../, '$&-')]) {
    t.equal(outcome(await verify(spell(codeAt(secret, clock.now())))), '200')
    clock.advance(30_000)
  }
  t.equal(outcome(await verify(wide(backupCodes[0]!))), '200')
  t.equal(outcome(await verify(backupCodes[1]!.replaceAll('-', '\u2011'))), '200')
  const [other] = createBackupCodes(1)
  t.equal(parseBackupCode(`\u200B${wide(other!)}`), other!.replaceAll('-', ''))
})

await t.test('an absent member that a client writes as null or empty is absent', async (t) => {
  const built = await build(t, { passkeys, signIn })
  const { app, as } = built
  const device = await enrolPasskey(built, 'alice')
  const answer = async (user: string | null, edit: object, handle: unknown) => {
    const made = device.get({ challenge: await challengeFor(built, user) })
    const response = { ...made, ...edit, response: { ...made.response, userHandle: handle } }
    const payload = { response }
    if (user === null) return outcome(await app.inject(post('/mfa/passkeys/login', payload)))
    return outcome(await as(user, post('/mfa/passkeys/verify', payload)))
  }
  const extensions = { clientExtensionResults: null, authenticatorAttachment: null }
  for (const handle of [null, '']) {
    t.equal(await answer('alice', extensions, handle), '200', JSON.stringify(handle))
    t.equal(await answer(null, {}, handle), '403 PASSKEY_REFUSED', 'a login needs its user')
  }
  t.equal(await answer(null, extensions, device.userHandle), '200')
  for (const handle of [{}, ['a', 'b'], 'not base64url!', 'A'.repeat(87)]) {
    t.equal(await answer('alice', {}, handle), '400 FST_ERR_VALIDATION', JSON.stringify(handle))
  }
  for (const results of ['x', [], 5]) {
    const edit = { clientExtensionResults: results }
    t.equal(await answer('alice', edit, device.userHandle), '400 FST_ERR_VALIDATION')
  }
  for (const fault of [{ userHandle: 5 }, { userHandle: 'A'.repeat(87) }]) {
    const made = device.get({ challenge: await challengeFor(built, 'alice') })
    const response = { ...made, response: { ...made.response, ...fault } }
    const refused = { code: 'PARAPET_MFA_PASSKEY_REFUSED', statusCode: 403 }
    await t.rejects(app.mfa.passkeys.verify('alice', response), refused)
  }
  const made = device.get({ challenge: await challengeFor(built, 'alice') })
  await t.rejects(app.mfa.passkeys.verify('alice', { ...made, clientExtensionResults: [] }), {
    code: 'PARAPET_MFA_PASSKEY_REFUSED',
  })
})

await t.test('the passkeys of an Android app are accepted only if the app is named', async (t) => {
  const named = await build(t, {
    passkeys: { ...passkeys, origins: [ANDROID, ...passkeys.origins] },
  })
  const device = await enrolPasskey(named, 'alice')
  const ask = async (built: typeof named, key: Authenticator, origin: string) =>
    built.app.mfa.passkeys.verify(
      'alice',
      key.get({ challenge: await challengeFor(built, 'alice'), origin }),
    )
  t.equal((await ask(named, device, ANDROID)).aal, 2)
  const refused = { code: 'PARAPET_MFA_PASSKEY_REFUSED', statusCode: 403 }
  await t.rejects(ask(named, device, ANDROID.replace('AA', 'AB')), refused, 'another app')
  const web = await build(t, { passkeys })
  const other = await enrolPasskey(web, 'alice')
  await t.rejects(ask(web, other, ANDROID), refused, 'no app is named')
  for (const origin of ['android:apk-key-hash:', `${ANDROID}A`, 'ios:bundle-id:org.example']) {
    await t.rejects(build(t, { passkeys: { ...passkeys, origins: [origin] } }), {
      code: 'PARAPET_MFA_INVALID_OPTION',
      message: /origins\[0\]" must be an origin .*or "android:apk-key-hash:" and 43 characters/,
    })
  }
})

await t.test('a security key without a PIN is one factor, if it is accepted at all', async (t) => {
  const { UP } = FLAGS
  const strict = await build(t, { passkeys })
  const { challenge } = await strict.app.mfa.passkeys.registrationOptions({ id: 'a', name: 'a' })
  const unverified = new Authenticator().create({ challenge, flags: UP })
  const refused = { code: 'PARAPET_MFA_PASSKEY_REFUSED', statusCode: 403 }
  await t.rejects(strict.app.mfa.passkeys.register('a', unverified, 'Key'), refused)

  const preferred = { ...passkeys, userVerification: 'preferred' } as const
  const built = await build(t, { passkeys: preferred, signIn })
  const { app, as } = built
  app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
  const begun = await app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'alice' })
  const selection = { residentKey: 'preferred', userVerification: 'preferred' }
  t.match(begun.authenticatorSelection, selection)
  const key = new Authenticator()
  key.userHandle = begun.user.id
  const made = key.create({ challenge: begun.challenge, flags: UP })
  t.ok(await app.mfa.passkeys.register('alice', made, 'Key'))
  const verify = async (amr: string, session: string) => {
    const options = await as('alice', post('/mfa/passkeys/verify/options'))
    const asked = options.json<{ challenge: string; userVerification: string }>()
    t.equal(asked.userVerification, 'preferred')
    const response = key.get({ challenge: asked.challenge, flags: UP })
    return as('alice', { ...post('/mfa/passkeys/verify', { response }), amr, session })
  }
  t.equal(outcome(await verify('otp', 's2')), '403 PROOF_INSUFFICIENT')
  t.match((await verify('pwd', 's1')).json(), { aal: 2, amr: ['pwd', 'hwk', 'mfa'] })
  t.equal(outcome(await as('alice', { url: '/strict' })), '200')
  const login = await app.inject(post('/mfa/passkeys/login/options'))
  const asked = login.json<{ challenge: string }>()
  t.match(asked, { userVerification: 'required' })
  const alone = key.get({ challenge: asked.challenge, flags: UP })
  const reply = await app.inject(post('/mfa/passkeys/login', { response: alone }))
  t.equal(outcome(reply), '403 PASSKEY_REFUSED', 'alone it is no login')
})
