/** The port to whatever keeps the root key, and the envelope that is built on it. */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { encodeContext, takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_OPEN_FAILED } from './errors.ts'

/** What a wrapped key is bound to; a provider refuses to unwrap it for anything else. */
export type KeyContext = Readonly<Record<string, string>>

/** What a provider is, for a console. */
export interface KeyProviderDescription {
  /** For instance `vault-transit:orders`; never a secret. */
  readonly id: string
  /** Whether the root key can leave it: true of a file, false of a KMS or an HSM. */
  readonly exportable: boolean
}

/** A keeper of a root key. Data keys go in and come out; the root key does not. */
export interface KeyProvider {
  wrap(dataKey: Uint8Array, context: KeyContext): Promise<Uint8Array>
  unwrap(wrapped: Uint8Array, context: KeyContext): Promise<Uint8Array>
  /** Makes a data key of 32 bytes, where the provider has a call for it. @default random bytes, wrapped */
  generate?(
    context: KeyContext,
  ): Promise<{ readonly dataKey: Uint8Array; readonly wrapped: Uint8Array }>
  describe(): KeyProviderDescription
  /** Resolves when the provider would answer now. */
  health(): Promise<void>
}

const DATA_KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const LENGTH_BYTES = 4
const GCM = { authTagLength: TAG_BYTES } as const

/**
 * Seals bytes under a fresh data key that the provider wraps: the length of the wrapped key (4,
 * big-endian), the wrapped key, nonce, ciphertext and tag, as Tink's KmsEnvelopeAead lays them out.
 */
export async function sealEnvelope(
  provider: KeyProvider,
  plaintext: Uint8Array,
  context: KeyContext,
): Promise<Buffer> {
  const { dataKey, wrapped } = await makeDataKey(provider, context)
  const nonce = takeRandom(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', dataKey, nonce, GCM).setAAD(bind(context))
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()])
  dataKey.fill(0)
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(wrapped.length)
  return Buffer.concat([length, wrapped, nonce, body, cipher.getAuthTag()])
}

/** Opens what {@link sealEnvelope} sealed. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED, or what the provider throws */
export async function openEnvelope(
  provider: KeyProvider,
  envelope: Buffer,
  context: KeyContext,
): Promise<Buffer> {
  const body = LENGTH_BYTES + (envelope.length < LENGTH_BYTES ? 0 : envelope.readUInt32BE(0))
  if (envelope.length < body + NONCE_BYTES + TAG_BYTES) {
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }
  const dataKey = await provider.unwrap(envelope.subarray(LENGTH_BYTES, body), context)
  if (dataKey.length !== DATA_KEY_BYTES) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  const nonce = envelope.subarray(body, body + NONCE_BYTES)
  const end = envelope.length - TAG_BYTES
  const decipher = createDecipheriv('aes-256-gcm', dataKey, nonce, GCM)
  decipher.setAAD(bind(context)).setAuthTag(envelope.subarray(end))
  try {
    return Buffer.concat([
      decipher.update(envelope.subarray(body + NONCE_BYTES, end)),
      decipher.final(),
    ])
  } catch {
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  } finally {
    dataKey.fill(0)
  }
}

async function makeDataKey(provider: KeyProvider, context: KeyContext) {
  if (provider.generate !== undefined) return provider.generate(context)
  const dataKey = takeRandom(DATA_KEY_BYTES)
  return { dataKey, wrapped: await provider.wrap(dataKey, context) }
}

/** The bytes of a context: its entries by name, each part behind its length. */
export function bind(context: KeyContext): Buffer {
  const entries = Object.entries(context).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return encodeContext(['fe-key1', ...entries.flat()])
}
