/**
 * Refresh tokens. A token is derived from the id and the generation of its session and is not stored,
 * so the content of the store is not enough to build one.
 *
 * `version (1) ‖ session id (16) ‖ generation (4, big-endian) ‖ HMAC-SHA-256 (32)`, in base64url.
 *
 * @see docs/spec/refresh-token.md
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { deriveKey } from '../secrets/derive-key.ts'

/** The content of a refresh token. */
export interface RefreshToken {
  readonly sessionId: string
  /** The number of rotations before this token. */
  readonly generation: number
}

/** See {@link createRefreshTokens}. */
export interface RefreshTokens {
  derive(token: RefreshToken): string
  /** Parses a token that was derived from one of the secrets; otherwise `null`. Makes no store call. */
  parse(text: unknown): RefreshToken | null
}

const VERSION = 1
const BODY_BYTES = 21
const TOKEN_BYTES = BODY_BYTES + 32
const TOKEN_LENGTH = Math.ceil((TOKEN_BYTES * 4) / 3)
/** The last generation that fits the token; after it the user has to log in again. */
export const MAX_GENERATION = 0xffff_ffff

/** @param secrets base64url of at least 32 bytes each: the first derives tokens, all of them parse. */
export function createRefreshTokens(secrets: readonly string[]): RefreshTokens {
  const keys = secrets.map((secret) => deriveKey(secret, 'refresh token'))
  return {
    derive({ sessionId, generation }) {
      const body = Buffer.alloc(BODY_BYTES)
      body[0] = VERSION
      body.write(sessionId, 1, 'base64url')
      body.writeUInt32BE(generation, 17)
      return Buffer.concat([body, tagOf(keys[0]!, body)]).toString('base64url')
    },
    parse(text) {
      if (typeof text !== 'string' || text.length !== TOKEN_LENGTH) return null
      const bytes = Buffer.from(text, 'base64url')
      if (bytes.length !== TOKEN_BYTES || bytes.toString('base64url') !== text) return null
      const body = bytes.subarray(0, BODY_BYTES)
      const tag = bytes.subarray(BODY_BYTES)
      if (body[0] !== VERSION || !keys.some((key) => timingSafeEqual(tagOf(key, body), tag))) {
        return null
      }
      return {
        sessionId: body.subarray(1, 17).toString('base64url'),
        generation: body.readUInt32BE(17),
      }
    },
  }
}

function tagOf(key: Buffer, body: Buffer): Buffer {
  return createHmac('sha256', key).update(body).digest()
}
