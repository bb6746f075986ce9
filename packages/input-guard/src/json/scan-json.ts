/**
 * Finds what `JSON.parse` would accept but an application must not get: duplicate keys, names of the
 * prototype chain, NUL, lone surrogates, and more depth or values than allowed.
 *
 * One pass over the bytes, without recursion. The text need not be valid JSON: what is found is right for
 * valid JSON, and `JSON.parse` refuses the rest. @see RFC 8259, sections 4 and 8
 */
import { positionOf, readUnit } from './bytes.ts'
import {
  childAt,
  matchKey,
  MAX_SHAPE_KEY_BYTES,
  MAX_SHAPE_KEYS,
  ShapeTree,
  type Shape,
} from './shapes.ts'

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

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const LETTER_U = 0x75
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
/** A longer string is searched by the native `indexOf`, whose call costs as much as this many bytes. */
const SHORT_STRING = 40
/** 1 for a comma. */
const IS_COMMA = Uint8Array.from({ length: 256 }, (_, byte) => (byte === COMMA ? 1 : 0))
/** The path of a fault repeats the keys above it. */
const MAX_KEY_BYTES = 1024
const NUL = -1
const LONE_SURROGATE = -2

/** Never kept in a shape, so that each of them is seen in every text. */
const PROTOTYPE_NAMES = new Set(['__proto__', 'constructor', 'prototype'])

/** Scans texts one after the other; it keeps the shapes of their objects. */
export class JsonScanner {
  readonly #limits: JsonLimits
  readonly #tree = new ShapeTree()
  /** What encloses the current object or array. */
  readonly #shapes: (Shape | null)[] = []
  readonly #names: (Set<string> | null)[] = []
  readonly #commas: number[] = []
  /** Positions that a search has found in this text, so that no byte is searched twice. */
  #quoteAt = 0
  #backslashAt = 0
  #escaped = false
  #hasConstructor = false

  constructor(limits: JsonLimits) {
    this.#limits = limits
  }

  /**
   * Scans one text.
   *
   * The function is long because it is the loop over every byte of every body: a call or an allocation
   * for each value would double its time.
   */
  // oxlint-disable-next-line max-lines-per-function -- see above
  scan(bytes: Buffer): JsonFault | null {
    const { maxDepth, maxKeys, maxArrayLength, maxStringBytes } = this.#limits
    const { length } = bytes
    this.#quoteAt = this.#backslashAt = -1
    this.#hasConstructor = false
    let depth = 0
    let keys = 0
    let commas = 0
    let shape: Shape | null = null
    let names: Set<string> | null = null
    let at = 0
    while (at < length) {
      const byte = bytes[at]!
      if (byte === QUOTE) {
        const start = at + 1
        // Most objects repeat the keys of another, so the next key is compared before its end is searched.
        if (shape !== null && shape.latest !== null) {
          const after = matchKey(bytes, start, shape.latest.bytes)
          if (after !== 0) {
            shape = shape.latest
            at = after
            if (++keys > maxKeys) return 'key_count'
            continue
          }
        }
        const near = Math.min(start + SHORT_STRING, length)
        let end = start
        while (end < near && bytes[end] !== QUOTE && bytes[end] !== BACKSLASH) end++
        this.#escaped = false
        if (end < length && bytes[end] !== QUOTE) {
          end = this.#endOfString(bytes, end)
          if (end < 0) return end === NUL ? 'nul' : 'lone_surrogate'
        }
        if (end - start > maxStringBytes) return 'string_bytes'
        at = end + 1
        while (bytes[at]! <= 0x20) at++
        if (bytes[at] !== COLON) continue
        if (end - start > MAX_KEY_BYTES) return 'string_bytes'
        at++
        // A key in an array is no JSON, and refused by the parser.
        if (shape === null && names === null) continue
        if (++keys > maxKeys) return 'key_count'
        if (shape !== null && !this.#escaped) {
          const next: Shape | undefined = childAt(shape, bytes, start, end)
          if (next !== undefined) {
            shape.latest = next
            shape = next
            continue
          }
        }
        const name = this.#nameOf(bytes, start, end)
        const fault = this.#faultOf(name)
        if (fault !== null) return fault
        if (shape === null ? names!.has(name) : shape.has(name)) return 'duplicate_key'
        if (shape === null) names!.add(name)
        else if (
          shape.size >= MAX_SHAPE_KEYS ||
          end - start > MAX_SHAPE_KEY_BYTES ||
          this.#escaped ||
          PROTOTYPE_NAMES.has(name)
        ) {
          names = shape.names().add(name)
          shape = null
        } else shape = shape.find(name) ?? this.#tree.grow(shape, bytes.subarray(start, end), name)
        continue
      }
      at++
      // Without a branch: where a comma comes is what a processor cannot predict.
      commas += IS_COMMA[byte]!
      if (byte < OPEN_ARRAY) continue
      if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (depth >= maxDepth) return 'depth'
        this.#shapes[depth] = shape
        this.#names[depth] = names
        this.#commas[depth] = commas
        depth++
        shape = byte === OPEN_OBJECT ? this.#tree.root : null
        names = null
        commas = 0
      } else if ((byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) && depth > 0) {
        if (byte === CLOSE_ARRAY && commas >= maxArrayLength) return 'array_length'
        depth--
        shape = this.#shapes[depth]!
        names = this.#names[depth]!
        commas = this.#commas[depth]!
      }
    }
    return null
  }

  /**
   * The position of the quote that ends a string, or a negative number for a fault in it. A position that
   * was searched for is kept, so that a text of a million escapes is still read once.
   */
  #endOfString(bytes: Buffer, from: number): number {
    const { length } = bytes
    let at = from
    for (;;) {
      const near = Math.min(at + SHORT_STRING, length)
      while (at < near && bytes[at] !== QUOTE && bytes[at] !== BACKSLASH) at++
      if (at === near && at < length) {
        if (this.#quoteAt < at) this.#quoteAt = positionOf(bytes, QUOTE, at)
        if (this.#backslashAt < at) this.#backslashAt = positionOf(bytes, BACKSLASH, at)
        at = Math.min(this.#quoteAt, this.#backslashAt)
      }
      if (at >= length || bytes[at] === QUOTE) return at
      this.#escaped = true
      if (bytes[at + 1] !== LETTER_U) at += 2
      else {
        const unit = readUnit(bytes, at + 2)
        at += 6
        if (unit === 0) return NUL
        if (unit >= 0xdc00 && unit <= 0xdfff) return LONE_SURROGATE
        if (unit < 0xd800 || unit > 0xdbff) continue
        const isPair = bytes[at] === BACKSLASH && bytes[at + 1] === LETTER_U
        const low = isPair ? readUnit(bytes, at + 2) : 0
        if (low < 0xdc00 || low > 0xdfff) return LONE_SURROGATE
        at += 6
      }
    }
  }

  #nameOf(bytes: Buffer, start: number, end: number): string {
    const text = bytes.toString('utf8', start, end)
    if (!this.#escaped) return text
    try {
      return JSON.parse(`"${text}"`) as string
    } catch {
      // Not JSON, which the parser will say.
      return text
    }
  }

  #faultOf(name: string): JsonFault | null {
    if (PROTOTYPE_NAMES.has(name)) {
      // "constructor" alone is an ordinary word, for instance in motor sport.
      if (name === 'constructor') this.#hasConstructor = true
      else if (name === '__proto__' || this.#hasConstructor) return 'prototype_key'
    }
    return this.#limits.refuseOperators && name.startsWith('$') ? 'operator_key' : null
  }
}
