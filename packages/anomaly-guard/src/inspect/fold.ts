/** Folds a value into the one spelling that the signatures are written for. */
import { createCodesOf } from './codes.ts'
import { decodeUnits } from './decode.ts'

const codesOf = createCodesOf()

/** What a character needs; a set of bits. */
const DECODE = 1
const FOLD = 2
const QUOTING = 4
const PLUS = 8
const BLANK = 16
const STAR = 32

/** The forms of one value. */
export interface Folded {
  /**
   * Decoded, in lower case; comments of SQL are blanks, and a run of blanks is one blank, or one line feed
   * if it has one.
   */
  readonly text: string
  /** As a shell reads it: without quotes and backslashes, expansions as blanks; only if it differs. */
  readonly shell: string | undefined
  /** With `+` as a blank, as in a query that was encoded twice; only if it differs. */
  readonly spaced: string | undefined
  /** It had a NUL, which is left out of all forms. */
  readonly hasNul: boolean
}

/** Longer values are folded in one form only, but for their beginning and end. */
const LONG = 16_384

const NEEDS = new Uint8Array(128)
for (let code = 0; code < 0x20; code++) NEEDS[code] = FOLD
NEEDS[0x7f] = FOLD
for (const [chars, bits] of [
  ['%&', DECODE],
  ['\\', DECODE | QUOTING],
  ['*', STAR],
  ['\'"^$[', QUOTING],
  ['+', PLUS],
  [' ', BLANK],
] as const) {
  for (const char of chars) NEEDS[char.charCodeAt(0)]! |= bits
}

/** Folds a value. Most values need nothing but lower case, which one look at their characters shows. */
export function foldValue(value: string): Folded {
  const bits = needsOf(value)
  const isPlain = (bits & (DECODE | FOLD)) === 0
  const text = isPlain ? value.toLowerCase() : foldUnits(value)
  const hasPlus = (bits & PLUS) !== 0 || (!isPlain && text.includes('+'))
  const isSpaced = hasPlus && text.length <= LONG && !text.includes(' ')
  const spaced = isSpaced ? foldUnits(text.replaceAll('+', ' ')) : undefined
  const hasQuotes = (bits & (QUOTING | DECODE)) !== 0
  const shell = hasQuotes ? foldShell(endsOf(spaced ?? text)) : undefined
  return { text, shell, spaced, hasNul: !isPlain && NUL.test(value) }
}

function needsOf(value: string): number {
  const codes = codesOf(value)
  const { length } = value
  let bits = 0
  let previous = 0
  for (let i = 0; i < length; i++) {
    const code = codes[i]!
    let needs = code < 128 ? NEEDS[code]! : DECODE | FOLD
    // A percent sign or an ampersand before a blank encodes nothing.
    if ((needs & DECODE) !== 0 && code < 128 && !(i + 1 < length && canDecode(codes[i + 1]!)))
      needs &= ~DECODE
    if ((needs & previous & BLANK) !== 0) bits |= FOLD
    bits |= needs
    previous = needs
  }
  return (bits & STAR) !== 0 && /\/\*|\*\//.test(value) ? bits | FOLD : bits
}

/** `#`, a digit, a letter, or `%` and `\`, which begin an encoding of what encodes. */
function canDecode(code: number): boolean {
  return (
    code === 0x23 ||
    code === PERCENT ||
    code === 0x5c ||
    (code >= 0x30 && code <= 0x39) ||
    ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a)
  )
}

