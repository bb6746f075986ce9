/** Masks: what a role sees of a text that it may not read. Each leaves its own output as it is. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from './errors.ts'

/** Hides most of a text. Applied to its own output it changes nothing. */
export type Mask = (text: string) => string

/** As many stars for every length, so that a mask does not tell it. */
const STARS = '****'
const MAX_SHOWN = 64

/** The masks. */
export const mask = Object.freeze({
  /** `jane@example.com` as `j****@example.com`; what has no `@` is hidden whole. */
  email: (): Mask => (text) => {
    const at = text.lastIndexOf('@')
    const first = at > 0 ? String.fromCodePoint(text.codePointAt(0)!) : ''
    return at > 0 ? `${first}${STARS}${text.slice(at)}` : STARS
  },
  /** The last `count` characters, `****4242`; a text that would leave fewer than 4 hidden is hidden whole. */
  last: (count: number): Mask => {
    requireCount(count)
    return (text) => {
      const characters = Array.from(text)
      return characters.length >= count + STARS.length
        ? STARS + characters.slice(characters.length - count).join('')
        : STARS
    }
  },
  /** The first `count` characters, `DE89****`; a text that would leave fewer than 4 hidden is hidden whole. */
  first: (count: number): Mask => {
    requireCount(count)
    return (text) => {
      const characters = Array.from(text)
      return characters.length >= count + STARS.length
        ? characters.slice(0, count).join('') + STARS
        : STARS
    }
  },
  /** Nothing but that there is something. @param shown @default '[redacted]' */
  redact:
    (shown = '[redacted]'): Mask =>
    () =>
      shown,
})

function requireCount(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > MAX_SHOWN) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('count', `must be 1 to ${MAX_SHOWN}`)
  }
}
