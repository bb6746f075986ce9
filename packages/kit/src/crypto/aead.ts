/**
 * AES-GCM in Tink's bytes: `01 ‖ key id (4, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`;
 * as text in base64url behind `pe1.`.
 *
 * @see docs/spec/sealed-value.md; https://developers.google.com/tink/wire-format
 */
import { createCipheriv, createDecipheriv, type CipherGCMTypes, type KeyObject } from 'node:crypto'
import { fillRandom } from './random.ts'

/** Precedes the base64url of a sealed value, which distinguishes it from plain text at a glance. */
export const SEALED_MARK = 'pe1.'
/** Version, key id, nonce and tag. */
export const SEALED_OVERHEAD_BYTES = 33

const VERSION = 0x01
const NONCE_BYTES = 12
const NONCE_AT = 5
const BODY_AT = NONCE_AT + NONCE_BYTES
const TAG_BYTES = 16
/** Without it Node accepts a tag of 4 bytes. */
const GCM = { authTagLength: TAG_BYTES } as const
/** Short values are assembled here without an allocation; it only ever holds ciphertext. */
const WORKBENCH = Buffer.allocUnsafeSlow(4096)
/** The nonce of the value on the workbench. */
const NONCE = WORKBENCH.subarray(NONCE_AT, BODY_AT)

/** Seals under one key, each value under a fresh random nonce. Text is sealed as UTF-8. */
export interface Sealer {
  seal(plaintext: string | Uint8Array, associatedData: Uint8Array): Buffer
  /** Like {@link Sealer.seal}, as printable text. */
  sealText(plaintext: string | Uint8Array, associatedData: Uint8Array): string
}

/**
 * Makes a {@link Sealer}. Counting how often a key has sealed is the caller's: a key must not seal
 * more than 2^32 values.
 *
 * @param keyId 0 to 4 294 967 295; readable in what was sealed.
 * @param key 16 or 32 bytes.
 * @see NIST SP 800-38D, section 8.3
 */
export function createSealer(keyId: number, key: KeyObject): Sealer {
  const algorithm = algorithmOf(key)
  const prefix = Buffer.alloc(NONCE_AT, VERSION)
  prefix.writeUInt32BE(keyId, 1)

  /** Puts the head of a value on the workbench and returns its ciphertext and tag. */
  function encrypt(plaintext: string | Uint8Array, associatedData: Uint8Array): [Buffer, Buffer] {
    WORKBENCH.set(prefix, 0)
    fillRandom(NONCE)
    const cipher = createCipheriv(algorithm, key, NONCE, GCM)
    cipher.setAAD(associatedData)
    const body =
      typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext)
    cipher.final()
    return [body, cipher.getAuthTag()]
  }

  return {
    seal(plaintext, associatedData) {
      const [body, tag] = encrypt(plaintext, associatedData)
      return Buffer.concat([WORKBENCH.subarray(0, BODY_AT), body, tag])
    },
    sealText(plaintext, associatedData) {
      const [body, tag] = encrypt(plaintext, associatedData)
      const bytes = SEALED_OVERHEAD_BYTES + body.length
      if (bytes > WORKBENCH.length) {
        const sealed = Buffer.concat([WORKBENCH.subarray(0, BODY_AT), body, tag])
        return SEALED_MARK + sealed.toString('base64url')
      }
      WORKBENCH.set(body, BODY_AT)
      WORKBENCH.set(tag, BODY_AT + body.length)
      return SEALED_MARK + WORKBENCH.toString('base64url', 0, bytes)
    },
  }
}

/**
 * Opens a sealed value, whether {@link createSealer} or Tink sealed it.
 *
 * @param keys by key id.
 * @returns `undefined` for an unknown key, other associated data or damage, without saying which.
 */
export function openSealed(
  keys: ReadonlyMap<number, KeyObject>,
  sealed: Buffer,
  associatedData: Uint8Array,
): Buffer | undefined {
  if (sealed.length < SEALED_OVERHEAD_BYTES || sealed[0] !== VERSION) return undefined
  const key = keys.get(sealed.readUInt32BE(1))
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
 * The bytes of a sealed text. Of the many base64url spellings of the same bytes, one is accepted.
 *
 * @param maxPlaintextBytes longer values are refused unread. @default no limit
 * @returns `undefined` where the text is no sealed value: another mark, alphabet or version, not
 *   canonical, too short or too long.
 */
export function parseSealedText(text: unknown, maxPlaintextBytes = Infinity): Buffer | undefined {
  if (typeof text !== 'string' || !text.startsWith(SEALED_MARK)) return undefined
  if (text.length > sealedTextLength(maxPlaintextBytes)) return undefined
  const encoded = text.slice(SEALED_MARK.length)
  const bytes = Buffer.from(encoded, 'base64url')
  if (bytes.length < SEALED_OVERHEAD_BYTES || bytes[0] !== VERSION) return undefined
  return bytes.toString('base64url') === encoded ? bytes : undefined
}

/** The key id in a sealed value: a hint, which only the tag confirms. */
export function keyIdOf(sealed: Buffer): number {
  return sealed.readUInt32BE(1)
}

/** The length of the sealed text of a plaintext, in characters. */
export function sealedTextLength(plaintextBytes: number): number {
  return SEALED_MARK.length + Math.ceil(((plaintextBytes + SEALED_OVERHEAD_BYTES) * 4) / 3)
}

function algorithmOf(key: KeyObject): CipherGCMTypes {
  return key.symmetricKeySize === 16 ? 'aes-128-gcm' : 'aes-256-gcm'
}
