import { Secret } from '@parapet/secrets'
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { examine, renderFindings, type DoctorInput } from '../src/doctor/doctor.ts'
import { nameKnownFormat } from '../src/doctor/known-formats.ts'
import { findWeakness, readExpiry } from '../src/doctor/strength.ts'

const input: DoctorInput = {
  secrets: [],
  plain: {},
  providers: [],
  accepted: {},
  now: Date.UTC(2026, 10, 26),
  deadlineMs: 1000,
}
const join = (...parts: string[]) => parts.join('')

await t.test('strong values pass, weak ones and placeholders do not', async (t) => {
  for (const encoding of ['base64', 'base64url', 'hex'] as const) {
    for (let count = 0; count < 50; count++) {
      const value = randomBytes(16).toString(encoding)
      t.equal(findWeakness(value), undefined, value)
    }
  }
  t.equal(findWeakness('correct horse battery staple'), undefined)
  t.equal(findWeakness('postgres://user@db/app'), undefined, 'a URL without a password')
  t.equal(findWeakness('{"key":"x"}'), undefined)
  t.equal(findWeakness(`postgres://u:${randomBytes(16).toString('hex')}@db/app`), undefined)
  const placeholders = [
    'changeme',
    'CHANGE-ME-please',
    'your-api-key-here',
    '<token>',
    'xxxxxxxx',
    'example',
  ]
  for (const value of [...placeholders, 'postgres://u:changeme@db/app']) {
    t.match(findWeakness(value), /placeholder/, value)
  }
  for (const value of ['password123', 'Admin!', 's3cr3t', 'redis://:secret@cache']) {
    t.match(findWeakness(value), /first guesses/, value)
  }
  for (const value of [
    'short',
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
    '1234567890',
    'abcabcabcabcabc',
  ]) {
    t.match(findWeakness(value), /can be guessed/, value)
  }
})

await t.test('known formats are named wherever they appear', async (t) => {
  const samples: Record<string, string> = {
    'an AWS access key': join('AKIA', 'QYLPMN5HFIQR7BBB'),
    'a GitHub token': join('ghp', '_', 'a1'.repeat(18)),
    'a GitLab token': join('glpat', '-', 'a'.repeat(20)),
    'a Slack token': join('xoxb', '-1234567890-abcdef'),
    'a Stripe key': join('sk', '_live_', 'a'.repeat(24)),
    'a Google API key': join('AIza', 'a'.repeat(35)),
    'an npm token': join('npm', '_', 'a'.repeat(36)),
    'a Vault token': join('hvs', '.', 'a'.repeat(24)),
    'a private key (PEM)': '-----BEGIN EC PRIVATE KEY-----\nx',
    'a JWT': `${join('eyJ', 'hbGciOiJIUzI1')}.${join('eyJ', 'zdWIiOiIxMjM0')}.abc`,
    'a URL with a password': 'redis://:pw@cache:6379',
  }
  for (const [name, sample] of Object.entries(samples))
    t.equal(nameKnownFormat(`x ${sample}`), name)
  for (const text of ['hello', 'https://example.org/a:b@c', 'AKIA', '-----BEGIN PUBLIC KEY-----']) {
    t.equal(nameKnownFormat(text), undefined, text)
  }
})

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

const jwt = (payload: object) => `${part({ alg: 'HS256', typ: 'JWT' })}.${part(payload)}.c2ln`

await t.test('the expiry of a token and of a certificate is read', async (t) => {
  t.equal(readExpiry(jwt({ exp: 1_700_000_000 })), 1_700_000_000_000)
  t.equal(readExpiry(jwt({ exp: 'soon' })), undefined)
  t.equal(readExpiry('eyJhbGciOiJIUzI1.bm90IGpzb24.x'), undefined)
  t.equal(readExpiry('-----BEGIN CERTIFICATE-----\nx'), undefined)
  t.equal(readExpiry('text'), undefined)
  const found = await examine({
    ...input,
    secrets: [{ name: 'T', value: new Secret(jwt({ exp: 1 })) }],
  })
  t.match(found, [{ severity: 'error', name: 'T', problem: 'expired on 1970-01-01T00:00:01.000Z' }])
})

