/** Looks for all signatures in a folded value, in one pass. */
import type { Signature, SignaturePart } from '../signatures/signature.ts'
import { compileAutomaton, type Automaton } from './automaton.ts'
import type { Folded } from './fold.ts'

/** What was found in a value. */
export interface Match {
  /** The signature with the highest weight. */
  readonly best: Signature | undefined
  /** The form of the value in which it was found, and where. */
  readonly text: string
  readonly at: number
  /** It had so many words of signatures that not all could be tried. */
  readonly exhausted: boolean
}

const PARTS: readonly SignaturePart[] = [
  'path',
  'query',
  'header',
  'agent',
  'cookie',
  'body',
  'filename',
  'name',
]
const ALL_PARTS = 2 ** PARTS.length - 1
/** Tries for a short value; a longer one gets one more for so many characters. */
const LEAST_TRIES = 512
const CHARACTERS_A_TRY = 8
/** Nothing that weighs more needs to be looked for. */
const SURE = 0.85

interface Compiled {
  readonly signature: Signature
  readonly match: RegExp | undefined
  readonly parts: number
  readonly shell: boolean
  readonly whole: boolean
}

/** Compiled signatures. */
export class Matcher {
  readonly #automaton: Automaton
  readonly #byWord: Compiled[][] = []
  readonly #words: string[]
  #text = ''
  #part = 0
  #isShell = false
  #tries = 0
  #best: Signature | undefined
  #bestText = ''
  #bestAt = 0
  readonly #visit = (word: number, end: number): boolean => this.#tryWord(word, end)

  constructor(signatures: readonly Signature[]) {
    const numbers = new Map<string, number>()
    for (const each of signatures) {
      const compiled = compile(each)
      for (const word of each.at) {
        const number = numbers.get(word) ?? numbers.size
        numbers.set(word, number)
        this.#byWord[number] ??= []
        this.#byWord[number].push(compiled)
      }
    }
    this.#words = [...numbers.keys()]
    this.#automaton = compileAutomaton(this.#words)
  }

  /** Finds the signatures of all forms of a value. */
  match(folded: Folded, part: SignaturePart): Match {
    this.#best = undefined
    this.#bestText = ''
    this.#bestAt = 0
    this.#part = bitOf(part) | (part === 'agent' ? bitOf('header') : 0)
    this.#tries = LEAST_TRIES + folded.text.length / CHARACTERS_A_TRY
    this.#scan(folded.text, false)
    if (folded.spaced !== undefined) this.#scan(folded.spaced, false)
    if (folded.shell !== undefined) this.#scan(folded.shell, true)
    const exhausted = this.#tries < 0
    return { best: this.#best, text: this.#bestText, at: this.#bestAt, exhausted }
  }

  #scan(text: string, isShell: boolean): void {
    if (this.#tries < 0 || (this.#best?.weight ?? 0) >= SURE) return
    this.#text = text
    this.#isShell = isShell
    this.#automaton.scan(text, this.#visit)
  }

  #tryWord(word: number, end: number): boolean {
    const start = end - this.#words[word]!.length
    const candidates = this.#byWord[word]!
    for (let each = 0; each < candidates.length; each++) {
      const { match, signature, parts, shell, whole } = candidates[each]!
      // A signature that cannot change the result is not worth a try.
      if (this.#best !== undefined && signature.weight <= this.#best.weight) continue
      if ((parts & this.#part) === 0 || (this.#isShell && !shell)) continue
      if (whole && !isWhole(this.#text, start, end)) continue
      if (match !== undefined) {
        if (--this.#tries < 0) return false
        match.lastIndex = start
        if (!match.test(this.#text)) continue
      }
      this.#best = signature
      this.#bestText = this.#text
      this.#bestAt = start
    }
    return this.#best === undefined || this.#best.weight < SURE
  }
}

function compile(signature: Signature): Compiled {
  const { match, parts, shell = false, whole = false } = signature
  const bits = parts?.reduce((sum, part) => sum | bitOf(part), 0) ?? ALL_PARTS
  return { signature, match, parts: bits, shell, whole }
}

function bitOf(part: SignaturePart): number {
  return 1 << PARTS.indexOf(part)
}

/** Whether no letter or digit is beside the part of the text. */
function isWhole(text: string, start: number, end: number): boolean {
  return !isLetter(text.charCodeAt(start - 1)) && !isLetter(text.charCodeAt(end))
}

/** Outside of the text the code is NaN. */
function isLetter(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || code === 0x5f
}
