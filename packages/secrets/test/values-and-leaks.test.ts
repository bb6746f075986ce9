import { createPinoHooks, Secret } from '@parapet/secrets'
import { format, inspect } from 'node:util'
import fc from 'fast-check'
import { pino } from 'pino'
import t from 'tap'
import { createLeakGuard } from '../src/leaks/leak-guard.ts'
import { compileSearch } from '../src/leaks/secret-search.ts'
import { spellingsOf } from '../src/leaks/spellings.ts'

const value = 'Zq7/Xe+pL0~kS"2 vB$9'

await t.test('a secret shows itself nowhere, and is read by use', async (t) => {
  const secret = new Secret(value)
  const holder = { secret, list: [secret], error: Object.assign(new Error('x'), { secret }) }
  const shown = [
    JSON.stringify(holder),
    inspect(holder, { depth: 9, showHidden: true, getters: true }),
    inspect(secret),
    format('%o %O %j', secret, secret, secret),
    JSON.stringify(structuredClone({ secret })),
    inspect(structuredClone(secret)),
    Object.prototype.toString.call(secret),
    JSON.stringify(Object.getOwnPropertyDescriptors(secret)),
  ]
  for (const text of shown) t.notMatch(text, value)
  t.same(shown.slice(2, 3), ['[secret]'])
  t.match(shown[0], '"secret":"[secret]"')
  t.match(shown[4], '[secret]')
  t.equal(
    secret.use((text) => text),
    value,
  )
  t.equal(secret.length, value.length)
  const opaque = { code: 'PARAPET_SECRETS_OPAQUE' }
  // oxlint-disable-next-line typescript/restrict-template-expressions -- what a user might write
  t.equal(`${secret as never}`, '[secret]')
  // oxlint-disable-next-line typescript/no-base-to-string -- what a user might write
  t.equal(String(secret), '[secret]')
  t.equal(format('%s', secret), '[secret]', 'a log line never becomes an error')
  t.throws(() => 'a' + (secret as unknown as string), opaque)
  t.throws(() => Number(secret), opaque)
  t.throws(() => Object.assign(secret, { shown: 'x' }), TypeError)
})

await t.test('secrets are compared by value, with texts and with each other', async (t) => {
  const secret = new Secret(value)
  t.ok(secret.equals(value))
  t.ok(secret.equals(new Secret(value)))
  for (const other of [`${value} `, value.slice(1), '', null, undefined])
    t.notOk(secret.equals(other))
})

const bytes = (text: string) => Buffer.from(text)

await t.test('every spelling of a secret is found, wherever it starts', async (t) => {
  const found: string[] = []
  const guard = createLeakGuard((name) => found.push(name))
  t.equal(guard.find(value), undefined)
  guard.learn([{ name: 'KEY', value: new Secret(value) }])
  const texts = [
    value,
    `a ${value} b`,
    JSON.stringify({ key: value }),
    JSON.stringify(JSON.stringify({ value })),
    encodeURIComponent(value),
    new URLSearchParams({ key: value }).toString(),
    bytes(value).toString('hex'),
    bytes(value).toString('hex').toUpperCase(),
    ...['', 'a', 'ab', 'abc', 'user:'].flatMap((prefix) => [
      bytes(`${prefix}${value}`).toString('base64'),
      bytes(`${prefix}${value} and more`).toString('base64url'),
    ]),
  ]
  for (const text of texts) {
    t.equal(guard.find(text), 'KEY', text)
    t.equal(guard.find(bytes(text)), 'KEY')
    t.match(guard.redact(text), '[secret]')
    t.equal(guard.find(guard.redact(text)), undefined)
  }
  t.ok(found.length > 0)
  t.equal(guard.find('nothing here'), undefined)
  t.equal(guard.redact('nothing here'), 'nothing here')
  t.same(new Set(spellingsOf('pl-ain').map((text) => text.length > 0)), new Set([true]))
})

await t.test('the search finds what a simple search finds', async (t) => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: 8, maxLength: 12 })
  const haystack = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), maxLength: 200 })
  fc.assert(
    fc.property(fc.array(letters, { minLength: 1, maxLength: 5 }), haystack, (patterns, text) => {
      const search = compileSearch(patterns.map((each) => ({ name: each, text: each })))
      const starts = patterns.map((each) => text.indexOf(each)).filter((at) => at >= 0)
      const match = search.find(text)
      if (starts.length === 0) return match === undefined
      const first = Math.min(...starts)
      return match?.start === first && text.startsWith(match.name, first)
    }),
    { numRuns: 500 },
  )
  const short = compileSearch([{ name: 'a', text: 'short' }])
  t.equal(short.find('short'), undefined, 'a short text appears by chance')
  const two = compileSearch([
    { name: 'a', text: 'abcdefgh' },
    { name: 'b', text: 'abcdefghij' },
  ])
  const stars = two.replace('abcdefghij-abcdefgh', ({ start, end }) => ({ start, end, text: '*' }))
  t.equal(stars, '*-*', 'the longest is replaced')
})

