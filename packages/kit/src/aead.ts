/**
 * AES-GCM in Tink's bytes: `01 ‖ key id (4, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`.
 *
 * @see https://developers.google.com/tink/wire-format
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { takeRandom } from './random.ts'

const VERSION = 0x01
const PREFIX_BYTES = 5
const NONCE_BYTES = 12
const TAG_BYTES = 16
const OVERHEAD_BYTES = PREFIX_BYTES + NONCE_BYTES + TAG_BYTES

/** AES-GCM with the key's own size; the tag length is always pinned, for Node takes 4 bytes otherwise. */
function algorithmOf(key: KeyObject): 'aes-128-gcm' | 'aes-256-gcm' {
  return key.symmetricKeySize === 16 ? 'aes-128-gcm' : 'aes-256-gcm'
}

/** Seals under a fresh random nonce. */
export function sealBytes(
  keyId: number,
  key: KeyObject,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Buffer {
  const nonce = takeRandom(NONCE_BYTES)
  const cipher = createCipheriv(algorithmOf(key), key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(associatedData)
  const prefix = Buffer.alloc(PREFIX_BYTES, VERSION)
  prefix.writeUInt32BE(keyId, 1)
  const body = cipher.update(plaintext)
  cipher.final()
  return Buffer.concat([prefix, nonce, body, cipher.getAuthTag()])
}

/** Opens what {@link sealBytes}, or Tink, sealed; `undefined` for anything else. */
export function openBytes(
  keys: ReadonlyMap<number, KeyObject>,
  sealed: Buffer,
  associatedData: Uint8Array,
): Buffer | undefined {
  if (sealed.length < OVERHEAD_BYTES || sealed[0] !== VERSION) return undefined
  const key = keys.get(sealed.readUInt32BE(1))
  if (key === undefined) return undefined
  const body = sealed.subarray(PREFIX_BYTES + NONCE_BYTES, sealed.length - TAG_BYTES)
  const nonce = sealed.subarray(PREFIX_BYTES, PREFIX_BYTES + NONCE_BYTES)
  const decipher = createDecipheriv(algorithmOf(key), key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(associatedData).setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
  const plaintext = decipher.update(body)
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return plaintext
}
