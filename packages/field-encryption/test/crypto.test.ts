import { createHmac, createSecretKey, hkdfSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { createLocalCipher, encodeContext, parseCipherKeys, type CipherContext } from '@parapet/kit'
import { readVectors, runs } from '@parapet/testing'
import {
  addPrimaryKey,
  contextParts,
  createKeysetCipher,
  createLocalProvider,
  exportKeyset,
  generateKeyset,
  parseKeyset,
  setKeyStatus,
  verifyReceipt,
} from '@parapet/field-encryption'
import fc from 'fast-check'
import t from 'tap'
import { createAead, parseEnvelope } from '../src/aead.ts'
import { contextHead, joinContext } from '../src/context.ts'
import { exportEncryptedKeyset, parseEncryptedKeyset } from '../src/encrypted-keyset.ts'
import { createFiles } from '../src/files.ts'
import { createKeyRing } from '../src/key-ring.ts'
import { decodeKeyset, encodeKeyset, type Keyset } from '../src/keyset.ts'
import { openEnvelope } from '../src/provider.ts'
import {
  headerBytes,
  openStream,
  plainSize,
  sealedSize,
  sealStream,
  type StreamParameters,
} from '../src/stream.ts'
import { bytesField, readProto } from '../src/tink-proto.ts'

const failed = {
  code: 'PARAPET_FIELD_ENCRYPTION_OPEN_FAILED',
  statusCode: 500,
  message: 'The encrypted value cannot be opened',
}
const refused = { code: 'PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET', statusCode: 500 }
const none = Buffer.alloc(0)

function keysetOf(id: number, secret: Uint8Array): Keyset {
  return { primaryKeyId: id, keys: [{ id, status: 'enabled', secret: createSecretKey(secret) }] }
}

await t.test('what is sealed opens under its keyset and context, and nowhere else', async (t) => {
  const aead = createAead(generateKeyset())
  const context = Buffer.from('context')
  const sealed = aead.sealText('plain ünïcode', context)
  t.match(sealed, /^pe1\.[\w-]+$/)
  t.equal(aead.open(parseEnvelope(sealed)!, context).toString(), 'plain ünïcode')
  t.not(aead.sealText('plain ünïcode', context), sealed, 'twice is not the same')
  t.throws(() => aead.open(parseEnvelope(sealed)!, Buffer.from('other')), failed)
  t.throws(() => createAead(generateKeyset()).open(parseEnvelope(sealed)!, context), failed)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array(), (bytes, ad) =>
      aead.open(aead.seal(bytes, ad), ad).equals(bytes),
    ),
  )
})

await t.test('no bit, length or spelling of an envelope may change', async (t) => {
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
  t.ok(parseEnvelope(text))
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
    t.equal(parseEnvelope(each), undefined, `case ${index}`)
  }
  // The bits behind the last byte are zero in the one spelling there is.
  const loose = `pe1.${aead.seal('12', none).toString('base64url')}`
  const last = loose.at(-1)!
  const next = String.fromCharCode(last.charCodeAt(0) + 1)
  if (
    Buffer.from(loose.slice(4, -1) + next, 'base64url').equals(
      Buffer.from(loose.slice(4), 'base64url'),
    )
  ) {
    t.equal(parseEnvelope(loose.slice(0, -1) + next), undefined)
  }
})

