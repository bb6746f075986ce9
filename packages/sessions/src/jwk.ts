/** Which public keys are fit to verify with, and their name: the thumbprint of RFC 7638. */
import { createHash, type JsonWebKey, type KeyObject } from 'node:crypto'
import { PARAPET_SESSIONS_INVALID_KEY } from './errors.ts'

/** The signature algorithms of this package, one for each kind of key. */
export type Algorithm = 'RS256' | 'ES256' | 'EdDSA'

/** NIST SP 800-57: 128 bits of security. */
const MIN_RSA_BITS = 3072
const MIN_RSA_BITS_ALLOWED = 2048
/** More only costs: one verification of a 16384-bit key takes milliseconds. */
const MAX_RSA_BITS = 8192
const RSA_EXPONENT = 65_537n

/** The members that RFC 7638 section 3.2 hashes, in their order. */
const THUMBPRINT_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
}

/**
 * The algorithm a key signs with.
 *
 * @param name how messages call the key.
 * @param allowRsa2048 takes RSA keys of 2048 bits too.
 * @throws PARAPET_SESSIONS_INVALID_KEY an RSA key that is short, has an exponent other than 65537 or
 *   comes from the generator of CVE-2017-15361; a curve other than P-256 and Ed25519; another kind.
 */
export function requireStrongKey(key: KeyObject, name: string, allowRsa2048 = false): Algorithm {
  const { namedCurve, modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
  if (key.asymmetricKeyType === 'ec') {
    if (namedCurve === 'prime256v1') return 'ES256'
    throw new PARAPET_SESSIONS_INVALID_KEY(name, 'must be on the curve P-256')
  }
  if (key.asymmetricKeyType !== 'rsa') {
    throw new PARAPET_SESSIONS_INVALID_KEY(name, 'must be an RSA, a P-256 or an Ed25519 key')
  }
  const least = allowRsa2048 ? MIN_RSA_BITS_ALLOWED : MIN_RSA_BITS
  if (modulusLength === undefined || modulusLength < least || modulusLength > MAX_RSA_BITS) {
    throw new PARAPET_SESSIONS_INVALID_KEY(name, `must have ${least} to ${MAX_RSA_BITS} bits`)
  }
  if (publicExponent !== RSA_EXPONENT) {
    throw new PARAPET_SESSIONS_INVALID_KEY(name, 'must have the public exponent 65537')
  }
  if (hasRocaModulus(jwkOf(key).n ?? '')) {
    throw new PARAPET_SESSIONS_INVALID_KEY(name, 'comes from a broken generator (CVE-2017-15361)')
  }
  return 'RS256'
}

/** The public members of a key as a JWK. */
export function jwkOf(key: KeyObject): JsonWebKey {
  const { kty, crv, x, y, n, e } = key.export({ format: 'jwk' })
  const members = Object.entries({ kty, crv, x, y, n, e })
  return Object.fromEntries(members.filter(([, value]) => value !== undefined)) as JsonWebKey
}

/**
 * The name of a key: SHA-256 over its required members.
 *
 * @see RFC 7638, section 3
 */
export function thumbprintOf(jwk: JsonWebKey): string {
  const members = THUMBPRINT_MEMBERS[jwk.kty ?? '']
  if (members === undefined) throw new PARAPET_SESSIONS_INVALID_KEY('jwk', 'has an unknown kty')
  const json = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])))
  return createHash('sha256').update(json).digest('base64url')
}

const ROCA_PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
  103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
]

/**
 * Whether a modulus has the fingerprint of the broken generator: modulo every small prime it is a
 * power of 65537, which chance makes once in 2^27.
 *
 * @see CVE-2017-15361; Nemec et al., The Return of Coppersmith's Attack, section 2.1
 */
function hasRocaModulus(n: string): boolean {
  const modulus = BigInt(`0x${Buffer.from(n, 'base64url').toString('hex') || '0'}`)
  return ROCA_PRIMES.every((prime) => {
    const rest = Number(modulus % BigInt(prime))
    let power = 1
    do {
      if (power === rest) return true
      power = (power * 65_537) % prime
    } while (power !== 1)
    return false
  })
}
