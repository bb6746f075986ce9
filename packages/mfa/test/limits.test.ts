import { createMemoryStore, type Store } from '@parapet/kit'
import t from 'tap'
import { guessProbability } from '../src/limits/guess-probability.ts'
import {
  countFailure,
  decideAttempt,
  NO_FAILURES,
  refundSuccess,
  waitAfter,
} from '../src/limits/wrong-codes.ts'
import { Authenticator, RELYING_PARTY } from './authenticator.ts'
import {
  build,
  challengeFor,
  codeAt,
  enrol,
  enrolPasskey,
  outcome,
  post,
  wrongCode,
} from './helpers.ts'

const ip = '192.0.2.1'

/** A store that records its calls with the kind of their key. */
function recording(store: Store, calls: string[]): Store {
  return new Proxy(store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        calls.push(`${String(key)} ${String(args[0]).split(':').slice(0, 2).join(':')}`)
        return Reflect.apply(value, target, args) as unknown
      }
    },
  })
}

const limits = {
  freeAttempts: 5,
  firstWaitSeconds: 30,
  maxWaitSeconds: 3600,
  hardStop: 100,
  failuresPer30Days: 150,
}

const address = (i: number) => `192.0.2.${i}`

await t.test('wrong codes cause growing waits, and a right code ends them', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret } = await enrol(built, 'alice')
  const attempt = (text: string, ip: string) =>
    as('alice', { ...post('/mfa/verify', { code: text }), ip })
  const bad = () => wrongCode(secret, clock.now())
  for (let i = 0; i < 5; i++) t.equal(outcome(await attempt(bad(), address(i))), '403 CODE_REFUSED')
  for (const [i, wait] of [30, 60, 120, 240].entries()) {
    const held = await attempt(codeAt(secret, clock.now()), address(10 + i))
    t.equal(outcome(held), '429 THROTTLED', 'even the right code must wait')
    t.equal(held.headers['retry-after'], String(wait))
    clock.advance(wait * 1000)
    t.equal(outcome(await attempt(bad(), address(20 + i))), '403 CODE_REFUSED')
  }
  clock.advance(480_000)
  t.equal(outcome(await attempt(codeAt(secret, clock.now()), address(30))), '200')
  t.equal(outcome(await attempt(bad(), address(31))), '403 CODE_REFUSED', 'the count starts again')
  t.equal(outcome(await attempt(bad(), address(32))), '403 CODE_REFUSED')
})

await t.test(
  'a hundred wrong codes in a row disable the factor until it is enrolled again',
  async (t) => {
    const built = await build(t)
    const { app, clock, events, notices } = built
    const { secret, backupCodes } = await enrol(built, 'alice')
    for (let i = 0; i < 100; i++) {
      await t.rejects(app.mfa.verify('alice', wrongCode(secret, clock.now())), {
        code: 'PARAPET_MFA_CODE_REFUSED',
      })
      clock.advance(3_600_000)
    }
    const locked = events.filter(({ type }) => type === 'mfa.locked')
    t.match(locked, [{ details: { method: 'totp', failures: 100 } }], 'reported once')
    t.equal(notices.filter(({ kind }) => kind === 'locked').length, 1)
    clock.advance(100 * 86_400_000)
    await t.rejects(app.mfa.verify('alice', codeAt(secret, clock.now())), {
      code: 'PARAPET_MFA_LOCKED',
      statusCode: 423,
    })
    t.equal((await app.mfa.status('alice')).totpLocked, true)
    t.ok(await app.mfa.verify('alice', backupCodes[0]!), 'another factor still works')
    const again = await enrol(built, 'alice')
    t.ok(await app.mfa.verify('alice', codeAt(again.secret, clock.now())))
  },
)

