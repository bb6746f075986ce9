import { createHmac, createSecretKey, hkdfSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import {
  addPrimaryKey,
  contextParts,
  createKeysetCipher,
  exportKeyset,
  generateKeyset,
  parseKeyset,
  setKeyStatus,
} from '@parapet/field-encryption'
import { createLocalCipher, encodeContext, parseCipherKeys, type CipherContext } from '@parapet/kit'
import { readVectors } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import { createAead, parseCiphertext } from '../src/crypto/aead.ts'
import { exportEncryptedKeyset, parseEncryptedKeyset } from '../src/crypto/encrypted-keyset.ts'
import { contextHead, joinContext } from '../src/crypto/field-context.ts'
import { decodeKeyset, encodeKeyset } from '../src/crypto/keyset-protobuf.ts'
import { bytesField, readMessage } from '../src/crypto/protobuf.ts'
import { code, keysetOf, none, openFailed, type TinkVectors } from './fixtures.ts'

const refused = code('INVALID_KEYSET')

await t.test('a sealed value opens with its own keyset and context only', async (t) => {
  const aead = createAead(generateKeyset())
  const context = Buffer.from('context')
  const sealed = aead.sealText('plain ünïcode', context)
  t.match(sealed, /^pe1\.[\w-]+$/)
  t.equal(aead.open(parseCiphertext(sealed)!, context).toString(), 'plain ünïcode')
  t.not(aead.sealText('plain ünïcode', context), sealed, 'two ciphertexts of one text differ')
  t.throws(() => aead.open(parseCiphertext(sealed)!, Buffer.from('other')), openFailed)
  t.throws(() => createAead(generateKeyset()).open(parseCiphertext(sealed)!, context), openFailed)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array(), (bytes, ad) =>
      aead.open(aead.seal(bytes, ad), ad).equals(bytes),
    ),
  )
})

await t.test('a ciphertext with a changed bit, length or spelling is refused', async (t) => {
  const aead = createAead(generateKeyset())
  const sealed = aead.seal('secret', none)
  let accepted = 0
  for (let bit = 0; bit < 8 * sealed.length; bit++) {
    const flipped = Buffer.from(sealed)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    if (aead.tryOpen(flipped, none) !== undefined) accepted++
  }
  for (let length = 0; length < sealed.length; length++) {
    if (aead.tryOpen(sealed.subarray(0, length), none) !== undefined) accepted++
  }
  if (aead.tryOpen(Buffer.concat([sealed, Buffer.alloc(1)]), none) !== undefined) accepted++
  t.equal(accepted, 0)
  const text = `pe1.${sealed.toString('base64url')}`
  t.ok(parseCiphertext(text))
  const wrong = [
    text.slice(4),
    `${text}=`,
    `${text}A`,
    ` ${text}`,
    `${text}\n`,
    text.replace('pe1.', 'pe2.'),
    text.replace('pe1.', 'PE1.'),
    `pe1.${Buffer.from([2, ...sealed.subarray(1)]).toString('base64url')}`,
    `pe1.${sealed.subarray(0, 32).toString('base64url')}`,
    `pe1.${'A'.repeat(22_500_000)}`,
    'pe1.',
    '',
    42,
    null,
    {},
  ]
  for (const [index, each] of wrong.entries()) {
    t.equal(parseCiphertext(each), undefined, `case ${index}`)
  }
  // In canonical base64url, the unused bits of the last character are zero.
  const loose = `pe1.${aead.seal('12', none).toString('base64url')}`
  const last = loose.at(-1)!
  const next = String.fromCharCode(last.charCodeAt(0) + 1)
  if (
    Buffer.from(loose.slice(4, -1) + next, 'base64url').equals(
      Buffer.from(loose.slice(4), 'base64url'),
    )
  ) {
    t.equal(parseCiphertext(loose.slice(0, -1) + next), undefined)
  }
})

