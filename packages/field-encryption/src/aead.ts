/**
 * The hot path: AES-GCM in Tink's bytes, synchronous, with nonces from a pooled CSPRNG read.
 *
 * @see docs/spec/sealed-value.md, https://developers.google.com/tink/wire-format
 */
import {
  createCipheriv,
  createDecipheriv,
  randomFillSync,
  type CipherGCMTypes,
  type KeyObject,
} from 'node:crypto'
import {
  PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from './errors.ts'
import type { Keyset } from './keyset.ts'

/** In front of the base64url of Tink's bytes. */
export const MARK = 'pe1.'
/** Version, key id, nonce and tag. */
export const OVERHEAD_BYTES = 33
/** The largest plaintext of one value; what is larger belongs into a file. */
export const MAX_PLAINTEXT_BYTES = 16_777_216

const VERSION = 0x01
const NONCE_BYTES = 12
const NONCE_AT = 5
const BODY_AT = NONCE_AT + NONCE_BYTES
const TAG_BYTES = 16
/** Node takes a tag of 4 bytes where this is not said. */
const GCM = { authTagLength: TAG_BYTES } as const
/** Where a short envelope is put together; it only ever holds ciphertext. */
const WORKBENCH = Buffer.allocUnsafeSlow(4096)
/** The nonce of the envelope on the workbench. */
const NONCE = WORKBENCH.subarray(NONCE_AT, BODY_AT)
/** Nonces to come: a read of the CSPRNG costs as much as a cipher, a fresh buffer half as much. */
const POOL = Buffer.allocUnsafeSlow(1024 * NONCE_BYTES)
const MAX_TEXT_LENGTH = textLengthOf(MAX_PLAINTEXT_BYTES)

/** How often one key has sealed, so that no key outlives its random nonces. */
export interface UsageMeter {
  /** Values sealed, as far as this process knows. */
  count: number
  /** Sealing is refused from here on. @see NIST SP 800-38D, section 8.3 */
  readonly limit: number
}

/** Seals and opens bytes under a keyset. */
export interface Aead {
  readonly keyset: Keyset
  readonly usage: UsageMeter
  /**
   * Seals under the primary key and a fresh nonce.
   *
   * @param plaintext bytes, or well-formed text, as UTF-8.
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED
   */
  seal(plaintext: string | Uint8Array, associatedData: Uint8Array): Buffer
  /** As {@link Aead.seal}, as printable text behind `pe1.`. */
  sealText(plaintext: string | Uint8Array, associatedData: Uint8Array): string
  /** Opens, or returns `undefined` and never says why. */
  tryOpen(sealed: Buffer, associatedData: Uint8Array): Buffer | undefined
  /** @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED and never says why. */
  open(sealed: Buffer, associatedData: Uint8Array): Buffer
  /** Whether an enabled key of this id is here: one that is not may have been made elsewhere. */
  knows(keyId: number): boolean
}

/** The default limit of a key: 2^32 random nonces. */
export const MAX_KEY_USES = 2 ** 32

/** Makes an {@link Aead} of the enabled keys of a keyset. */
export function createAead(
  keyset: Keyset,
  usage: UsageMeter = { count: 0, limit: MAX_KEY_USES },
): Aead {
  const ring = new Map<number, KeyObject>()
  for (const { id, status, secret } of keyset.keys) {
    if (status === 'enabled' && secret !== undefined) ring.set(id, secret)
  }
  const primary = ring.get(keyset.primaryKeyId)!
  const algorithm = algorithmOf(primary)
  const prefix = prefixOf(keyset.primaryKeyId)

  /** Puts the head of an envelope on the workbench; its body and its tag are the caller's. */
  function encrypt(plaintext: string | Uint8Array, associatedData: Uint8Array): [Buffer, Buffer] {
    if (usage.count >= usage.limit) throw new PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED()
    usage.count++
    WORKBENCH.set(prefix, 0)
    drawNonce()
    const cipher = createCipheriv(algorithm, primary, NONCE, GCM)
    cipher.setAAD(associatedData)
    const body =
      typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext)
    cipher.final()
    return [body, cipher.getAuthTag()]
  }

  const tryOpen = (sealed: Buffer, associatedData: Uint8Array): Buffer | undefined =>
    openWith(ring, sealed, associatedData)

  return {
    keyset,
    usage,
    seal(plaintext, associatedData) {
      const [body, tag] = encrypt(plaintext, associatedData)
      return Buffer.concat([WORKBENCH.subarray(0, BODY_AT), body, tag])
    },
    sealText(plaintext, associatedData) {
      const [body, tag] = encrypt(plaintext, associatedData)
      const bytes = OVERHEAD_BYTES + body.length
      if (bytes > WORKBENCH.length) {
        const envelope = Buffer.concat([WORKBENCH.subarray(0, BODY_AT), body, tag])
        return MARK + envelope.toString('base64url')
      }
      WORKBENCH.set(body, BODY_AT)
      WORKBENCH.set(tag, BODY_AT + body.length)
      return MARK + WORKBENCH.toString('base64url', 0, bytes)
    },
    tryOpen,
    open(sealed, associatedData) {
      const plaintext = tryOpen(sealed, associatedData)
      if (plaintext === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
      return plaintext
    },
    knows: (keyId) => ring.has(keyId),
  }
}

let drawn = POOL.length

/** Puts a fresh nonce on the workbench. */
function drawNonce(): void {
  if (drawn === POOL.length) {
    randomFillSync(POOL)
    drawn = 0
  }
  for (let index = 0; index < NONCE_BYTES; index++) NONCE[index] = POOL[drawn + index]!
  drawn += NONCE_BYTES
}

function openWith(
  ring: ReadonlyMap<number, KeyObject>,
  sealed: Buffer,
  associatedData: Uint8Array,
): Buffer | undefined {
  if (sealed.length < OVERHEAD_BYTES || sealed[0] !== VERSION) return undefined
  const key = ring.get(sealed.readUInt32BE(1))
  if (key === undefined) return undefined
  const end = sealed.length - TAG_BYTES
  const nonce = sealed.subarray(NONCE_AT, BODY_AT)
  const decipher = createDecipheriv(algorithmOf(key), key, nonce, GCM)
  decipher.setAAD(associatedData)
  decipher.setAuthTag(sealed.subarray(end))
  const plaintext = decipher.update(sealed.subarray(BODY_AT, end))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return plaintext
}

/**
 * The bytes of a stored text, or `undefined` where it is no envelope: another mark, another
 * alphabet, not the one spelling of its bytes, too short, too long or of another version.
 */
export function parseEnvelope(text: unknown): Buffer | undefined {
  if (typeof text !== 'string' || !text.startsWith(MARK) || text.length > MAX_TEXT_LENGTH) {
    return undefined
  }
  const encoded = text.slice(MARK.length)
  const bytes = Buffer.from(encoded, 'base64url')
  if (bytes.length < OVERHEAD_BYTES || bytes[0] !== VERSION) return undefined
  return bytes.toString('base64url') === encoded ? bytes : undefined
}

/** The id of the key that sealed an envelope: a hint, which only its tag confirms. */
export function keyIdOf(envelope: Buffer): number {
  return envelope.readUInt32BE(1)
}

/** The characters that a plaintext of `bytes` takes as stored text. */
export function textLengthOf(bytes: number): number {
  return MARK.length + Math.ceil(((bytes + OVERHEAD_BYTES) * 4) / 3)
}

function algorithmOf(key: KeyObject): CipherGCMTypes {
  return key.symmetricKeySize === 16 ? 'aes-128-gcm' : 'aes-256-gcm'
}

function prefixOf(keyId: number): Buffer {
  const prefix = Buffer.alloc(NONCE_AT, VERSION)
  prefix.writeUInt32BE(keyId, 1)
  return prefix
}
