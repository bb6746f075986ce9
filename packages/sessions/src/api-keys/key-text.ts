/**
 * The text of an API key: `<prefix>_<id><secret><checksum>`. Scanners recognize a leaked key by its
 * prefix and confirm it by its checksum. Only a hash of the secret is stored.
 *
 * @see docs/spec/api-key.md
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { takeRandom } from '@parapet/kit'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const ID_BYTES = 12
const SECRET_BYTES = 32
const CHECKSUM_BYTES = 4
const [ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH] = [17, 43, 6]
const TEXT_LENGTH = ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH

/** Whether a bearer token has the prefix of an API key. */
export function looksLikeApiKey(text: string, prefix: string): boolean {
  return text.startsWith(`${prefix}_`)
}

/** Creates the id of a new key. */
export function createApiKeyId(): string {
  return encode(takeRandom(ID_BYTES), ID_LENGTH)
}

/** Creates a secret for a key. @returns the text of the key, and the hash that is stored */
export function createApiKeySecret(id: string, prefix: string): { text: string; hash: string } {
  const secret = takeRandom(SECRET_BYTES)
  const body = id + encode(secret, SECRET_LENGTH)
  return {
    text: `${prefix}_${body}${checksumOf(prefix, body)}`,
    hash: hashApiKey(id, secret),
  }
}

/** Parses the text of a key; `null` if it is mistyped or invented. Makes no store call. */
export function parseApiKey(text: string, prefix: string): { id: string; secret: Buffer } | null {
  if (!looksLikeApiKey(text, prefix)) return null
  const rest = text.slice(prefix.length + 1)
  if (rest.length !== TEXT_LENGTH || !/^[0-9A-Za-z]+$/.test(rest)) return null
  const body = rest.slice(0, -CHECKSUM_LENGTH)
  if (checksumOf(prefix, body) !== rest.slice(-CHECKSUM_LENGTH)) return null
  const secret = decode(body.slice(ID_LENGTH), SECRET_BYTES)
  return secret === null ? null : { id: body.slice(0, ID_LENGTH), secret }
}

function checksumOf(prefix: string, body: string): string {
  const bytes = Buffer.alloc(CHECKSUM_BYTES)
  bytes.writeUInt32BE(crc32(`${prefix}_${body}`))
  return encode(bytes, CHECKSUM_LENGTH)
}

/** A fast hash is enough for 256 random bits. The id makes the hash invalid for any other key. */
export function hashApiKey(id: string, secret: Buffer): string {
  return createHash('sha256').update(`parapet api key ${id} `).update(secret).digest('base64url')
}

function encode(bytes: Buffer, length: number): string {
  let value = BigInt(`0x${bytes.toString('hex')}`)
  let text = ''
  while (text.length < length) {
    text = ALPHABET[Number(value % 62n)]! + text
    value /= 62n
  }
  return text
}

function decode(text: string, size: number): Buffer | null {
  let value = 0n
  for (const letter of text) value = value * 62n + BigInt(ALPHABET.indexOf(letter))
  const hex = value.toString(16).padStart(2 * size, '0')
  return hex.length > 2 * size ? null : Buffer.from(hex, 'hex')
}
