/** One entry of the key cache, and when it may be used. */
import type { KeyRing } from '../key-ring/key-ring.ts'

/** Limits of the key cache. */
export interface KeyCacheLimits {
  /** Age at which keys are reloaded, in milliseconds. */
  readonly maxAgeMs: number
  /** How much longer keys are used while they cannot be reloaded, in milliseconds. */
  readonly maxStaleMs: number
  /** Calls after which keys are reloaded. */
  readonly maxUses: number
  /** Tenants, and subjects, whose keys are cached. */
  readonly maxEntries: number
}

/** Cached keys. */
export interface CachedKeys {
  readonly ring: KeyRing
  readonly loadedAt: number
  uses: number
  /** Reload before the next use. While that fails, the keys may still be used. */
  mustReload: boolean
}

/** Whether keys may be used without a reload. */
export function isFresh(keys: CachedKeys, limits: KeyCacheLimits, now: number): boolean {
  const { maxAgeMs, maxUses } = limits
  return !keys.mustReload && now - keys.loadedAt < maxAgeMs && keys.uses < maxUses
}

/** Whether keys may be used after a reload has failed. */
export function mayUseStale(keys: CachedKeys, limits: KeyCacheLimits, now: number): boolean {
  return now - keys.loadedAt < limits.maxAgeMs + limits.maxStaleMs
}
