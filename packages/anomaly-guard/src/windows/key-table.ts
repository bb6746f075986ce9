/**
 * Keys and their slabs: open addressing over typed arrays, with a hard bound. When the table is full, a key
 * whose window has passed makes room, else one of those with the fewest entries: a flood of new keys evicts
 * itself, not a client that is about to reach a limit.
 */
import { Slabs, type SlabView } from './slabs.ts'

/** How many keys compete for an eviction. */
const SAMPLE = 8

/** See {@link KeyTable}. */
export interface KeyTableSettings {
  readonly maxKeys: number
  readonly windowMs: number
}

/** Bounded storage of one run of numbers for each key. */
export class KeyTable {
  readonly slabs = new Slabs()
  readonly view: SlabView = { data: new Float64Array(0), offset: 0, size: 0 }
  /** Start of the ring and its length, by slot. */
  readonly heads: Uint16Array
  readonly lengths: Uint16Array
  readonly #keys: Float64Array
  readonly #handles: Uint32Array
  /** Seconds since `#startMs`, rounded up, of the last entry. */
  readonly #seen: Uint32Array
  readonly #mask: number
  readonly #maxKeys: number
  readonly #windowSeconds: number
  #startMs = Number.NaN
  #size = 0
  #hand = 0

  constructor({ maxKeys, windowMs }: KeyTableSettings) {
    let slots = 16
    while (slots < maxKeys * 1.5) slots *= 2
    this.#mask = slots - 1
    this.#maxKeys = maxKeys
    this.#windowSeconds = Math.ceil(windowMs / 1000) + 1
    // The pages of an array of zeros take no memory before they are written to.
    this.#keys = new Float64Array(slots)
    this.#handles = new Uint32Array(slots)
    this.#seen = new Uint32Array(slots)
    this.heads = new Uint16Array(slots)
    this.lengths = new Uint16Array(slots)
  }

  get size(): number {
    return this.#size
  }

  /** The slot of a key, or -1. */
  find(key: number): number {
    for (let slot = this.#home(key); ; slot = (slot + 1) & this.#mask) {
      const found = this.#keys[slot]!
      if (found === key) return slot
      if (found === 0) return -1
    }
  }

  /** The slot of a key, which is added if it is new. Points {@link view} at its slab. */
  touch(key: number, nowMs: number): number {
    if (Number.isNaN(this.#startMs)) this.#startMs = nowMs
    let slot = this.find(key)
    if (slot === -1) slot = this.#insert(key, nowMs)
    this.#seen[slot] = this.#secondsOf(nowMs)
    this.slabs.read(this.#handles[slot]!, this.view)
    return slot
  }

  /** Points {@link view} at the slab of a slot. */
  read(slot: number): void {
    this.slabs.read(this.#handles[slot]!, this.view)
  }

  /** Moves the ring of a slot into a slab of twice the size; its head becomes 0. */
  grow(slot: number): void {
    const { data, offset, size } = this.view
    const from = this.#handles[slot]!
    const handle = this.slabs.allocate(size * 2)
    this.slabs.read(handle, this.view)
    const head = this.heads[slot]!
    for (let index = 0; index < size; index++) {
      this.view.data[this.view.offset + index] = data[offset + ((head + index) & (size - 1))]!
    }
    this.heads[slot] = 0
    this.#handles[slot] = handle
    this.slabs.free(from)
  }

  delete(key: number): void {
    const slot = this.find(key)
    if (slot !== -1) this.#remove(slot)
  }

  #insert(key: number, nowMs: number): number {
    if (this.#size >= this.#maxKeys) this.#evict(nowMs)
    let slot = this.#home(key)
    while (this.#keys[slot] !== 0) slot = (slot + 1) & this.#mask
    this.#keys[slot] = key
    this.#handles[slot] = this.slabs.allocate(1)
    this.heads[slot] = 0
    this.lengths[slot] = 0
    this.#size++
    return slot
  }

  #evict(nowMs: number): void {
    const oldest = this.#secondsOf(nowMs) - this.#windowSeconds
    let victim = -1
    for (let sampled = 0; sampled < SAMPLE; this.#hand = (this.#hand + 1) & this.#mask) {
      const slot = this.#hand
      if (this.#keys[slot] === 0) continue
      sampled++
      if (this.#seen[slot]! < oldest) {
        victim = slot
        break
      }
      if (victim === -1 || this.#isLesser(slot, victim)) victim = slot
    }
    this.#remove(victim)
  }

  #isLesser(slot: number, other: number): boolean {
    const [own, others] = [this.lengths[slot]!, this.lengths[other]!]
    return own === others ? this.#seen[slot]! < this.#seen[other]! : own < others
  }

  /** Moves later keys of the chain back, so that no mark of a deleted key is needed. */
  #remove(slot: number): void {
    this.slabs.free(this.#handles[slot]!)
    let gap = slot
    for (let next = (gap + 1) & this.#mask; ; next = (next + 1) & this.#mask) {
      const key = this.#keys[next]!
      if (key === 0) break
      const home = this.#home(key)
      // The key may move back if its home is not between the gap and its slot.
      if (((next - home) & this.#mask) < ((next - gap) & this.#mask)) continue
      this.#move(next, gap)
      gap = next
    }
    this.#keys[gap] = 0
    this.#size--
  }

  #move(from: number, to: number): void {
    this.#keys[to] = this.#keys[from]!
    this.#handles[to] = this.#handles[from]!
    this.#seen[to] = this.#seen[from]!
    this.heads[to] = this.heads[from]!
    this.lengths[to] = this.lengths[from]!
  }

  #home(key: number): number {
    return ((key % 0x100000000) | 0) & this.#mask
  }

  #secondsOf(nowMs: number): number {
    return Math.max(0, Math.ceil((nowMs - this.#startMs) / 1000))
  }
}
