/** Signatures with what can be said of them without a try of their pattern. */
import type { Signature, SignaturePart } from '../signatures/signature.ts'

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
/** Patterns that want no letter before the word, or a mark: most words of a text need no try. */
const NO_LETTER = /^\(\?<!\[(?:\\w|a-z(?:0-9)?_)/
const A_MARK = /^\(\?<=\[['"`);}=(,:!d\\]+\]\\s\?\)/

/** A compiled signature. */
export interface Compiled {
  readonly signature: Signature
  readonly match: RegExp | undefined
  readonly parts: number
  readonly shell: boolean
  readonly whole: boolean
  /** Whether it matters what is beside the word. */
  readonly guarded: boolean
  readonly needsMark: boolean
  readonly noLetter: boolean
}

/** Compiles a signature. */
export function compile(signature: Signature): Compiled {
  const { match, parts, shell = false, whole = false } = signature
  const bits = parts?.reduce((sum, part) => sum | bitOf(part), 0) ?? ALL_PARTS
  const source = match === undefined || hasChoice(match.source) ? '' : match.source
  const [needsMark, noLetter] = [A_MARK.test(source), NO_LETTER.test(source)]
  const guarded = whole || needsMark || noLetter
  return { signature, match, parts: bits, shell, whole, guarded, needsMark, noLetter }
}

/** Whether a pattern is a choice, so that its beginning holds for one of them only. */
function hasChoice(source: string): boolean {
  let plain = source.replaceAll(/\\.|\[(?:\\.|[^\]])*\]/g, '')
  for (let last = ''; last !== plain;) {
    last = plain
    plain = plain.replaceAll(/\([^()]*\)/g, '')
  }
  return plain.includes('|')
}

/** The bit of a part of a request. */
export function bitOf(part: SignaturePart): number {
  return 1 << PARTS.indexOf(part)
}

/** Whether a signature can be at a word, as far as the characters beside the word say. */
export function canBeAt(compiled: Compiled, text: string, start: number, end: number): boolean {
  const { whole, noLetter, needsMark } = compiled
  if (whole && !isWhole(text, start, end)) return false
  if (noLetter && isWord(text.charCodeAt(start - 1))) return false
  return !needsMark || isAfterMark(text, start)
}

/** Whether no letter or digit is beside the part of the text. */
function isWhole(text: string, start: number, end: number): boolean {
  return !isLetter(text.charCodeAt(start - 1)) && !isLetter(text.charCodeAt(end))
}

/** Outside of the text the code is NaN. */
function isLetter(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || code === 0x5f
}

/** A letter or an underscore; digits are not among what all patterns exclude. */
function isWord(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || code === 0x5f
}

/** Whether no letter is before the place and one blank. */
function isAfterMark(text: string, at: number): boolean {
  const code = text.charCodeAt(at - 1)
  return !isWord(code === 0x20 || code === 0x0a ? text.charCodeAt(at - 2) : code)
}
