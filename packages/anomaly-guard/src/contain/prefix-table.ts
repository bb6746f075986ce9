/**
 * A set of address blocks with values, for a million entries: one hash table over typed arrays for each
 * length of prefix that occurs. A lookup asks the tables from the longest prefix to the shortest, at most 4
 * for IPv4 and 4 for IPv6, because other lengths are stored as several blocks of the next longer one.
 */
import { takeRandom } from '@parapet/kit'
import { maskWord, masked, type AddressBits, type AddressBlock } from './address.ts'

/** The lengths that have a table. Between two, a block is stored as at most 256 longer ones. */
const V4_LENGTHS = [32, 24, 16, 8] as const
const V6_LENGTHS = [64, 56, 48, 40, 32, 24, 16, 8] as const

/** A set of address blocks with a positive integer for each. */
export class PrefixTable {
  readonly #v4 = V4_LENGTHS.map((length) => new LengthTable(length))
  readonly #v6 = V6_LENGTHS.map((length) => new LengthTable(length))
  /** Values of blocks that cover every address. */
  readonly #everything = { v4: [] as number[], v6: [] as number[] }
  /** Prefixes that have several values: the first is in the table. */
  readonly #further = new Map<string, number[]>()

  /** How many prefixes are stored; a block of another length counts as several. */
  get size(): number {
    return [...this.#v4, ...this.#v6].reduce((sum, { size }) => sum + size, 0)
  }

  /** Adds a block. @param value a positive integer below 2^31 */
  add(block: AddressBlock, value: number): void {
    if (block.prefixBits === 0) this.#everything[block.isV4 ? 'v4' : 'v6'].push(value)
    else {
      this.#expand(block, (table, high, low) => {
        const present = table.get(high, low)
        if (present === 0) table.set(high, low, value)
        else {
          const key = `${block.isV4} ${table.length} ${high} ${low}`
          this.#further.set(key, [...(this.#further.get(key) ?? []), value])
        }
      })
    }
  }

  /** Removes the value of a block. */
  remove(block: AddressBlock, value: number): void {
    if (block.prefixBits === 0) {
      const key = block.isV4 ? 'v4' : 'v6'
      this.#everything[key] = this.#everything[key].filter((each) => each !== value)
      return
    }
    this.#expand(block, (table, high, low) => {
      const key = `${block.isV4} ${table.length} ${high} ${low}`
      const values = [table.get(high, low), ...(this.#further.get(key) ?? [])]
      const [first, ...rest] = values.filter((each) => each !== value && each !== 0)
      if (rest.length === 0) this.#further.delete(key)
      else this.#further.set(key, rest)
      table.set(high, low, first ?? 0)
    })
  }

  /**
   * Calls `visit` with the value of every block that contains the address, the longest prefix first, until it
   * returns true.
   *
   * @returns whether it did.
   */
  some(address: AddressBits, visit: (value: number) => boolean): boolean {
    const { isV4, high, low } = address
    for (const table of isV4 ? this.#v4 : this.#v6) {
      if (table.size === 0) continue
      const value = table.valueOf(isV4, high, low)
      if (value === 0) continue
      if (visit(value)) return true
      if (this.#further.size > 0 && this.#furtherOf(table, address).some(visit)) return true
    }
    return this.#everything[isV4 ? 'v4' : 'v6'].some(visit)
  }

  #furtherOf({ length }: LengthTable, address: AddressBits): readonly number[] {
    const { isV4, high, low } = masked(address, length)
    return this.#further.get(`${isV4} ${length} ${high} ${low}`) ?? []
  }

  #expand(block: AddressBlock, use: (table: LengthTable, high: number, low: number) => void): void {
    const { isV4, prefixBits } = block
    const tables = (isV4 ? this.#v4 : this.#v6).filter(({ length }) => length >= prefixBits)
    const table = tables.at(-1)!
    const count = 2 ** (table.length - prefixBits)
    const { high, low } = masked(block, prefixBits)
    const inHigh = !isV4 && table.length <= 32
    const step = 2 ** (32 - (isV4 || inHigh ? table.length : table.length - 32))
    for (let index = 0; index < count; index++) {
      if (inHigh) use(table, high + index * step, low)
      else use(table, high, low + index * step)
    }
  }
}

const SMALLEST_SLOTS = 16
/** High word, low word, value, unused: a slot is within one line of the processor's cache. */
const WORDS = 4

/** The blocks of one length: open addressing. */
class LengthTable {
  readonly length: number
  size = 0
  #mask = SMALLEST_SLOTS - 1
  #slots = new Int32Array(SMALLEST_SLOTS * WORDS)

  constructor(length: number) {
    this.length = length
  }

  /** The value of the block that contains an address, or 0. */
  valueOf(isV4: boolean, high: number, low: number): number {
    const { length } = this
    return isV4
      ? this.get(0, maskWord(low, length))
      : this.get(maskWord(high, length), maskWord(low, length - 32))
  }

  get(high: number, low: number): number {
    return this.#slots[this.#find(high | 0, low | 0) + 2]!
  }

  /** @param value 0 removes. */
  set(high: number, low: number, value: number): void {
    const at = this.#find(high | 0, low | 0)
    const present = this.#slots[at + 2]!
    if (value === 0) {
      if (present !== 0) this.#remove(at / WORDS)
      return
    }
    this.#slots[at] = high
    this.#slots[at + 1] = low
    this.#slots[at + 2] = value
    if (present !== 0) return
    this.size++
    if (this.size * 2 > this.#mask) this.#grow()
  }

  /** Where the slot of a block begins, or the first empty one. */
  #find(high: number, low: number): number {
    const slots = this.#slots
    for (let slot = homeOf(high, low) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * WORDS
      if (slots[at + 2] === 0 || (slots[at + 1] === low && slots[at] === high)) return at
    }
  }

  #remove(slot: number): void {
    const [slots, mask] = [this.#slots, this.#mask]
    let gap = slot
    for (let next = (gap + 1) & mask; slots[next * WORDS + 2] !== 0; next = (next + 1) & mask) {
      const at = next * WORDS
      const home = homeOf(slots[at]!, slots[at + 1]!) & mask
      if (((next - home) & mask) < ((next - gap) & mask)) continue
      slots.copyWithin(gap * WORDS, at, at + WORDS)
      gap = next
    }
    slots[gap * WORDS + 2] = 0
    this.size--
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Int32Array(old.length * 2)
    this.#mask = this.#mask * 2 + 1
    for (let at = 0; at < old.length; at += WORDS) {
      if (old[at + 2] === 0) continue
      this.#slots.set(old.subarray(at, at + WORDS), this.#find(old[at]!, old[at + 1]!))
    }
  }
}

/** Without it, a client with many addresses could choose ones that share a slot. */
const seed = takeRandom(4).readInt32LE()

function homeOf(high: number, low: number): number {
  let hash = Math.imul(high ^ seed, 0x85ebca6b) ^ low
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b)
  return hash ^ (hash >>> 16)
}
