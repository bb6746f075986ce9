/** The texts of a typed password that a stored hash may belong to. */

/**
 * The normalized text, and the text as it was typed if it differs. This package hashes NFKC; other
 * systems hash what was typed. The number of texts depends on nothing but what the client sent.
 */
export function typedTexts(password: string): readonly string[] {
  const normalized = password.normalize('NFKC')
  return normalized === password ? [normalized] : [normalized, password]
}

/** The length as users count it: code points of the normalized text. @see NIST SP 800-63B-4, 3.1.1.2 */
export function lengthOf(normalized: string): number {
  return Array.from(normalized).length
}
