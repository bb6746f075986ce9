/** A verifier of compact JWS for services that only have the published keys. */
import { createPublicKey, verify, type JsonWebKey, type KeyObject } from 'node:crypto'
import { PARAPET_SESSIONS_INVALID_KEY } from '../errors.ts'
import {
  requireStrongKey,
  signatureBytesOf,
  type Algorithm,
  type VerificationKey,
} from '../keys/strong-key.ts'
import { parseJwsHeader, splitJws, type JwsHeader, type JwsSegments } from './parse-jws.ts'

/** Returns the header and the payload bytes of a token with a valid signature, or `null`. */
export type JwsGate = (token: unknown) => {
  readonly header: JwsHeader
  readonly payload: Buffer
} | null

interface GateKey extends VerificationKey {
  /** `undefined`: verifies only tokens without a `kid`. */
  readonly keyId: string | undefined
}

/**
 * Creates a verifier of compact JWS. It checks the form and the signature, not the claims.
 *
 * @param keys public keys as JWK, each with the `kid` that tokens name it by, if they do.
 * @throws PARAPET_SESSIONS_INVALID_KEY a key is invalid, too weak, not public, or declares another
 *   purpose. RSA keys of 2048 bits are accepted.
 */
export function createJwsGate(keys: readonly JsonWebKey[]): JwsGate {
  const ring = keys.map(readGateKey)
  return (token) => {
    const segments = splitJws(token)
    const header = segments && parseJwsHeader(segments.header)
    if (segments === null || header === null) return null
    const key = ring.find((each) => each.keyId === header.kid)
    if (key?.algorithm !== header.alg || !hasValidSignature(segments, key)) return null
    return { header, payload: Buffer.from(segments.payload, 'base64url') }
  }
}

function readGateKey(jwk: JsonWebKey): GateKey {
  const publicKey = readPublicKey(jwk)
  const algorithm = requireStrongKey(publicKey, 'jwk', true)
  requirePurpose(jwk, algorithm)
  const keyId = jwk['kid']
  return { algorithm, publicKey, keyId: typeof keyId === 'string' ? keyId : undefined }
}

function readPublicKey(jwk: JsonWebKey): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    // The parser's own error may quote the key.
    throw new PARAPET_SESSIONS_INVALID_KEY('jwk', 'expected a public key, got something else')
  }
}

/** A key that declares a purpose is used for nothing else. @see RFC 7517, sections 4.2 to 4.4 */
function requirePurpose(jwk: JsonWebKey, algorithm: Algorithm): void {
  const { alg = algorithm, use = 'sig', key_ops: operations = ['verify'] } = jwk
  const verifies = Array.isArray(operations) && operations.includes('verify')
  if (alg !== algorithm || use !== 'sig' || !verifies) {
    throw new PARAPET_SESSIONS_INVALID_KEY(
      'jwk',
      `"alg", "use" and "key_ops" must allow verifying ${algorithm} signatures`,
    )
  }
}

function hasValidSignature(segments: JwsSegments, key: VerificationKey): boolean {
  const signature = Buffer.from(segments.signature, 'base64url')
  if (signature.length !== signatureBytesOf(key)) return false
  const input = Buffer.from(`${segments.header}.${segments.payload}`)
  const digest = key.algorithm === 'EdDSA' ? null : 'sha256'
  return verify(digest, input, { key: key.publicKey, dsaEncoding: 'ieee-p1363' }, signature)
}
