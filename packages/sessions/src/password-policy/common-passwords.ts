/**
 * The filter of common passwords: a set of hashes in the coding of Golomb and Rice. It has no list to read and
 * refuses one of 4096 other passwords.
 *
 * @see docs/spec/common-passwords.md
 */
import { createHash } from 'node:crypto'
import { COUNT, DATA } from './common-passwords-data.ts'

/** A hash is a number below `count << RICE_BITS`, so one of 2^12 other passwords hits. */
const RICE_BITS = 12

/** Whether a password is common. @param folded normalized to NFKC, in lower case. */
export function isCommonPassword(folded: string): boolean {
  hashes ??= decodeRice(Buffer.from(DATA, 'base64'), COUNT)
  return contains(hashes, filterHash(folded, COUNT))
}

let hashes: Uint32Array | undefined

/** The hash of a password: the first 48 bits of SHA-256, scaled to the range. */
export function filterHash(folded: string, count: number): number {
  const bits = createHash('sha256').update(folded).digest().readUIntBE(0, 6)
  return Math.floor((bits / 2 ** 48) * count * 2 ** RICE_BITS)
}

/** Writes sorted, different numbers: the difference to the one before, as quotient in unary and rest. */
export function encodeRice(sorted: Uint32Array): Buffer {
  const bits: number[] = []
  let before = 0
  for (const value of sorted) {
    const difference = value - before
    before = value
    for (let count = difference >>> RICE_BITS; count > 0; count--) bits.push(1)
    bits.push(0)
    for (let bit = RICE_BITS - 1; bit >= 0; bit--) bits.push((difference >>> bit) & 1)
  }
  const bytes = Buffer.alloc(Math.ceil(bits.length / 8))
  for (const [index, bit] of bits.entries()) bytes[index >> 3]! |= bit << (7 - (index & 7))
  return bytes
}

/** Reads what {@link encodeRice} wrote. */
export function decodeRice(bytes: Buffer, count: number): Uint32Array {
  const values = new Uint32Array(count)
  let position = 0
  const next = (): number => (bytes[position >> 3]! >> (7 - (position++ & 7))) & 1
  for (let index = 0, value = 0; index < count; index++) {
    let difference = 0
    while (next() === 1) difference++
    for (let bit = 0; bit < RICE_BITS; bit++) difference = difference * 2 + next()
    values[index] = value += difference
  }
  return values
}

function contains(sorted: Uint32Array, wanted: number): boolean {
  let low = 0
  let high = sorted.length - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    const found = sorted[middle]!
    if (found === wanted) return true
    if (found < wanted) low = middle + 1
    else high = middle - 1
  }
  return false
}