await t.test("kit's local cipher and a keyset cipher open each other's values", async (t) => {
  const secret = randomBytes(32)
  const kit = createLocalCipher([{ id: 77, secret }])
  const ours = createKeysetCipher(exportKeyset(keysetOf(77, secret)))
  const context = contextParts({
    tenant: 'acme',
    table: 'users',
    column: 'email',
    rowId: '1',
    schemaVersion: '1',
  })
  t.equal((await ours.open(await kit.seal('kit', context), context)).toString(), 'kit')
  t.equal((await kit.open(await ours.seal('ours', context), context)).toString(), 'ours')
  const raw = createAead(keysetOf(77, secret)).sealText('raw', encodeContext(context))
  t.equal((await kit.open(raw, context)).toString(), 'raw')
  const other = ['fe1', 'acme', 'users', 'email', '2', '1']
  const kitFailed = { code: 'PARAPET_KIT_CIPHER_OPEN_FAILED' }
  await t.rejects(kit.open(await ours.seal('x', context), other), kitFailed)
  await t.rejects(ours.open(await kit.seal('x', context), other), kitFailed)
  await t.rejects(ours.open('pe1.x', other), kitFailed)
  await t.rejects(ours.seal('\ud800', context), {
    code: 'PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT',
  })
})

await t.test('the vectors of docs/spec/sealed-value.md pass with a keyset', async (t) => {
  const file = new URL('../../../docs/spec/vectors/sealed-value.json', import.meta.url)
  const { keys, cases } = JSON.parse(readFileSync(file, 'utf8')) as {
    keys: string
    cases: { name: string; sealed: string; context: CipherContext; plaintext?: string }[]
  }
  const parsed = parseCipherKeys(keys)
  const keyset = {
    primaryKeyId: parsed[0]!.id,
    keys: parsed.map(({ id, secret }) => ({
      id,
      status: 'enabled' as const,
      secret: createSecretKey(secret),
    })),
  }
  const cipher = createKeysetCipher(exportKeyset(keyset))
  for (const { name, sealed, context, plaintext } of cases) {
    const opened = cipher.open(sealed, context)
    if (plaintext === undefined)
      await t.rejects(opened, { code: /_(?:OPEN_FAILED|INVALID_ARGUMENT)$/ }, name)
    else t.equal((await opened).toString(), plaintext, name)
  }
})

await t.test('the vectors of docs/spec/field-context.md pass', async (t) => {
  const file = new URL('../../../docs/spec/vectors/field-context.json', import.meta.url)
  const { contexts } = JSON.parse(readFileSync(file, 'utf8')) as {
    contexts: { parts: [string, string, string, string, string, string]; hex: string }[]
  }
  t.ok(contexts.length >= 4)
  for (const { parts, hex } of contexts) {
    const [, tenant, table, column, rowId, version] = parts
    const joined = joinContext(contextHead(tenant, table, column), rowId, version)
    t.equal(joined.toString('hex'), hex, parts.join('/'))
    t.equal(encodeContext(parts).toString('hex'), hex, 'kit encodes the same bytes')
  }
  t.equal(new Set(contexts.map(({ hex }) => hex)).size, contexts.length)
  const text = fc.string({ unit: 'grapheme', maxLength: 40 })
  const long = fc.constantFrom('', 'a', 'ü', 'x'.repeat(700), 'é'.repeat(300))
  fc.assert(
    fc.property(text, text, text, fc.oneof(text, long), (tenant, table, column, rowId) => {
      const joined = joinContext(contextHead(tenant, table, column), rowId, '1;pad')
      const parts = ['fe1', tenant, table, column, rowId, '1;pad']
      return joined.equals(encodeContext(parts))
    }),
  )
})

