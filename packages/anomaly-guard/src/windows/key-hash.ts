/** A seeded 53-bit hash of texts: windows keep hashes, so that a tracked key costs a few bytes. */
import { takeRandom } from '@parapet/kit'

/** Hashes a text, or two texts as one key. @returns an integer from 1 to 2^53 - 1 */
export type KeyHash = (text: string, second?: string) => number

const MULTIPLIER_A = 0x9e3779b1
const MULTIPLIER_B = 0x5f356495
const HIGH_BITS = 0x1fffff
const TWO_32 = 2 ** 32

/**
 * Creates a hash with a seed of its own: without the seed, a client cannot choose texts that share a key.
 *
 * @param seed 8 bytes. @default random
 */
export function createKeyHash(seed: Uint8Array = takeRandom(8)): KeyHash {
  const view = new DataView(seed.buffer, seed.byteOffset, 8)
  const [seedA, seedB] = [view.getInt32(0), view.getInt32(4)]
  return (text, second) => {
    let a = seedA
    let b = seedB
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index)
      a = Math.imul(a ^ code, MULTIPLIER_A)
      b = Math.imul(b ^ code, MULTIPLIER_B)
      a ^= b >>> 15
    }
    if (second !== undefined) {
      // No UTF-16 code unit has this value, so that "a" + "bc" differs from "ab" + "c".
      a = Math.imul(a ^ 0x10000, MULTIPLIER_A)
      b = Math.imul(b ^ 0x10000, MULTIPLIER_B)
      for (let index = 0; index < second.length; index++) {
        const code = second.charCodeAt(index)
        a = Math.imul(a ^ code, MULTIPLIER_A)
        b = Math.imul(b ^ code, MULTIPLIER_B)
        a ^= b >>> 15
      }
    }
    a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35)
    b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35)
    return ((b >>> 0) & HIGH_BITS) * TWO_32 + (a >>> 0) || 1
  }
}
