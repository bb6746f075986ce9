/** The cipher port, for every secret at rest, and the cipher that needs nothing but a key. */
import { createSecretKey } from 'node:crypto'
import { openBytes, sealBytes } from './aead.ts'
import { PARAPET_KIT_CIPHER_OPEN_FAILED, PARAPET_KIT_INVALID_ARGUMENT } from './errors.ts'
import { takeRandom } from './random.ts'

/**
 * Where a sealed value belongs, most general part first: `['mfa', tenant, user, 'totp-secret']`.
 * What is sealed for one context opens in no other.
 */
export type CipherContext = readonly string[]

/** The port. `field-encryption` fits it as well as {@link createLocalCipher} does. */
export interface Cipher {
  /**
   * Encrypts and authenticates, bound to `context`.
   *
   * @param plaintext bytes, or well-formed text (as UTF-8).
   * @returns printable ASCII, safe in a URL and in a text column.
   */
  seal(plaintext: string | Uint8Array, context: CipherContext): Promise<string>
  /**
   * Opens what was sealed for the same `context`.
   *
   * @throws PARAPET_KIT_CIPHER_OPEN_FAILED and never says why: damaged, another key, another context.
   */
  open(sealed: string, context: CipherContext): Promise<Buffer>
}

/** One key of {@link createLocalCipher}. */
export interface CipherKey {
  /** 1 to 4 294 967 295; stands in clear in front of what it sealed. */
  readonly id: number
  /** 32 bytes from a CSPRNG. */
  readonly secret: Uint8Array
}

const KEY_BYTES = 32
const MAX_KEY_ID = 0xffff_ffff
/** In front of the base64url of Tink's bytes, so that a sealed value is told from plain text at a glance. */
const MARK = 'pe1.'

/**
 * Makes a cipher over AES-256-GCM whose output `field-encryption` reads: Tink's bytes in base64url
 * behind `pe1.`, with the context as associated data. Nonces are random: change the primary key
 * before it has sealed 2^32 values.
 *
 * @param keys the first seals, all open. To rotate, put a new key in front and keep the old ones
 *   as long as what they sealed.
 * @throws PARAPET_KIT_INVALID_ARGUMENT no key, an id used twice or out of range, a secret of another size.
 * @see docs/spec/sealed-value.md, NIST SP 800-38D section 8
 */
export function createLocalCipher(keys: readonly CipherKey[]): Cipher {
  const [primary] = keys
  if (primary === undefined) refuse('keys', 'must hold at least one key')
  const ring = new Map(keys.map((key) => [requireKeyId(key.id), secretOf(key)]))
  if (ring.size < keys.length) refuse('keys', 'must have different ids')
  const primaryKey = ring.get(primary.id)!
  return {
    async seal(plaintext, context) {
      if (typeof plaintext === 'string' && !plaintext.isWellFormed()) {
        refuse('the plaintext', 'must be well-formed Unicode; pass bytes to seal anything else')
      }
      const bytes = typeof plaintext === 'string' ? Buffer.from(plaintext) : plaintext
      const sealed = sealBytes(primary.id, primaryKey, bytes, encodeContext(context))
      return MARK + sealed.toString('base64url')
    },
    async open(sealed, context) {
      const associatedData = encodeContext(context)
      const bytes = parseSealed(sealed)
      const plaintext = bytes && openBytes(ring, bytes, associatedData)
      if (plaintext === undefined) throw new PARAPET_KIT_CIPHER_OPEN_FAILED()
      return plaintext
    },
  }
}

/** Base64url is read by re-encoding: of all spellings of the same bytes one is taken. */
function parseSealed(sealed: string): Buffer | undefined {
  if (typeof sealed !== 'string' || !sealed.startsWith(MARK)) return undefined
  const text = sealed.slice(MARK.length)
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

/**
 * The associated data of a context: the number of parts, then each part behind its length, all
 * lengths as 64-bit little-endian, so that no two contexts share their bytes.
 *
 * @throws PARAPET_KIT_INVALID_ARGUMENT no part, or one that is no well-formed text.
 * @see docs/spec/sealed-value.md; the encoding is PASETO's PAE
 */
export function encodeContext(context: CipherContext): Buffer {
  if (!Array.isArray(context) || context.length === 0) refuse('a context', 'must have a part')
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
 * @throws PARAPET_KIT_INVALID_ARGUMENT the text has another form; it is never quoted.
 */
export function parseCipherKeys(text: string): CipherKey[] {
  return text.split(',').map((pair) => {
    const [, id, secret] = /^\s*(\d{1,10}):([\w-]{43})=?\s*$/.exec(pair) ?? []
    if (id === undefined || secret === undefined) {
      refuse(
        'cipher keys',
        'must be written as id:base64url, with commas between, the primary first',
      )
    }
    const bytes = Buffer.from(secret, 'base64url')
    if (bytes.toString('base64url') !== secret)
      refuse('a cipher key', 'must be canonical base64url')
    return { id: requireKeyId(Number(id)), secret: bytes }
  })
}

/** A fresh key in the form {@link parseCipherKeys} reads, with a random id. */
export function generateCipherKey(): string {
  const id = takeRandom(4).readUInt32BE() || 1
  return `${id}:${takeRandom(KEY_BYTES).toString('base64url')}`
}

function requireKeyId(id: number): number {
  if (!Number.isSafeInteger(id) || id < 1 || id > MAX_KEY_ID) {
    refuse('a key id', `must be a whole number from 1 to ${MAX_KEY_ID}`)
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
