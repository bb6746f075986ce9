import { createSecretKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  blind,
  createLocalProvider,
  createMemoryKeyStore,
  Encrypted,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
  mask,
  type FieldEncryptionOptions,
  type KeyProvider,
  type TableOptions,
} from '@parapet/field-encryption'
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import type { Test } from 'tap'
import type { Keyset } from '../src/crypto/keyset.ts'

/** The code and status of an error of this plugin. */
export const code = (what: string, statusCode = 500) => ({
  code: `PARAPET_FIELD_ENCRYPTION_${what}`,
  statusCode,
})

/** The same for every cause, so that an attacker learns nothing. */
export const openFailed = {
  ...code('OPEN_FAILED'),
  message: 'The encrypted value cannot be opened',
}

export const keyset = exportKeyset(generateKeyset())
export const rootKeyset = exportKeyset(generateKeyset())
export const receiptKeys = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})
const receiptKey = receiptKeys.privateKey

/** No associated data. */
export const none = Buffer.alloc(0)

/** A keyset with one key. */
export function keysetOf(id: number, secret: Uint8Array): Keyset {
  return { primaryKeyId: id, keys: [{ id, status: 'enabled', secret: createSecretKey(secret) }] }
}

/** Reads a whole stream. */
export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** A new folder that is deleted after the test. */
export function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-files-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

/** The test vectors of a page in docs/spec. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names the shape
export function readSpec<T>(name: string): T {
  const file = new URL(`../../../docs/spec/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')) as T
}

/** Vectors of the Tink libraries. */
export interface TinkVectors {
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

/** A provider that counts its calls and can be made to fail or hang. */
export function watchProvider(provider = createLocalProvider({ keyset: rootKeyset })) {
  const state = { wraps: 0, unwraps: 0, down: false, hang: false }
  const ask = () => {
    if (state.hang) return new Promise<never>(() => {})
    if (state.down) throw new Error('the provider is down')
    return undefined
  }
  const watching: KeyProvider = {
    async wrap(dataKey, context) {
      state.wraps++
      await ask()
      return provider.wrap(dataKey, context)
    },
    async unwrap(wrapped, context) {
      state.unwraps++
      await ask()
      return provider.unwrap(wrapped, context)
    },
    describe: () => provider.describe(),
    health: async () => ask(),
  }
  return { state, provider: watching }
}

export const Note = Type.Object({
  id: Type.String(),
  user: Type.Optional(Type.String()),
  text: Encrypted(Type.String(), { index: { text_idx: blind() } }),
})

/** An app whose keys are in a key store. */
export async function buildManaged(t: Test, options: Partial<FieldEncryptionOptions> = {}) {
  const { state, provider } = watchProvider()
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  const keyStore = createMemoryKeyStore()
  const settings = { provider, keyStore, clock, receiptKey, ...options }
  await app.register(fieldEncryption, settings)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const notes = app.fieldEncryption.table('notes', Note)
  const mine = app.fieldEncryption.table('mine', Note, { subject: 'user' })
  return {
    app,
    events,
    clock,
    state,
    provider,
    keyStore: settings.keyStore,
    notes,
    mine,
    service: app.fieldEncryption,
  }
}

export const User = Type.Object(
  {
    id: Type.String(),
    email: Encrypted(Type.String({ format: 'email', maxLength: 254 }), {
      reveal: ['admin', 'owner'],
      mask: { support: mask.email(), default: mask.redact() },
      index: { email_idx: blind({ normalize: ['nfkc', 'lower'] }) },
    }),
    name: Type.String(),
    age: Encrypted(Type.Integer(), { reveal: ['admin'] }),
    score: Encrypted(Type.Number()),
    active: Encrypted(Type.Boolean()),
    born: Encrypted(Type.Date()),
    balance: Encrypted(Type.BigInt()),
    settings: Encrypted(Type.Object({ theme: Type.String(), tags: Type.Array(Type.String()) })),
    maybe: Encrypted(Type.Union([Type.String(), Type.Null()])),
    phones: Type.Array(
      Type.Object({
        label: Type.String(),
        number: Encrypted(Type.String(), { reveal: ['admin'], mask: { support: mask.last(4) } }),
      }),
    ),
    address: Type.Object({ city: Type.String(), street: Encrypted(Type.String()) }),
    secret: Type.Optional(Encrypted(Type.String(), { reveal: 'never' })),
  },
  { $id: 'User' },
)

/** An app with one fixed keyset. */
export async function buildFixed(t: Test, options: FieldEncryptionOptions = { keyset }) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fieldEncryption, options)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, events }
}

/** The table of users in an app with one fixed keyset. */
export async function usersOf(t: Test, options: TableOptions = {}) {
  const { app, events } = await buildFixed(t)
  return { app, events, users: app.fieldEncryption.table('users', User, options) }
}
