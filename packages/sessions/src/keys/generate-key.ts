/** Generates signing keys. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { encryptPem } from './encrypt-pem.ts'
import type { KeyInput } from './read-key.ts'
import type { Algorithm } from './strong-key.ts'

/**
 * Generates a private key as PEM, for a first start, a test or a rotation.
 *
 * @param passphrase encrypts the PEM (AES-256-CBC under 600 000 rounds of PBKDF2-HMAC-SHA-256), which
 *   takes a few tenths of a second, and as long again at each boot. `null`: the PEM is not encrypted; use
 *   it only for a key that stays in memory.
 * @param algorithm RS256 keys have 3072 bits. @default 'ES256', which signs fastest
 */
export function generateKey(passphrase: string | null, algorithm: Algorithm = 'ES256'): KeyInput {
  const key = generatePrivateKey(algorithm)
  if (passphrase === null) {
    return { pem: key.export({ type: 'pkcs8', format: 'pem' }).toString() }
  }
  return { pem: encryptPem(key.export({ type: 'pkcs8', format: 'der' }), passphrase), passphrase }
}

function generatePrivateKey(algorithm: Algorithm): KeyObject {
  if (algorithm === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519').privateKey
  return generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey
}
