/** The cost of a field and a file, compared with the bare cipher and with other libraries. */
import { createCipheriv, createSecretKey, randomBytes, scryptSync } from 'node:crypto'
import { systemClock, takeRandom } from '@parapet/kit'
import { goal, pairedBench } from '@parapet/testing'
import {
  CommitmentPolicy,
  RawAesKeyringNode,
  RawAesWrappingSuiteIdentifier,
  buildClient,
} from '@aws-crypto/client-node'
import { createFiles } from '../src/files/files.ts'
import { createAead } from '../src/crypto/aead.ts'
import { contextHead, joinContext } from '../src/crypto/field-context.ts'
import { createKeyRing } from '../src/key-ring/key-ring.ts'
import { generateKeyset } from '../src/crypto/keyset.ts'
import { Encrypted } from '../src/schema/encrypted.ts'
import { RecordCipher } from '../src/rows/record-cipher.ts'
import { compileTable } from '../src/rows/table-shape.ts'
import { Type } from '@sinclair/typebox'
import { AES256_GCM_HKDF_1MB } from '../src/files/stream-layout.ts'
import { sealStream } from '../src/files/stream.ts'

const GCM = { authTagLength: 16 } as const
const text = 'a string of exactly 32 bytes....'
const secret = randomBytes(32)
const key = createSecretKey(secret)

function raw(): Buffer[] {
  const cipher = createCipheriv('aes-256-gcm', key, takeRandom(12), GCM)
  return [cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]
}

const NONCE = Buffer.alloc(12)
const AAD = Buffer.alloc(98)
const SEALED = Buffer.alloc(65)

/** The least that a stored field can cost: Node's cipher and base64url, with a fixed nonce. */
function bareCipher(): string {
  const sealing = createCipheriv('aes-256-gcm', key, NONCE, GCM)
  sealing.setAAD(AAD)
  SEALED.set(sealing.update(text, 'utf8'), 17)
  sealing.final()
  SEALED.set(sealing.getAuthTag(), 49)
  return SEALED.toString('base64url')
}

const aead = createAead(generateKeyset())
const head = contextHead('acme', 'users', 'email')

/** One cell: the context of tenant, table, column and row, sealed to the text of the column. */
function field(): string {
  return aead.sealText(text, joinContext(head, '0190a1c2-0000-7000-8000', '1;text'))
}

const schema = Type.Object({ id: Type.String(), email: Encrypted(Type.String()) })
const cipher = new RecordCipher(
  compileTable('users', schema, {}, { hasSubjects: false, clock: systemClock }),
)
const ring = createKeyRing(generateKeyset())
const place = {
  tenant: 'acme',
  rowId: '0190a1c2-0000-7000-8000',
  formerRowIds: () => [],
  ring,
  indexRing: ring,
}
const record = { id: '1', email: text }
const row = cipher.seal(record, place)
const everything = { roles: null }
const ignore = (): void => {}

/** The format that `createJsonImporter` reads, also from a string to stored text. */
function scryptField(): string {
  const salt = randomBytes(32)
  const iv = randomBytes(16)
  const sealing = createCipheriv('aes-256-gcm', scryptSync('master key', salt, 32), iv, GCM)
  const encrypted = sealing.update(text, 'utf8', 'hex') + sealing.final('hex')
  const authTag = sealing.getAuthTag().toString('hex')
  return JSON.stringify({ encrypted, authTag, iv: iv.toString('hex'), salt: salt.toString('hex') })
}

const { encryptStringSync, parseKeySync } = (await import('@47ng/cloak')) as unknown as {
  readonly encryptStringSync: (text: string, key: unknown) => string
  readonly parseKeySync: (key: string) => unknown
}
const cloakKey = parseKeySync(`k1.aesgcm256.${Buffer.from(secret).toString('base64url')}=`)

