/** One keyset for all tenants: the option `keyset`. */
import { MAX_KEY_USES } from '../crypto/aead.ts'
import { parseKeyset } from '../crypto/keyset-json.ts'
import { createKeyRing, type KeyRing, type KeySource } from '../key-ring/key-ring.ts'

/**
 * Creates a key source that returns the same keys for every scope. Values of different tenants are
 * separated by their context only.
 *
 * @param read returns the keyset; another text than before replaces the keys.
 * @param onNearLimit called once when the primary key has reached half of its usage limit.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET
 */
export function createFixedKeySource(read: () => string, onNearLimit: () => void): KeySource {
  let text = read()
  let loaded = load(text)
  return {
    async find(scopes) {
      const next = read()
      if (next !== text) {
        loaded = load(next, loaded)
        text = next
      }
      const { usage } = loaded
      if (!loaded.hasWarned && usage.count >= usage.limit / 2) {
        loaded.hasWarned = true
        onNearLimit()
      }
      const { ring } = loaded
      return scopes.map(() => ring)
    },
    refresh: () => false,
  }
}

interface LoadedKeys {
  readonly primaryKeyId: number
  readonly ring: KeyRing
  readonly usage: { count: number; readonly limit: number }
  hasWarned: boolean
}

function load(text: string, former?: LoadedKeys): LoadedKeys {
  const keyset = parseKeyset(text)
  const { primaryKeyId } = keyset
  const isSame = former?.primaryKeyId === primaryKeyId
  const usage = isSame ? former.usage : { count: 0, limit: MAX_KEY_USES }
  const hasWarned = isSame && former.hasWarned
  return { primaryKeyId, ring: createKeyRing(keyset, usage), usage, hasWarned }
}
