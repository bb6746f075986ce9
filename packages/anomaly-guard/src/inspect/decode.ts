/** Undoes the encodings that hide an attack: percent, overlong UTF-8, HTML entities, escapes of scripts. */
import { createCodesOf } from './codes.ts'

const codesOf = createCodesOf()

/** An encoding inside an encoding is undone this often at most. */
const MAX_ROUNDS = 3

const PERCENT = 0x25
const AMPERSAND = 0x26
const BACKSLASH = 0x5c
const SEMICOLON = 0x3b
const HASH = 0x23
const LOWER_X = 0x78
const LOWER_U = 0x75

const MAX_NAME = 10
/** Begins only overlong forms; lax decoders accept any second byte behind it. */
const OVERLONG = 0xc0
const ENTITIES = new Map<string, number>(
  Object.entries({
    lt: '<',
    gt: '>',
    amp: '&',
    quot: '"',
    apos: "'",
    colon: ':',
    semi: ';',
    lpar: '(',
    rpar: ')',
    lbrace: '{',
    lcub: '{',
    rbrace: '}',
    rcub: '}',
    lsqb: '[',
    lbrack: '[',
    rsqb: ']',
    rbrack: ']',
    sol: '/',
    bsol: '\\',
    equals: '=',
    period: '.',
    comma: ',',
    dollar: '$',
    num: '#',
    excl: '!',
    grave: '`',
    tab: '\t',
    newline: '\n',
    nbsp: ' ',
    percnt: '%',
    plus: '+',
    quest: '?',
    vert: '|',
    verbar: '|',
    lowbar: '_',
    hyphen: '-',
  }).map(([name, char]) => [name, char.charCodeAt(0)]),
)

/** Text as UTF-16 code units, of which the first `length` count. */
interface Units {
  readonly codes: Uint16Array
  length: number
}

/**
 * Decodes until nothing changes, three times at most; the time is linear in the length. What is malformed
 * stays as it is.
 *
 * @returns code units, which the next call may overwrite; they may be fewer than the text had.
 */
export function decodeUnits(text: string): Units {
  let from = unitsOf(text)
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const to: Units = { codes: new Uint16Array(from.length), length: 0 }
    if (!decodeOnce(from, to)) return from
    from = to
  }
  return from
}

function unitsOf(text: string): Units {
  return { codes: codesOf(text), length: text.length }
}

/** @returns whether anything was decoded. */
function decodeOnce(from: Units, to: Units): boolean {
  const { codes, length } = from
  let at = 0
  while (at < length) {
    const code = codes[at]!
    let used = 0
    if (code === PERCENT) used = readPercent(from, at, to)
    else if (code === AMPERSAND) used = readEntity(from, at, to)
    else if (code === BACKSLASH) used = readEscape(from, at, to)
    if (used === 0) {
      to.codes[to.length++] = code
      used = 1
    }
    at += used
  }
  return to.length !== length
}

/** `%41`, `%u0041`, and the bytes of UTF-8, overlong or not. @returns how many units were read. */
function readPercent(from: Units, at: number, to: Units): number {
  if ((from.codes[at + 1]! | 0x20) === LOWER_U && at + 1 < from.length) {
    const code = readHex(from, at + 2, 4)
    if (code < 0) return 0
    to.codes[to.length++] = code
    return 6
  }
  const first = byteAt(from, at)
  if (first < 0) return 0
  // The first byte of a longer form has as many ones as the form has bytes; six were allowed once.
  const following = first < 0xc0 ? 0 : Math.min(5, Math.clz32(~(first << 24)) - 1)
  let point = following === 0 ? first : first & (0x3f >> following)
  for (let i = 1; i <= following; i++) {
    const next = byteAt(from, at + 3 * i)
    if (next < 0 || ((next & 0xc0) !== 0x80 && first !== OVERLONG)) {
      to.codes[to.length++] = first
      return 3
    }
    point = (point << 6) | (next & 0x3f)
  }
  writePoint(Math.min(point, 0x10_ffff), to)
  return 3 * (following + 1)
}

function byteAt(from: Units, at: number): number {
  return at < from.length && from.codes[at] === PERCENT ? readHex(from, at + 1, 2) : -1
}

/** `&lt;`, `&#60;`, `&#x3c`; the semicolon of a number may be missing, as browsers allow. */
function readEntity(from: Units, at: number, to: Units): number {
  const { codes, length } = from
  if (codes[at + 1] === HASH) {
    const isHex = (codes[at + 2]! | 0x20) === LOWER_X
    let end = at + (isHex ? 3 : 2)
    let point = 0
    const start = end
    for (; end < length && end - start < MAX_NAME; end++) {
      const digit = digitOf(codes[end]!)
      if (digit < 0 || digit >= (isHex ? 16 : 10)) break
      point = Math.min(point * (isHex ? 16 : 10) + digit, 0x11_0000)
    }
    if (end === start || point >= 0x11_0000) return 0
    writePoint(point, to)
    return end - at + (codes[end] === SEMICOLON && end < length ? 1 : 0)
  }
  let name = ''
  for (let i = at + 1; i < length && name.length <= MAX_NAME; i++) {
    const code = codes[i]! | 0x20
    if (codes[i] === SEMICOLON) {
      const found = ENTITIES.get(name)
      if (found === undefined) return 0
      to.codes[to.length++] = found
      return i - at + 1
    }
    if (code < 0x61 || code > 0x7a) return 0
    name += String.fromCharCode(code)
  }
  return 0
}

/** `\x41`, `\u0041`, `\u{41}`. */
function readEscape(from: Units, at: number, to: Units): number {
  const kind = at + 1 < from.length ? from.codes[at + 1]! | 0x20 : 0
  if (kind === LOWER_X) {
    const code = readHex(from, at + 2, 2)
    if (code < 0) return 0
    to.codes[to.length++] = code
    return 4
  }
  if (kind !== LOWER_U) return 0
  const code = readHex(from, at + 2, 4)
  if (code >= 0) {
    to.codes[to.length++] = code
    return 6
  }
  if (from.codes[at + 2] !== 0x7b) return 0
  let end = at + 3
  let point = 0
  for (; end < from.length && end < at + 9; end++) {
    const digit = digitOf(from.codes[end]!)
    if (digit < 0) break
    point = point * 16 + digit
  }
  if (end === at + 3 || from.codes[end] !== 0x7d || point >= 0x11_0000) return 0
  writePoint(point, to)
  return end - at + 1
}

function readHex({ codes, length }: Units, start: number, digits: number): number {
  if (start + digits > length) return -1
  let value = 0
  for (let i = start; i < start + digits; i++) {
    const digit = digitOf(codes[i]!)
    if (digit < 0) return -1
    value = value * 16 + digit
  }
  return value
}

function digitOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

function writePoint(point: number, to: Units): void {
  if (point > 0xff_ff) {
    to.codes[to.length++] = 0xd8_00 + ((point - 0x1_0000) >> 10)
    to.codes[to.length++] = 0xdc_00 + ((point - 0x1_0000) & 0x3_ff)
    return
  }
  to.codes[to.length++] = point
}
