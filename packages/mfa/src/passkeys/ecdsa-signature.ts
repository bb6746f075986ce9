/** Strict DER for ECDSA signatures: the library that verifies them accepts other encodings too. */

const SEQUENCE = 0x30
const INTEGER = 0x02

/**
 * Whether bytes are an ECDSA signature in strict DER: a sequence of two positive integers with minimal
 * lengths, and no other bytes. Each signature has exactly one such encoding.
 *
 * @see X.690, section 10; RFC 3279, section 2.2.3
 */
export function isEcdsaSignature(bytes: Uint8Array): boolean {
  const long = bytes[1] === 0x81
  const start = long ? 3 : 2
  const length = bytes[start - 1] ?? 0
  if (bytes[0] !== SEQUENCE || length >= 0x80 !== long || start + length !== bytes.length) {
    return false
  }
  const middle = integerEnd(bytes, start)
  return middle !== null && integerEnd(bytes, middle) === bytes.length
}

/** The offset behind the integer at `start`; `null` if there is no valid integer. */
function integerEnd(bytes: Uint8Array, start: number): number | null {
  const [tag, length = 0, first = 0, second = 0] = bytes.subarray(start, start + 4)
  const padded = first === 0 && (length === 1 || second < 0x80)
  if (tag !== INTEGER || length < 1 || length >= 0x80 || first >= 0x80 || padded) return null
  const end = start + 2 + length
  return end <= bytes.length ? end : null
}
