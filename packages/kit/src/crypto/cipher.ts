/** The cipher port for secrets at rest, and a cipher that needs only a key. */
import { createSecretKey } from 'node:crypto'
import { createSealer, openSealed, parseSealedText } from './aead.ts'
import { PARAPET_KIT_CIPHER_OPEN_FAILED, PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'
import { takeRandom } from './random.ts'

/**
 * Where a sealed value belongs, the most general part first: `['mfa', tenant, user, 'totp-secret']`.
 * A value sealed for one context opens in no other.
 */
export type CipherContext = readonly string[]

/** The port; {@link createLocalCipher} and `field-encryption` implement it. */
export interface Cipher {
  /**
   * Encrypts and authenticates, bound to `context`.
   *
   * @param plaintext bytes, or well-formed text (as UTF-8).
   * @returns printable ASCII, safe in a URL and in a text column.
   */
  seal(plaintext: string | Uint8Array, context: CipherContext): Promise<string>
  /**
   * Opens a value that was sealed for the same `context`.
   *
   * @throws PARAPET_KIT_CIPHER_OPEN_FAILED damaged, unknown key or other context; it never says which.
   */
  open(sealed: string, context: CipherContext): Promise<Buffer>
}

/** One key of {@link createLocalCipher}. */
export interface CipherKey {
  /** 1 to 4 294 967 295; readable in the sealed value. */
  readonly id: number
  /** 32 bytes from a CSPRNG. */
  readonly secret: Uint8Array
}

const KEY_BYTES = 32
const MAX_KEY_ID = 0xffff_ffff

/**
 * Makes a cipher over AES-256-GCM whose output `field-encryption` reads: Tink's bytes in base64url
 * behind `pe1.`, with the context as associated data. Nonces are random: replace the primary key
 * before it has sealed 2^32 values.
 *
 * @param keys the first key seals, all keys open. To rotate, add a new key at the front and keep the
 *   old ones as long as values exist that they sealed.
 * @throws PARAPET_KIT_INVALID_ARGUMENT no key, an id used twice or out of range, a secret of another size.
 * @see docs/spec/sealed-value.md, NIST SP 800-38D section 8
 */
export function createLocalCipher(keys: readonly CipherKey[]): Cipher {
  const [primary] = keys
  if (primary === undefined) refuse('"keys"', 'must have at least one key')
  const ring = new Map(keys.map((key) => [requireKeyId(key.id), secretOf(key)]))
  if (ring.size < keys.length) refuse('"keys"', 'must have different ids')
  const sealer = createSealer(primary.id, ring.get(primary.id)!)
  return {
    async seal(plaintext, context) {
      if (typeof plaintext === 'string' && !plaintext.isWellFormed()) {
        refuse('the plaintext', 'must be well-formed Unicode; pass bytes to seal anything else')
      }
      return sealer.sealText(plaintext, encodeContext(context))
    },
    async open(sealed, context) {
      const associatedData = encodeContext(context)
      const bytes = parseSealedText(sealed)
      const plaintext = bytes && openSealed(ring, bytes, associatedData)
      if (plaintext === undefined) throw new PARAPET_KIT_CIPHER_OPEN_FAILED()
      return plaintext
    },
  }
}

/**
 * The associated data of a context: the number of parts, then each part behind its length, all
 * lengths as 64-bit little-endian, so that no two contexts share their bytes.
 *
 * @throws PARAPET_KIT_INVALID_ARGUMENT no part, or one that is no well-formed text.
 * @see docs/spec/sealed-value.md; the encoding is PASETO's PAE
 */
export function encodeContext(context: CipherContext): Buffer {
  if (!Array.isArray(context) || context.length === 0)
    refuse('"context"', 'must be an array of at least one string')
  const pieces = [length(context.length)]
  for (const part of context as CipherContext) {
    if (typeof part !== 'string' || !part.isWellFormed()) {
      refuse('each part of a context', 'must be a well-formed string')
    }
    const bytes = Buffer.from(part)
    pieces.push(length(bytes.length), bytes)
  }
  return Buffer.concat(pieces)
}

function length(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/**
 * Reads keys from one line of configuration: `id:secret` pairs, split by commas, the primary first,
 * each secret as base64url of 32 bytes.
 *
 * @throws PARAPET_KIT_INVALID_ARGUMENT the text has another form; the error never quotes it.
 */
export function parseCipherKeys(text: string): CipherKey[] {
  return text.split(',').map((pair) => {
    const [, id, secret] = /^\s*(\d{1,10}):([\w-]{43})=?\s*$/.exec(pair) ?? []
    if (id === undefined || secret === undefined) {
      refuse(
        'cipher keys',
        'must be written as id:base64url, separated by commas, the primary key first',
      )
    }
    const bytes = Buffer.from(secret, 'base64url')
    if (bytes.toString('base64url') !== secret)
      refuse('a cipher key', 'must be canonical base64url')
    return { id: requireKeyId(Number(id)), secret: bytes }
  })
}

/** A new key with a random id, in the form that {@link parseCipherKeys} reads. */
export function generateCipherKey(): string {
  const id = takeRandom(4).readUInt32BE() || 1
  return `${id}:${takeRandom(KEY_BYTES).toString('base64url')}`
}

function requireKeyId(id: number): number {
  if (!Number.isSafeInteger(id) || id < 1 || id > MAX_KEY_ID) {
    refuse('a key id', `must be an integer from 1 to ${MAX_KEY_ID}`)
  }
  return id
}

function secretOf({ id, secret }: CipherKey) {
  if (!(secret instanceof Uint8Array) || secret.length !== KEY_BYTES) {
    refuse(`the secret of key ${id}`, `must be ${KEY_BYTES} bytes`)
  }
  return createSecretKey(secret)
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_KIT_INVALID_ARGUMENT(what, problem)
}