/** What a shell could run: behind a separator, with quotes in it. */
const COMMANDS = /(?:[;|&`]|\$\()[^;|&`\n'"\\^$]{0,24}['"\\^$][^;|&`\n]{0,60}/g

/** Of a long text, its beginning and end, and what between them a shell could run. */
function endsOf(text: string): string {
  if (text.length <= LONG) return text
  const middle =
    text
      .slice(LONG / 2, -LONG / 2)
      .match(COMMANDS)
      ?.join('\n') ?? ''
  return `${text.slice(0, LONG / 2)}\n${middle.slice(0, LONG)}\n${text.slice(-LONG / 2)}`
}

// oxlint-disable-next-line no-control-regex -- a NUL is looked for
const NUL = /\0|%(?:25)?00|\\x00|\\u0000/
const PERCENT = 0x25
const SLASH = 0x2f
const ASTERISK = 0x2a

function foldUnits(value: string): string {
  const { codes, length } = decodeUnits(value)
  const folded = new Uint16Array(length)
  let size = 0
  /** The last place behind which no comment ends, so that each end is looked for once. */
  let noEndFrom = length
  for (let at = 0; at < length; at++) {
    let code = codes[at]!
    if (code === SLASH && codes[at + 1] === ASTERISK && at + 1 < length && at < noEndFrom) {
      const isHint = codes[at + 2] === 0x21 && at + 2 < length
      const end = isHint ? skipVersion(codes, at + 3) : endOfComment(codes, at + 2, length)
      if (end < 0) noEndFrom = at
      else {
        at = end - 1
        code = 0x20
      }
    } else if (code === ASTERISK && codes[at + 1] === SLASH && at + 1 < length) {
      // The end of a comment whose content MySQL runs, `/*!50000 … */`.
      at++
      code = 0x20
    }
    const plain = code > 0x7e || code < 0x21 ? plainOf(code) : code
    if (plain === 0) continue
    const last = size > 0 ? folded[size - 1]! : 0
    if (plain <= 0x20 && last !== 0 && last <= 0x20) {
      if (plain === 0x0a) folded[size - 1] = 0x0a
    } else folded[size++] = plain
  }
  const text = Buffer.from(folded.buffer, 0, size * 2).toString('utf16le')
  return (COMPATIBLE.test(text) ? text.normalize('NFKC') : text).toLowerCase()
}

/** Letters and digits in circles, raised, of mathematics or joined, which some programs read as plain. */
const COMPATIBLE = /[\u00aa\u00b2-\u00be\u2070-\u214f\u2460-\u24ff\ufb00-\ufe6f]|\ud835/

/** @returns the place behind the comment, or -1 if it has no end. */
function endOfComment(codes: Uint16Array, from: number, length: number): number {
  for (let at = from; at + 1 < length; at++) {
    if (codes[at] === ASTERISK && codes[at + 1] === SLASH) return at + 2
  }
  return -1
}

/** Behind the digits of `/*!50000`. */
function skipVersion(codes: Uint16Array, from: number): number {
  let at = from
  while (at < from + 6 && codes[at]! >= 0x30 && codes[at]! <= 0x39) at++
  return at
}

/** Blanks, quotes and marks of other alphabets as their plain ones; 0 for what is invisible. */
const PLAIN = new Map<number, number>([
  [0x0d, 0x0a],
  [0x0a, 0x0a],
  [0x0b, 0x20],
  [0x0c, 0x20],
  [0x09, 0x20],
  [0x20, 0x20],
  [0x85, 0x0a],
  [0xa0, 0x20],
  [0xad, 0],
  [0xb4, 0x27],
  [0x200b, 0],
  [0x200c, 0],
  [0x200d, 0],
  [0x2018, 0x27],
  [0x2019, 0x27],
  [0x201c, 0x22],
  [0x201d, 0x22],
  [0x2032, 0x27],
  [0x2028, 0x0a],
  [0x2029, 0x0a],
  [0x202e, 0],
  [0x2215, 0x2f],
  [0x2216, 0x5c],
  [0xf025, 0x2f],
  [0xefc8, 0x5c],
  [0x560a, 0x0a],
  [0x560d, 0x0a],
  [0xfeff, 0],
])

function plainOf(code: number): number {
  const found = PLAIN.get(code)
  if (found !== undefined) return found
  if (code < 0x20 || code === 0x7f) return 0
  // The full-width forms of ASCII.
  return code >= 0xff01 && code <= 0xff5e ? code - 0xfee0 : code
}

const EXPANSION = /\$(?:\{ifs[^}]{0,20}\}|ifs(?:\$\d)?)/g
/** Expansions that are empty, and brackets around one letter of a file name. */
const EMPTY =
  /\$(?:[@*!?_-]|u(?![a-z0-9_])|[_a-z]{1,2}(?=[/+ ]|$)|\{[a-z0-9_@*]{1,12}\}|\d)|['"\\^]|\[([a-z!]{1,2})\]/g

/** As a shell reads it: `c''at$IFS/et\c` is `cat /etc`. */
function foldShell(text: string): string | undefined {
  const shell = text.replace(EXPANSION, ' ').replace(EMPTY, '$1')
  return shell === text ? undefined : shell
}
