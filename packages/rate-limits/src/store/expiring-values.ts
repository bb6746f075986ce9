/** Values that expire, bounded: at the bound, the one that expires first among the oldest is dropped. */
export class ExpiringValues<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly endUs: number }>()
  readonly #max: number
  readonly #nowUs: () => number

  constructor(max: number, nowUs: () => number) {
    this.#max = max
    this.#nowUs = nowUs
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.endUs > this.#nowUs()) return entry.value
    this.#entries.delete(key)
    return undefined
  }

  set(key: string, value: V, ttlMs: number): void {
    // The newest is last in the order of the map.
    this.#entries.delete(key)
    if (this.#entries.size >= this.#max) this.#dropExpired()
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < this.#max) break
      this.#entries.delete(oldest)
    }
    this.#entries.set(key, { value, endUs: this.#nowUs() + ttlMs * 1000 })
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  #dropExpired(): void {
    const now = this.#nowUs()
    for (const [key, { endUs }] of this.#entries) if (endUs <= now) this.#entries.delete(key)
  }
}
