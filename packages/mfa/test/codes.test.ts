import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { createLocalCipher, parseCipherKeys } from '@parapet/kit'
import { readVectors } from '@parapet/testing'
import fc from 'fast-check'
import jsQR from 'jsqr'
import { Secret, URI } from 'otpauth'
import { PNG } from 'pngjs'
import t from 'tap'
import {
  createBackupCodes,
  hashBackupCode,
  hashBackupCodes,
  parseBackupCode,
  spendBackupCode,
} from '../src/backup-codes.ts'
import { openAccount } from '../src/account.ts'
import { isEcdsaSignature } from '../src/der.ts'
import { drawQr } from '../src/qr.ts'
import { createProof } from '../src/proof.ts'
import {
  countFailure,
  decideAttempt,
  FRESH,
  guessProbability,
  refundSuccess,
  waitAfter,
} from '../src/throttle.ts'
import {
  createTotpSecret,
  decideTotp,
  stepAt,
  totpCode,
  totpUri,
  type TotpAlgorithm,
} from '../src/totp.ts'

const settings = { algorithm: 'SHA1', digits: 6, window: 2, learnedWindow: 1 } as const

interface OtpVectors {
  readonly rfc6238: readonly TotpVector[]
  readonly rfc4226: readonly { counter: number; secretAscii: string; hotp: string }[]
  readonly edge: readonly Omit<TotpVector, 'secretAscii'>[]
}
interface TotpVector {
  readonly unix: number
  readonly step: number
  readonly algorithm: TotpAlgorithm
  readonly secretAscii: string
  readonly digits: number
  readonly totp: string
}

await t.test('every vector of RFC 6238 and RFC 4226 gives its code and is accepted', async (t) => {
  const vectors = readVectors<OtpVectors>(t, 'identity/otp-rfc-vectors.json')
  if (vectors === null) return
  const { rfc6238, rfc4226, edge } = vectors
  t.equal(rfc6238.length + rfc4226.length + edge.length, 35)
  for (const { counter, secretAscii, hotp } of rfc4226) {
    t.equal(totpCode(Secret.fromUTF8(secretAscii), counter, settings), hotp, `HOTP ${counter}`)
  }
  const secretAscii = rfc4226[0]!.secretAscii
  for (const vector of [...rfc6238, ...edge.map((each) => ({ ...each, secretAscii }))]) {
    const secret = Secret.fromUTF8(vector.secretAscii)
    const name = `${vector.algorithm} at ${vector.unix}`
    t.equal(stepAt(vector.unix * 1000), vector.step, name)
    t.equal(totpCode(secret, vector.step, vector), vector.totp, name)
    const factor = { secret: secret.base32, lastStep: -1, drift: null }
    t.same(
      decideTotp(factor, vector.totp, vector.unix * 1000, { ...settings, ...vector }),
      { accepted: true, step: vector.step, drift: 0 },
      name,
    )
  }
})

await t.test('oathtool, which shares no code with this, shows the same codes', async (t) => {
  if (!existsSync('/usr/bin/oathtool')) {
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail('no oathtool: install it')
    else t.pass('needs oathtool', { skip: 'no oathtool' })
    return
  }
  const run = promisify(execFile)
  for (const algorithm of ['SHA1', 'SHA256', 'SHA512'] as const) {
    for (const digits of [6, 7, 8]) {
      const secret = createTotpSecret()
      const at = 1_000_000_000 + Math.floor(Math.random() * 3_000_000_000)
      const { stdout } = await run('/usr/bin/oathtool', [
        `--totp=${algorithm}`,
        '--base32',
        `--digits=${digits}`,
        '--window=9',
        `--now=@${at}`,
        secret,
      ])
      const ours = Array.from({ length: 10 }, (_, i) =>
        totpCode(Secret.fromBase32(secret), stepAt(at * 1000) + i, { algorithm, digits }),
      )
      t.same(ours, stdout.trim().split('\n'), `${algorithm}, ${digits} digits, at ${at}`)
    }
  }
})

