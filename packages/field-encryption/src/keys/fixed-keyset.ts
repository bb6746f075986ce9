/** One fixed keyset for all tenants: the option `keyset`. */
import { MAX_KEY_USES } from '../crypto/aead.ts'
import { createKeyRing, type KeySource } from '../key-ring/key-ring.ts'
import type { Keyset } from '../crypto/keyset.ts'

/**
 * Creates a key source that returns the same keys for every scope. Values of different tenants are
 * separated by their context only.
 *
 * @param onNearLimit called once when the primary key has reached half of its usage limit.
 */
export function createFixedKeySource(keyset: Keyset, onNearLimit: () => void): KeySource {
  const usage = { count: 0, limit: MAX_KEY_USES }
  const ring = createKeyRing(keyset, usage)
  let hasWarned = false
  return {
    async find(scopes) {
      if (!hasWarned && usage.count >= usage.limit / 2) {
        hasWarned = true
        onNearLimit()
      }
      return scopes.map(() => ring)
    },
    refresh: () => false,
  }
}
