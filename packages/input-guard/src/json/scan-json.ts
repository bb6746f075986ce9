/**
 * Finds what `JSON.parse` would accept but an application must not get: duplicate keys, names of the
 * prototype chain, NUL, lone surrogates, and more depth or values than allowed.
 *
 * One pass over the bytes, without recursion. The text need not be valid JSON: what is found is right for
 * valid JSON, and `JSON.parse` refuses the rest. @see RFC 8259, sections 4 and 8
 */
import { endOfNumber, isExactNumber, isOfNumber, SAFE_DIGITS } from './numbers.ts'
import {
  EMPTY_SHAPE,
  FIRST,
  KEY_MARKS,
  LAST_WORD,
  NEXT,
  ShapeTable,
  SIZE,
  WORDS,
} from './shapes.ts'
import { NUL, StringEnds } from './strings.ts'

/** What a scan allows. */
export interface JsonLimits {
  readonly maxDepth: number
  /** Keys in the whole text. */
  readonly maxKeys: number
  /** Items of one array. */
  readonly maxArrayLength: number
  /** Bytes of one string as it is written; a key has at most 1024, too. */
  readonly maxStringBytes: number
  /** Whether keys that begin with `$` are refused. */
  readonly refuseOperators: boolean
  /** Whether numbers are refused that `JSON.parse` would change. */
  readonly refuseInexactNumbers: boolean
}

/** Why a text is refused. */
export type JsonFault =
  | 'depth'
  | 'key_count'
  | 'array_length'
  | 'string_bytes'
  | 'duplicate_key'
  | 'prototype_key'
  | 'operator_key'
  | 'nul'
  | 'lone_surrogate'
  | 'inexact_number'

const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const [LETTER_F, LETTER_N, LETTER_T] = [0x66, 0x6e, 0x74]
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
/** What encloses a value: a shape, `~shape` for an array below the last key of a shape, or one of these. */
const OUTSIDE = ~EMPTY_SHAPE
/** An object with a set of its own. */
const WITH_NAMES = -0x10000
/** No place, but a fault. */
const FAULT = -0x20000
/** A longer string is searched by the native `indexOf`, whose call costs as much as this many bytes. */
const SHORT_STRING = 128
/** Bytes after which the loop is left and entered again. */
const STRETCH = 8192
/** The path of a fault repeats the keys above it. */
const MAX_KEY_BYTES = 1024

/** Never kept in a shape, so that each of them is seen in every text. */
const PROTOTYPE_NAMES = new Set(['__proto__', 'constructor', 'prototype'])

/** Scans texts one after the other; it keeps the shapes of their objects. */
export class JsonScanner {
  readonly #limits: JsonLimits
  readonly #shapes = new ShapeTable()
  readonly #strings = new StringEnds()
  /** What encloses the current object or array, and the commas before it there. */
  readonly #stack: Int32Array
  /** The keys of the objects {@link WITH_NAMES} that are open, innermost last. */
  readonly #names: Set<string>[] = []
  /** Where the next stretch begins, and what it needs of the one before. */
  #at = 0
  #depth = 0
  #keys = 0
  #commas = 0
  #place = OUTSIDE
  #holder = EMPTY_SHAPE
  #hasConstructor = false
  #fault: JsonFault | null = null

  constructor(limits: JsonLimits) {
    this.#limits = limits
    this.#stack = new Int32Array(limits.maxDepth * 2)
  }

  scan(bytes: Buffer): JsonFault | null {
    this.#shapes.prepare()
    this.#strings.start(bytes)
    this.#hasConstructor = false
    this.#fault = null
    this.#at = this.#depth = this.#keys = this.#commas = 0
    this.#place = OUTSIDE
    this.#holder = EMPTY_SHAPE
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    while (this.#at < bytes.length && this.#fault === null) this.#scanStretch(bytes, view)
    this.#strings.stop()
    this.#names.length = 0
    return this.#fault
  }

  #fail(fault: JsonFault): void {
    this.#fault = fault
  }

