/** Public keys as JSON Web Keys, and their ids: the thumbprints of RFC 7638. */
import { createHash, type JsonWebKey, type KeyObject } from 'node:crypto'
import { PARAPET_SESSIONS_INVALID_KEY } from '../errors.ts'
import type { Algorithm } from './strong-key.ts'

/** A public key as other services read it. @see RFC 7517, section 4 */
export type PublishedKey = JsonWebKey & {
  readonly kid: string
  readonly alg: Algorithm
  readonly use: 'sig'
}

/** The members that RFC 7638, section 3.2 hashes, in their order. */
const THUMBPRINT_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
}

/** The public members of a key. */
export function publicJwkOf(key: KeyObject): JsonWebKey {
  const { kty, crv, x, y, n, e } = key.export({ format: 'jwk' })
  const members = Object.entries({ kty, crv, x, y, n, e })
  return Object.fromEntries(members.filter(([, value]) => value !== undefined)) as JsonWebKey
}

/**
 * The id of a key: SHA-256 over its required members.
 *
 * @throws PARAPET_SESSIONS_INVALID_KEY the key type is unknown.
 * @see RFC 7638, section 3
 */
export function thumbprintOf(jwk: JsonWebKey): string {
  const members = THUMBPRINT_MEMBERS[jwk.kty ?? '']
  if (members === undefined) {
    throw new PARAPET_SESSIONS_INVALID_KEY('jwk', '"kty" must be "EC", "OKP" or "RSA"')
  }
  const json = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])))
  return createHash('sha256').update(json).digest('base64url')
}
