/** The features of the learned model: which groups of up to four neighbouring characters a text has. */

/** A power of two. */
export const BUCKETS = 8192
const LONGEST = 4
/** Only the beginning and the end of a longer text are looked at. */
const WINDOW = 512

const seen = new Int32Array(BUCKETS)
const found = new Int32Array(WINDOW * LONGEST + LONGEST)
let stamp = 0

/**
 * Lists the hashes of all groups of 1 to 4 characters of a folded text, each hash once. Digits are
 * alike, and so are all characters beyond ASCII.
 *
 * @returns the hashes; the array is reused by the next call.
 */
export function hashNgrams(text: string): Int32Array {
  const window = text.length > WINDOW ? text.slice(0, WINDOW / 2) + text.slice(-WINDOW / 2) : text
  stamp++
  let size = 0
  for (let start = 0; start < window.length; start++) {
    let hash = 0x811c_9dc5
    const end = Math.min(window.length, start + LONGEST)
    for (let at = start; at < end; at++) {
      hash = Math.imul(hash ^ kindOf(window.charCodeAt(at)), 0x0100_0193)
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
