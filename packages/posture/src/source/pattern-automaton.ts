/**
 * A regular expression as an automaton of its positions (Glushkov): each character or class of the
 * pattern is a position, and an edge leads to each position that may match next. An edge that arises
 * twice is listed twice, because a backtracking engine tries both.
 */

/** The automaton. Positions are numbers. */
export interface Automaton {
  /** The samples that each position matches; see {@link sampleOf}. */
  readonly matches: readonly ReadonlySet<string>[]
  /** The positions that may follow each position. */
  readonly next: readonly (readonly number[])[]
}

interface Part {
  readonly isEmpty: boolean
  readonly first: readonly number[]
  readonly last: readonly number[]
}

const EMPTY: Part = { isEmpty: true, first: [], last: [] }
/** A count beyond it makes no other ambiguity than this one. */
const MAX_COPIES = 3
const MAX_POSITIONS = 600

/** Reads a pattern; `undefined`: it is invalid or too long. Assertions are parts of their own. */
export function readPattern(pattern: string, flags: string): Automaton | undefined {
  try {
    const { source } = new RegExp(pattern, flags)
    const reader = new Reader(source, flags.replaceAll(/[gyd]/g, ''))
    reader.read()
    return reader
  } catch {
    return undefined
  }
}

/** The characters by which classes are compared: ASCII, those of the pattern with their neighbours, others. */
function sampleOf(pattern: string): string[] {
  const codes = [0xe9, 0x131, 0x2028, 0x3b1, 0x65e5, 0x1f600]
  for (let code = 0; code < 128; code++) codes.push(code)
  for (const character of pattern) {
    const code = character.codePointAt(0)!
    codes.push(Math.max(0, code - 1), code, Math.min(0x10ffff, code + 1))
  }
  return [...new Set(codes)].map((code) => String.fromCodePoint(code))
}

const ATOM =
  /\\(?:u\{[\da-f]+\}|u[\da-f]{4}|x[\da-f]{2}|c[a-z]|[pP]\{[^}]*\}|k<[^>]*>|[\s\S])|[\s\S]/iuy
const QUANTIFIER = /(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/y
const GROUP = /\((?:\?(?:([=!]|<[=!])|<[^>]*>|[a-z]*(?:-[a-z]+)?:))?/y

class Reader implements Automaton {
  readonly matches: ReadonlySet<string>[] = []
  readonly next: number[][] = []
  readonly #pattern: string
  readonly #flags: string
  readonly #sample: readonly string[]
  #at = 0

  constructor(pattern: string, flags: string) {
    this.#pattern = pattern
    this.#flags = flags
    this.#sample = sampleOf(pattern)
  }

  read(): void {
    this.#readChoice()
    if (this.#at < this.#pattern.length) throw new SyntaxError('")" without "("')
  }

  #readChoice(): Part {
    let choice = this.#readSequence()
    while (this.#pattern[this.#at] === '|') {
      this.#at++
      const other = this.#readSequence()
      choice = {
        isEmpty: choice.isEmpty || other.isEmpty,
        first: [...choice.first, ...other.first],
        last: [...choice.last, ...other.last],
      }
    }
    return choice
  }

  #readSequence(): Part {
    let sequence = EMPTY
    while (this.#at < this.#pattern.length && !'|)'.includes(this.#pattern[this.#at]!)) {
      sequence = this.#follow(sequence, this.#readRepeated())
    }
    return sequence
  }

  #follow(before: Part, after: Part): Part {
    this.#link(before.last, after.first)
    return {
      isEmpty: before.isEmpty && after.isEmpty,
      first: before.isEmpty ? [...before.first, ...after.first] : before.first,
      last: after.isEmpty ? [...before.last, ...after.last] : after.last,
    }
  }

  #link(from: readonly number[], to: readonly number[]): void {
    for (const position of from) this.next[position]!.push(...to)
  }

  #readRepeated(): Part {
    const start = this.#at
    const part = this.#readOne()
    const end = this.#at
    const found = this.#take(QUANTIFIER)
    if (found === undefined) return part
    const after = this.#at
    const [text, least = '', comma = '', most = ''] = found
    if (text.startsWith('?')) return { ...part, isEmpty: true }
    if (/^[*+]/.test(text)) return this.#loop(part, text.startsWith('*'))
    const min = Math.min(Number(least), MAX_COPIES)
    const isEndless = comma !== '' && most === ''
    const isRange = comma !== '' && Number(most) > Number(least)
    // The part again for each further copy.
    const copy = (): Part => {
      this.#at = start
      const again = this.#readOne()
      if (this.#at !== end) throw new SyntaxError('a copy of another length')
      return again
    }
    let repeated = EMPTY
    for (let count = 0; count < min; count++)
      repeated = this.#follow(repeated, count === 0 ? part : copy())
    if (isEndless) repeated = this.#follow(repeated, this.#loop(min === 0 ? part : copy(), true))
    else if (isRange)
      repeated = this.#follow(repeated, { ...(min === 0 ? part : copy()), isEmpty: true })
    this.#at = after
    return repeated
  }

  #loop(part: Part, isEmpty: boolean): Part {
    this.#link(part.last, part.first)
    return { ...part, isEmpty: isEmpty || part.isEmpty }
  }

  #readOne(): Part {
    const group = this.#take(GROUP)
    if (group !== undefined) {
      const inner = this.#readChoice()
      if (this.#pattern[this.#at++] !== ')') throw new SyntaxError('"(" without ")"')
      // An assertion consumes nothing; its positions lead nowhere else.
      return group[1] === undefined ? inner : EMPTY
    }
    const atom = this.#pattern[this.#at] === '[' ? this.#readClass() : this.#take(ATOM)![0]
    return /^(?:[$^]|\\b)$/i.test(atom) ? EMPTY : this.#add(atom)
  }

  #readClass(): string {
    const start = this.#at
    let depth = 0
    do {
      const character = this.#pattern[this.#at]!
      if (character === '\\') this.#at++
      else if (character === '[' && (depth === 0 || this.#flags.includes('v'))) depth++
      else if (character === ']') depth--
      this.#at++
    } while (depth > 0)
    return this.#pattern.slice(start, this.#at)
  }

  #add(atom: string): Part {
    const position = this.matches.length
    if (position >= MAX_POSITIONS) throw new RangeError('too many positions')
    // What a group has matched may be anything.
    const text = /^\\(?:k<|[1-9])/.test(atom) ? '[^]' : atom
    const matcher = new RegExp(`^(?:${text})$`, this.#flags)
    this.matches.push(new Set(this.#sample.filter((each) => matcher.test(each))))
    this.next.push([])
    return { isEmpty: false, first: [position], last: [position] }
  }

  #take(form: RegExp): RegExpExecArray | undefined {
    form.lastIndex = this.#at
    const found = form.exec(this.#pattern)
    if (found === null) return undefined
    this.#at = form.lastIndex
    return found
  }
}
