import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { readVectors } from '@parapet/testing'
import fc from 'fast-check'
import jsQR from 'jsqr'
import { Secret, URI } from 'otpauth'
import { PNG } from 'pngjs'
import t from 'tap'
import { drawQr } from '../src/totp/qr-code.ts'
import {
  createTotpSecret,
  decideTotp,
  stepAt,
  totpCode,
  totpUri,
  type TotpAlgorithm,
} from '../src/totp/totp-code.ts'
import { begin, build, codeAt, enrol, outcome, post, wrongCode } from './helpers.ts'

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

await t.test(
  'begin returns a secret, its URI, two forms of a QR code and eight backup codes',
  async (t) => {
    const { as } = await build(t, { backupCodes: 8 })
    const reply = await as('alice', post('/mfa/totp'))
    t.equal(outcome(reply), '201')
    t.equal(reply.headers['cache-control'], 'no-store')
    const begun = reply.json<{
      secret: string
      uri: string
      qr: { dataUrl: string; svg: string }
      backupCodes: string[]
    }>()
    t.match(begun.secret, /^[A-Z2-7]{32}$/, '160 bits')
    t.match(begun.uri, /^otpauth:\/\/totp\/Acme:alice\?issuer=Acme&secret=/)
    t.match(begun.qr.dataUrl, /^data:image\/png;base64,/)
    t.match(begun.qr.svg, /^<svg /)
    t.equal(new Set(begun.backupCodes).size, 8)
    t.equal((await as('alice', { url: '/mfa' })).json<{ enrolled: boolean }>().enrolled, false)
  },
)

await t.test(
  'the old app works until the new one is confirmed, and is refused afterwards',
  async (t) => {
    const built = await build(t)
    const { app, clock } = built
    const old = await enrol(built, 'alice')
    const { ticket, secret } = await begin(built, 'alice', old.secret)
    t.equal((await app.mfa.verify('alice', codeAt(old.secret, clock.now()))).driftSteps, 0)
    clock.advance(30_000)
    await app.mfa.totp.confirm('alice', ticket, codeAt(secret, clock.now()))
    clock.advance(30_000)
    await t.rejects(app.mfa.verify('alice', codeAt(old.secret, clock.now())), {
      code: 'PARAPET_MFA_CODE_REFUSED',
      statusCode: 403,
    })
    await t.rejects(app.mfa.verify('alice', old.backupCodes[0]!), {
      code: 'PARAPET_MFA_CODE_REFUSED',
    })
    clock.advance(30_000)
    t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
  },
)

await t.test(
  'the drift is learned: two steps are accepted at first, then one around the drift, and zero',
  async (t) => {
    const built = await build(t)
    const { app, clock } = built
    const { secret } = await enrol(built, 'alice', -2)
    const status = await app.mfa.status('alice')
    t.equal(status.totp?.driftSteps, -2, 'the status shows a slow clock')
    clock.advance(300_000)
    await t.rejects(app.mfa.verify('alice', codeAt(secret, clock.now(), 1)), {
      code: 'PARAPET_MFA_CODE_REFUSED',
    })
    t.equal((await app.mfa.verify('alice', codeAt(secret, clock.now(), -1))).driftSteps, -1)
    clock.advance(300_000)
    t.equal((await app.mfa.verify('alice', codeAt(secret, clock.now(), 0))).driftSteps, 0)
    clock.advance(300_000)
    await t.rejects(app.mfa.verify('alice', codeAt(secret, clock.now(), -2)), {
      code: 'PARAPET_MFA_CODE_REFUSED',
    })
  },
)

