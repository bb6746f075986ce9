/** Generates signing keys. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { KeyInput } from './read-key.ts'
import type { Algorithm } from './strong-key.ts'

/**
 * Generates a private key as an encrypted PEM, for a first start, a test or a rotation.
 *
 * @param passphrase encrypts the PEM (AES-256-CBC).
 * @param algorithm RS256 keys have 3072 bits. @default 'ES256', which signs fastest
 */
export function generateKey(passphrase: string, algorithm: Algorithm = 'ES256'): KeyInput {
  const encoding = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase } as const
  return { pem: generatePrivateKey(algorithm).export(encoding).toString(), passphrase }
}

function generatePrivateKey(algorithm: Algorithm): KeyObject {
  if (algorithm === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519').privateKey
  return generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey
}
