/** The keys that sign and verify tokens: the current, the next and the retired ones. */
import type { PublishedKey } from './jwk.ts'
import { readKeySet, type KeySet, type ReadKeySettings, type SigningKey } from './read-key.ts'
import { rotateKeys, trustKeys, type TrustedKey } from './rotate.ts'
import { signBytes } from './sign.ts'

/** What {@link createKeyRing} needs. */
export interface KeyRingSettings extends ReadKeySettings {
  readonly keys: KeySet
  readonly now: () => number
  /** How long a key that no longer signs stays trusted, in milliseconds. */
  readonly overlapMs: number
}

/** See {@link createKeyRing}. */
export interface KeyRing {
  readonly currentKeyId: string
  /** Signs a payload with the current key; returns the compact JWS. */
  sign(payload: object): Promise<string>
  /** The trusted key that signs tokens with this header segment, or `null`. */
  findByHeader(headerSegment: string): SigningKey | null
  /** The trusted key with this id, or `null`. */
  findById(keyId: string | undefined): SigningKey | null
  /**
   * Replaces the keys. A key that was trusted and is left out stays trusted for the overlap.
   *
   * @returns the id of the key that signed before; `null` if the same key signs as before.
   * @throws PARAPET_SESSIONS_KEY_NOT_PUBLISHED the new current key was not in the set before.
   * @throws PARAPET_SESSIONS_INVALID_KEY a key cannot be read or is too weak.
   */
  rotate(keys: KeySet): string | null
  /** The trusted public keys. */
  publish(): readonly PublishedKey[]
}

/**
 * Creates the key ring.
 *
 * @throws PARAPET_SESSIONS_INVALID_KEY a key cannot be read or is too weak.
 */
export function createKeyRing(settings: KeyRingSettings): KeyRing {
  const { now, overlapMs } = settings
  const initial = readKeySet(settings.keys, settings)
  let [current] = initial
  let ring: readonly TrustedKey[] = trustKeys(initial)

  function trusted(entry: TrustedKey | undefined): SigningKey | null {
    return entry !== undefined && entry.trustedUntil > now() ? entry.key : null
  }

  return {
    get currentKeyId() {
      return current.keyId
    },
    async sign(payload) {
      const { headerSegment, privateKey, algorithm } = current
      const input = `${headerSegment}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`
      return `${input}.${await signBytes(privateKey!, algorithm, Buffer.from(input))}`
    },
    findByHeader: (segment) => trusted(ring.find(({ key }) => key.headerSegment === segment)),
    findById: (keyId) => trusted(ring.find(({ key }) => key.keyId === keyId)),
    rotate(keys) {
      const next = readKeySet(keys, settings)
      ring = rotateKeys(ring, next, now(), overlapMs)
      const previousId = current.keyId
      ;[current] = next
      return previousId === current.keyId ? null : previousId
    },
    publish() {
      const at = now()
      return ring.filter(({ trustedUntil }) => trustedUntil > at).map(({ key }) => key.published)
    },
  }
}
