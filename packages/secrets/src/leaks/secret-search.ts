/**
 * Finds any of many texts in a text, by the moving window of Wu and Manber (1994): most characters are
 * skipped, where Aho-Corasick looks at each one. At no position more than the patterns with the same last
 * block are compared, so the cost is bounded by `length × patterns`.
 */

/** A set of patterns, each with the name that a match reports. */
export interface SecretSearch {
  /** The first match, or `undefined`. */
  readonly find: (text: string) => SecretMatch | undefined
  /** Replaces every match. @param place what to put where, if the match cannot be replaced alone. */
  readonly replace: (text: string, place: (match: SecretMatch) => Replacement) => string
}

/** A part of a text and what takes its place. */
interface Replacement {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** Where a pattern is in a text. */
interface SecretMatch {
  readonly name: string
  readonly start: number
  readonly end: number
}

/** Shorter values appear by chance. */
const SHORTEST_PATTERN = 8
const LONGEST_WINDOW = 32
const TABLE_BITS = 16
/** A block of three characters: pairs of so many spellings would leave few that are in none. */
const BLOCK = 3
const TABLE_MASK = (1 << TABLE_BITS) - 1

interface Pattern {
  readonly name: string
  readonly text: string
}

const NOTHING: SecretSearch = Object.freeze({
  find: () => undefined,
  replace: (text: string) => text,
})

/** Compiles the patterns; those shorter than 8 characters are left out. */
export function compileSearch(given: readonly Pattern[]): SecretSearch {
  const patterns = given.filter(({ text }) => text.length >= SHORTEST_PATTERN)
  if (patterns.length === 0) return NOTHING
  const window = Math.min(LONGEST_WINDOW, ...patterns.map(({ text }) => text.length))
  // How far the window may move when it ends in a block.
  const shifts = new Uint8Array(TABLE_MASK + 1).fill(window - BLOCK + 1)
  const byLastBlock = new Map<number, Pattern[]>()
  for (const pattern of patterns) {
    for (let at = BLOCK - 1; at < window; at++) {
      const block = hashBlock(pattern.text, at)
      shifts[block] = Math.min(shifts[block]!, window - 1 - at)
      if (at === window - 1) byLastBlock.set(block, [...(byLastBlock.get(block) ?? []), pattern])
    }
  }
  const findFrom = (text: string, from: number): SecretMatch | undefined => {
    const { length } = text
    for (let at = from + window - 1; at < length;) {
      const block = hashBlock(text, at)
      const shift = shifts[block]!
      if (shift > 0) {
        at += shift
        continue
      }
      const start = at - window + 1
      const found = longestAt(text, start, byLastBlock.get(block)!)
      if (found !== undefined) return { name: found.name, start, end: start + found.text.length }
      at += 1
    }
    return undefined
  }
  return {
    find: (text) => findFrom(text, 0),
    replace(text, place) {
      let result = ''
      let kept = 0
      for (let match = findFrom(text, 0); match !== undefined; match = findFrom(text, kept)) {
        const { start, end, text: replacement } = place(match)
        result += text.slice(kept, start) + replacement
        kept = end
      }
      return kept === 0 ? text : result + text.slice(kept)
    },
  }
}

function longestAt(text: string, start: number, patterns: readonly Pattern[]): Pattern | undefined {
  let longest: Pattern | undefined
  for (const pattern of patterns) {
    const isLonger = longest === undefined || pattern.text.length > longest.text.length
    if (isLonger && text.startsWith(pattern.text, start)) longest = pattern
  }
  return longest
}

/** The block that ends at a position. */
function hashBlock(text: string, at: number): number {
  const pair = text.charCodeAt(at - 2) * 131 + text.charCodeAt(at - 1)
  return (pair * 131 + text.charCodeAt(at)) & TABLE_MASK
}
