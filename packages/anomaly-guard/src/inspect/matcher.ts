/** Looks for all signatures in a folded value, in one pass. */
import type { Signature, SignaturePart } from '../signatures/signature.ts'
import { compileAutomaton, type Automaton } from './automaton.ts'
import { bitOf, canBeAt, compile, type Compiled } from './compile.ts'
import type { Folded } from './fold.ts'

/** What was found in a value. */
export interface Match {
  /** The signature with the highest weight. */
  readonly best: Signature | undefined
  /** The form of the value in which it was found, and where. */
  readonly text: string
  readonly at: number
  /** It had so many words of signatures that not all of them were tried in its middle. */
  readonly exhausted: boolean
}

/** Whether a text looks like an attack around a place. */
export type Confirm = (text: string, at: number) => boolean

/** Tries for a short value; a longer one gets one more for so many characters. */
const LEAST_TRIES = 512
const CHARACTERS_A_TRY = 8
/** In the rest of a text that used up its tries, a word is tried so often; all are at its end. */
const TRIES_A_WORD = 8
const END = 512
/** Nothing that weighs more needs to be looked for. */
const SURE = 0.85
/** What weighs less is confirmed, in the parts where people write; so often in one value. */
const CERTAIN = 0.95
const WRITTEN: readonly SignaturePart[] = ['query', 'body', 'header', 'cookie']
const CONFIRMATIONS = 32

/** Compiled signatures. */
export class Matcher {
  readonly #automaton: Automaton
  readonly #byWord: Compiled[][] = []
  readonly #words: string[]
  readonly #confirm: Confirm
  readonly #from: number
  #text = ''
  #part = 0
  #isShell = false
  #tries = 0
  #confirmations = 0
  /** Where the text used up its tries. */
  #stop = 0
  #begin = 0
  #seen: Uint16Array | undefined
  #best: Signature | undefined
  #bestText = ''
  #bestAt = 0
  readonly #visit = (word: number, end: number): boolean => this.#tryWord(word, end)

  /**
   * @param confirm asked about what is no attack for certain.
   * @param from the weight from which on it is asked; hints are judged by what gets the match.
   */
  constructor(signatures: readonly Signature[], confirm: Confirm = () => true, from = 0) {
    this.#confirm = confirm
    this.#from = from
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
    this.#confirmations = WRITTEN.includes(part) ? CONFIRMATIONS : -1
    let exhausted = this.#scan(folded.text, false)
    if (folded.spaced !== undefined) exhausted = this.#scan(folded.spaced, false) || exhausted
    if (folded.shell !== undefined) exhausted = this.#scan(folded.shell, true) || exhausted
    return { best: this.#best, text: this.#bestText, at: this.#bestAt, exhausted }
  }

  /** @returns whether the tries were used up. */
  #scan(text: string, isShell: boolean): boolean {
    if (this.#isSure()) return false
    this.#isShell = isShell
    this.#pass(text, 0, LEAST_TRIES + text.length / CHARACTERS_A_TRY)
    if (this.#tries >= 0) return false
    // Without the words that are frequent in it, then its end with all words.
    const rest = text.length - this.#stop
    const seen = new Uint16Array(this.#words.length)
    this.#pass(text, this.#stop, LEAST_TRIES + rest / (2 * CHARACTERS_A_TRY), seen)
    this.#pass(text, Math.max(this.#stop, text.length - END), 8 * END)
    return true
  }

  #pass(text: string, begin: number, tries: number, seen?: Uint16Array): void {
    if (this.#isSure()) return
    this.#text = text
    this.#begin = begin
    this.#seen = seen
    this.#tries = tries
    this.#automaton.scan(text, this.#visit)
  }

  #isSure(): boolean {
    return this.#best !== undefined && this.#best.weight >= SURE
  }

  #tryWord(word: number, end: number): boolean {
    const start = end - this.#words[word]!.length
    if (start < this.#begin || (this.#seen !== undefined && ++this.#seen[word]! > TRIES_A_WORD))
      return true
    const candidates = this.#byWord[word]!
    for (let each = 0; each < candidates.length; each++) {
      const { signature } = candidates[each]!
      // A signature that cannot change the result is not worth a try.
      if (this.#best !== undefined && signature.weight <= this.#best.weight) continue
      if (!this.#isFound(candidates[each]!, start, end)) {
        if (this.#tries >= 0) continue
        this.#stop = start
        return false
      }
      this.#best = signature
      this.#bestText = this.#text
      this.#bestAt = start
    }
    return !this.#isSure()
  }

  #isFound(compiled: Compiled, start: number, end: number): boolean {
    const { match, parts, shell, signature } = compiled
    if ((parts & this.#part) === 0 || (this.#isShell && !shell)) return false
    if (compiled.guarded && !canBeAt(compiled, this.#text, start, end)) return false
    if (match !== undefined) {
      if (--this.#tries < 0) return false
      match.lastIndex = start
      if (!match.test(this.#text)) return false
    }
    const { weight } = signature
    if (this.#confirmations < 0 || weight < this.#from || weight >= CERTAIN) return true
    if (this.#confirmations === 0) return false
    this.#confirmations--
    return this.#confirm(this.#text, start)
  }
}
