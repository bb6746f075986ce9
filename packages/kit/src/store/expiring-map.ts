/** A map whose entries expire and whose size in bytes is limited; the memory store is built on it. */
import { PARAPET_KIT_STORE_FULL } from '../errors.ts'

interface Entry<V> {
  readonly value: V
  readonly expiresAt: number
  readonly bytes: number
}

/** The estimated overhead of an entry, in bytes. */
const ENTRY_BYTES = 160
/** Entries that each write checks for expiry, so that expired entries do not pile up. */
const SWEEP_STEPS = 2
/** A full map is searched for expired entries at most this often. */
const FULL_SWEEP_MS = 1000

/** Never drops an entry before it expires: a full map refuses new entries instead. */
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

  /** Bytes of keys, values and overhead; a generous estimate. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.expiresAt > this.#now() ? entry.value : undefined
  }

  /** When the entry expires; 0 where there is none. */
  expiryOf(key: string): number {
    return this.#entries.get(key)?.expiresAt ?? 0
  }

  /** @throws PARAPET_KIT_STORE_FULL and changes nothing. */
  set(key: string, value: V, expiresAt: number, valueBytes: number): void {
    const bytes = valueBytes + ENTRY_BYTES + 2 * key.length
    for (let step = 0; step < SWEEP_STEPS; step++) this.#sweepOne()
    if (!this.#fits(key, bytes)) this.#sweepAll()
    if (!this.#fits(key, bytes)) {
      throw new PARAPET_KIT_STORE_FULL(
        `the memory store holds its maximum of ${this.#maxBytes} bytes; raise "maxBytes" or use Redis`,
      )
    }
    this.#bytes += bytes - (this.#entries.get(key)?.bytes ?? 0)
    this.#entries.set(key, { value, expiresAt, bytes })
  }

  /** @returns whether there was an entry, expired or not. */
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
