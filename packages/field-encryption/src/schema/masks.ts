/** Masks: what a role sees of a text that it may not read. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'

/** Hides most of a text. A mask leaves its own output unchanged. */
export type Mask = (text: string) => string

/** The same number of stars for every length, so that a mask does not reveal the length. */
const STARS = '****'
const MAX_SHOWN = 64
/** One address without spaces, quotes, brackets or a list. */
const ADDRESS = /^([^\s@<>"(),:;]+)@([^\s@<>"(),:;]+)$/

/** The masks. */
export const mask = Object.freeze({
  /**
   * Shows `jane@example.com` as `j****@example.com`, and `a@b.c`, whose local part has one character, as
   * `****@b.c`. A text that is not one address is hidden completely.
   */
  email: (): Mask => (text) => {
    const [, local, domain] = ADDRESS.exec(text) ?? []
    if (local === undefined || domain === undefined) return STARS
    const [first = '', ...rest] = local
    const isMasked = local === STARS || rest.join('') === STARS
    return isMasked ? text : `${rest.length === 0 ? '' : first}${STARS}@${domain}`
  },
  /**
   * Shows the last `count` characters: `****4242`. A text in which fewer than 4 characters would be
   * hidden is hidden completely.
   *
   * @param count 1 to 64. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
   */
  last: (count: number): Mask => {
    requireCount(count)
    return (text) => {
      const characters = Array.from(text)
      return characters.length >= count + STARS.length
        ? STARS + characters.slice(characters.length - count).join('')
        : STARS
    }
  },
  /**
   * Shows the first `count` characters: `DE89****`. A text in which fewer than 4 characters would be
   * hidden is hidden completely.
   *
   * @param count 1 to 64. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
   */
  first: (count: number): Mask => {
    requireCount(count)
    return (text) => {
      const characters = Array.from(text)
      return characters.length >= count + STARS.length
        ? characters.slice(0, count).join('') + STARS
        : STARS
    }
  },
  /** Shows a fixed text instead of the value. @param shown @default '[redacted]' */
  redact:
    (shown = '[redacted]'): Mask =>
    () =>
      shown,
})

function requireCount(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > MAX_SHOWN) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the count of a mask',
      `must be an integer from 1 to ${MAX_SHOWN}, got ${String(count)}`,
    )
  }
}