await t.test('a wrong code does not end an enrolment, but ten minutes do', async (t) => {
  const { app, clock } = await build(t)
  const { ticket, secret } = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
  await t.rejects(app.mfa.totp.confirm('alice', ticket, wrongCode(secret, clock.now())), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  await t.rejects(app.mfa.totp.confirm('alice', ticket, 'not digits'), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  t.ok(await app.mfa.totp.confirm('alice', ticket, codeAt(secret, clock.now())))
  const late = await app.mfa.totp.begin({ id: 'bob', name: 'bob' })
  clock.advance(600_000)
  await t.rejects(app.mfa.totp.confirm('bob', late.ticket, codeAt(late.secret, clock.now())), {
    code: 'PARAPET_MFA_TICKET_REFUSED',
    statusCode: 409,
  })
})

await t.test('a code works once, the one that confirmed the enrolment included', async (t) => {
  const built = await build(t)
  const { as, events, clock } = built
  const begun = (await as('alice', post('/mfa/totp'))).json<{ ticket: string; secret: string }>()
  const first = codeAt(begun.secret, clock.now())
  const payload = { ticket: begun.ticket, code: first }
  t.match((await as('alice', post('/mfa/totp/confirm', payload))).json(), { aal: 2 })
  const replay = await as('alice', post('/mfa/verify', { code: first }))
  t.equal(outcome(replay), '409 CODE_USED')
  t.match(replay.json(), { detail: /already used/ })
  t.match(
    events.map(({ type }) => type),
    ['mfa.enrolled', 'mfa.verified', 'mfa.replayed'],
  )
  clock.advance(30_000)
  const next = await as(
    'alice',
    post('/mfa/verify', { code: ` ${codeAt(begun.secret, clock.now())} ` }),
  )
  t.equal(outcome(next), '200')
  t.match(next.json(), { method: 'totp', amr: ['pwd', 'otp', 'mfa'], backupCodesLeft: 4 })
})

await t.test('a repeated code does not count as a wrong code', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const { secret } = await enrol(built, 'alice')
  const code = codeAt(secret, clock.now())
  await app.mfa.verify('alice', code)
  for (let i = 0; i < 20; i++) {
    await t.rejects(app.mfa.verify('alice', code), {
      code: 'PARAPET_MFA_CODE_USED',
      statusCode: 409,
    })
  }
  clock.advance(30_000)
  t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
})

await t.test('a ticket is refused for another user and stays valid for its owner', async (t) => {
  const { app, clock } = await build(t)
  const { ticket, secret } = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
  const code = codeAt(secret, clock.now())
  for (const given of [ticket, `${ticket}=`, '', 'A'.repeat(43)]) {
    await t.rejects(app.mfa.totp.confirm('bob', given, code), {
      code: 'PARAPET_MFA_TICKET_REFUSED',
    })
  }
  t.ok(await app.mfa.totp.confirm('alice', ticket, code))
})

await t.test(
  'text that is no code of any app is refused as a bad request, never as a server error',
  async (t) => {
    const { as } = await build(t)
    for (const text of ['123456789', '-12345', '1e5000', '000000000000000000000', '😀😀😀😀😀😀']) {
      const reply = await as('alice', post('/mfa/verify', { code: text }))
      t.equal(outcome(reply), '400 CODE_MISTYPED', text)
    }
    // Fastify converts numbers and arrays with one element to text.
    const outcomes: [unknown, string][] = [
      [123456, '403 CODE_REFUSED'],
      [['123456'], '403 CODE_REFUSED'],
      [null, '400 FST_ERR_VALIDATION'],
      [{}, '400 FST_ERR_VALIDATION'],
      ['', '400 FST_ERR_VALIDATION'],
    ]
    for (const [code, expected] of outcomes) {
      t.equal(outcome(await as('alice', post('/mfa/verify', { code }))), expected)
    }
  },
)

await t.test('of 20 concurrent confirmations of one ticket one succeeds', async (t) => {
  const { app, clock, events } = await build(t)
  const { ticket, secret } = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
  const code = codeAt(secret, clock.now())
  const attempts = Array.from({ length: 20 }, () => app.mfa.totp.confirm('alice', ticket, code))
  const settled = await Promise.allSettled(attempts)
  t.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1)
  t.equal(events.filter(({ type }) => type === 'mfa.enrolled').length, 1)
})

await t.test('every vector of RFC 6238 and RFC 4226 yields its code and is accepted', async (t) => {
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
    t.match(
      decideTotp(factor, vector.totp, vector.unix * 1000, { ...settings, ...vector }),
      { accepted: true, step: vector.step, drift: 0, clockAheadSeconds: null },
      name,
    )
  }
})

await t.test('oathtool, an independent implementation, computes the same codes', async (t) => {
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

await t.test(
  'an independent decoder reads both QR codes, and the URI parses to the same values',
  async (t) => {
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
  },
)

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
  'at most five codes are accepted at first, and three once the drift is known',
  async (t) => {
    // A fixed secret: with a random one, two of these codes are equal in one of 2000 runs.
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
  'a code is accepted only for its own step, if that is in the window and unused',
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
            // A last step beyond the window was written by a clock that was ahead.
            (last > settings.window || verdict.step > lastStep) &&
            verdict.step !== lastStep &&
            totpCode(key, verdict.step, settings) === code &&
            Math.abs(verdict.drift) <= 2
          )
        },
      ),
      { numRuns: 1000 },
    )
    t.pass('1000 runs')
  },
)

await t.test('a clock that was ahead once does not lock apps out until that time', async (t) => {
  const built = await build(t)
  const { app, clock, events } = built
  const { secret } = await enrol(built, 'alice')
  const verify = (code: string) => app.mfa.verify('alice', code)
  const used = { code: 'PARAPET_MFA_CODE_USED', statusCode: 409 }
  const before = codeAt(secret, clock.now())
  await verify(before)
  const ahead = 30 * 86_400_000
  clock.advance(ahead)
  const future = codeAt(secret, clock.now())
  await verify(future)
  clock.advance(-ahead)
  await t.rejects(verify(before), used, 'a code that was used before the fault')
  clock.advance(30_000)
  const present = codeAt(secret, clock.now())
  t.ok(await verify(present))
  await t.rejects(verify(present), used, 'a code of the present, twice')
  await t.rejects(verify(before), used)
  const corrected = events.filter(({ type }) => type === 'mfa.clock_corrected')
  t.match(corrected, [{ principalId: 'alice', details: { aheadSeconds: ahead / 1000 - 30 } }])
  t.equal(corrected.length, 1)
  clock.advance(ahead - 30_000)
  await t.rejects(verify(future), used, 'a code of the fault, when its time has come')
})