await t.test(
  'at most 150 wrong codes are compared in 30 days, even with right codes in between',
  async (t) => {
    const built = await build(t)
    const { app, clock } = built
    const { secret } = await enrol(built, 'alice')
    const start = clock.now()
    let wrong = 0
    for (;;) {
      const attempt = await app.mfa
        .verify('alice', wrongCode(secret, clock.now()))
        .catch((error: { code: string; headers?: Record<string, string> }) => error)
      if ('code' in attempt && attempt.code === 'PARAPET_MFA_THROTTLED') {
        t.ok(
          Number(attempt.headers?.['retry-after']) > 20 * 86_400,
          'until the oldest are 30 days old',
        )
        break
      }
      wrong++
      if (wrong % 4 === 0) {
        // The owner's success ends the waits, which is the best case for the attacker.
        clock.advance(30_000)
        t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
        clock.advance(3_600_000)
      }
    }
    t.equal(wrong, 150)
    clock.advance(start + 32 * 86_400_000 - clock.now())
    t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())))
  },
)

await t.test('an address waits after wrong codes across accounts', async (t) => {
  const { as, clock } = await build(t)
  const attempt = (user: string, ip: string) =>
    as(user, { ...post('/mfa/verify', { code: '000000' }), ip })
  for (let i = 0; i < 20; i++)
    t.equal(outcome(await attempt(`user-${i}`, '192.0.2.1')), '403 CODE_REFUSED')
  const held = await attempt('user-21', '192.0.2.1')
  t.equal(outcome(held), '429 THROTTLED')
  t.equal(held.headers['retry-after'], '30')
  t.equal(outcome(await attempt('user-21', '192.0.2.2')), '403 CODE_REFUSED')
  clock.advance(30_000)
  t.equal(outcome(await attempt('user-22', '192.0.2.1')), '403 CODE_REFUSED')
})

await t.test('wrong codes of one account make no other account of the address wait', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const victim = await enrol(built, 'alice')
  const own = await enrol(built, 'mallory')
  const attempt = (user: string, code: string) => as(user, { ...post('/mfa/verify', { code }), ip })
  for (let i = 0; i < 30; i++) {
    t.equal(
      outcome(await attempt('mallory', wrongCode(own.secret, clock.now()))),
      '403 CODE_REFUSED',
    )
    clock.advance(3_600_000)
  }
  for (let i = 0; i < 40; i++) await attempt('mallory', wrongCode(own.secret, clock.now()))
  t.equal(outcome(await attempt('alice', codeAt(victim.secret, clock.now()))), '200')
  t.equal(outcome(await attempt('alice', victim.backupCodes[0]!)), '200')
  for (let i = 0; i < 18; i++)
    t.equal(outcome(await attempt(`user-${i}`, '000000')), '403 CODE_REFUSED')
  clock.advance(1000)
  for (let i = 0; i < 40; i++) await attempt('user-0', '000000')
  t.equal(outcome(await attempt('user-18', '000000')), '403 CODE_REFUSED', 'the 20th account')
  const held = await attempt('user-19', '000000')
  t.equal(outcome(held), '429 THROTTLED')
  clock.advance(29_000)
  for (let i = 0; i < 5; i++) await attempt('user-0', '000000')
  clock.advance(1000)
  t.equal(outcome(await attempt('user-19', '000000')), '403 CODE_REFUSED', 'no account prolongs it')
})

await t.test('right codes do not count against an address', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret } = await enrol(built, 'alice')
  for (let i = 0; i < 40; i++) {
    const reply = await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
    t.equal(outcome(reply), '200')
    clock.advance(30_000)
  }
})

await t.test(
  'a right code forgives the address the wrong codes of the same user just before',
  async (t) => {
    const built = await build(t)
    const { as, clock } = built
    const { secret, backupCodes } = await enrol(built, 'alice')
    const attempt = (code: string) =>
      as('alice', { ...post('/mfa/verify', { code }), ip: address(1) })
    for (let i = 0; i < 15; i++) {
      for (let j = 0; j < 2; j++) {
        t.equal(outcome(await attempt(wrongCode(secret, clock.now()))), '403 CODE_REFUSED')
      }
      t.equal(outcome(await attempt(codeAt(secret, clock.now()))), '200')
      clock.advance(30_000)
    }
    for (const code of backupCodes) t.equal(outcome(await attempt(code)), '200')
  },
)

