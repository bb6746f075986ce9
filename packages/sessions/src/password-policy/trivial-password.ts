/** Passwords that are long but trivial, or made of what everyone knows of the account. */

/** Shorter words occur in good passwords by chance. */
const MIN_WORD = 4
/** How many letters and digits must be left when the known words are taken away. */
const MIN_REST = 8
/** A unit of this length or less is trivial however often it is repeated. */
const MAX_TRIVIAL_UNIT = 4
/** Words of one account; more cannot be of use and would make the check slow. */
const MAX_WORDS = 64

type IsCommon = (folded: string) => boolean

/** The words in names and addresses: `Ada Lovelace` and `ada.l@example.com` give five. */
export function contextWords(texts: readonly string[]): string[] {
  const words = texts.slice(0, MAX_WORDS).flatMap((text) => {
    const folded = text.slice(0, 512).normalize('NFKC').toLowerCase()
    return [folded, ...folded.split(/[^\p{L}\p{N}]+/u)]
  })
  const long = [...new Set(words)].filter((word) => word.length >= MIN_WORD)
  // The longest first: "parapet" must go before "para".
  return long.toSorted((a, b) => b.length - a.length).slice(0, MAX_WORDS)
}

/** Whether the password is known words and little else. @param folded normalized, in lower case. */
export function isAbout(folded: string, words: readonly string[], isCommon: IsCommon): boolean {
  let rest = folded
  for (const word of words) rest = rest.replaceAll(word, '')
  if (rest.length === folded.length) return false
  return rest.replaceAll(/[^\p{L}\p{N}]/gu, '').length < MIN_REST || isCommon(rest)
}

/** Whether the password is one short or common unit repeated, or a run such as `abcdefgh` or `87654321`. */
export function isTrivial(folded: string, isCommon: IsCommon): boolean {
  const unit = unitOf(folded)
  if (unit.length < folded.length && (unit.length <= MAX_TRIVIAL_UNIT || isCommon(unit)))
    return true
  return isRun(folded)
}

/** The shortest text of which the password is a repetition, the last one perhaps cut off. */
function unitOf(text: string): string {
  // The failure function of Knuth, Morris and Pratt: linear in the length.
  const border = [0]
  for (let index = 1, length = 0; index < text.length; index++) {
    while (length > 0 && text[index] !== text[length]) length = border[length - 1]!
    if (text[index] === text[length]) length++
    border.push(length)
  }
  const period = text.length - (border.at(-1) ?? 0)
  return text.slice(0, period * 2 <= text.length ? period : text.length)
}

function isRun(text: string): boolean {
  const codes = Array.from(text, (character) => character.codePointAt(0)!)
  const [first = 0, second = 0] = codes
  const step = second - first
  if (Math.abs(step) > 1) return false
  return codes.every((code, index) => index === 0 || step === code - codes[index - 1]!)
}
