/** Finds numbers that `JSON.parse` would change. */

/** So many digits are always a safe integer, and so many bytes without an exponent a finite number. */
export const SAFE_DIGITS = 15
const FINITE_DIGITS = 308
/** What a byte of a number is; 0: none. */
const [DIGIT, SIGN_OR_POINT, EXPONENT] = [1, 2, 4]
const PARTS = Uint8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCodePoint(byte)
  if (/\d/.test(character)) return DIGIT
  if (/[eE]/.test(character)) return EXPONENT
  return /[+.-]/.test(character) ? SIGN_OR_POINT : 0
})

/** Whether a byte belongs to a number, which may be `undefined` behind the end of a text. */
export function isOfNumber(byte: number | undefined): boolean {
  return byte !== undefined && PARTS[byte] !== 0
}

/** The end of the number at `start`. */
export function endOfNumber(bytes: Buffer, start: number): number {
  let end = start
  while (isOfNumber(bytes[end])) end++
  return end
}

/** Whether a number is a safe integer, or a fraction that is not infinite. @see RFC 7493, section 2.2 */
export function isExactNumber(bytes: Buffer, start: number, end: number): boolean {
  let parts = 0
  for (let at = start; at < end; at++) parts |= PARTS[bytes[at]!]!
  const isInteger = parts === DIGIT
  if (parts < EXPONENT && end - start <= (isInteger ? SAFE_DIGITS : FINITE_DIGITS)) return true
  const number = Number(bytes.toString('latin1', start, end))
  return isInteger ? Number.isSafeInteger(number) : number !== Number.POSITIVE_INFINITY
}
