/** Which public keys are strong enough, and which signature algorithm each kind of key uses. */
import type { KeyObject } from 'node:crypto'
import { PARAPET_SESSIONS_INVALID_KEY } from '../errors.ts'

/** The supported signature algorithms, one for each kind of key. */
export type Algorithm = 'RS256' | 'ES256' | 'EdDSA'

/** A public key and the only algorithm it verifies. */
export interface VerificationKey {
  readonly algorithm: Algorithm
  readonly publicKey: KeyObject
}

/**
 * Accepts RSA keys of 2048 bits. What is lost: such keys have 112 bits of security, while 128 bits
 * are required for new signatures (NIST SP 800-57, OWASP ASVS 11.2.3).
 */
export const allowRsa2048: unique symbol = Symbol('allowRsa2048')

/** 128 bits of security, NIST SP 800-57. */
const MIN_RSA_BITS = 3072
const MIN_RSA_BITS_ALLOWED = 2048
/** Larger keys only cost time: one verification with 16384 bits takes milliseconds. */
const MAX_RSA_BITS = 8192
const RSA_EXPONENT = 65_537n
/** ES256 in IEEE P1363 form and Ed25519 both produce 64 bytes. */
const CURVE_SIGNATURE_BYTES = 64

/**
 * Checks a public or private key and returns the algorithm it signs with.
 *
 * @param name the name of the key in error messages.
 * @param acceptRsa2048 accepts RSA keys of 2048 bits. @default false
 * @throws PARAPET_SESSIONS_INVALID_KEY for a short RSA key, an RSA exponent other than 65537, a key of
 *   the broken generator of CVE-2017-15361, a curve other than P-256 or Ed25519, or another kind of key.
 */
export function requireStrongKey(key: KeyObject, name: string, acceptRsa2048 = false): Algorithm {
  const { namedCurve = 'an unknown curve' } = key.asymmetricKeyDetails ?? {}
  const type = key.asymmetricKeyType ?? key.type
  if (type === 'ed25519') return 'EdDSA'
  if (type === 'rsa') {
    requireStrongRsaKey(key, name, acceptRsa2048)
    return 'RS256'
  }
  if (type !== 'ec') refuse(name, `expected an RSA, P-256 or Ed25519 key, got ${type}`)
  if (namedCurve !== 'prime256v1') refuse(name, `expected the curve P-256, got ${namedCurve}`)
  return 'ES256'
}

/** The length of a signature made by this key, in bytes. */
export function signatureBytesOf({ algorithm, publicKey }: VerificationKey): number {
  if (algorithm !== 'RS256') return CURVE_SIGNATURE_BYTES
  return Math.ceil((publicKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
}

function requireStrongRsaKey(key: KeyObject, name: string, acceptRsa2048: boolean): void {
  const { modulusLength: bits = 0, publicExponent } = key.asymmetricKeyDetails ?? {}
  const minBits = acceptRsa2048 ? MIN_RSA_BITS_ALLOWED : MIN_RSA_BITS
  if (bits < minBits || bits > MAX_RSA_BITS) {
    refuse(name, `expected an RSA key of ${minBits} to ${MAX_RSA_BITS} bits, got ${bits} bits`)
  }
  if (publicExponent !== RSA_EXPONENT) {
    refuse(name, `expected the RSA exponent 65537, got ${String(publicExponent)}`)
  }
  if (hasRocaModulus(key.export({ format: 'jwk' }).n ?? '')) {
    refuse(name, 'it comes from a broken generator (CVE-2017-15361), so generate another key')
  }
}

function refuse(name: string, problem: string): never {
  throw new PARAPET_SESSIONS_INVALID_KEY(name, problem)
}

const ROCA_PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
  103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
]

/**
 * Whether a modulus has the fingerprint of the broken generator: it is a power of 65537 modulo every
 * small prime. A good modulus has this property with probability 2^-27.
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