await t.test("a keyset survives Tink's JSON and binary formats unchanged", async (t) => {
  const one = generateKeyset()
  const two = addPrimaryKey(one)
  const three = setKeyStatus(two, one.primaryKeyId, 'disabled')
  const gone = setKeyStatus(three, one.primaryKeyId, 'destroyed')
  for (const keyset of [one, two, three, gone]) {
    t.equal(exportKeyset(parseKeyset(exportKeyset(keyset))), exportKeyset(keyset))
    t.equal(exportKeyset(decodeKeyset(encodeKeyset(keyset))), exportKeyset(keyset))
  }
  t.not(
    one.primaryKeyId % 2,
    two.primaryKeyId % 2,
    'the ids of successive primary keys differ in the lowest bit',
  )
  t.equal(gone.keys[0]!.secret, undefined)
  const sealed = createAead(one).seal('x', none)
  t.equal(createAead(two).open(sealed, none).toString(), 'x', 'an enabled key opens')
  t.throws(() => createAead(three).open(sealed, none), openFailed, 'a disabled key does not')
  t.throws(() => setKeyStatus(gone, one.primaryKeyId, 'enabled'), refused)
  t.throws(() => setKeyStatus(two, two.primaryKeyId, 'disabled'), refused)
  t.throws(() => setKeyStatus(two, 1, 'disabled'), refused)
})

await t.test('no key appears in a log', async (t) => {
  const secret = randomBytes(32)
  const keyset = keysetOf(7, secret)
  const shown = [inspect(keyset, { depth: 9 }), JSON.stringify(keyset), inspect(createAead(keyset))]
  for (const text of shown) {
    t.notMatch(text, secret.toString('base64').slice(0, 12))
    t.notMatch(text, secret.toString('hex').slice(0, 12))
    t.notMatch(text, [...secret.subarray(0, 5)].join(','))
  }
})

await t.test('an invalid keyset is refused, and the error does not quote it', async (t) => {
  const good = JSON.parse(exportKeyset(generateKeyset())) as {
    primaryKeyId: number
    key: [{ keyData: Record<string, unknown>; status: string; keyId: number }]
  }
  const broken: ((keyset: typeof good) => unknown)[] = [
    () => 'text',
    () => null,
    () => [],
    () => ({}),
    (k) => ({ ...k, key: [] }),
    (k) => ({ ...k, key: [null] }),
    (k) => ({ ...k, primaryKeyId: 1 }),
    (k) => ({ ...k, key: [...k.key, ...k.key] }),
    (k) => ({ ...k, key: [{ ...k.key[0], status: 'DISABLED' }] }),
    (k) => ({ ...k, key: [{ ...k.key[0], status: 'LOST' }] }),
    (k) => ({ ...k, key: [{ ...k.key[0], outputPrefixType: 'RAW' }] }),
    (k) => ({ ...k, key: [{ ...k.key[0], keyData: undefined }] }),
    (k) => ({ ...k, primaryKeyId: 0, key: [{ ...k.key[0], keyId: 0 }] }),
    (k) => ({ ...k, primaryKeyId: 2 ** 32, key: [{ ...k.key[0], keyId: 2 ** 32 }] }),
    (k) => ({
      ...k,
      key: [{ ...k.key[0], keyData: { ...k.key[0].keyData, typeUrl: 'x/AesSivKey' } }],
    }),
    (k) => ({
      ...k,
      key: [{ ...k.key[0], keyData: { ...k.key[0].keyData, value: 'GhBzZWNyZXQ=' } }],
    }),
    (k) => ({ ...k, key: [{ ...k.key[0], keyData: { ...k.key[0].keyData, value: 'CAEaAA==' } }] }),
    (k) => ({ ...k, key: [{ ...k.key[0], keyData: { ...k.key[0].keyData, value: '//////8=' } }] }),
    (k) => ({ ...k, key: [{ ...k.key[0], keyData: { ...k.key[0].keyData, value: 'Gw==' } }] }),
    (k) => ({ ...k, key: [{ ...k.key[0], keyData: { ...k.key[0].keyData, value: 7 } }] }),
  ]
  for (const [index, change] of broken.entries()) {
    const text = JSON.stringify(change(structuredClone(good)))
    const error = t.throws(() => parseKeyset(text), refused, `case ${index}`) as Error
    t.notMatch(error.message, /Gh|CAEa|secret/)
  }
  t.throws(() => parseKeyset('{'), refused)
  await t.rejects(
    parseEncryptedKeyset('{}', (bytes) => bytes),
    refused,
  )
})

