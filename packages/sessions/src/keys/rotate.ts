/** Key rotation: replaces the trusted keys without refusing a token that is still valid. */
import { PARAPET_SESSIONS_KEY_NOT_PUBLISHED } from '../errors.ts'
import type { SigningKey } from './read-key.ts'

/** A key of the ring, and until when it is trusted. */
export interface TrustedKey {
  readonly key: SigningKey
  /** Milliseconds since the Unix epoch; Infinity while the key is configured. */
  readonly trustedUntil: number
}

/** Marks configured keys as trusted without an end. */
export function trustKeys(keys: readonly SigningKey[]): TrustedKey[] {
  return keys.map((key) => ({ key, trustedUntil: Infinity }))
}

/**
 * The trusted keys after a rotation: the new set, and every key that was trusted before, for the
 * overlap.
 *
 * @param next the new set, `current` first.
 * @param overlapMs how long a key that was left out stays trusted, in milliseconds.
 * @throws PARAPET_SESSIONS_KEY_NOT_PUBLISHED the new current key was not trusted before.
 */
export function rotateKeys(
  ring: readonly TrustedKey[],
  next: readonly [SigningKey, ...SigningKey[]],
  now: number,
  overlapMs: number,
): TrustedKey[] {
  const trusted = ring.filter(({ trustedUntil }) => trustedUntil > now)
  const [current] = next
  if (!trusted.some(({ key }) => key.keyId === current.keyId)) {
    throw new PARAPET_SESSIONS_KEY_NOT_PUBLISHED()
  }
  const leaving = trusted
    .filter(({ key }) => next.every(({ keyId }) => keyId !== key.keyId))
    .map(({ key, trustedUntil }) => ({
      key,
      trustedUntil: Math.min(trustedUntil, now + overlapMs),
    }))
  return [...trustKeys(next), ...leaving]
}
