/** Secrets of the fleet, and the keys that are derived from them. */
import { hkdfSync } from 'node:crypto'
import { takeRandom } from '@parapet/kit'

const SECRET_BYTES = 32

/** Generates a value for the option `secrets`: 32 random bytes in base64url. */
export function generateSecret(): string {
  return takeRandom(SECRET_BYTES).toString('base64url')
}

/**
 * Derives a key of 32 bytes for one purpose, so that no key serves two purposes.
 *
 * @param secret base64url of at least 32 bytes.
 * @see RFC 5869
 */
export function deriveKey(secret: string, purpose: string): Buffer {
  const bytes = Buffer.from(secret, 'base64url')
  return Buffer.from(hkdfSync('sha256', bytes, '', `parapet sessions ${purpose}`, SECRET_BYTES))
}
