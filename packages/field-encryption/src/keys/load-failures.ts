/** Remembers loads of keys that have failed, so that not every request waits for a service that is down. */
import { LruMap } from '../crypto/lru-map.ts'

/** Wait after a failed load, in milliseconds. */
export const RETRY_MS = 1000
/** A load that has failed after this time has waited for an answer that did not come. */
const SLOW_MS = 100

/** The failed loads, by the name of their scope. */
export class LoadFailures {
  readonly #failures: LruMap<string, { readonly at: number; readonly isSlow: boolean }>
  readonly #now: () => number

  constructor(maxEntries: number, now: () => number) {
    this.#failures = new LruMap(maxEntries)
    this.#now = now
  }

  /** Runs a load of these scopes and remembers whether it failed. */
  async watch<T>(names: readonly string[], load: () => Promise<T>): Promise<T> {
    const began = this.#now()
    try {
      const loaded = await load()
      for (const name of names) this.#failures.delete(name)
      return loaded
    } catch (error) {
      const at = this.#now()
      for (const name of names) this.#failures.set(name, { at, isSlow: at - began >= SLOW_MS })
      throw error
    }
  }

  forget(name: string): void {
    this.#failures.delete(name)
  }

  /** Whether the last load failed a short time ago. */
  isRecent(name: string): boolean {
    const failure = this.#failures.get(name)
    return failure !== undefined && this.#now() - failure.at < RETRY_MS
  }

  /** Whether the last load failed slowly: the next one may cost a whole deadline again. */
  isSlow(name: string): boolean {
    return this.#failures.get(name)?.isSlow === true
  }
}
