/** A service with one keyset, given at start: the same keys for everybody, and nothing to administer. */
import type { UsageMeter } from './aead.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from './errors.ts'
import type { KeyAdmin } from './key-admin.ts'
import { createKeyRing, type KeySource } from './key-ring.ts'
import type { Keyset } from './keyset.ts'

/** One keyset for everybody: the tenant is bound by the context alone. @param onNearLimit is called once */
export function createFixedKeySource(
  keyset: Keyset,
  usage: UsageMeter,
  onNearLimit: () => void,
): KeySource {
  const ring = createKeyRing(keyset, usage)
  let warned = false
  return {
    async find(scopes) {
      if (!warned && usage.count >= usage.limit / 2) {
        warned = true
        onNearLimit()
      }
      return scopes.map(() => ring)
    },
    refresh: () => false,
  }
}

/** For a service with one fixed keyset: there is nothing here to administer. */
export function createFixedKeyAdmin(): KeyAdmin {
  return {
    rotate: refuseFixed,
    retire: refuseFixed,
    forget: refuseFixed,
    hold: refuseFixed,
    release: refuseFixed,
    keyStatus: refuseFixed,
  }
}

async function refuseFixed(): Promise<never> {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    'the keyset',
    'is fixed: change it where it is kept, or use provider and keyStore',
  )
}