await t.test('kit opens what a keyset sealed, and a keyset what kit sealed', async (t) => {
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

await t.test("the vectors of kit's sealed value hold here as well", async (t) => {
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

await t.test('the vectors of docs/spec/field-context.md hold', async (t) => {
  const file = new URL('../../../docs/spec/vectors/field-context.json', import.meta.url)
  const { contexts } = JSON.parse(readFileSync(file, 'utf8')) as {
    contexts: { parts: [string, string, string, string, string, string]; hex: string }[]
  }
  t.ok(contexts.length >= 4)
  for (const { parts, hex } of contexts) {
    const [, tenant, table, column, rowId, version] = parts
    const joined = joinContext(contextHead(tenant, table, column), rowId, version)
    t.equal(joined.toString('hex'), hex, parts.join('/'))
    t.equal(encodeContext(parts).toString('hex'), hex, 'and kit makes the same of it')
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

await t.test('a keyset is told in Tink’s JSON and bytes, and comes back as it was', async (t) => {
  const one = generateKeyset()
  const two = addPrimaryKey(one)
  const three = setKeyStatus(two, one.primaryKeyId, 'disabled')
  const gone = setKeyStatus(three, one.primaryKeyId, 'destroyed')
  for (const keyset of [one, two, three, gone]) {
    t.equal(exportKeyset(parseKeyset(exportKeyset(keyset))), exportKeyset(keyset))
    t.equal(exportKeyset(decodeKeyset(encodeKeyset(keyset))), exportKeyset(keyset))
  }
  t.not(one.primaryKeyId % 2, two.primaryKeyId % 2, 'neighbours differ in the lowest bit')
  t.equal(gone.keys[0]!.secret, undefined)
  const sealed = createAead(one).seal('x', none)
  t.equal(createAead(two).open(sealed, none).toString(), 'x', 'an enabled key opens')
  t.throws(() => createAead(three).open(sealed, none), failed, 'a disabled one does not')
  t.throws(() => setKeyStatus(gone, one.primaryKeyId, 'enabled'), refused)
  t.throws(() => setKeyStatus(two, two.primaryKeyId, 'disabled'), refused)
  t.throws(() => setKeyStatus(two, 1, 'disabled'), refused)
})

await t.test('no log shows a key', async (t) => {
  const secret = randomBytes(32)
  const keyset = keysetOf(7, secret)
  const shown = [inspect(keyset, { depth: 9 }), JSON.stringify(keyset), inspect(createAead(keyset))]
  for (const text of shown) {
    t.notMatch(text, secret.toString('base64').slice(0, 12))
    t.notMatch(text, secret.toString('hex').slice(0, 12))
    t.notMatch(text, [...secret.subarray(0, 5)].join(','))
  }
})

await t.test('a keyset that is none is refused, and never quoted', async (t) => {
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

await t.test('a key warns of nothing and then refuses at the limit of its nonces', async (t) => {
  const aead = createAead(generateKeyset(), { count: 2 ** 32 - 1, limit: 2 ** 32 })
  const sealed = aead.seal('last', none)
  t.throws(() => aead.seal('one more', none), {
    code: 'PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED',
    statusCode: 503,
  })
  t.equal(aead.open(sealed, none).toString(), 'last', 'reading goes on')
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

interface TinkVectors {
  aesGcm: (Record<'key' | 'ciphertext' | 'aad' | 'plaintext', string> & { keyId: number })[]
  kmsEnvelope: Record<'kekUri' | 'plaintextUtf8' | 'aadUtf8' | 'ciphertext', string>[]
  encryptedKeyset: Record<
    'kekKeysetBinary' | 'encryptedKeyset' | 'aadUtf8' | 'hmacTag' | 'hmacDataUtf8',
    string
  >[]
  jsonKeysets: Record<'aead' | 'daead', object>
  aesGcmHkdfStreaming: (Record<'hkdf' | 'key' | 'plaintextUtf8' | 'ciphertext' | 'aad', string> & {
    id: number
    segmentSize: number
    derivedKeySize: 16 | 32
  })[]
}

await t.test("Tink's AES-GCM ciphertexts and keysets open", async (t) => {
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
  t.same(JSON.parse(exportKeyset(aead)), file.jsonKeysets.aead, 'and is written as it was read')
  t.throws(() => parseKeyset(JSON.stringify(file.jsonKeysets.daead)), refused, 'no AES-SIV here')
})

await t.test("Tink's encrypted keyset and KMS envelopes open", async (t) => {
  const file = readVectors<TinkVectors>(t, 'crypto/tink-vectors.json')
  if (file === null) return
  for (const vector of file.encryptedKeyset) {
    const kek = createAead(decodeKeyset(Buffer.from(vector.kekKeysetBinary, 'hex')))
    const record = readProto(Buffer.from(vector.encryptedKeyset, 'hex'))
    const clear = kek.open(bytesField(record, 2), Buffer.from(vector.aadUtf8))
    t.throws(() => decodeKeyset(clear), refused, 'it is a keyset of HMAC, which is not ours to use')
    const key = readProto(bytesField(readProto(clear), 2))
    const hmacKey = bytesField(readProto(bytesField(readProto(bytesField(key, 1)), 2)), 3)
    const tag = createHmac('sha256', hmacKey).update(vector.hmacDataUtf8).digest()
    t.equal(tag.subarray(0, 16).toString('hex'), vector.hmacTag.slice(10))
  }
  for (const vector of file.kmsEnvelope) {
    const uri = Buffer.from(vector.kekUri.slice('fake-kms://'.length), 'base64url')
    const bytes = Buffer.from(vector.ciphertext, 'hex')
    const end = 4 + bytes.readUInt32BE()
    const dek = createAead(decodeKeyset(uri)).open(bytes.subarray(4, end), none)
    const aead = createAead(keysetOf(1, bytesField(readProto(dek), 3)))
    const prefixed = Buffer.concat([Buffer.from([1, 0, 0, 0, 1]), bytes.subarray(end)])
    t.equal(aead.open(prefixed, Buffer.from(vector.aadUtf8)).toString(), vector.plaintextUtf8)
  }
})

await t.test('an encrypted keyset comes back, and names its keys in clear', async (t) => {
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

/** Google's own library for JavaScript is built for the browser. */
async function loadTink(): Promise<TinkCrypto> {
  Object.assign(globalThis, { self: globalThis })
  const loaded = (await import('tink-crypto')) as unknown as { default?: TinkCrypto }
  return loaded.default ?? (loaded as unknown as TinkCrypto)
}

await t.test('npm tink-crypto opens what we seal, and we open what it seals', async (t) => {
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
    t.ok(plain.equals(opened), `${length} bytes, ours to theirs`)
    const sealed = Buffer.from(await theirs.encrypt(new Uint8Array(plain), ad))
    t.ok(ours.open(sealed, ad).equals(plain), `${length} bytes, theirs to ours`)
  }
  const moved = new Uint8Array(ours.seal('x', Buffer.from('a')))
  await t.rejects(theirs.decrypt(moved, new Uint8Array([1])))
})

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** The bytes in pieces of uneven length. */
function pieces(bytes: Buffer, sizes = [1, 7, 64, 3]): Readable {
  const cut: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; at += sizes[i++ % sizes.length]!) {
    cut.push(bytes.subarray(at, at + sizes[i % sizes.length]!))
  }
  return Readable.from(cut)
}

await t.test("Tink's AES-GCM-HKDF streams open, and no damaged one does", async (t) => {
  const file = readVectors<TinkVectors>(t, 'crypto/tink-vectors.json')
  if (file === null) return
  t.equal(file.aesGcmHkdfStreaming.length, 8)
  for (const vector of file.aesGcmHkdfStreaming) {
    const key = createSecretKey(Buffer.from(vector.key, 'hex'))
    const aad = Buffer.from(vector.aad, 'hex')
    const sealed = Buffer.from(vector.ciphertext, 'hex')
    const parameters = {
      hash: vector.hkdf.toLowerCase() as 'sha1' | 'sha256',
      derivedKeyBytes: vector.derivedKeySize,
      segmentBytes: vector.segmentSize,
    }
    const open = (bytes: Buffer) =>
      collect(openStream(Readable.from([bytes]), key, aad, parameters))
    t.equal((await open(sealed)).toString(), vector.plaintextUtf8, `vector ${vector.id}`)
    t.equal(plainSize(sealed.length, parameters), Buffer.byteLength(vector.plaintextUtf8))
    const again = await collect(
      sealStream(Readable.from([Buffer.from(vector.plaintextUtf8)]), key, aad, parameters),
    )
    t.equal(again.length, sealed.length)
    t.equal((await open(again)).toString(), vector.plaintextUtf8)
    for (const cut of [0, 1, headerBytes(parameters), sealed.length - 1]) {
      await t.rejects(open(sealed.subarray(0, cut)), failed, `cut to ${cut}`)
    }
    await t.rejects(open(Buffer.concat([sealed, Buffer.alloc(16)])), failed, 'extended')
  }
})

const small: StreamParameters = { hash: 'sha256', derivedKeyBytes: 32, segmentBytes: 128 }

await t.test('a stream of any length comes back, however it is cut into pieces', async (t) => {
  const key = createSecretKey(randomBytes(32))
  for (let length = 0; length < runs(300, 2000); length++) {
    const plain = randomBytes(length)
    const sealed = await collect(sealStream(pieces(plain), key, none, small))
    if (sealed.length !== sealedSize(length, small)) t.fail(`${length}: sealed size`)
    if (plainSize(sealed.length, small) !== length) t.fail(`${length}: plain size`)
    const opened = await collect(openStream(pieces(sealed), key, none, small))
    if (!opened.equals(plain)) t.fail(`${length}: another plaintext`)
  }
  t.pass('all lengths came back')
  t.equal(plainSize(55, small), undefined, 'shorter than a header and a tag')
})

await t.test('a client that sends bytes one by one does not make pieces of one byte', async (t) => {
  const key = createSecretKey(randomBytes(32))
  const plain = randomBytes(70_000)
  const parameters = { ...small, segmentBytes: 65_536 }
  const crumbs = Array.from(plain, (_, at) => plain.subarray(at, at + 1))
  let count = 0
  const counted = async function* (source: AsyncIterable<Buffer>) {
    for await (const piece of source) {
      count++
      yield piece
    }
  }
  const sealed = await collect(counted(sealStream(Readable.from(crumbs), key, none, parameters)))
  t.ok(count < 70_000 / 256 + 2 * 256 + 8, `${count} pieces`)
  const opened = await collect(openStream(Readable.from([sealed]), key, none, parameters))
  t.ok(opened.equals(plain))
})

await t.test('a bad segment is refused before any byte of it leaves', async (t) => {
  const key = createSecretKey(randomBytes(32))
  const plain = randomBytes(400)
  const sealed = await collect(sealStream(Readable.from([plain]), key, none, small))
  const segments = Array.from({ length: Math.ceil(sealed.length / 128) }, (_, index) =>
    sealed.subarray(index * 128, (index + 1) * 128),
  )
  t.ok(segments.length >= 4)
  const [first, second, third, ...rest] = segments as [Buffer, Buffer, Buffer, ...Buffer[]]
  const flipped = Buffer.from(third)
  flipped[5]! ^= 1
  const damaged: Record<string, [bytes: Buffer[], mayLeave: number]> = {
    reordered: [[first, third, second, ...rest], 128 - 40 - 16],
    dropped: [[first, third, ...rest], 128 - 40 - 16],
    repeated: [[first, second, second, third, ...rest], 2 * 128 - 40 - 32],
    'cut at a segment': [[first, second], 128 - 40 - 16],
    flipped: [[first, second, flipped, ...rest], 2 * 128 - 40 - 32],
    extended: [[...segments, Buffer.alloc(128)], 3 * 128 - 40 - 48 + 112],
  }
  for (const [name, [bytes, mayLeave]] of Object.entries(damaged)) {
    let left = 0
    await t.rejects(
      async () => {
        for await (const piece of openStream(Readable.from(bytes), key, none, small)) {
          t.ok(
            plain.subarray(left, left + piece.length).equals(piece),
            `${name}: only what is true`,
          )
          left += piece.length
        }
      },
      failed,
      name,
    )
    t.ok(left <= mayLeave, `${name}: ${left} of ${mayLeave} bytes left`)
  }
  await t.rejects(
    collect(openStream(Readable.from([sealed]), key, Buffer.from('x'), small)),
    failed,
    'another context',
  )
})

// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names the shape
function readSpec<T>(name: string): T {
  const file = new URL(`../../../docs/spec/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')) as T
}

await t.test('the vectors of docs/spec/encrypted-file.md hold', async (t) => {
  const { keyset, cases } = readSpec<{
    keyset: object
    cases: { name: string; tenant: string; file: string; hex: string; plaintext?: string }[]
  }>('encrypted-file')
  const ring = createKeyRing(parseKeyset(JSON.stringify(keyset)))
  const keys = { find: async () => [ring], refresh: () => false }
  t.ok(cases.length >= 12)
  for (const { name, tenant, file, hex, plaintext } of cases) {
    const bytes = Buffer.from(hex, 'hex')
    const store = {
      write: async () => {},
      read: async () => Readable.from([bytes]),
      size: async () => bytes.length,
      delete: async () => false,
    }
    const read = async () =>
      (await collect((await createFiles(store, keys).get(file, { tenant })).stream)).toString()
    if (plaintext === undefined) await t.rejects(read(), failed, name)
    else t.equal(await read(), plaintext, name)
  }
})

await t.test('the vectors of docs/spec/key-record.md hold', async (t) => {
  const { provider, cases } = readSpec<{
    provider: { local: object }
    cases: { name: string; tenant: string; record: object; keyset?: object }[]
  }>('key-record')
  const local = createLocalProvider({ keyset: JSON.stringify(provider.local) })
  for (const { name, tenant, record, keyset } of cases) {
    const context = { purpose: 'parapet-field-encryption', tenant }
    const read = parseEncryptedKeyset(JSON.stringify(record), (bytes) =>
      openEnvelope(local, bytes, context),
    )
    if (keyset === undefined) await t.rejects(read, failed, name)
    else t.same(JSON.parse(exportKeyset(await read)), keyset, name)
  }
})

await t.test('the vectors of docs/spec/erasure-receipt.md hold', async (t) => {
  const { publicKey, cases } = readSpec<{
    publicKey: string
    cases: { name: string; receipt: string; payload?: object }[]
  }>('erasure-receipt')
  for (const { name, receipt, payload } of cases) {
    t.strictSame(verifyReceipt(receipt, publicKey), payload ?? null, name)
  }
})
