/** Finds where strings end, and what their escapes must not mean. */

const QUOTE = 0x22
const BACKSLASH = 0x5c
const LETTER_U = 0x75
/** A native search costs as much as so many bytes. */
const NEAR = 32

/** What {@link StringEnds.ofEscaped} returns instead of a position. */
export const NUL = -1
const LONE_SURROGATE = -2

const NOTHING = Buffer.alloc(0)

/** Searches one text after the other. Found positions are kept, so that no byte is searched twice. */
export class StringEnds {
  #bytes: Buffer = NOTHING
  #quoteAt = -1
  #backslashAt = -1

  start(bytes: Buffer): void {
    this.#bytes = bytes
    this.#quoteAt = this.#backslashAt = -1
  }

  /** Releases the text. */
  stop(): void {
    this.#bytes = NOTHING
  }

  /** The next quote, or the length of the text. */
  quoteFrom(at: number): number {
    if (this.#quoteAt < at) this.#quoteAt = positionOf(this.#bytes, QUOTE, at)
    return this.#quoteAt
  }

  /** The next backslash, or the length of the text. */
  backslashFrom(at: number): number {
    if (this.#backslashAt < at) this.#backslashAt = positionOf(this.#bytes, BACKSLASH, at)
    return this.#backslashAt
  }

  /** What a key means. */
  nameAt(start: number, end: number, isEscaped: boolean): string {
    const text = this.#bytes.toString('utf8', start, end)
    if (!isEscaped) return text
    try {
      return JSON.parse(`"${text}"`) as string
    } catch {
      // Not JSON, which the parser will say.
      return text
    }
  }

  /** The quote that ends a string, {@link NUL} or {@link LONE_SURROGATE}. @param from its first backslash */
  ofEscaped(from: number): number {
    const bytes = this.#bytes
    let at = from
    while (at < bytes.length) {
      if (bytes[at + 1] === LETTER_U) {
        const unit = readUnit(bytes, at + 2)
        at += 6
        if (unit === 0) return NUL
        if (unit >= 0xdc00 && unit <= 0xdfff) return LONE_SURROGATE
        if (unit >= 0xd800 && unit <= 0xdbff) {
          const isPair = bytes[at] === BACKSLASH && bytes[at + 1] === LETTER_U
          const low = isPair ? readUnit(bytes, at + 2) : 0
          if (low < 0xdc00 || low > 0xdfff) return LONE_SURROGATE
          at += 6
        }
      } else at += 2
      const near = Math.min(at + NEAR, bytes.length)
      while (at < near && bytes[at] !== QUOTE && bytes[at] !== BACKSLASH) at++
      if (at === near) at = Math.min(this.quoteFrom(at), this.backslashFrom(at))
      if (bytes[at] === QUOTE) return at
    }
    return bytes.length
  }
}

function positionOf(bytes: Buffer, byte: number, from: number): number {
  const found = bytes.indexOf(byte, from)
  return found === -1 ? bytes.length : found
}

/** The value of four hexadecimal digits; 1 if they are none, which the parser refuses. */
function readUnit(bytes: Buffer, at: number): number {
  let unit = 0
  for (let index = at; index < at + 4; index++) {
    const byte = bytes[index] ?? 0
    const lower = byte | 0x20
    if (byte >= 0x30 && byte <= 0x39) unit = unit * 16 + byte - 0x30
    else if (lower >= 0x61 && lower <= 0x66) unit = unit * 16 + lower - 0x57
    else return 1
  }
  return unit
}
