/**
 * Refresh tokens that nobody has to keep: a token is derived from the session's id and its
 * generation, so what is at rest replays nothing.
 *
 * `version (1) ‖ session id (16) ‖ generation (4, big-endian) ‖ HMAC-SHA-256 (32)`, in base64url.
 *
 * @see docs/spec/refresh-token.md
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { takeRandom } from '@parapet/kit'

/** What a genuine refresh token says. */
export interface RefreshToken {
  readonly sessionId: string
  /** How many rotations came before it. */
  readonly generation: number
}

/** See {@link createRefreshTokens}. */
export interface RefreshTokens {
  derive(token: RefreshToken): string
  /** Reads a token that one of the secrets made, or answers `null`. No store is asked. */
  parse(text: unknown): RefreshToken | null
}

const VERSION = 1
const BODY_BYTES = 21
const TOKEN_BYTES = BODY_BYTES + 32
const TOKEN_LENGTH = Math.ceil((TOKEN_BYTES * 4) / 3)
/** Beyond it a session has to log in again. */
export const MAX_GENERATION = 0xffff_ffff

/**
 * A key for one purpose out of a secret of the fleet.
 *
 * @see RFC 5869
 */
export function deriveKey(secret: string, purpose: string): Buffer {
  const bytes = Buffer.from(secret, 'base64url')
  return Buffer.from(hkdfSync('sha256', bytes, '', `parapet sessions ${purpose}`, 32))
}

/** A fresh secret for the option `secrets`: base64url of 32 random bytes. */
export function generateSecret(): string {
  return takeRandom(32).toString('base64url')
}

/** @param secrets base64url of 32 bytes or more each; the first derives, all of them parse. */
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
