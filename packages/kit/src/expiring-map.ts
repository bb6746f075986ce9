/** A map whose entries expire and whose size in bytes is bounded; the ground of the memory store. */
import { PARAPET_KIT_STORE_FULL } from './errors.ts'

interface Entry<V> {
  readonly value: V
  readonly expiresAt: number
  readonly bytes: number
}

/** What an entry and its bookkeeping take beside key and value. */
const ENTRY_BYTES = 160
/** Entries looked at by each write, so that the dead never outnumber the living for long. */
const SWEEP_STEPS = 2
/** A full map is searched for the dead at most this often. */
const FULL_SWEEP_MS = 1000

/** Never drops what is alive: at its bound it refuses what is new. */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, Entry<V>>()
  readonly #maxBytes: number
  readonly #now: () => number
  #bytes = 0
  #sweep = this.#entries.entries()
  #nextFullSweep = 0

  constructor(maxBytes: number, now: () => number) {
    this.#maxBytes = maxBytes
    this.#now = now
  }

  /** The bytes held by keys, values and bookkeeping, by a generous estimate. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.expiresAt > this.#now() ? entry.value : undefined
  }

  /** When the entry expires, or 0 where there is none. */
  expiryOf(key: string): number {
    return this.#entries.get(key)?.expiresAt ?? 0
  }

  /** @throws PARAPET_KIT_STORE_FULL and changes nothing. */
  set(key: string, value: V, expiresAt: number, valueBytes: number): void {
    const bytes = valueBytes + ENTRY_BYTES + 2 * key.length
    for (let step = 0; step < SWEEP_STEPS; step++) this.#sweepOne()
    if (!this.#fits(key, bytes)) this.#sweepAll()
    if (!this.#fits(key, bytes)) throw new PARAPET_KIT_STORE_FULL(this.#maxBytes)
    this.#bytes += bytes - (this.#entries.get(key)?.bytes ?? 0)
    this.#entries.set(key, { value, expiresAt, bytes })
  }

  /** @returns whether there was an entry, dead or alive. */
  delete(key: string): boolean {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0
    return this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
  }

  #fits(key: string, bytes: number): boolean {
    return this.#bytes - (this.#entries.get(key)?.bytes ?? 0) + bytes <= this.#maxBytes
  }

  #sweepOne(): void {
    const { done, value } = this.#sweep.next()
    if (done === true) this.#sweep = this.#entries.entries()
    else if (value[1].expiresAt <= this.#now()) this.delete(value[0])
  }

  #sweepAll(): void {
    const now = this.#now()
    if (now < this.#nextFullSweep) return
    this.#nextFullSweep = now + FULL_SWEEP_MS
    for (const [key, entry] of this.#entries) if (entry.expiresAt <= now) this.delete(key)
  }
}
