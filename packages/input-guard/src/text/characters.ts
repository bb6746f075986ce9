/** Characters that no field should contain, by the Unicode properties that name them. */

/** Half of a surrogate pair: no UTF-8 and no database can store it. */
const LONE_SURROGATE = /\p{Surrogate}/u
/** C0 and C1 controls without tab, line feed and carriage return. */
const CONTROL_IN_LINES = /[^\P{Cc}\t\n\r]/u
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]/u
/** Characters that reorder the text around them. @see Unicode Technical Report 36, section 3 */
const BIDI_CONTROL = /\p{Bidi_Control}/u
/**
 * Characters without a glyph, which make two equal looking texts different. The joiners U+200C and U+200D
 * are needed by Persian, Indic scripts and emoji, and emoji need variation selectors.
 */
const INVISIBLE =
  // oxlint-disable-next-line no-misleading-character-class -- each is a character by itself
  /[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]/u

/** Most texts are of these characters, and none of them is forbidden. */
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/

/** What {@link findForbiddenCharacter} finds. */
export type CharacterFault =
  | 'lone_surrogate'
  | 'control_character'
  | 'bidi_character'
  | 'invisible_character'

/**
 * The first kind of forbidden character in a text. Reads each character at most five times.
 *
 * @param lines whether line breaks and tabs are allowed.
 */
export function findForbiddenCharacter(text: string, lines: boolean): CharacterFault | undefined {
  if (PRINTABLE_ASCII.test(text)) return undefined
  if (LONE_SURROGATE.test(text)) return 'lone_surrogate'
  if ((lines ? CONTROL_IN_LINES : CONTROL).test(text)) return 'control_character'
  if (BIDI_CONTROL.test(text)) return 'bidi_character'
  return INVISIBLE.test(text) ? 'invisible_character' : undefined
}

/** Whether a text contains half of a surrogate pair. */
export function hasLoneSurrogate(text: string): boolean {
  return LONE_SURROGATE.test(text)
}
