/** Keysets locked with a passphrase. @see docs/spec/key-record.md */
import { createSecretKey, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { takeRandom } from '@parapet/kit'
import { createAead, type Aead } from '../crypto/aead.ts'
import { exportEncryptedKeyset, parseEncryptedKeyset } from '../crypto/encrypted-keyset.ts'
import { parseKeyset, parseObject, requireBase64 } from '../crypto/keyset-json.ts'
import type { Keyset } from '../crypto/keyset.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET,
} from '../errors.ts'

/** 128 MiB for each guess. It runs once a process, on a worker thread. @see RFC 7914, OWASP Password Storage */
const COST = { N: 131_072, r: 8, p: 1 } as const
const MAX_COST = 2_097_152
const MAX_MEMORY = 2 ** 31
const KEY_BYTES = 32
const SALT_BYTES = 16
const MIN_PASSPHRASE_LENGTH = 12
const deriveKey = promisify<string, Buffer, number, object, Buffer>(scrypt)

/**
 * Locks a keyset with a passphrase: Tink's JSON for encrypted keysets, under a key that scrypt derives
 * from the passphrase, with the parameters of scrypt beside it.
 *
 * @param keyset Tink's JSON, unencrypted.
 * @param passphrase at least 12 characters.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 * @see docs/spec/key-record.md
 */
export async function lockKeyset(keyset: string, passphrase: string): Promise<string> {
  const salt = Buffer.from(takeRandom(SALT_BYTES))
  const aead = await stretch(passphrase, salt, COST)
  const locked = await exportEncryptedKeyset(parseKeyset(keyset), (bytes) => aead.seal(bytes, salt))
  const kdf = { name: 'scrypt', ...COST, salt: salt.toString('base64') }
  return JSON.stringify({ kdf, ...parseObject(locked) })
}

/**
 * Unlocks what {@link lockKeyset} locked.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED the passphrase is wrong or the text was changed.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 */
export async function unlockKeyset(text: string, passphrase: string): Promise<Keyset> {
  const kdf = (parseObject(text)['kdf'] ?? {}) as Record<string, unknown>
  const { name, N, r, p, salt } = kdf
  // A cost outside these bounds would allow cheap guessing, or exhaust the memory.
  const isBounded =
    Number.isInteger(N) &&
    (N as number) >= COST.N &&
    (N as number) <= MAX_COST &&
    r === 8 &&
    p === 1
  if (name !== 'scrypt' || !isBounded || typeof salt !== 'string') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET(
      'a passphrase was given, but the keyset was not locked by lockKeyset',
    )
  }
  const bytes = requireBase64(salt, 'the "salt"')
  const aead = await stretch(passphrase, bytes, { N: N as number, r, p })
  return parseEncryptedKeyset(text, (sealed) => aead.open(sealed, bytes))
}

/** Derives the key of a passphrase, as a keyset with the one key id 1. */
async function stretch(
  passphrase: string,
  salt: Buffer,
  cost: { readonly N: number; readonly r: number; readonly p: number },
): Promise<Aead> {
  if (typeof passphrase !== 'string' || passphrase.length < MIN_PASSPHRASE_LENGTH) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the passphrase',
      `must be a string of at least ${MIN_PASSPHRASE_LENGTH} characters`,
    )
  }
  const secret = await deriveKey(passphrase.normalize('NFKC'), salt, KEY_BYTES, {
    ...cost,
    maxmem: MAX_MEMORY,
  })
  const key = { id: 1, status: 'enabled', secret: createSecretKey(secret) } as const
  secret.fill(0)
  return createAead({ primaryKeyId: 1, keys: [key] })
}
