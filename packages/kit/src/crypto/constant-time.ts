/** Comparison of secrets in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Whether two secrets are equal. The time it takes reveals neither where they differ nor the length
 * of the expected one.
 */
export function secretsEqual(given: string | Uint8Array, expected: string | Uint8Array): boolean {
  return timingSafeEqual(digest(given), digest(expected))
}

function digest(secret: string | Uint8Array): Buffer {
  return createHash('sha256').update(secret).digest()
}
