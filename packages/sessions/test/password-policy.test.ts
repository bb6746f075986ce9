/** Which new passwords are accepted. */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  createPasswordPolicy,
  createRangeFetch,
  createZxcvbnStrength,
  type PasswordPolicyOptions,
} from '@parapet/sessions'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import {
  decodeRice,
  encodeRice,
  filterHash,
  isCommonPassword,
} from '../src/password-policy/common-passwords.ts'

const good = 'seven purple tandem otters'
const faultsOf = async (
  password: string,
  options: PasswordPolicyOptions = {},
  words: string[] = [],
) => (await createPasswordPolicy(options).check(password, { words })).faults

await t.test('length is the only rule of form: characters, not bytes or units', async (t) => {
  t.same(await faultsOf(good), [])
  t.same(await faultsOf('seven purple 14'), [], '15 characters')
  t.same(await faultsOf('seven purple1 '), ['too_short'], 'spaces count, and are not cut')
  t.same(await faultsOf('seven purple4'), ['too_short'])
  t.same(await faultsOf('\u{1F600}\u{1F601}\u{1F602}\u{1F603}\u{1F604}\u{1F605}\u{1F606}a'), [
    'too_short',
  ])
  t.same(await faultsOf('Pa\u0308sswo\u0308rd7'), ['too_short'], 'a letter and its accent are one')
  t.same(await faultsOf('x'.repeat(5000), { maxLength: 4096 }), ['too_long'])
  t.same(await faultsOf('seven purple \ud800 otters'), ['malformed'])
  t.same(await faultsOf('seven77!', { minLength: 8 }), [])
  t.throws(() => createPasswordPolicy({ minLength: 6 }), {
    code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
    message: /"minLength": expected an integer from 8 to 64, got 6/,
  })
})

await t.test('common, trivial and personal passwords are refused', async (t) => {
  const eight = { minLength: 8 }
  for (const common of ['password1', 'PassWord1', 'iloveyou', '1q2w3e4r5t', 'ｐａｓｓｗｏｒｄ１']) {
    t.match(await faultsOf(common, eight), ['common'], common)
  }
  const trivial = [
    'aaaaaaaaaaaaaaaa',
    'abababababababab',
    'abcdefghijklmnopq',
    '98765432109876543210',
    'passwordpassword',
    'monkeymonkeymonk',
  ]
  for (const text of trivial) t.ok((await faultsOf(text)).includes('trivial'), text)
  const words = ['Ada Lovelace', 'ada.lovelace@analytical.example']
  const service = { words: ['Parapet'] }
  for (const text of [
    'AdaLovelace2026',
    'analytical12345',
    'parapet-lovelace',
    'parapetpassword',
  ]) {
    t.ok((await faultsOf(text, service, words)).includes('context'), text)
  }
  t.same(await faultsOf('lovelace met seven otters', service, words), [], 'a name is no fault')
  t.same(await faultsOf(good, service, words), [])
})

await t.test('the filter has every password of its list, and few others', async (t) => {
  const samples = ['123456', 'qwerty', 'password', 'dragon', 'letmein', 'football', 'zxcvbnm']
  for (const sample of samples) t.equal(isCommonPassword(sample), true, sample)
  const random = Array.from({ length: 20_000 }, (_, index) =>
    createHash('sha256').update(`never typed ${index}`).digest('hex'),
  )
  const hits = random.filter(isCommonPassword).length
  // 4.9 are expected; with 20 the rate would be four times what the documentation says.
  t.ok(hits < 20, `${hits} of 20 000 are taken for common`)
})

await t.test('the coding of the filter is exact', async (t) => {
  const numbers = fc.uniqueArray(fc.nat(4_000_000_000), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(numbers, (values) => {
      const sorted = Uint32Array.from(values).toSorted()
      t.strictSame([...decodeRice(encodeRice(sorted), sorted.length)], [...sorted])
    }),
    { numRuns: runs(30, 1000) },
  )
  t.ok(filterHash('x', 97_762) < 97_762 * 4096)
})

/** A server of ranges that knows one password. */
async function serveRanges(t: Test, known: string): Promise<{ url: string; asked: string[] }> {
  const digest = createHash('sha1').update(known).digest('hex').toUpperCase()
  const asked: string[] = []
  const server = createServer((request, response) => {
    const prefix = request.url!.slice(1)
    asked.push(prefix)
    if (prefix === 'FFFFF') return
    const line = digest.startsWith(prefix) ? `${digest.slice(5)}:42` : ''
    response.end(`${'0'.repeat(35)}:0\r\n${line}\r\n`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked }
}

await t.test(
  'a breached password is refused, and only five digits leave the process',
  async (t) => {
    const { url, asked } = await serveRanges(t, good)
    const options = { breachedRange: createRangeFetch(url) }
    t.same(await faultsOf(good, options), ['breached'])
    t.same(await faultsOf(`${good}!`, options), [])
    t.equal(asked.length, 2)
    t.ok(asked.every((prefix) => /^[\dA-F]{5}$/.test(prefix)))
    await faultsOf('short', options)
    await faultsOf('passwordpassword', options)
    t.equal(asked.length, 2, 'a password that is refused anyway is not looked up')
  },
)

await t.test(
  'a lookup that fails or hangs decides nothing, unless the option says so',
  async (t) => {
    // The timer of a deadline does not keep the process alive.
    const alive = setInterval(() => {}, 1000)
    t.after(() => clearInterval(alive))
    const answers = [
      async () => new Promise<string>(() => {}),
      async () => {
        throw new Error('down')
      },
    ]
    for (const breachedRange of answers) {
      const options = { breachedRange, breachDeadlineMs: 50 }
      const { accepted, breachUnknown } = await createPasswordPolicy(options).check(good)
      t.same({ accepted, breachUnknown }, { accepted: true, breachUnknown: true })
      const strict = createPasswordPolicy({ ...options, whenBreachUnknown: 'refuse' })
      t.same((await strict.check(good)).faults, ['breached'])
    }
    let signal: AbortSignal | undefined
    const hung = createPasswordPolicy({
      breachDeadlineMs: 50,
      breachedRange: (_prefix, given) => {
        signal = given
        return new Promise(() => {})
      },
    })
    await hung.check(good)
    t.equal(signal?.aborted, true, 'the request is aborted')
  },
)

await t.test('the strength is a hint', async (t) => {
  const policy = createPasswordPolicy({ strength: createZxcvbnStrength() })
  const { accepted, strength } = await policy.check('purple tandem otters at seven')
  t.equal(accepted, true)
  t.ok(strength !== undefined && strength >= 3, `the strength is ${strength}`)
  const broken = createPasswordPolicy({
    strength: () => {
      throw new Error('broken')
    },
  })
  t.same((await broken.check(good)).accepted, true)
})
