/** Codes as users type them, with every keyboard and from every clipboard. */

/** Longer than any spelling of a code. */
const MAX_TYPED = 64
/** White space, hyphens and dashes, the minus sign, and invisible characters such as U+200B. */
const SEPARATORS = /[\p{White_Space}\p{Dash_Punctuation}\p{Format}\u2212]/gu
const DIGIT = /\p{Decimal_Number}/u
const NON_ASCII_DIGITS = /(?![0-9])\p{Decimal_Number}/gu

/**
 * Removes what separates the groups of a code, and replaces the digits and full-width letters of
 * other scripts by their ASCII forms: `458-513` and `４５８ ５１３` become `458513`.
 *
 * @returns `''` for a text that is too long for any code.
 */
export function normalizeCode(typed: string): string {
  if (typed.length > MAX_TYPED) return ''
  const plain = typed.normalize('NFKC').replaceAll(SEPARATORS, '')
  return plain.replaceAll(NON_ASCII_DIGITS, (digit) => String(valueOf(digit)))
}

/** Unicode assigns the digits of a script to ten consecutive code points, from zero to nine. */
function valueOf(digit: string): number {
  const code = digit.codePointAt(0)!
  let zero = code
  while (DIGIT.test(String.fromCodePoint(zero - 1))) zero--
  return (code - zero) % 10
}
