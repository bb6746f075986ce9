/**
 * Strict parsing of compact JWS, before a JWT library reads the token: only one spelling of the same
 * bytes is accepted, and the header cannot carry a key or refer to one.
 *
 * @see RFC 7515, section 7.1; RFC 8725, section 3
 */
import { isUtf8 } from 'node:buffer'

/** The maximum length of a token, in characters: the space that a cookie has. */
export const MAX_TOKEN_LENGTH = 4000

/** The three segments of a compact JWS, each in canonical base64url. */
export interface JwsSegments {
  readonly header: string
  readonly payload: string
  readonly signature: string
}

/** The only members that a header may have. */
export interface JwsHeader {
  readonly alg: string
  readonly kid?: string
  readonly typ?: string
}

const SEGMENTS = /^([\w-]+)\.([\w-]*)\.([\w-]+)$/
const HEADER_MEMBERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ'])

/** Splits a token; `null` if it is not a string, is too long or has not three canonical segments. */
export function splitJws(token: unknown): JwsSegments | null {
  if (typeof token !== 'string' || token.length > MAX_TOKEN_LENGTH) return null
  const [, header, payload, signature] = SEGMENTS.exec(token) ?? []
  if (header === undefined || payload === undefined || signature === undefined) return null
  if (!isCanonical(header) || !isCanonical(payload) || !isCanonical(signature)) return null
  return { header, payload, signature }
}

/** Parses a header; `null` if it has a member other than `alg`, `kid` and `typ`, or no string `alg`. */
export function parseJwsHeader(segment: string): JwsHeader | null {
  const header = parseJsonSegment(segment)
  if (header === null || typeof header['alg'] !== 'string') return null
  const isKnown = Object.entries(header).every(
    ([name, value]) => HEADER_MEMBERS.has(name) && typeof value === 'string',
  )
  return isKnown ? (header as unknown as JwsHeader) : null
}

/** Parses a segment; `null` if it is not a JSON object in UTF-8, or has a member twice at any depth. */
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

/** Base64url has several spellings for the same bytes; only the encoder's own is accepted. */
function isCanonical(segment: string): boolean {
  return Buffer.from(segment, 'base64url').toString('base64url') === segment
}

/** The number of members of a parsed value, at every depth. */
function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const children: unknown[] = Object.values(value)
  const own = Array.isArray(value) ? 0 : children.length
  return children.reduce<number>((sum, child) => sum + countMembers(child), own)
}

/** The number of member names in a JSON text; a name that occurs twice counts twice. */
function countNames(text: string): number {
  let names = 0
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"([ \t\r\n]*:)?/g)) {
    if (colon !== undefined) names++
  }
  return names
}
