/** Comparison of secrets in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Whether two secrets are equal. The time it takes reveals neither where they differ nor the length
 * of the expected one. A missing secret and ill-formed text (a lone surrogate) equal nothing.
 */
export function secretsEqual(
  given: string | Uint8Array | null | undefined,
  expected: string | Uint8Array,
): boolean {
  if (given === null || given === undefined) return false
  // In UTF-8 all lone surrogates become one character.
  for (const text of [given, expected]) {
    if (typeof text === 'string' && !text.isWellFormed()) return false
  }
  return timingSafeEqual(digest(given), digest(expected))
}

function digest(secret: string | Uint8Array): Buffer {
  return createHash('sha256').update(secret).digest()
}