await t.test(
  'duplicates, misplaced secrets, accepted weakness, and no value in a finding',
  async (t) => {
    const strong = randomBytes(24).toString('base64url')
    const token = join('ghp', '_', 'b2'.repeat(18))
    const found = await examine({
      ...input,
      secrets: [
        { name: 'A', value: new Secret(strong) },
        { name: 'B', value: new Secret(strong) },
        { name: 'LOCAL', value: new Secret('password') },
        { name: 'OLD', value: new Secret(randomBytes(24).toString('hex')), expiresAt: 1 },
      ],
      accepted: { LOCAL: 'a database on this machine' },
      plain: { LEVEL: 'info', nested: { list: [token] }, HIDDEN: new Secret(token), none: null },
    })
    t.same(
      found.map(({ name, problem }) => `${name} ${problem}`),
      [
        'OLD expired on 1970-01-01T00:00:00.001Z',
        'B has the same value as "A"',
        'nested.list.0 contains a GitHub token, but is not declared as a secret',
      ],
    )
    const text = renderFindings(found)
    t.notMatch(text, strong)
    t.notMatch(text, token)
  },
)

const read = async () => ({ value: 'x', version: '1' })

const provider = (name: string, inspect?: () => Promise<never[]>) => ({
  provider: { name, read, ...(inspect !== undefined && { inspect }) },
  paths: ['a'],
})

await t.test('findings of providers, and providers that fail or hang', async (t) => {
  // A real provider keeps the process alive by its connection.
  const keepAlive = setInterval(() => {}, 1000)
  t.after(async () => clearInterval(keepAlive))
  const found = await examine({
    ...input,
    deadlineMs: 20,
    providers: [
      provider('plain'),
      provider('failing', async () => {
        throw Object.assign(new Error('with s3cret'), { code: 'EPIPE' })
      }),
      provider('hanging', () => new Promise(() => {})),
      provider('warning', async () => [{ severity: 'warning', problem: 'p', fix: 'f' }] as never[]),
    ],
  })
  t.same(
    found.map(({ severity, name, problem }) => `${severity} ${name} ${problem}`),
    [
      'error failing could not be examined: EPIPE',
      'error hanging could not be examined: The provider hanging did not answer within 20 ms',
      'warning warning p',
    ],
  )
})

await t.test('a value that cannot be decoded or dated is examined, too', async (t) => {
  const payload = Buffer.from('{"exp":-1e309}').toString('base64url')
  const past = join('eyJhbGciOiJIUzI1NiJ9.', payload, '.c2lnbmF0dXJlLTk')
  const values = { URL: 'postgres://app:7f3Kq0zX9%vLm2TtB@db/app', PAST: past }
  const secrets = Object.entries(values).map(([name, value]) => ({
    name,
    value: new Secret(value),
  }))
  const found = await examine({ ...input, secrets })
  t.match(found, [{ name: 'PAST', problem: 'expired' }])
  t.equal(found.length, 1)
  t.match(findWeakness('postgres://app:%zz@db/app'), /can be guessed/)
})

await t.test('secrets of tutorials and rows of keys are weak', (t) => {
  const known = [
    'super-secret-jwt-token-with-at-least-32-characters-long',
    'my-super-secret-jwt-key',
    'keyboard cat keyboard cat',
    'ThisIsASecretKeyForDevelopment',
    'development-secret-do-not-use',
    'not-so-secret-development-key',
    'abcdefghijklmnopqrstuvwxyz',
    '12345678901234567890',
    '0123456789abcdef0123456789abcdef',
    'qwertyuiopasdfghjklz',
    join('wJalrXUtnFEMI/K7MDENG/bPxRfiCY', 'EXAMPLEKEY'),
  ]
  for (const value of known) t.match(findWeakness(value), /first guesses/, value)
  t.end()
})
