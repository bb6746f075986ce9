/**
 * A hash table of fixed-size records over typed arrays: a million keys cost what their records cost, and
 * nothing is left for the garbage collector. Keys are kept as 64-bit hashes with a secret seed.
 */
import type { Random } from '../forest/random.ts'

/** Words of a record that the table itself uses. */
export const LAST_WINDOW = 2
export const LIFE = 3
export const FIRST_FREE_WORD = 4

const CHUNK_BITS = 12
const CHUNK_SLOTS = 2 ** CHUNK_BITS
/** How many records are looked at to find one to drop. */
const CANDIDATES = 8

interface Chunk {
  readonly words: Uint32Array
  readonly floats: Float32Array
  readonly halves: Uint16Array
  readonly bytes: Uint8Array
}

/** Where a record is: index the arrays of the chunk from `at` (words), `2 * at` or `4 * at`. */
export interface RecordPlace extends Chunk {
  readonly at: number
  /** The record was just made and is all zero but for its hash. */
  readonly isNew: boolean
}

/** Settings of a {@link KeyTable}. */
export interface KeyTableSettings {
  readonly maxKeys: number
  /** 32-bit words of one record, at least {@link FIRST_FREE_WORD}. */
  readonly recordWords: number
  readonly random: Random
}

/** Finds the record of a key, and makes it by dropping another one where the table is full. */
export class KeyTable {
  readonly #settings: KeyTableSettings
  readonly #index: Int32Array
  readonly #chunks: Chunk[] = []
  readonly #free: number[] = []
  readonly #seed: number
  #used = 0
  #low = 0
  #high = 0

  constructor(settings: KeyTableSettings) {
    this.#settings = settings
    this.#index = new Int32Array(2 ** Math.ceil(Math.log2(settings.maxKeys * 1.4 + 1)))
    this.#seed = settings.random.below(0x1_0000_0000)
  }

  get size(): number {
    return this.#used - this.#free.length
  }

  /** @returns the record of the key, or `undefined`. */
  find(key: string): RecordPlace | undefined {
    this.#hash(key)
    const slot = this.#index[this.#locate()]! - 1
    return slot < 0 ? undefined : this.#placeOf(slot, false)
  }

  /** @returns the record of the key, which is made if need be. */
  open(key: string): RecordPlace {
    this.#hash(key)
    const position = this.#locate()
    const slot = this.#index[position]! - 1
    return slot < 0 ? this.#create() : this.#placeOf(slot, false)
  }

  /** Drops the record of a key. */
  remove(key: string): void {
    this.#hash(key)
    const position = this.#locate()
    const slot = this.#index[position]! - 1
    if (slot < 0) return
    this.#unlink(position)
    const { words, at } = this.#placeOf(slot, false)
    words.fill(0, at, at + this.#settings.recordWords)
    this.#free.push(slot)
  }

  #create(): RecordPlace {
    const [low, high] = [this.#low, this.#high]
    const slot =
      this.#free.pop() ?? (this.#used < this.#settings.maxKeys ? this.#used++ : this.#drop())
    this.#low = low
    this.#high = high
    // Dropping a record may have moved others, so the position is looked up again.
    this.#index[this.#locate()] = slot + 1
    const place = this.#placeOf(slot, true)
    const { words, at } = place
    words.fill(0, at, at + this.#settings.recordWords)
    words[at] = low
    words[at + 1] = high
    return place
  }

  /** Drops the stalest of some records, of equally stale ones the least used: never a busy old one. */
  #drop(): number {
    const { random } = this.#settings
    let victim = 0
    let oldest = Infinity
    let leastLife = Infinity
    for (let i = 0; i < CANDIDATES; i++) {
      const slot = random.below(this.#used)
      const { words, at } = this.#placeOf(slot, false)
      const window = words[at + LAST_WINDOW]!
      const life = words[at + LIFE]!
      if (window < oldest || (window === oldest && life < leastLife)) {
        victim = slot
        oldest = window
        leastLife = life
      }
    }
    const { words, at } = this.#placeOf(victim, false)
    this.#low = words[at]!
    this.#high = words[at + 1]!
    this.#unlink(this.#locate())
    return victim
  }

  /** The position of the key in the index, or of the empty cell where it belongs. */
  #locate(): number {
    const mask = this.#index.length - 1
    let position = this.#low & mask
    for (;;) {
      const slot = this.#index[position]! - 1
      if (slot < 0) return position
      const { words } = this.#chunks[slot >> CHUNK_BITS]!
      const at = (slot & (CHUNK_SLOTS - 1)) * this.#settings.recordWords
      if (words[at] === this.#low && words[at + 1] === this.#high) return position
      position = (position + 1) & mask
    }
  }

  /** Empties a position, and moves back what was put behind it because it was taken. */
  #unlink(position: number): void {
    const index = this.#index
    const mask = index.length - 1
    let hole = position
    let next = position
    for (;;) {
      next = (next + 1) & mask
      const slot = index[next]! - 1
      if (slot < 0) break
      const { words, at } = this.#placeOf(slot, false)
      const home = words[at]! & mask
      if (((next - home) & mask) < ((next - hole) & mask)) continue
      index[hole] = slot + 1
      hole = next
    }
    index[hole] = 0
  }

  #placeOf(slot: number, isNew: boolean): RecordPlace {
    const { recordWords } = this.#settings
    const chunk = (this.#chunks[slot >> CHUNK_BITS] ??= createChunk(CHUNK_SLOTS * recordWords))
    const { words, floats, halves, bytes } = chunk
    return { words, floats, halves, bytes, at: (slot & (CHUNK_SLOTS - 1)) * recordWords, isNew }
  }

  /** Two 32-bit hashes of the key with the seed of this table (murmur's mixing steps). */
  #hash(key: string): void {
    let low = this.#seed ^ 0x9e37_79b9
    let high = this.#seed ^ 0x85eb_ca6b
    for (let i = 0; i < key.length; i++) {
      const code = key.charCodeAt(i)
      low = Math.imul(low ^ code, 0x85eb_ca77)
      high = Math.imul(high ^ code, 0xc2b2_ae3d)
      low = (low << 13) | (low >>> 19)
      high = (high << 15) | (high >>> 17)
    }
    low = Math.imul(low ^ (low >>> 16), 0x85eb_ca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2_ae35)
    high = Math.imul(high ^ (high >>> 16), 0x85eb_ca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2_ae35)
    this.#low = low >>> 0
    this.#high = high >>> 0
  }
}

function createChunk(words: number): Chunk {
  const buffer = new ArrayBuffer(words * 4)
  return {
    words: new Uint32Array(buffer),
    floats: new Float32Array(buffer),
    halves: new Uint16Array(buffer),
    bytes: new Uint8Array(buffer),
  }
}
