/** Limits how often ciphertexts with unknown key ids cause the keys of their scope to be reloaded. */
import { LruMap } from '../crypto/lru-map.ts'

/** Within this time an id causes one reload. */
const WINDOW_MS = 60_000
/** Ids of one scope that cause a reload within that time. No rotation creates as many keys. */
const MAX_IDS = 8

interface Window {
  readonly since: number
  readonly keyIds: Set<number>
}

/** Remembers which unknown key ids have caused a reload a short time ago. */
export class UnknownKeyIds {
  readonly #windows: LruMap<string, Window>

  constructor(maxScopes: number) {
    this.#windows = new LruMap(maxScopes)
  }

  /** Whether this key id may cause its scope's keys to be reloaded now. */
  mayReload(scope: string, keyId: number, now: number): boolean {
    let window = this.#windows.get(scope)
    if (window === undefined || now - window.since >= WINDOW_MS) {
      window = { since: now, keyIds: new Set() }
      this.#windows.set(scope, window)
    }
    if (window.keyIds.has(keyId) || window.keyIds.size >= MAX_IDS) return false
    window.keyIds.add(keyId)
    return true
  }
}
