/**
 * How a signature is written. Every signature names words, of which one must occur; only there its
 * pattern is tried, from the beginning of the word. A pattern has no unbounded repetition, so each try
 * costs at most a constant, and all of them together are linear in the length of the text.
 *
 * Texts are decoded and in lower case; a run of blanks is one blank or, if it has one, one line feed.
 */

/** Where a signature applies; all parts if it is left out. `agent` is a header as well. */
export type SignaturePart =
  | 'path'
  | 'query'
  | 'header'
  | 'agent'
  | 'cookie'
  | 'body'
  | 'filename'
  | 'name'

/** What to look for. */
export interface Signature {
  /** `class.what`. */
  readonly id: string
  /**
   * 0 to 1. From the inspector's threshold on it is an attack by itself; below, it is a hint, which
   * the learned model must confirm.
   */
  readonly weight: number
  /** Words, of which one must occur. */
  readonly at: readonly string[]
  /** Tried at the beginning of the word; without it the word alone is enough. */
  readonly match?: RegExp
  /** As a shell reads the text as well, without quotes and empty expansions. @default false */
  readonly shell?: boolean
  /** The word must not be a part of a longer one. @default false */
  readonly whole?: boolean
  readonly parts?: readonly SignaturePart[]
}

/** What all signatures of a table share. */
type Rest = Pick<Signature, 'shell' | 'parts' | 'whole'>

/**
 * Writes a signature.
 *
 * @param at words separated by blanks, or a list if they contain blanks.
 */
export function signature(
  id: string,
  weight: number,
  at: string | readonly string[],
  match?: RegExp,
  rest: Rest = {},
): Signature {
  const words = typeof at === 'string' ? at.split(/\s+/) : at
  const sticky = match === undefined ? {} : { match: new RegExp(match.source, 'y') }
  return { id, weight, at: words, ...sticky, ...rest }
}