await t.test('a key refuses to seal at its usage limit, and still opens', async (t) => {
  const aead = createAead(generateKeyset(), { count: 2 ** 32 - 1, limit: 2 ** 32 })
  const sealed = aead.seal('last', none)
  t.throws(() => aead.seal('one more', none), {
    code: 'PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED',
    statusCode: 503,
  })
  t.equal(aead.open(sealed, none).toString(), 'last', 'it still opens')
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
  const tests = file.testGroups
    .filter(({ keySize, ivSize, tagSize }) => keySize === 256 && ivSize === 96 && tagSize === 128)
    .flatMap((group) => group.tests)
  for (const test of tests) {
    const hex = (name: keyof typeof test) => Buffer.from(test[name], 'hex')
    const sealed = Buffer.concat([Buffer.from([1, 0, 0, 0, 9]), hex('iv'), hex('ct'), hex('tag')])
    const opened = createAead(keysetOf(9, hex('key'))).tryOpen(sealed, hex('aad'))
    if (test.result === 'invalid') t.equal(opened, undefined, test.comment)
    else t.ok(opened?.equals(hex('msg')), test.comment)
  }
  t.ok(tests.length >= 60, `${tests.length} cases ran`)
})

interface HkdfTest {
  ikm: string
  salt: string
  info: string
  okm: string
  size: number
  result: string
  comment: string
}

await t.test('Wycheproof HKDF-SHA-256', async (t) => {
  const file = readVectors<{ testGroups: { tests: HkdfTest[] }[] }>(
    t,
    'crypto/hkdf_sha256_test.json',
  )
  if (file === null) return
  const tests = file.testGroups.flatMap((group) => group.tests)
  for (const { ikm, salt, info, okm, size, result, comment } of tests) {
    const derive = () => {
      const [key, salted, named] = [ikm, salt, info].map((hex) => Buffer.from(hex, 'hex'))
      return Buffer.from(hkdfSync('sha256', key!, salted!, named!, size)).toString('hex')
    }
    if (result === 'invalid') t.throws(derive, comment)
    else t.equal(derive(), okm, comment)
  }
  t.ok(tests.length >= 80, `${tests.length} cases ran`)
})

await t.test("Tink's AES-GCM vectors and JSON keysets open", async (t) => {
  const file = readVectors<TinkVectors>(t, 'crypto/tink-vectors.json')
  if (file === null) return
  t.ok(file.aesGcm.length >= 2)
  for (const { key, keyId, ciphertext, aad, plaintext } of file.aesGcm) {
    const aead = createAead(keysetOf(keyId, Buffer.from(key, 'hex')))
    const ad = Buffer.from(aad, 'hex')
    t.equal(aead.open(Buffer.from(ciphertext, 'hex'), ad).toString('hex'), plaintext)
    t.equal(aead.seal('x', ad).subarray(0, 5).toString('hex'), ciphertext.slice(0, 10))
  }
  const aead = parseKeyset(JSON.stringify(file.jsonKeysets.aead))
  t.equal(aead.primaryKeyId, 1_931_667_682)
  t.same(JSON.parse(exportKeyset(aead)), file.jsonKeysets.aead, 'it is written as it was read')
  t.throws(
    () => parseKeyset(JSON.stringify(file.jsonKeysets.daead)),
    refused,
    'AES-SIV is not supported',
  )
})