await t.test('a second decoder reads both QR codes, and the URI round-trips', async (t) => {
  for (const label of ['alice@example.org', 'urn:user:42', 'Zoë Müller', 'x'.repeat(200)]) {
    const secret = createTotpSecret()
    const uri = totpUri('Acme & Söhne', label, secret, settings)
    const { dataUrl, svg } = drawQr(uri)
    const bytes = Buffer.from(dataUrl.replace('data:image/png;base64,', ''), 'base64')
    const { data, width, height } = PNG.sync.read(bytes)
    t.equal(jsQR.default(new Uint8ClampedArray(data), width, height)?.data, uri, label)
    t.ok(dataUrl.length < 4000, `${dataUrl.length} characters`)
    t.equal(jsQR.default(rasterise(svg), 5 * sideOf(svg), 5 * sideOf(svg))?.data, uri, 'the SVG')
    const parsed = URI.parse(uri)
    t.match(parsed, { label, issuer: 'Acme & Söhne', digits: 6, period: 30, algorithm: 'SHA1' })
    t.equal(parsed.secret.base32, secret)
  }
})

function sideOf(svg: string): number {
  return Number(/viewBox="0 0 (\d+)/.exec(svg)![1])
}

function rasterise(svg: string): Uint8ClampedArray {
  const side = sideOf(svg)
  const pixels = new Uint8ClampedArray(25 * side * side * 4).fill(255)
  for (const [, x, y, width] of svg.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g)) {
    for (let column = 5 * Number(x); column < 5 * (Number(x) + Number(width)); column++) {
      for (let row = 5 * Number(y); row < 5 * (Number(y) + 1); row++) {
        pixels.fill(0, 4 * (row * 5 * side + column), 4 * (row * 5 * side + column) + 3)
      }
    }
  }
  return pixels
}

await t.test(
  'no more than five codes are live at first, and three when the drift is known',
  async (t) => {
    // A known one: of a random one, two of these codes are equal once in two thousand times.
    const secret = Secret.fromUTF8('12345678901234567890').base32
    const now = 1_700_000_000_000
    const live = (drift: number | null, profile = settings as Parameters<typeof decideTotp>[3]) =>
      Array.from({ length: 21 }, (_, i) => i - 10).filter((step) => {
        const code = totpCode(Secret.fromBase32(secret), stepAt(now) + step, profile)
        return decideTotp({ secret, lastStep: -1, drift }, code, now, profile).accepted
      })
    t.same(live(null), [-2, -1, 0, 1, 2])
    t.same(live(0), [-1, 0, 1])
    t.same(live(-1), [-2, -1, 0])
    t.same(live(-2), [-2, -1, 0])
    t.same(live(2), [0, 1, 2])
    t.same(live(null, { ...settings, window: 0, learnedWindow: 0 }), [0])
    t.equal(
      decideTotp({ secret, lastStep: -1, drift: null }, '000000', 0, settings).accepted,
      false,
      'at the epoch',
    )
  },
)

await t.test(
  'whatever is given, a code is accepted only for its own live, unused step',
  async (t) => {
    const secret = createTotpSecret()
    const key = Secret.fromBase32(secret)
    fc.assert(
      fc.property(
        fc.integer({ min: 10, max: 60_000_000 }),
        fc.integer({ min: -4, max: 4 }),
        fc.integer({ min: -4, max: 4 }),
        fc.option(fc.integer({ min: -2, max: 2 })),
        (current, offset, last, drift) => {
          const code = totpCode(key, current + offset, settings)
          const lastStep = current + last
          const verdict = decideTotp({ secret, lastStep, drift }, code, current * 30_000, settings)
          if (!verdict.accepted) return true
          return (
            verdict.step > lastStep &&
            totpCode(key, verdict.step, settings) === code &&
            Math.abs(verdict.drift) <= 2
          )
        },
      ),
      { numRuns: 1000 },
    )
    t.pass('1000 times')
  },
)

