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
      const [keptHigh, keptLow] = table.keep(isV4, high, low)
      const value = table.get(keptHigh, keptLow)
      if (value === 0) continue
      if (visit(value)) return true
      if (this.#further.size === 0) continue
      const further = this.#further.get(`${isV4} ${table.length} ${keptHigh} ${keptLow}`)
      if (further?.some(visit) === true) return true
    }
    return this.#everything[isV4 ? 'v4' : 'v6'].some(visit)
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
const kept: [number, number] = [0, 0]

/** The blocks of one length: open addressing. */
class LengthTable {
  readonly length: number
  size = 0
  #high = new Uint32Array(SMALLEST_SLOTS)
  #low = new Uint32Array(SMALLEST_SLOTS)
  #values = new Int32Array(SMALLEST_SLOTS)

  constructor(length: number) {
    this.length = length
  }

  /** The bits of an address that this table compares; the array is reused. */
  keep(isV4: boolean, high: number, low: number): readonly [high: number, low: number] {
    kept[0] = isV4 ? 0 : maskWord(high, this.length)
    kept[1] = isV4 ? maskWord(low, this.length) : maskWord(low, this.length - 32)
    return kept
  }

  get(high: number, low: number): number {
    return this.#values[this.#slotOf(high, low)]!
  }

  /** @param value 0 removes. */
  set(high: number, low: number, value: number): void {
    const slot = this.#slotOf(high, low)
    const present = this.#values[slot]!
    if (value === 0) {
      if (present !== 0) this.#remove(slot)
      return
    }
    this.#high[slot] = high
    this.#low[slot] = low
    this.#values[slot] = value
    if (present !== 0) return
    this.size++
    if (this.size * 2 > this.#values.length) this.#grow()
  }

  #slotOf(high: number, low: number): number {
    const mask = this.#values.length - 1
    for (let slot = homeOf(high, low) & mask; ; slot = (slot + 1) & mask) {
      if (this.#values[slot] === 0) return slot
      if (this.#low[slot] === low && this.#high[slot] === high) return slot
    }
  }

  #remove(slot: number): void {
    const mask = this.#values.length - 1
    let gap = slot
    for (let next = (gap + 1) & mask; this.#values[next] !== 0; next = (next + 1) & mask) {
      const home = homeOf(this.#high[next]!, this.#low[next]!) & mask
      if (((next - home) & mask) < ((next - gap) & mask)) continue
      this.#high[gap] = this.#high[next]!
      this.#low[gap] = this.#low[next]!
      this.#values[gap] = this.#values[next]!
      gap = next
    }
    this.#values[gap] = 0
    this.size--
  }

  #grow(): void {
    const [high, low, values] = [this.#high, this.#low, this.#values]
    this.#high = new Uint32Array(values.length * 2)
    this.#low = new Uint32Array(values.length * 2)
    this.#values = new Int32Array(values.length * 2)
    for (let index = 0; index < values.length; index++) {
      if (values[index] === 0) continue
      const slot = this.#slotOf(high[index]!, low[index]!)
      this.#high[slot] = high[index]!
      this.#low[slot] = low[index]!
      this.#values[slot] = values[index]!
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