  /**
   * The function is long because it is the loop over every byte of every body: a call or an allocation
   * for each value would double its time. It reads four bytes at once where it can. It ends after some
   * kilobytes, because V8 compiles a function that is called often better than a loop that runs long.
   */
  // oxlint-disable-next-line max-lines-per-function -- see above
  #scanStretch(bytes: Buffer, view: DataView): void {
    const { maxDepth, maxKeys, maxArrayLength, maxStringBytes, refuseInexactNumbers } = this.#limits
    const { facts } = this.#shapes
    const stack = this.#stack
    const { length } = bytes
    let at = this.#at
    const stop = Math.min(at + STRETCH, length)
    let depth = this.#depth
    let keys = this.#keys
    let commas = this.#commas
    let place = this.#place
    let holder = this.#holder
    let backslashAt = this.#strings.backslashFrom(at)
    while (at < stop) {
      let byte = bytes[at]!
      if (byte === COMMA || byte === OPEN_OBJECT) {
        if (byte === COMMA) commas++
        else {
          if (depth >= maxDepth) return this.#fail('depth')
          stack[2 * depth] = place
          stack[2 * depth + 1] = commas
          depth++
          holder = place >= 0 ? place : place === WITH_NAMES ? EMPTY_SHAPE : ~place
          place = EMPTY_SHAPE
        }
        at++
        while (at < length && bytes[at]! <= SPACE) at++
        if (place >= 0) {
          // Most objects repeat the keys of another.
          const next = place === EMPTY_SHAPE ? facts[holder + FIRST]! : facts[place + NEXT]!
          const end = at + facts[next + SIZE]!
          if (next !== 0 && end <= length) {
            const last = end - 4
            let same = view.getInt32(last, true) === facts[next + LAST_WORD]
            for (let word = at, fact = next + WORDS; same && word < last; word += 4) {
              same = view.getInt32(word, true) === facts[fact++]
            }
            if (same) {
              if (++keys > maxKeys) return this.#fail('key_count')
              place = next
              at = end
            }
          }
        }
        if (at >= length) break
        byte = bytes[at]!
        if (byte === OPEN_OBJECT) continue
      }
      if (byte === QUOTE) {
        const start = at + 1
        const near = Math.min(start + SHORT_STRING, length) - 8
        let end = start
        for (;;) {
          if (end > near) {
            end = this.#strings.quoteFrom(end)
            break
          }
          // The highest bit of each byte that is a quote, or follows one.
          const one = view.getInt32(end, true) ^ 0x22222222
          const inOne = (one - 0x01010101) & ~one & 0x80808080
          if (inOne !== 0) {
            end += (32 - Math.clz32(~inOne & (inOne - 1))) >> 3
            break
          }
          const two = view.getInt32(end + 4, true) ^ 0x22222222
          const inTwo = (two - 0x01010101) & ~two & 0x80808080
          if (inTwo !== 0) {
            end += 4 + ((32 - Math.clz32(~inTwo & (inTwo - 1))) >> 3)
            break
          }
          end += 8
        }
        let isEscaped = false
        if (backslashAt < end) {
          backslashAt = this.#strings.backslashFrom(start)
          isEscaped = backslashAt < end
          if (isEscaped) end = this.#strings.ofEscaped(backslashAt)
          if (end < 0) return this.#fail(end === NUL ? 'nul' : 'lone_surrogate')
        }
        if (end - start > maxStringBytes) return this.#fail('string_bytes')
        at = end + 1
        while (at < length && bytes[at]! <= SPACE) at++
        if (at >= length) break
        if (bytes[at] !== COLON) continue
        if (end - start > MAX_KEY_BYTES) return this.#fail('string_bytes')
        at++
        // A key in an array is no JSON, and refused by the parser.
        if (place < 0 && place !== WITH_NAMES) continue
        if (++keys > maxKeys) return this.#fail('key_count')
        const next = this.#placeAfter(place, view, start, end, isEscaped)
        if (next === FAULT) return
        if (next > 0) facts[place === EMPTY_SHAPE ? holder + FIRST : place + NEXT] = next
        place = next
        continue
      }
      if (byte >= ZERO && byte <= NINE) {
        const start = at++
        while (at < length && bytes[at]! >= ZERO && bytes[at]! <= NINE) at++
        if (at - start > SAFE_DIGITS || (at < length && isOfNumber(bytes[at]))) {
          at = endOfNumber(bytes, at)
          if (refuseInexactNumbers && !isExactNumber(bytes, start, at)) {
            return this.#fail('inexact_number')
          }
        }
        continue
      }
      at++
      if (byte < OPEN_ARRAY) continue
      if (byte === OPEN_ARRAY) {
        if (depth >= maxDepth) return this.#fail('depth')
        stack[2 * depth] = place
        stack[2 * depth + 1] = commas
        depth++
        if (place >= 0) place = ~place
        else if (place === WITH_NAMES) place = OUTSIDE
        commas = 0
      } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
        if (depth === 0) continue
        if (byte === CLOSE_ARRAY && commas >= maxArrayLength) return this.#fail('array_length')
        if (place === WITH_NAMES) this.#names.pop()
        depth--
        place = stack[2 * depth]!
        commas = stack[2 * depth + 1]!
      } else if (byte === LETTER_T || byte === LETTER_N) at += 3
      else if (byte === LETTER_F) at += 4
    }
    this.#at = at
    this.#depth = depth
    this.#keys = keys
    this.#commas = commas
    this.#place = place
    this.#holder = holder
  }

  /** What encloses the value of a key that was not guessed, or {@link FAULT}. */
  #placeAfter(place: number, view: DataView, start: number, end: number, isEscaped: boolean) {
    const size = end - start + KEY_MARKS
    const isTight = view.getUint8(end + 1) === COLON
    if (place >= 0 && isTight) {
      const known = this.#shapes.find(place, view, start - 1, size)
      if (known !== 0) return known
    }
    const name = this.#strings.nameAt(start, end, isEscaped)
    const fault = this.#faultOf(name, place)
    if (fault !== null) {
      this.#fault = fault
      return FAULT
    }
    if (place >= 0) {
      const isKept = isTight && !PROTOTYPE_NAMES.has(name)
      const grown = isKept ? this.#shapes.grow(place, view, start - 1, size, name) : 0
      if (grown !== 0) return grown
      this.#names.push(this.#shapes.namesOf(place))
    }
    this.#names.at(-1)!.add(name)
    return WITH_NAMES
  }

  #faultOf(name: string, place: number): JsonFault | null {
    if (PROTOTYPE_NAMES.has(name)) {
      // "constructor" alone is an ordinary word, for instance in motor sport.
      if (name === 'constructor') this.#hasConstructor = true
      else if (name === '__proto__' || this.#hasConstructor) return 'prototype_key'
    }
    if (this.#limits.refuseOperators && name.startsWith('$')) return 'operator_key'
    const isKnown = place >= 0 ? this.#shapes.has(place, name) : this.#names.at(-1)!.has(name)
    return isKnown ? 'duplicate_key' : null
  }
}
