import { createSecretKey, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  createLocalCipher,
  encodeContext,
  generateCipherKey,
  parseCipherKeys,
  secretsEqual,
} from '@parapet/kit'
import { readVectors } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import { createSealer, openSealed } from '@parapet/kit'

const failed = {
  code: 'PARAPET_KIT_CIPHER_OPEN_FAILED',
  statusCode: 500,
  message: 'The sealed value cannot be opened',
}
const refused = { code: 'PARAPET_KIT_INVALID_ARGUMENT', statusCode: 500 }
const context = ['mfa', 'tenant 1', 'user 1', 'totp-secret']
const key = { id: 7, secret: randomBytes(32) }

await t.test(
  'a sealed value opens in its own context, and sealing twice gives different values',
  async (t) => {
    const cipher = createLocalCipher([key])
    const sealed = await cipher.seal('plain ünïcode', context)
    t.match(sealed, /^pe1\.[\w-]+$/)
    t.equal((await cipher.open(sealed, context)).toString(), 'plain ünïcode')
    t.not(await cipher.seal('plain ünïcode', context), sealed)
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1 }),
        async (bytes, parts) => {
          const opened = await cipher.open(await cipher.seal(bytes, parts), parts)
          t.ok(opened.equals(bytes))
        },
      ),
    )
  },
)

await t.test('a new primary key seals, and old keys still open', async (t) => {
  const old = createLocalCipher([key])
  const sealed = await old.seal('x', context)
  const next = { id: 8, secret: randomBytes(32) }
  const rotated = createLocalCipher([next, key])
  t.equal((await rotated.open(sealed, context)).toString(), 'x')
  const fresh = await rotated.seal('x', context)
  await t.rejects(old.open(fresh, context), failed)
  await t.rejects(createLocalCipher([next]).open(sealed, context), failed)
  await t.rejects(
    createLocalCipher([{ id: 7, secret: next.secret }]).open(sealed, context),
    failed,
    'an id is only a hint',
  )
})

await t.test('a value with another context, bit, length or spelling does not open', async (t) => {
  const cipher = createLocalCipher([key])
  const sealed = await cipher.seal('secret', context)
  const others = [
    [...context].toReversed(),
    context.slice(1),
    [...context, ''],
    ['mfa', 'tenant 1user 1', '', 'totp-secret'],
    [context.join('')],
  ]
  for (const other of others) await t.rejects(cipher.open(sealed, other), failed)
  const bytes = Buffer.from(sealed.slice(4), 'base64url')
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    await t.rejects(cipher.open(`pe1.${flipped.toString('base64url')}`, context), failed)
  }
  for (let length = 0; length < bytes.length; length++) {
    const cut = bytes.subarray(0, length).toString('base64url')
    await t.rejects(cipher.open(`pe1.${cut}`, context), failed)
  }
  const spellings = [
    sealed.slice(4),
    `${sealed}=`,
    `${sealed}A`,
    sealed.replace('pe1.', 'pe2.'),
    ` ${sealed}`,
    `${sealed}\n`,
    Buffer.from(bytes).toString('base64'),
    `pe1.${bytes.toString('base64')}`,
    '',
    null as unknown as string,
    42 as unknown as string,
  ]
  for (const spelling of spellings.filter((s) => s !== sealed)) {
    await t.rejects(cipher.open(spelling, context), failed)
  }
})

await t.test('keys and contexts out of range are refused', async (t) => {
  const cipher = createLocalCipher([key])
  t.throws(() => createLocalCipher([]), refused)
  t.throws(() => createLocalCipher([key, key]), refused)
  t.throws(() => createLocalCipher([{ id: 0, secret: key.secret }]), refused)
  t.throws(() => createLocalCipher([{ id: 2 ** 32, secret: key.secret }]), refused)
  t.throws(() => createLocalCipher([{ id: 1, secret: randomBytes(16) }]), refused)
  t.throws(() => createLocalCipher([{ id: 1, secret: 'x'.repeat(32) as never }]), refused)
  await t.rejects(cipher.seal('x', []), refused)
  await t.rejects(cipher.seal('x', ['\ud800']), refused)
  await t.rejects(cipher.seal('\ud800', context), refused)
  await t.rejects(cipher.open('pe1.x', 'text' as never), refused)
})