await t.test("Tink's encrypted keysets and KMS envelopes open", async (t) => {
  const file = readVectors<TinkVectors>(t, 'crypto/tink-vectors.json')
  if (file === null) return
  for (const vector of file.encryptedKeyset) {
    const kek = createAead(decodeKeyset(Buffer.from(vector.kekKeysetBinary, 'hex')))
    const record = readMessage(Buffer.from(vector.encryptedKeyset, 'hex'))
    const clear = kek.open(bytesField(record, 2), Buffer.from(vector.aadUtf8))
    t.throws(() => decodeKeyset(clear), refused, 'an HMAC keyset is not supported')
    const key = readMessage(bytesField(readMessage(clear), 2))
    const hmacKey = bytesField(readMessage(bytesField(readMessage(bytesField(key, 1)), 2)), 3)
    const tag = createHmac('sha256', hmacKey).update(vector.hmacDataUtf8).digest()
    t.equal(tag.subarray(0, 16).toString('hex'), vector.hmacTag.slice(10))
  }
  for (const vector of file.kmsEnvelope) {
    const uri = Buffer.from(vector.kekUri.slice('fake-kms://'.length), 'base64url')
    const bytes = Buffer.from(vector.ciphertext, 'hex')
    const end = 4 + bytes.readUInt32BE()
    const dek = createAead(decodeKeyset(uri)).open(bytes.subarray(4, end), none)
    const aead = createAead(keysetOf(1, bytesField(readMessage(dek), 3)))
    const prefixed = Buffer.concat([Buffer.from([1, 0, 0, 0, 1]), bytes.subarray(end)])
    t.equal(aead.open(prefixed, Buffer.from(vector.aadUtf8)).toString(), vector.plaintextUtf8)
  }
})

await t.test('an encrypted keyset opens again, and its key ids are readable', async (t) => {
  const wrapper = createAead(generateKeyset())
  const keyset = addPrimaryKey(generateKeyset())
  const json = await exportEncryptedKeyset(keyset, (bytes) => wrapper.seal(bytes, none))
  t.match(JSON.parse(json), {
    keysetInfo: { primaryKeyId: keyset.primaryKeyId, keyInfo: [{ status: 'ENABLED' }, {}] },
  })
  const back = await parseEncryptedKeyset(json, (bytes) => wrapper.open(bytes, none))
  t.equal(exportKeyset(back), exportKeyset(keyset))
})

interface TinkCrypto {
  binaryInsecure: { deserializeKeyset(bytes: Uint8Array): TinkHandle }
  aead: { register(): void; Aead: unknown }
}
interface TinkHandle {
  getPrimitive(kind: unknown): Promise<{
    encrypt(plain: Uint8Array, ad?: Uint8Array): Promise<Uint8Array>
    decrypt(sealed: Uint8Array, ad?: Uint8Array): Promise<Uint8Array>
  }>
}

/** Google's JavaScript library is built for browsers, so it needs the global `self`. */
async function loadTink(): Promise<TinkCrypto> {
  Object.assign(globalThis, { self: globalThis })
  const loaded = (await import('tink-crypto')) as unknown as { default?: TinkCrypto }
  return loaded.default ?? (loaded as unknown as TinkCrypto)
}

await t.test("npm tink-crypto and this package open each other's ciphertexts", async (t) => {
  const tink = await loadTink()
  tink.aead.register()
  const keyset = addPrimaryKey(generateKeyset())
  const theirs = await tink.binaryInsecure
    .deserializeKeyset(new Uint8Array(encodeKeyset(keyset)))
    .getPrimitive(tink.aead.Aead)
  const ours = createAead(keyset)
  for (let length = 0; length < 70; length++) {
    const plain = randomBytes(length)
    const ad = new Uint8Array(randomBytes(length % 9))
    const opened = await theirs.decrypt(new Uint8Array(ours.seal(plain, ad)), ad)
    t.ok(plain.equals(opened), `${length} bytes, sealed here`)
    const sealed = Buffer.from(await theirs.encrypt(new Uint8Array(plain), ad))
    t.ok(ours.open(sealed, ad).equals(plain), `${length} bytes, sealed by tink-crypto`)
  }
  const moved = new Uint8Array(ours.seal('x', Buffer.from('a')))
  const message = /decrypt/i
  await t.rejects(theirs.decrypt(moved, new Uint8Array([1])), { message })
})