await t.test(
  'a wrong character, two exchanged, or a wrong length is a typo and no attempt',
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

await t.test('a set of codes keeps hashes only, and each spends itself', async (t) => {
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

const throttle = {
  freeAttempts: 5,
  firstWaitSeconds: 30,
  maxWaitSeconds: 3600,
  hardStop: 100,
  failuresPer30Days: 150,
}

await t.test(
  'a clock that is set back neither holds a user for ever nor frees a guesser',
  async (t) => {
    const day = 86_400_000
    const ahead = 400 * day
    let state = FRESH
    for (let i = 0; i < 10; i++) state = countFailure(state, ahead)
    t.match(decideAttempt(state, ahead, throttle), { allowed: false, retryAfterMs: 960_000 })
    t.match(decideAttempt(state, ahead - 1000, throttle), { retryAfterMs: 961_000 }, 'a little')
    t.same(decideAttempt(state, day, throttle), { allowed: true }, 'a year: the wait means nothing')
    const next = countFailure(state, day)
    t.match(decideAttempt(next, day, throttle), { allowed: false, retryAfterMs: 1_920_000 })
    t.same(next.days, [[1, 11]], 'and what was counted is counted still')
    const capped = { ...throttle, failuresPer30Days: 10 }
    t.match(decideAttempt(state, day, capped), { allowed: false, retryAfterMs: 31 * day })
  },
)

await t.test('an attempt counted as wrong that was right leaves no trace', async (t) => {
  let state = countFailure(countFailure(FRESH, 1000), 90_000_000)
  t.same(refundSuccess(state), { failures: 0, lastFailureAt: 90_000_000, days: [[0, 1]] })
  state = countFailure(state, 90_000_000)
  t.same(refundSuccess(state).days, [
    [0, 1],
    [1, 1],
  ])
})

await t.test('waits double from 30 seconds to an hour, then stay', async (t) => {
  const waits = Array.from({ length: 14 }, (_, failures) => waitAfter(failures, throttle) / 1000)
  t.same(waits, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600])
  let state = FRESH
  for (let i = 0; i < 10; i++) state = countFailure(state, 1000)
  t.match(decideAttempt(state, 1000, throttle), { allowed: false, retryAfterMs: 960_000 })
})

await t.test('the guess budget is the arithmetic it claims to be', async (t) => {
  const p = guessProbability({ digits: 6, window: 2 }, { failuresPer30Days: 150 }, 8)
  t.ok(Math.abs(p - (1 - (1 - 5e-6) ** 150)) < 1e-12, String(p))
  t.ok(guessProbability({ digits: 8, window: 0 }, { failuresPer30Days: 10 }, 8) < 1.1e-7)
})

await t.test('a proof says what the flags and kinds say', async (t) => {
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
  t.match(flags(false, true), { aal: 1, amr: ['swk'] }, 'without the user it is one factor')
  const otp = createProof({ ...base, method: 'totp', before: [] })
  t.match(otp, { aal: 1, phishingResistant: false, amr: ['otp'] })
  t.ok(Object.isFrozen(otp))
})

await t.test('an ECDSA signature has one spelling', async (t) => {
  const strict = [
    '3006020101020101',
    '30080202008002020080',
    `30818a0243${'01'.repeat(67)}0243${'01'.repeat(67)}`,
  ]
  for (const hex of strict)
    t.equal(isEcdsaSignature(Buffer.from(hex, 'hex')), true, hex.slice(0, 20))
  const lax = [
    '',
    '30',
    '3000',
    'b006020101020101',
    '3007020101020101',
    '300602010102010100',
    '3006020181020101',
    '30080202000102020001',
    '3006020001020101',
    '300602010102020101',
    '308106020101020101',
    '3006020100020101',
    '3003020101',
    '3008020101030101',
  ]
  for (const hex of lax) t.equal(isEcdsaSignature(Buffer.from(hex, 'hex')), false, hex)
})

interface AccountVectors {
  readonly keys: string
  readonly salt: string
  readonly backupCodes: readonly { typed: string; plain: string | null; hash?: string }[]
  readonly opens: readonly { userId: string; sealed: string; account: object }[]
  readonly refused: readonly { userId: string; sealed: string; fault: string }[]
}

await t.test('the vectors of docs/spec/mfa-account.md hold', async (t) => {
  const file = new URL('../../../docs/spec/vectors/mfa-account.json', import.meta.url)
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as AccountVectors
  const cipher = createLocalCipher(parseCipherKeys(vectors.keys))
  for (const { typed, plain, hash } of vectors.backupCodes) {
    t.equal(parseBackupCode(typed), plain, typed)
    if (plain !== null) t.equal(await hashBackupCode(plain, vectors.salt), hash)
  }
  for (const { userId, sealed, account } of vectors.opens) {
    t.same(await openAccount(cipher, userId, sealed), account)
  }
  for (const { userId, sealed, fault } of vectors.refused) {
    const refusal = { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' }
    await t.rejects(openAccount(cipher, userId, sealed), refusal, fault)
  }
})
