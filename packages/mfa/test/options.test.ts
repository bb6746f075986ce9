import { declarePhase } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import Fastify from 'fastify'
import t from 'tap'
import { build, codeAt, createApp, enrol, KEYS, outcome, post } from './helpers.ts'

await t.test(
  'settings that make codes guessable fail the boot, with the probability in the message',
  async (t) => {
    t.equal((await build(t)).app.mfa.guessProbability.toPrecision(3), '0.000750')
    const refused: [object, RegExp][] = [
      [
        { throttle: { failuresPer30Days: 1000 } },
        /probability 0.00499, above maxGuessProbability 0.001: 1000 attempts at 5 live codes of 6 digits/,
      ],
      [{ totp: { window: 5 } }, /probability 0.00165/],
      [{ maxGuessProbability: 0.0001 }, /probability 0.000750, above maxGuessProbability 0.0001/],
    ]
    for (const [options, message] of refused) {
      await t.rejects(build(t, options), {
        code: 'PARAPET_MFA_GUESSABLE',
        statusCode: 500,
        message,
      })
    }
    const strong = await build(t, { totp: { digits: 8 }, throttle: { failuresPer30Days: 10_000 } })
    t.equal(strong.app.mfa.guessProbability.toPrecision(3), '0.000500')
  },
)

await t.test('a missing key or an invalid option fails the boot', async (t) => {
  const refused: [object, string, RegExp][] = [
    [{ issuer: 'Acme' }, 'PARAPET_MFA_NO_KEY', /generateCipherKey/],
    [
      { issuer: 'Acme', keys: 'secret' },
      'PARAPET_MFA_INVALID_OPTION',
      /"keys" cannot be read: .*id:base64url/,
    ],
    [{ issuer: 'A:B', keys: KEYS }, 'PARAPET_MFA_INVALID_OPTION', /issuer/],
    [{ issuer: 'Acme', key: KEYS }, 'PARAPET_MFA_INVALID_OPTION', /did you mean "keys"/],
    [
      { issuer: 'Acme', keys: KEYS, cipher: { seal() {}, open() {} } },
      'PARAPET_MFA_INVALID_OPTION',
      /exclude each other/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, totp: { window: 0, learnedWindow: 1 } },
      'PARAPET_MFA_INVALID_OPTION',
      /at most totp.window, 0, got 1/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, throttle: { hardStop: 101 } },
      'PARAPET_MFA_INVALID_OPTION',
      /throttle.hardStop/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, maxGuessProbability: 1 },
      'PARAPET_MFA_INVALID_OPTION',
      /at most 0.01/,
    ],
    [
      { issuer: 'Acme', keys: KEYS, passkeys: { rpId: 'a', origins: ['https://a/path'] } },
      'PARAPET_MFA_INVALID_OPTION',
      /^ {2}"passkeys\.origins\[0\]" must be an origin such as "https:\/\/example\.org", without a path, or "android:/m,
    ],
    [
      {
        issuer: 'Acme',
        keys: KEYS,
        sql: { query() {}, transaction() {} },
        accounts: { load() {}, save() {}, findByCredential() {}, remove() {} },
      },
      'PARAPET_MFA_INVALID_OPTION',
      /exclude/,
    ],
  ]
  for (const [options, errorCode, message] of refused) {
    const app = createApp(t)
    await t.rejects(
      async () => {
        await app.register(mfa, options as never)
      },
      {
        code: errorCode,
        message,
      },
    )
  }
})

await t.test('an invalid rule of a route fails the boot', async (t) => {
  const { app } = await build(t)
  const rules = [
    'closed',
    true,
    null,
    [],
    { maxAge: 300 },
    { maxAgeSeconds: 0 },
    { phishingResistant: 'yes' },
    { ifEnrolled: 1 },
    'ifEnrolled',
  ]
  for (const rule of rules) {
    t.throws(() => app.get('/broken', { config: { mfa: rule as never } }, async () => 'never'), {
      code: 'PARAPET_MFA_INVALID_RULE',
      message: /the route GET \/broken must be 'open', 'required', 'if-enrolled' or/,
    })
  }
})

await t.test('a profile tightens the defaults, and deviations are logged once', async (t) => {
  const bootOf = async (options: object) => {
    const lines: { msg: string; level: number; deviations?: string[] }[] = []
    const stream = { write: (line: string) => void lines.push(JSON.parse(line) as never) }
    const app = Fastify({ logger: { level: 'info', stream } })
    t.after(() => app.close())
    await app.register(mfa, { issuer: 'Acme', keys: KEYS, ...options })
    await app.ready()
    return lines.filter(({ deviations }) => deviations !== undefined)
  }
  const [none] = await bootOf({})
  t.match(none, {
    level: 30,
    deviations: [
      /ASVS 6.5.5.*150 s/,
      /remembered/,
      /remembered/,
      /2.2.2/,
      /4.6/,
      /6.3.7/,
      /7.2.4/,
      /7.4.3/,
    ],
  })
  const strict = {
    notify: () => {},
    revokeSessions: async () => {},
    elevate: async () => null,
    passkeys: { rpId: 'localhost', origins: ['http://localhost'] },
  }
  t.same(await bootOf({ ...strict, profile: 'asvs' }), [])
  t.same(await bootOf({ ...strict, profile: 'aal2' }), [])
  const [loose] = await bootOf({
    ...strict,
    profile: 'asvs',
    totp: { window: 2 },
    proofMaxAgeSeconds: 100_000,
  })
  t.match(loose, { level: 40, deviations: [/ASVS 6.5.5/] })
  const [old] = await bootOf({ ...strict, profile: 'aal2', proofMaxAgeSeconds: 100_000 })
  t.match(old, { deviations: [/24 h/] })
  const roles = { admin: { graceSeconds: 60 }, root: {}, user: { graceSeconds: 1 } }
  for (const profile of ['aal2', 'asvs']) {
    const [graced] = await bootOf({ ...strict, profile, roles })
    t.match(graced, { deviations: [/graceSeconds.*: admin, user$/] }, profile)
  }
  const built = await build(t, { profile: 'asvs' })
  const { secret } = await enrol(built, 'alice')
  await t.rejects(built.app.mfa.verify('alice', codeAt(secret, built.clock.now(), 1)), {
    code: 'PARAPET_MFA_CODE_REFUSED',
  })
  const payload = { code: codeAt(secret, built.clock.now()), rememberDevice: true }
  const reply = await built.as('alice', post('/mfa/verify', payload))
  t.equal(outcome(reply), '200')
  t.equal(reply.headers['set-cookie'], undefined, 'no device is remembered')
})

await t.test(
  'the plugin must be registered before the input phase, and works without routes',
  async (t) => {
    const app = createApp(t)
    declarePhase(app, '@parapet/input-guard', 'input')
    await t.rejects(
      async () => {
        await app.register(mfa, { issuer: 'Acme', keys: KEYS })
      },
      {
        code: 'PARAPET_KIT_WRONG_ORDER',
      },
    )
    const { app: bare } = await build(t, { routes: false })
    t.equal(outcome(await bare.inject('/mfa')), '404 no code')
    t.throws(() => bare.mfa.passkeys, { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
    const { as } = await build(t, { prefix: '/account/factors' })
    t.equal(outcome(await as('alice', { url: '/account/factors' })), '200')
  },
)
