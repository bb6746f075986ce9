/**
 * Finds all of many words in one pass over a text, however many they are (Aho and Corasick, 1975). The
 * signatures only look where one of their words is.
 */
import { createCodesOf } from './codes.ts'

const codesOf = createCodesOf()

/** Words, compiled into one table. */
export interface Automaton {
  /**
   * Calls `found` for each word at each place of the text.
   *
   * @param found gets the number of the word and the place behind it; if it returns false, the search
   *   ends.
   */
  scan(text: string, found: (word: number, end: number) => boolean): void
}

/** @param words of printable ASCII characters, in lower case. */
export function compileAutomaton(words: readonly string[]): Automaton {
  const { classes, width } = classesOf(words)
  const next = [new Map<number, number>()]
  const ends: number[][] = [[]]
  for (const [number, word] of words.entries()) {
    let state = 0
    for (let i = 0; i < word.length; i++) {
      const kind = classes[word.charCodeAt(i)]!
      let to = next[state]!.get(kind)
      if (to === undefined) {
        to = next.push(new Map()) - 1
        ends.push([])
        next[state]!.set(kind, to)
      }
      state = to
    }
    ends[state]!.push(number)
  }
  const table = new Uint16Array(next.length * width)
  completeTable({ next, ends, table, width })
  const isEnd = Uint8Array.from(ends, (numbers) => (numbers.length > 0 ? 1 : 0))

  return {
    scan(text, found) {
      const codes = codesOf(text)
      const { length } = text
      let state = 0
      for (let i = 0; i < length; i++) {
        const code = codes[i]!
        state = table[state * width + (code < 128 ? classes[code]! : 0)]!
        if (isEnd[state] === 0) continue
        const numbers = ends[state]!
        // Not for…of: it is slow once any library has touched the iterators of arrays.
        for (let each = 0; each < numbers.length; each++) if (!found(numbers[each]!, i + 1)) return
      }
    },
  }
}

/** Numbers the characters that occur in words from 1; all others are 0. */
function classesOf(words: readonly string[]): { classes: Uint8Array; width: number } {
  const classes = new Uint8Array(128)
  let width = 1
  for (const word of words) {
    for (let i = 0; i < word.length; i++) {
      const code = word.charCodeAt(i)
      if (classes[code] === 0) classes[code] = width++
    }
  }
  return { classes, width }
}

/** Fills in what follows where no word goes on: the longest ending that is the beginning of a word. */
function completeTable({
  next,
  ends,
  table,
  width,
}: {
  readonly next: readonly ReadonlyMap<number, number>[]
  readonly ends: number[][]
  readonly table: Uint16Array
  readonly width: number
}): void {
  const fallback = new Uint16Array(next.length)
  const queue = [0]
  for (const state of queue) {
    const back = fallback[state]!
    for (let kind = 0; kind < width; kind++) {
      const to = next[state]!.get(kind)
      const otherwise = state === 0 ? 0 : table[back * width + kind]!
      table[state * width + kind] = to ?? otherwise
      if (to === undefined) continue
      fallback[to] = otherwise
      ends[to]!.push(...ends[otherwise]!)
      queue.push(to)
    }
  }
}
