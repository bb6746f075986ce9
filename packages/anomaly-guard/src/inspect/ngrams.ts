/** The features of the learned model: which groups of up to four neighbouring characters a text has. */
import { createCodesOf } from './codes.ts'

const codesOf = createCodesOf()

/** A power of two. */
export const BUCKETS = 8192
const LONGEST = 4
/** Of a longer text, only so many characters around the place of interest are looked at. */
const WINDOW = 112

const seen = new Int32Array(BUCKETS)
const found = new Int32Array(WINDOW * LONGEST + LONGEST)
let stamp = 0

/**
 * Lists the hashes of all groups of 1 to 4 characters of a folded text, each hash once. Digits are
 * alike, and so are all characters beyond ASCII.
 *
 * @param at the place of interest.
 * @returns the hashes; the array is reused by the next call.
 */
export function hashNgrams(text: string, at = 0): Int32Array {
  const from = Math.max(0, Math.min(at - WINDOW / 2, text.length - WINDOW))
  const window = text.length > WINDOW ? text.slice(from, from + WINDOW) : text
  const codes = codesOf(window)
  const { length } = window
  stamp++
  let size = 0
  for (let start = 0; start < length; start++) {
    let hash = 0x811c_9dc5
    const end = Math.min(length, start + LONGEST)
    for (let next = start; next < end; next++) {
      hash = Math.imul(hash ^ kindOf(codes[next]!), 0x0100_0193)
      const bucket = (hash ^ (hash >>> 15)) & (BUCKETS - 1)
      if (seen[bucket] === stamp) continue
      seen[bucket] = stamp
      found[size++] = bucket
    }
  }
  return found.subarray(0, size)
}

function kindOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return 0x30
  return code < 128 ? code : 127
}
