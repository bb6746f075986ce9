/**
 * Exact sliding windows by key. A window at time `t` is `(t - windowMs, t]`: an entry that is `windowMs` old is
 * outside. Times must not go back.
 */
import { KeyTable } from './key-table.ts'

/** See {@link createWindows}. */
export interface WindowSettings {
  readonly windowMs: number
  /** How many entries of a key are kept: a reading never exceeds it. 1 to 16 384. */
  readonly capacity: number
  /** How many keys are tracked at most. */
  readonly maxKeys: number
}

/** A window for each key. */
export interface Windows {
  /**
   * Adds an entry.
   *
   * @param item what is compared (distinct) or how much it is (sum); ignored by counts.
   * @returns the reading of the window that ends now, this entry included.
   */
  add(key: number, nowMs: number, item: number): number
  /** Forgets a key. */
  delete(key: number): void
  readonly size: number
}

/** Counts the entries of the window. */
export class CountWindows implements Windows {
  readonly #table: KeyTable
  readonly #windowMs: number
  readonly #capacity: number

  constructor({ windowMs, capacity, maxKeys }: WindowSettings) {
    this.#table = new KeyTable({ maxKeys, windowMs })
    this.#windowMs = windowMs
    this.#capacity = capacity
  }

  get size(): number {
    return this.#table.size
  }

  add(key: number, nowMs: number): number {
    return this.#enter(key, nowMs, true)
  }

  /** Adds an entry if there is room for it. @returns false where the window is full: nothing is added. */
  take(key: number, nowMs: number): boolean {
    return this.#enter(key, nowMs, false) > 0
  }

  /** @param replaces whether an entry replaces the oldest one of a full window; else it is not added: 0. */
  #enter(key: number, nowMs: number, replaces: boolean): number {
    const table = this.#table
    const { heads, lengths, view } = table
    const slot = table.touch(key, nowMs)
    let length = lengths[slot]!
    let head = heads[slot]!
    const until = nowMs - this.#windowMs
    while (length > 0 && view.data[view.offset + head]! <= until) {
      head = (head + 1) & (view.size - 1)
      length--
    }
    if (length === this.#capacity && !replaces) {
      heads[slot] = head
      lengths[slot] = length
      return 0
    }
    if (length === this.#capacity) {
      head = (head + 1) & (view.size - 1)
      length--
    }
    heads[slot] = head
    if (length === view.size) {
      table.grow(slot)
      head = 0
    }
    view.data[view.offset + ((head + length) & (view.size - 1))] = nowMs
    lengths[slot] = length + 1
    return length + 1
  }

  delete(key: number): void {
    this.#table.delete(key)
  }
}

/** Counts the different items of the window. */
export class DistinctWindows implements Windows {
  readonly #table: KeyTable
  readonly #windowMs: number
  readonly #capacity: number

  constructor({ windowMs, capacity, maxKeys }: WindowSettings) {
    this.#table = new KeyTable({ maxKeys, windowMs })
    this.#windowMs = windowMs
    this.#capacity = capacity
  }

  get size(): number {
    return this.#table.size
  }

  /** A slab holds pairs of item and time, the latest last. */
  add(key: number, nowMs: number, item: number): number {
    const table = this.#table
    const { lengths, view } = table
    const slot = table.touch(key, nowMs)
    let length = keepOthers(view, lengths[slot]!, item, nowMs - this.#windowMs)
    if (length === this.#capacity) {
      view.data.copyWithin(view.offset, view.offset + 2, view.offset + 2 * length)
      length--
    }
    if (2 * length + 2 > view.size) table.grow(slot)
    view.data[view.offset + 2 * length] = item
    view.data[view.offset + 2 * length + 1] = nowMs
    lengths[slot] = length + 1
    return length + 1
  }

  /** The reading of the window that ends now, without an entry. */
  read(key: number, nowMs: number): number {
    const table = this.#table
    const slot = table.find(key)
    if (slot === -1) return 0
    table.read(slot)
    const { data, offset } = table.view
    let live = 0
    for (let index = 0; index < table.lengths[slot]!; index++) {
      if (data[offset + 2 * index + 1]! > nowMs - this.#windowMs) live++
    }
    return live
  }

  delete(key: number): void {
    this.#table.delete(key)
  }
}

/** Drops the pairs that are too old and the one of the item. @returns how many are left. */
function keepOthers(
  { data, offset }: KeyTable['view'],
  length: number,
  item: number,
  until: number,
): number {
  let kept = 0
  for (let index = 0; index < length; index++) {
    const at = offset + 2 * index
    if (data[at + 1]! <= until || data[at] === item) continue
    if (kept !== index) {
      data[offset + 2 * kept] = data[at]!
      data[offset + 2 * kept + 1] = data[at + 1]!
    }
    kept++
  }
  return kept
}

/** How finely a sum slides: an entry leaves its window at most this share of it too late. */
const SUM_BUCKETS = 6

/** Adds up the items of the window, in buckets of a sixth of it. */
export class SumWindows implements Windows {
  readonly #table: KeyTable
  readonly #bucketMs: number

  constructor({ windowMs, maxKeys }: WindowSettings) {
    this.#table = new KeyTable({ maxKeys, windowMs })
    this.#bucketMs = windowMs / SUM_BUCKETS
  }

  get size(): number {
    return this.#table.size
  }

  /** A slab holds pairs of sum and bucket, the latest last. */
  add(key: number, nowMs: number, item: number): number {
    const table = this.#table
    const { lengths, view } = table
    const slot = table.touch(key, nowMs)
    const bucket = Math.floor(nowMs / this.#bucketMs)
    let length = keepOthers(view, lengths[slot]!, Number.NaN, bucket - SUM_BUCKETS - 1)
    if (length === 0 || view.data[view.offset + 2 * length - 1] !== bucket) {
      if (2 * length + 2 > view.size) table.grow(slot)
      view.data[view.offset + 2 * length] = 0
      view.data[view.offset + 2 * length + 1] = bucket
      length++
    }
    view.data[view.offset + 2 * length - 2]! += item
    lengths[slot] = length
    let sum = 0
    for (let index = 0; index < length; index++) sum += view.data[view.offset + 2 * index]!
    return sum
  }

  delete(key: number): void {
    this.#table.delete(key)
  }
}
