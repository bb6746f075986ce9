/** Answers of consent for the guard of routes: bounded, short-lived, and dropped when a decision is made. */
import type { Clock } from '@parapet/kit'

const MAX_ENTRIES = 50_000

interface Entry {
  readonly isGranted: boolean
  readonly until: number
}

/** Keeps answers by subject and purpose. */
export class ConsentCache {
  readonly #entries = new Map<string, Map<string, Entry>>()
  readonly #now: () => number
  readonly #ttlMs: number
  readonly #maxEntries: number
  #generation = 0

  /** @param maxEntries subjects; beyond it, the one that came first is dropped. */
  constructor({ monotonic, now }: Clock, ttlMs: number, maxEntries = MAX_ENTRIES) {
    this.#now = monotonic ?? now
    this.#ttlMs = ttlMs
    this.#maxEntries = maxEntries
  }

  /** @returns `undefined`: ask the store. */
  get(subject: string, purpose: string): boolean | undefined {
    const entry = this.#entries.get(subject)?.get(purpose)
    return entry !== undefined && entry.until > this.#now() ? entry.isGranted : undefined
  }

  /** Loads an answer. One that was read before a decision was made is returned, and not kept. */
  async load(
    subject: string,
    purpose: string,
    read: () => Promise<{ isGranted: boolean; expiresInMs: number }>,
  ): Promise<boolean> {
    const generation = this.#generation
    const { isGranted, expiresInMs } = await read()
    if (generation === this.#generation) {
      const until = this.#now() + Math.min(this.#ttlMs, expiresInMs)
      this.#keep(subject, purpose, { isGranted, until })
    }
    return isGranted
  }

  #keep(subject: string, purpose: string, entry: Entry): void {
    const known = this.#entries.get(subject)
    if (known !== undefined) {
      known.set(purpose, entry)
      return
    }
    if (this.#entries.size >= this.#maxEntries) {
      const [oldest] = this.#entries.keys()
      this.#entries.delete(oldest!)
    }
    this.#entries.set(subject, new Map([[purpose, entry]]))
  }

  drop(subject: string): void {
    this.#generation += 1
    this.#entries.delete(subject)
  }

  /** Drops everything, for instance when messages of other instances were missed. */
  clear(): void {
    this.#generation += 1
    this.#entries.clear()
  }
}
