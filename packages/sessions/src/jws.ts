/**
 * The gate: what a compact JWS must look like before any library sees it. Of all spellings of the
 * same bytes one is taken, and a token never says which key to trust.
 *
 * @see RFC 7515, section 7.1; RFC 8725, section 3
 */
import { isUtf8 } from 'node:buffer'
import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto'
import { PARAPET_SESSIONS_INVALID_KEY } from './errors.ts'
import { requireStrongKey, type Algorithm } from './jwk.ts'

/** The longest token that is looked at, in characters; a cookie carries as much. */
export const MAX_TOKEN_LENGTH = 4000

/** The three segments of a compact JWS, each in canonical base64url. */
export interface JwsSegments {
  readonly header: string
  readonly payload: string
  readonly signature: string
}

/** The only members a header may have. */
export interface JwsHeader {
  readonly alg: string
  readonly kid?: string
  readonly typ?: string
}

/** A key and the one algorithm it verifies. */
export interface VerificationKey {
  readonly algorithm: Algorithm
  readonly publicKey: KeyObject
  /** @default the key is taken for a token without a `kid` only */
  readonly keyId?: string
}

/** What {@link createJwsGate} makes: a verified token's header and bytes, or `null`. */
export type JwsGate = (token: unknown) => {
  readonly header: JwsHeader
  readonly payload: Buffer
} | null

const SEGMENTS = /^([\w-]+)\.([\w-]*)\.([\w-]+)$/
const HEADER_MEMBERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ'])

/** Splits a token, or answers `null`: no text, too long, not three canonical segments. */
export function splitJws(token: unknown): JwsSegments | null {
  if (typeof token !== 'string' || token.length > MAX_TOKEN_LENGTH) return null
  const [, header, payload, signature] = SEGMENTS.exec(token) ?? []
  if (header === undefined || payload === undefined || signature === undefined) return null
  if (!isCanonical(header) || !isCanonical(payload) || !isCanonical(signature)) return null
  return { header, payload, signature }
}

/** Reads a header, or answers `null`: members other than `alg`, `kid`, `typ`, or no texts. */
export function parseJwsHeader(segment: string): JwsHeader | null {
  const header = parseJsonSegment(segment)
  if (header === null || typeof header['alg'] !== 'string') return null
  const known = Object.entries(header).every(
    ([name, value]) => HEADER_MEMBERS.has(name) && typeof value === 'string',
  )
  return known ? (header as unknown as JwsHeader) : null
}

/** Reads a segment that holds a JSON object in UTF-8 without a member twice; else `null`. */
export function parseJsonSegment(segment: string): Record<string, unknown> | null {
  const bytes = Buffer.from(segment, 'base64url')
  if (!isUtf8(bytes)) return null
  const text = bytes.toString()
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
    return countMembers(value) === countNames(text) ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

/** The bytes of a signature of this algorithm by this key. */
export function signatureLengthOf({ algorithm, publicKey }: VerificationKey): number {
  if (algorithm !== 'RS256') return 64
  return Math.ceil((publicKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
}

/**
 * Makes a verifier of compact JWS for keys that are known beforehand. It knows nothing of claims.
 *
 * @param keys public keys as JWK, with the `kid` that tokens name them by, if any.
 * @throws PARAPET_SESSIONS_INVALID_KEY a key is broken or too weak, is a secret one, or says that it is
 *   for something else; RSA of 2048 bits is taken.
 */
export function createJwsGate(keys: readonly JsonWebKey[]): JwsGate {
  const ring = keys.map((jwk): VerificationKey => {
    const publicKey = readPublicKey(jwk)
    const algorithm = requireStrongKey(publicKey, 'jwk', true)
    requirePurpose(jwk, algorithm)
    const keyId = jwk['kid']
    return { algorithm, publicKey, ...(typeof keyId === 'string' ? { keyId } : undefined) }
  })
  return (token) => {
    const segments = splitJws(token)
    const header = segments && parseJwsHeader(segments.header)
    if (segments === null || header === null) return null
    const key = ring.find((each) => each.keyId === header.kid)
    if (key?.algorithm !== header.alg || !hasSignature(segments, key)) return null
    return { header, payload: Buffer.from(segments.payload, 'base64url') }
  }
}

function readPublicKey(jwk: JsonWebKey): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    // What the parser says may quote the key.
    throw new PARAPET_SESSIONS_INVALID_KEY('jwk', 'is no public key')
  }
}

/** A key that says what it is for is used for nothing else. @see RFC 7517, sections 4.2 to 4.4 */
function requirePurpose(jwk: JsonWebKey, algorithm: Algorithm): void {
  const { alg = algorithm, use = 'sig', key_ops: operations = ['verify'] } = jwk
  const verifies = Array.isArray(operations) && operations.includes('verify')
  if (alg !== algorithm || use !== 'sig' || !verifies) {
    throw new PARAPET_SESSIONS_INVALID_KEY('jwk', 'is not for verifying with its algorithm')
  }
}

function hasSignature(segments: JwsSegments, key: VerificationKey): boolean {
  const signature = Buffer.from(segments.signature, 'base64url')
  if (signature.length !== signatureLengthOf(key)) return false
  const input = Buffer.from(`${segments.header}.${segments.payload}`)
  const digest = key.algorithm === 'EdDSA' ? null : 'sha256'
  return verify(digest, input, { key: key.publicKey, dsaEncoding: 'ieee-p1363' }, signature)
}

/** Base64url has spellings that differ in bits nobody reads; the encoder's own is the one. */
function isCanonical(segment: string): boolean {
  return Buffer.from(segment, 'base64url').toString('base64url') === segment
}

/** The members of a parsed value, at every depth. */
function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const children: unknown[] = Object.values(value)
  const own = Array.isArray(value) ? 0 : children.length
  return children.reduce<number>((sum, child) => sum + countMembers(child), own)
}

/** The names in a JSON text: the strings in front of a colon. A name given twice counts twice. */
function countNames(text: string): number {
  let names = 0
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"([ \t\r\n]*:)?/g)) {
    if (colon !== undefined) names++
  }
  return names
}
