/** Verifies access tokens: strict parsing, then the library, then the claims. */
import type { KeyRing } from '../keys/key-ring.ts'
import type { SigningKey } from '../keys/read-key.ts'
import { signatureBytesOf } from '../keys/strong-key.ts'
import type { AccessToken, TokenFault } from './access-token.ts'
import { readClaims, timeFaultOf } from './claims.ts'
import {
  MAX_TOKEN_LENGTH,
  parseJsonSegment,
  parseJwsHeader,
  splitJws,
  type JwsSegments,
} from './parse-jws.ts'
import type { VerifiedToken, VerifiedTokens } from './verified-tokens.ts'

/** What {@link createTokenVerifier} needs. */
export interface TokenVerifierSettings {
  readonly ring: KeyRing
  readonly issuer: string
  readonly audience: string
  /** The longest lifetime that is accepted, in milliseconds. */
  readonly lifetimeMs: number
  readonly now: () => number
  readonly verified: VerifiedTokens
}

/**
 * Checks everything but revocation: returns the content of the token, or why it is refused. Never
 * throws. Calls with the same token may return the same frozen object. With `evenExpired`, an expired
 * token is read too: it names its session, and nothing may be granted for it.
 */
export type TokenVerifier = (
  token: string,
  options?: { readonly evenExpired?: boolean },
) => AccessToken | TokenFault

/** Creates the verifier of access tokens. */
export function createTokenVerifier(settings: TokenVerifierSettings): TokenVerifier {
  const { ring, now, verified } = settings
  return (token, { evenExpired = false } = {}) => {
    if (typeof token !== 'string' || token.length > MAX_TOKEN_LENGTH) return 'malformed'
    if (evenExpired) {
      const found = verifyToken(token, settings, true)
      return typeof found === 'string' ? found : found.token
    }
    const known = verified.find(token)
    // A key that was read again or is no longer trusted is another object, or none.
    if (known !== undefined && ring.findById(known.key.keyId) === known.key) {
      return timeFaultOf(known.validFrom, known.token.expiresAt, now()) ?? known.token
    }
    const found = verifyToken(token, settings, false)
    if (typeof found === 'string') return found
    verified.add(token, found)
    return found.token
  }
}

function verifyToken(
  token: string,
  { ring, issuer, audience, lifetimeMs, now }: TokenVerifierSettings,
  evenExpired: boolean,
): VerifiedToken | TokenFault {
  const segments = splitJws(token)
  if (segments === null) return 'malformed'
  const key = findKey(ring, segments)
  if (key === null) return 'unknown_key'
  const claims = parseJsonSegment(segments.payload)
  if (claims === null) return 'malformed'
  try {
    key.verify(token)
  } catch {
    // The library's message is dropped: it would help an attacker to improve a forged token.
    return 'signature'
  }
  if (claims['iss'] !== issuer || claims['aud'] !== audience) return 'claims'
  const read = readClaims(claims, lifetimeMs, now(), evenExpired)
  return typeof read === 'string' ? read : { ...read, key }
}

/** The trusted key that the token names, if `alg`, `typ` and the signature length fit that key. */
function findKey(ring: KeyRing, { header, signature }: JwsSegments): SigningKey | null {
  // Tokens of this service have one header per key, byte for byte. Other headers are parsed.
  const key = ring.findByHeader(header) ?? findKeyByParsing(ring, header)
  if (key === null) return null
  return Buffer.byteLength(signature, 'base64url') === signatureBytesOf(key) ? key : null
}

function findKeyByParsing(ring: KeyRing, segment: string): SigningKey | null {
  const header = parseJwsHeader(segment)
  const key = ring.findById(header?.kid)
  const isFit = header?.typ?.toLowerCase() === 'at+jwt' && header.alg === key?.algorithm
  return isFit ? key : null
}
