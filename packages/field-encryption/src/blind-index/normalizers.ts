/**
 * Normalizers of blind indexes. A normalizer never changes silently: where it had to, its former form
 * is kept, so that `where` still finds the rows whose tokens were written before.
 */

/** What a step does now, and what it did before. */
interface Step {
  readonly now: (text: string) => string
  readonly before: (text: string) => string
}

const same = (step: (text: string) => string): Step => ({ now: step, before: step })

const steps = {
  /** One spelling for texts that look the same. @see Unicode Standard Annex 15 */
  nfkc: same((text) => text.normalize('NFKC')),
  /** Full case folding: STRASSE is straße, ΟΔΟΣ is οδοσ. @see Unicode Standard, section 3.13 */
  lower: { now: foldCase, before: (text) => text.toLowerCase() },
  trim: same((text) => text.trim()),
  /** Keeps the ASCII digits only, for telephone and card numbers. */
  digits: same((text) => text.replaceAll(/[^0-9]/g, '')),
} satisfies Record<string, Step>

/** A step that changes a text before it is hashed. */
export type Normalizer = keyof typeof steps

/** The names of the normalizers. */
export const normalizerNames = Object.keys(steps)

/** Applies normalizers in their order. @param form `before`: as earlier versions did */
export function normalizeText(
  text: string,
  normalize: readonly Normalizer[],
  form: keyof Step = 'now',
): string {
  return normalize.reduce((value, step) => steps[step][form](value), text)
}

const NON_ASCII = /[^\0-\x7f]/
/** It is no capital of `i` in full case folding, but `toUpperCase` makes it one. */
const DOTLESS_I = 'ı'

/**
 * Full case folding, for which JavaScript has no function. Each character is lowered, raised and
 * lowered again: `ß` and `ẞ` become `ss`, and every sigma `σ`. Letter by letter, because a whole text
 * would get a final sigma. It agrees with CaseFolding.txt (C and F), except that Cherokee is folded to
 * its small letters.
 */
function foldCase(text: string): string {
  if (!NON_ASCII.test(text)) return text.toLowerCase()
  let folded = ''
  for (const letter of text) folded += letter === DOTLESS_I ? letter : foldLetter(letter)
  return folded
}

function foldLetter(letter: string): string {
  const raised = mapLetters(letter.toLowerCase(), (each) => each.toUpperCase())
  return mapLetters(raised, (each) => each.toLowerCase())
}

function mapLetters(text: string, map: (letter: string) => string): string {
  let mapped = ''
  for (const letter of text) mapped += map(letter)
  return mapped
}
