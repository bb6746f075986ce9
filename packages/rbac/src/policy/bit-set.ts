/** Sets of small integers, stored as bits in 32-bit words. */

/** Returns the number of words that hold `size` bits. */
export function wordsFor(size: number): number {
  return Math.max(1, (size + 31) >>> 5)
}

export function setBit(bits: Uint32Array, index: number, offset = 0): void {
  bits[offset + (index >>> 5)]! |= 1 << (index & 31)
}

export function hasBit(bits: Uint32Array, index: number, offset = 0): boolean {
  return (bits[offset + (index >>> 5)]! & (1 << (index & 31))) !== 0
}

/** Adds the members of `source`, from the word `offset` on, to `target`. */
export function mergeBits(target: Uint32Array, source: Uint32Array, offset = 0): void {
  for (let word = 0; word < target.length; word++) target[word]! |= source[offset + word]!
}
