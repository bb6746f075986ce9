/** Masks: what a role sees of a text that it may not read. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'

/** Hides most of a text. A mask leaves its own output unchanged. */
export type Mask = (text: string) => string

/** The same number of stars for every length, so that a mask does not reveal the length. */
const STARS = '****'
const MAX_SHOWN = 64

/** The masks. */
export const mask = Object.freeze({
  /** Shows `jane@example.com` as `j****@example.com`. A text without `@` is hidden completely. */
  email: (): Mask => (text) => {
    const at = text.lastIndexOf('@')
    const first = at > 0 ? String.fromCodePoint(text.codePointAt(0)!) : ''
    return at > 0 ? `${first}${STARS}${text.slice(at)}` : STARS
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