interface CiphersweetField {
  encryptValue(text: string): Promise<string>
}
type New = new (...args: unknown[]) => unknown
const sweet = (await import('ciphersweet-js')) as unknown as Record<string, New> & {
  default?: Record<string, New>
}
const { CipherSweet, FIPSCrypto, StringProvider, EncryptedField } = sweet.default ?? sweet
const sweetField = new EncryptedField!(
  new CipherSweet!(new StringProvider!(secret.toString('hex')), new FIPSCrypto!()),
  'users',
  'email',
) as CiphersweetField

const aws = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const keyring = new RawAesKeyringNode({
  keyName: 'k',
  keyNamespace: 'n',
  unencryptedMasterKey: new Uint8Array(secret),
  wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
})

const one = 'one field, string to text'

const fields = await pairedBench({
  time: 'cpu',
  minMs: 60,
  cases: {
    'raw createCipheriv, pooled nonce': raw,
    [one]: field,
    'encryptRecord of one field': () => cipher.seal(record, place),
    'decryptRecord of one field': () => cipher.open(row, place, everything, ignore),
  },
})
console.log(fields.table)
goal('field-to-raw', fields.ratio(one, 'raw createCipheriv, pooled nonce').median, 1.5)

/**
 * Compares each library alone with a field, so that none pays for the garbage of another. The bare
 * cipher in the same rounds shows how much of the ratio is Node's own.
 */
async function against(name: string, peer: () => unknown, times: number): Promise<void> {
  const result = await pairedBench({
    time: 'cpu',
    minMs: 60,
    cases: { [one]: field, [name]: peer, 'the bare cipher, to text': bareCipher },
  })
  console.log(result.table)
  const floor = result.ratio('the bare cipher, to text', name).median
  console.log(
    `floor-to-${name} ${floor.toPrecision(4)}: the bare cipher to text, in the same rounds`,
  )
  goal(`field-to-${name}`, result.ratio(one, name).median, 1 / times)
}

await against('cloak', () => encryptStringSync(text, cloakKey), 2)
await against('ciphersweet-fips', () => sweetField.encryptValue(text), 8)
const encryptionContext = { table: 'users', column: 'email' }
await against('aws-crypto', () => aws.encrypt(keyring, text, { encryptionContext }), 50)
await against('scrypt', scryptField, 10_000)

const MIB = 1_048_576
const megabyte = randomBytes(MIB)
const none = Buffer.alloc(0)

async function* source(count: number): AsyncGenerator<Buffer> {
  for (let i = 0; i < count; i++) yield megabyte
}

async function sealFile(count: number): Promise<number> {
  let length = 0
  for await (const piece of sealStream(source(count), key, none, AES256_GCM_HKDF_1MB)) {
    length += piece.length
  }
  return length
}

async function sealRaw(count: number): Promise<number> {
  let length = 0
  const sealing = createCipheriv('aes-256-gcm', key, takeRandom(12), GCM)
  for await (const piece of source(count)) length += sealing.update(piece).length
  return length + sealing.final().length
}

const streams = await pairedBench({
  time: 'cpu',
  minMs: 100,
  rounds: 7,
  cases: {
    'raw GCM, 32 MiB': () => sealRaw(32),
    'a file, 32 MiB': () => sealFile(32),
  },
})
console.log(streams.table)
goal('file-to-raw', streams.ratio('a file, 32 MiB', 'raw GCM, 32 MiB').median, 1 / 0.75)

/** A store that discards what is written. */
const files = createFiles(
  {
    write: async (_, sealed) => {
      for await (const piece of sealed) void piece.length
    },
    read: async () => source(0),
    size: async () => 0,
    delete: async () => false,
  },
  { find: async (scopes) => scopes.map(() => ring), refresh: () => false },
)
await files.put('warm', source(64))
const before = process.memoryUsage().rss
let most = before
async function* watched(): AsyncGenerator<Buffer> {
  for (let i = 0; i < 1024; i++) {
    most = Math.max(most, process.memoryUsage().rss)
    yield megabyte
  }
}
await files.put('large', watched())
console.log(`1 GiB took ${((most - before) / MIB).toFixed(1)} MiB more memory`)
goal('file-memory-mib', (most - before) / MIB, 16)