await t.test(
  "right codes of an attacker's own account forgive no guesses at other accounts",
  async (t) => {
    const built = await build(t)
    const { as, clock } = built
    const { secret } = await enrol(built, 'mallory')
    const statuses = []
    for (let i = 0; i < 21; i++) {
      const own = { code: codeAt(secret, clock.now()) }
      await as('mallory', { ...post('/mfa/verify', own), ip })
      const guess = await as(`user-${i}`, { ...post('/mfa/verify', { code: '000000' }), ip })
      statuses.push(outcome(guess))
      clock.advance(30_000)
    }
    t.equal(statuses.filter((status) => status === '403 CODE_REFUSED').length, 20)
    t.equal(statuses.at(-1), '429 THROTTLED')
  },
)

await t.test('an address is forgiven one attempt per longest wait', async (t) => {
  const { as, clock } = await build(t)
  const guess = async (i: number) =>
    outcome(await as(`user-${i}`, { ...post('/mfa/verify', { code: '000000' }), ip }))
  for (let i = 0; i < 20; i++) t.equal(await guess(i), '403 CODE_REFUSED')
  clock.advance(2 * 3_600_000)
  t.same(
    [await guess(20), await guess(21), await guess(22)],
    ['403 CODE_REFUSED', '403 CODE_REFUSED', '429 THROTTLED'],
  )
})

await t.test(
  'an IPv6 /64 counts as one address, and an IPv4-mapped address as its IPv4 address',
  async (t) => {
    const { as } = await build(t)
    const guess = async (i: number, from: string) =>
      outcome(await as(`user-${i}`, { ...post('/mfa/verify', { code: '000000' }), ip: from }))
    for (let i = 0; i < 20; i++)
      t.equal(await guess(i, `2001:db8::${i.toString(16)}`), '403 CODE_REFUSED')
    t.equal(await guess(20, '2001:db8:0:0:ffff::1'), '429 THROTTLED')
    t.equal(await guess(20, '2001:db8:0:1::1'), '403 CODE_REFUSED')
    for (let i = 0; i < 20; i++)
      t.equal(await guess(i, i % 2 === 0 ? ip : `::ffff:${ip}`), '403 CODE_REFUSED')
    t.equal(await guess(20, ip), '429 THROTTLED')
  },
)

await t.test(
  'bogus passkey responses from an address make no other user of the address wait',
  async (t) => {
    const built = await build(t, { passkeys: RELYING_PARTY, signIn: async () => ({}) })
    const { app, as, clock } = built
    const device = await enrolPasskey(built, 'alice')
    const { secret } = await enrol(built, 'alice')
    const bogus = new Authenticator()
    const login = async (response: object) => {
      const request = { method: 'POST', url: '/mfa/passkeys/login', payload: { response } } as const
      return outcome(await app.inject({ ...request, remoteAddress: ip }))
    }
    for (let i = 0; i < 25; i++) {
      t.equal(await login(bogus.get({ challenge: 'A'.repeat(43) })), '409 CHALLENGE_REFUSED')
      const challenge = await challengeFor(built, null)
      t.equal(await login(bogus.get({ challenge })), '403 PASSKEY_REFUSED', 'an unknown passkey')
    }
    const challenge = await challengeFor(built, null)
    t.equal(await login(device.get({ challenge })), '200')
    const code = codeAt(secret, clock.now())
    t.equal(outcome(await as('alice', { ...post('/mfa/verify', { code }), ip })), '200')
  },
)

