/** What the cache of keys stands on, and the bounds it keeps. */
import type { Clock } from '@parapet/kit'
import type { KeyScope } from './key-ring.ts'
import type { KeyVault } from './key-vault.ts'

/** The bounds of a the cache. */
interface KeyCacheBounds {
  readonly maxAgeMs: number
  /** How much longer keys serve while they cannot be fetched anew. */
  readonly maxStaleMs: number
  readonly maxUses: number
  readonly maxEntries: number
}

/** What the cache stands on. */
export interface KeyCachePorts extends KeyCacheBounds {
  readonly vault: KeyVault
  readonly clock: Clock
  /** Hears that keys could not be fetched; they may still have been served from here. */
  readonly onUnavailable: (scope: KeyScope, served: boolean, error: unknown) => void
  /** Hears once of each key that nears its limit. */
  readonly onNearLimit: (scope: KeyScope, keyId: number) => void
}
