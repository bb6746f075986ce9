/** Envelope encryption: bytes sealed under a fresh data key that the provider wraps. */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_OPEN_FAILED } from '../errors.ts'
import {
  createDataKey,
  DATA_KEY_BYTES,
  encodeKeyContext,
  type KeyContext,
  type KeyProvider,
} from './provider.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16
const LENGTH_BYTES = 4
const GCM = { authTagLength: TAG_BYTES } as const

/**
 * Seals bytes under a fresh data key. Layout, as in Tink's KmsEnvelopeAead: the length of the wrapped
 * key (4, big-endian), the wrapped key, nonce, ciphertext and tag.
 */
export async function sealEnvelope(
  provider: KeyProvider,
  plaintext: Uint8Array,
  context: KeyContext,
): Promise<Buffer> {
  const { dataKey, wrapped } = await createDataKey(provider, context)
  const nonce = takeRandom(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', dataKey, nonce, GCM).setAAD(
    encodeKeyContext(context),
  )
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()])
  dataKey.fill(0)
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(wrapped.length)
  return Buffer.concat([length, wrapped, nonce, body, cipher.getAuthTag()])
}

/**
 * Opens what {@link sealEnvelope} sealed.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED, or what the provider throws
 */
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
  decipher.setAAD(encodeKeyContext(context)).setAuthTag(envelope.subarray(end))
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