await t.test('keys are read from one line of configuration', async (t) => {
  const line = `${generateCipherKey()}, ${generateCipherKey()}`
  const keys = parseCipherKeys(line)
  t.equal(keys.length, 2)
  t.equal(
    keys.map((k) => `${k.id}:${Buffer.from(k.secret).toString('base64url')}`).join(', '),
    line,
  )
  const cipher = createLocalCipher(keys)
  t.equal((await cipher.open(await cipher.seal('x', context), context)).toString(), 'x')
  const secret = 'A'.repeat(43)
  for (const bad of [
    '',
    secret,
    `0:${secret}`,
    `1:${secret}A`,
    `1:${secret.slice(1)}B`,
    `x:${secret}`,
  ]) {
    const error = t.throws(() => parseCipherKeys(bad), refused) as Error
    t.notMatch(error.message, /AAAA/, 'a key is never quoted')
  }
})

await t.test('secrets are equal only as a whole', async (t) => {
  t.equal(secretsEqual('abc', Buffer.from('abc')), true)
  t.equal(secretsEqual('abc', 'abd'), false)
  t.equal(secretsEqual('abc', 'abcd'), false)
  t.equal(secretsEqual('', ''), true)
})

await t.test('the vectors of docs/spec/sealed-value.md hold', async (t) => {
  const file = new URL('../../../docs/spec/vectors/sealed-value.json', import.meta.url)
  const { keys, contexts, cases } = JSON.parse(readFileSync(file, 'utf8')) as {
    keys: string
    contexts: { parts: string[]; hex: string }[]
    cases: { name: string; sealed: string; context: string[]; plaintext?: string; error?: string }[]
  }
  for (const { parts, hex } of contexts) t.equal(encodeContext(parts).toString('hex'), hex)
  const cipher = createLocalCipher(parseCipherKeys(keys))
  for (const { name, sealed, context, plaintext, error } of cases) {
    if (plaintext === undefined)
      await t.rejects(cipher.open(sealed, context), { code: error }, name)
    else t.equal((await cipher.open(sealed, context)).toString(), plaintext, name)
  }
})

interface WycheproofGroup {
  keySize: number
  ivSize: number
  tagSize: number
  tests: Record<'key' | 'iv' | 'aad' | 'msg' | 'ct' | 'tag' | 'result' | 'comment', string>[]
}

await t.test('Wycheproof AES-GCM, 256-bit keys and 96-bit nonces', async (t) => {
  const file = readVectors<{ testGroups: WycheproofGroup[] }>(t, 'crypto/aes_gcm_test.json')
  if (file === null) return
  const groups = file.testGroups.filter(
    ({ keySize, ivSize, tagSize }) => keySize === 256 && ivSize === 96 && tagSize === 128,
  )
  let count = 0
  for (const test of groups.flatMap(({ tests }) => tests)) {
    const hex = (name: keyof typeof test) => Buffer.from(test[name], 'hex')
    const prefix = Buffer.from([1, 0, 0, 0, 9])
    const sealed = Buffer.concat([prefix, hex('iv'), hex('ct'), hex('tag')])
    const keys = new Map([[9, createSecretKey(hex('key'))]])
    const opened = openSealed(keys, sealed, hex('aad'))
    if (test.result === 'invalid') t.equal(opened, undefined, test.comment)
    else t.ok(opened?.equals(hex('msg')), test.comment)
    count++
  }
  t.ok(count >= 60, `${count} cases ran`)
})

await t.test("Tink's own AES-GCM ciphertexts open, and what we seal has their form", async (t) => {
  const file = readVectors<{
    aesGcm: Record<'key' | 'ciphertext' | 'aad' | 'plaintext', string>[] & { keyId: number }[]
  }>(t, 'crypto/tink-vectors.json')
  if (file === null) return
  t.ok(file.aesGcm.length >= 2)
  for (const vector of file.aesGcm) {
    const secret = createSecretKey(Buffer.from(vector.key, 'hex'))
    const keys = new Map([[vector.keyId, secret]])
    const aad = Buffer.from(vector.aad, 'hex')
    const opened = openSealed(keys, Buffer.from(vector.ciphertext, 'hex'), aad)
    t.equal(opened?.toString('hex'), vector.plaintext)
    const sealed = createSealer(vector.keyId, secret).seal(opened!, aad)
    t.equal(sealed.subarray(0, 5).toString('hex'), vector.ciphertext.slice(0, 10))
    t.equal(sealed.length, vector.ciphertext.length / 2)
    t.equal(openSealed(keys, sealed, aad)?.toString('hex'), vector.plaintext)
  }
})