await t.test('a line of JSON stays JSON, whatever number is a secret', async (t) => {
  const guard = createLeakGuard(() => {})
  guard.learn([{ name: 'PIN', value: new Secret('12345678') }])
  const cases = [
    [{ pin: 12_345_678 }, { pin: '[secret]' }],
    [
      { pin: -912_345_678.5, a: 1 },
      { pin: '[secret]', a: 1 },
    ],
    [
      { list: [1, 12_345_678, 2], text: 'a,12345678,"b' },
      { list: [1, '[secret]', 2], text: 'a,[secret],"b' },
    ],
    [{ 'a\\"': 12_345_678 }, { 'a\\"': '[secret]' }],
    [{ '12345678': 1 }, { '[secret]': 1 }],
  ] as const
  for (const [line, expected] of cases) {
    t.same(JSON.parse(guard.redact(JSON.stringify(line))), expected)
  }
  t.equal(guard.redact('pin 12345678'), 'pin [secret]')
})

await t.test('a hostile text costs no more than its length times the patterns', async (t) => {
  const search = compileSearch([{ name: 'a', text: 'a'.repeat(40) + 'b' }])
  const started = process.cpuUsage()
  t.equal(search.find('a'.repeat(1_000_000)), undefined)
  const { user } = process.cpuUsage(started)
  t.ok(user < 2_000_000, `${user} µs`)
})

await t.test(
  'no line of the log contains a secret, from children and serializers neither',
  async (t) => {
    const lines: string[] = []
    const hooks = createPinoHooks()
    const log = pino({ hooks }, { write: (line: string) => void lines.push(line) })
    log.info({ value }, 'before the secrets are loaded')
    t.match(lines[0], /Zq7/)
    const names: string[] = []
    const guard = createLeakGuard((name) => names.push(name))
    guard.learn([{ name: 'KEY', value: new Secret(value) }])
    hooks.use(guard)
    log.info({ a: { b: [value] } }, `text ${value}`)
    log.child({ bound: value }).error({ err: new Error(`failed with ${value}`) })
    log.warn({ url: `https://a/?k=${encodeURIComponent(value)}` })
    log.info(new Secret(value), 'a secret')
    for (const line of lines.slice(1)) {
      t.notMatch(line, /Zq7/)
      t.ok(JSON.parse(line), 'the line is still JSON')
    }
    t.ok(names.length >= 3)
  },
)

await t.test('escaped and encoded spellings, and the parts of a secret, are found', async (t) => {
  const guard = createLeakGuard(() => {})
  const text = `w8Zc/Q1y&N6'uHs"ä<9Q`
  const lines = ['MC4CAQAwBQYDK2VwBCIEIFxq', 'uHs3EpXo0w8Zc4rQ1yN6aT7b']
  const label = 'PRIVATE KEY-----'
  const pem = [`-----BEGIN ${label}`, ...lines, `-----END ${label}`].join('\n')
  const values = {
    TEXT: text,
    PEM: pem,
    URL: 'postgres://app:7f3Kq0%2FzX9vLm2@db/app',
    JSON: '{"username":"administrator","db":{"password":"bD4kP0wQm71xZr"}}',
  }
  guard.learn(Object.entries(values).map(([name, each]) => ({ name, value: new Secret(each) })))
  const json = JSON.stringify(text)
  const html = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
  const hex = bytes(text).toString('hex')
  const found = {
    TEXT: [
      JSON.stringify({ a: JSON.stringify({ b: json }) }),
      json.replaceAll('/', '\\/'),
      json.replace('ä', '\\u00e4'),
      json.replace('ä', '\\u00E4'),
      html,
      html.replace("'", '&#39;'),
      html.replace("'", '&#x27;'),
      encodeURI(text),
      encodeURIComponent(text).replaceAll(/%../g, (escape) => escape.toLowerCase()),
      hex.replaceAll(/..(?=.)/g, '$&:'),
      JSON.stringify({ buffer: bytes(text) }),
      bytes(bytes(text).toString('base64')).toString('base64'),
    ],
    PEM: [
      pem.replaceAll('\n', '\r\n'),
      lines[1]!,
      bytes(pem).toString('base64').replaceAll(/.{76}/g, '$&\r\n'),
    ],
    URL: ['7f3Kq0%2FzX9vLm2', '7f3Kq0/zX9vLm2'],
    JSON: ['bD4kP0wQm71xZr'],
  }
  for (const [name, texts] of Object.entries(found)) {
    for (const each of texts) t.equal(guard.find(`<${each}>`), name, each)
  }
  for (const encoding of ['utf8', 'utf16le'] as const) {
    t.equal(guard.find(Buffer.from(text, encoding)), 'TEXT')
  }
  t.equal(guard.find('administrator'), undefined, 'a user name is no secret')
  guard.learn([{ name: 'PASSWORD', value: new Secret('password1') }])
  t.equal(guard.find('<input name="password1">'), undefined, 'a word appears by itself')
})