await t.test('wrong responses for one passkey make that passkey wait at the address', async (t) => {
  const built = await build(t, { passkeys: RELYING_PARTY, signIn: async () => ({}) })
  const { app } = built
  const device = await enrolPasskey(built, 'alice')
  const other = await enrolPasskey(built, 'bob')
  const login = async (key: Authenticator, remoteAddress: string, counter: number, flags = 5) => {
    const response = key.get({ challenge: await challengeFor(built, null), counter, flags })
    const request = { method: 'POST', url: '/mfa/passkeys/login', payload: { response } } as const
    return outcome(await app.inject({ ...request, remoteAddress }))
  }
  for (let i = 0; i < 19; i++) t.equal(await login(device, ip, 1, 1), '403 PASSKEY_REFUSED')
  t.equal(await login(device, ip, 1), '200', 'its owner ends the count')
  for (let i = 0; i < 20; i++) t.equal(await login(device, ip, 2, 1), '403 PASSKEY_REFUSED')
  t.equal(await login(device, ip, 2), '429 THROTTLED')
  t.equal(await login(device, address(2), 2), '200', 'elsewhere')
  t.equal(await login(other, ip, 1), '200', 'another passkey at the address')
})

await t.test(
  'a wrong code makes the same store calls as a right one, enrolled or not',
  async (t) => {
    const calls: string[] = []
    const built = await build(t, { store: recording(createMemoryStore(), calls) })
    const { app, clock } = built
    const { secret } = await enrol(built, 'alice')
    const attempt = async (user: string, code: string) => {
      calls.length = 0
      await app.mfa.verify(user, code, { ip }).catch(() => null)
      return calls.slice()
    }
    const right = await attempt('alice', codeAt(secret, clock.now()))
    t.equal(right.filter((call) => call === 'compareAndSet mfa:account').length, 1)
    t.same(await attempt('alice', wrongCode(secret, clock.now())), right, 'wrong')
    t.same(await attempt('nobody', '000000'), right, 'a user without a factor')
  },
)

await t.test('waits double from 30 seconds to an hour, then stay', async (t) => {
  const waits = Array.from({ length: 14 }, (_, failures) => waitAfter(failures, limits) / 1000)
  t.same(waits, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600])
  let state = NO_FAILURES
  for (let i = 0; i < 10; i++) state = countFailure(state, 1000)
  t.match(decideAttempt(state, 1000, limits), { allowed: false, retryAfterMs: 960_000 })
})

await t.test(
  'a clock that is set back neither locks a user out nor resets the counts of an attacker',
  async (t) => {
    const day = 86_400_000
    const ahead = 400 * day
    let state = NO_FAILURES
    for (let i = 0; i < 10; i++) state = countFailure(state, ahead)
    t.match(decideAttempt(state, ahead, limits), { allowed: false, retryAfterMs: 960_000 })
    t.match(
      decideAttempt(state, ahead - 1000, limits),
      { retryAfterMs: 961_000 },
      'set back by a second',
    )
    t.same(
      decideAttempt(state, day, limits),
      { allowed: true },
      'set back by a year: the wait is ignored',
    )
    const next = countFailure(state, day)
    t.match(decideAttempt(next, day, limits), { allowed: false, retryAfterMs: 1_920_000 })
    t.same(next.days, [[1, 11]], 'the counts are kept')
    const capped = { ...limits, failuresPer30Days: 10 }
    t.match(decideAttempt(state, day, capped), { allowed: false, retryAfterMs: 31 * day })
  },
)

await t.test('a success that was counted as wrong first is taken out of the counts', async (t) => {
  let state = countFailure(countFailure(NO_FAILURES, 1000), 90_000_000)
  t.same(refundSuccess(state), { failures: 0, lastFailureAt: 90_000_000, days: [[0, 1]] })
  state = countFailure(state, 90_000_000)
  t.same(refundSuccess(state).days, [
    [0, 1],
    [1, 1],
  ])
})

await t.test('the guess probability follows the documented formula', async (t) => {
  const p = guessProbability({
    digits: 6,
    liveCodes: 5,
    failuresPer30Days: 150,
    backupCodes: 8,
    backupCodeBits: 65,
  })
  t.ok(Math.abs(p - (1 - (1 - 5e-6) ** 150)) < 1e-12, String(p))
  const strict = guessProbability({
    digits: 8,
    liveCodes: 1,
    failuresPer30Days: 10,
    backupCodes: 8,
    backupCodeBits: 65,
  })
  t.ok(strict < 1.1e-7, String(strict))
})
