/** The form of backup codes, and their hashes. @see docs/spec/mfa-account.md */
import { scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import type { BackupCodeSet } from '../account/account.ts'
import { normalizeCode } from '../factors/typed-code.ts'

/** Crockford's base32: no I, L, O or U. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const RANDOM_CHARS = 13
const GROUPS = /^(.{5})(.{5})(.{4})$/
const SALT_BYTES = 16
const HASH_BYTES = 32
/** Uses 16 MiB per run. @see NIST SP 800-63B-4, sections 3.1.2.2 and 3.2.2 */
const COST: ScryptOptions = { N: 16_384, r: 8, p: 1, maxmem: 64 * 1024 * 1024 }

/** The random bits of one code. */
export const BACKUP_CODE_BITS = RANDOM_CHARS * 5

/** Creates different codes, in the form that users read: `7K2QM-9ZPX4-W0DT`. */
export function createBackupCodes(count: number): string[] {
  const codes = new Set<string>()
  while (codes.size < count) {
    const values = [...takeRandom(RANDOM_CHARS)].map((byte) => byte & 31)
    const text = [...values, checksumOf(values)].map((value) => ALPHABET[value]).join('')
    codes.add(text.replace(GROUPS, '$1-$2-$3'))
  }
  return [...codes]
}

/**
 * Reads a code as users type it: any case, blanks and hyphens anywhere, O for 0, I and L for 1, and
 * what {@link normalizeCode} replaces.
 *
 * @returns the 14 characters of the code; `null` if the length or the check character is wrong. No
 *   stored data is read, so the result reveals nothing about an account.
 */
export function parseBackupCode(text: string): string | null {
  const plain = normalizeCode(text).toUpperCase()
  const values = Array.from(plain.replaceAll('O', '0').replaceAll(/[IL]/g, '1'), (char) =>
    ALPHABET.indexOf(char),
  )
  if (values.length !== RANDOM_CHARS + 1 || values.includes(-1)) return null
  const random = values.slice(0, RANDOM_CHARS)
  if (checksumOf(random) !== values[RANDOM_CHARS]) return null
  return values.map((value) => ALPHABET[value]).join('')
}

/** A code of another system as it is hashed: in any case, with or without separators. */
export function parseImportedCode(text: string): string {
  return normalizeCode(text).toLowerCase()
}

/** Hashes codes of {@link createBackupCodes} for storage, off the event loop. */
export async function hashBackupCodes(
  codes: readonly string[],
  createdAt: number,
): Promise<BackupCodeSet> {
  const salt = takeRandom(SALT_BYTES).toString('base64url')
  const hashes = await Promise.all(codes.map((code) => hashBackupCode(code, salt)))
  return { salt, hashes, createdAt }
}

/** Hashes one code with the salt of a set. One scrypt run. */
export function hashBackupCode(code: string, salt: string): Promise<string> {
  const plain = code.replaceAll('-', '')
  return new Promise((resolve, reject) => {
    scrypt(plain, Buffer.from(salt, 'base64url'), HASH_BYTES, COST, (error, key) => {
      if (error === null) resolve(key.toString('base64url'))
      else reject(error)
    })
  })
}

/** Removes a code from the set. @returns the set without it; `null` if the code is not in the set. */
export function spendBackupCode(set: BackupCodeSet, hash: string): BackupCodeSet | null {
  const given = Buffer.from(hash, 'base64url')
  // All hashes are compared, so that the duration does not reveal the position of the code.
  const hashes = set.hashes.filter(
    (each) => !timingSafeEqual(Buffer.from(each, 'base64url'), given),
  )
  return hashes.length === set.hashes.length ? null : { ...set, hashes }
}

/**
 * A weighted sum over GF(32). Each position has another power of the generator as its weight, so
 * every single wrong character and every exchange of two characters changes the sum.
 */
function checksumOf(values: readonly number[]): number {
  // Horner's rule. The last multiplication gives the last value a weight other than 1, which is the
  // weight of the check character.
  return values.reduce((sum, value) => double(sum ^ value), 0)
}

/** Multiplies by x, modulo x^5 + x^2 + 1. */
function double(value: number): number {
  return value < 16 ? value << 1 : (value << 1) ^ 0b100101
}
