/** Characters that no field should contain, by the Unicode properties that name them. */

/** C0 and C1 controls without tab, line feed and carriage return. */
const CONTROL_IN_LINES = /[^\P{Cc}\t\n\r]/u
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]/u
/** Characters that reorder the text around them. @see Unicode Technical Report 36, section 3 */
const BIDI_CONTROL = /\p{Bidi_Control}/u
/**
 * Characters without a glyph, which make two equal looking texts different; private use and noncharacters, which
 * mean nothing to others. @see Unicode Standard, sections 5.21, 23.5 and 23.7
 */
const INVISIBLE =
  // oxlint-disable-next-line no-misleading-character-class -- each is a character by itself
  /(?![\u200c\u200d\ufe00-\ufe0f\u{e0100}-\u{e01ef}])\p{Default_Ignorable_Code_Point}|[\u2800\ufff9-\ufffb\u{1d159}\p{Co}\p{Noncharacter_Code_Point}]/u
/**
 * A joiner that joins nothing. Persian, Indic and other scripts need joiners after their letters, emoji between
 * two emoji. @see RFC 5892, appendix A
 */
const LOOSE_JOINER =
  /(?<![\p{Script=Arabic}\p{Script=Syriac}\p{Script=Nko}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Lao}\p{Script=Tibetan}\u064b-\u0655\u0670])(?:\u200c|\u200d(?!(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f]\u200d)\p{Extended_Pictographic}))/u
/** A variation selector after a character that has no variants. */
const LOOSE_SELECTOR =
  /(?<!\p{Emoji})[\ufe0e\ufe0f]|(?<![\p{Script=Han}\p{Script=Myanmar}\p{Script=Phags_Pa}\p{Sm}])[\ufe00-\ufe0d]|(?<!\p{Script=Han})[\u{e0100}-\u{e01ef}]/u
const JOINER = /[\u200c\u200d]/
const SELECTOR =
  // oxlint-disable-next-line no-misleading-character-class -- each is a character by itself
  /[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/u
/** More marks than any language puts on one letter; normalising long runs takes quadratic time. @see UAX 15, section 13 */
const MAX_MARKS = 30
/** Some marks in a row; the most that one match can have is too many. */
const MARKS = new RegExp(`\\p{M}{5,${MAX_MARKS + 1}}`, 'gu')

const PRINTABLE_ASCII = /^[\x20-\x7e]*$/
/** The characters below U+0300 of which none is forbidden, and the same with line breaks and tabs. */
const PLAIN = /^[\x20-\x7e\xa0-\xac\xae-\u02ff]*$/
const PLAIN_LINES = /^[\t\n\r\x20-\x7e\xa0-\xac\xae-\u02ff]*$/

/** What {@link findForbiddenCharacter} finds. */
export type CharacterFault =
  | 'lone_surrogate'
  | 'control_character'
  | 'bidi_character'
  | 'invisible_character'
  | 'combining_marks'

/**
 * The first kind of forbidden character in a text, in linear time.
 *
 * @param lines whether line breaks and tabs are allowed.
 */
export function findForbiddenCharacter(text: string, lines: boolean): CharacterFault | undefined {
  if (isPlain(text, lines)) return undefined
  if (hasLoneSurrogate(text)) return 'lone_surrogate'
  if ((lines ? CONTROL_IN_LINES : CONTROL).test(text)) return 'control_character'
  if (BIDI_CONTROL.test(text)) return 'bidi_character'
  if (INVISIBLE.test(text)) return 'invisible_character'
  // What looks behind each character is slow, and most texts have neither.
  if (JOINER.test(text) && LOOSE_JOINER.test(text)) return 'invisible_character'
  if (SELECTOR.test(text) && LOOSE_SELECTOR.test(text)) return 'invisible_character'
  return hasLongMarks(text) ? 'combining_marks' : undefined
}

/** Whether a text has ordinary characters below U+0300 only. It is in NFC. @see UAX 15, section 9 */
export function isPlain(text: string, lines = false): boolean {
  return PRINTABLE_ASCII.test(text) || (lines ? PLAIN_LINES : PLAIN).test(text)
}

/** Whether a text must not be normalised, because that could take long. */
export function hasLongMarks(text: string): boolean {
  if (!mayHaveLongMarks(text)) return false
  for (const [marks] of text.matchAll(MARKS)) {
    if (marks.length > MAX_MARKS && Array.from(marks).length > MAX_MARKS) return true
  }
  return false
}

/** The test of each character by an expression for all marks would take most of the time of a check. */
function mayHaveLongMarks(text: string): boolean {
  if (text.length <= MAX_MARKS) return false
  let marks = 0
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    const page = pages[unit >> 8] ?? readPage(unit >> 8)
    marks = page[unit & 0xff] === 1 ? marks + 1 : 0
    if (marks > MAX_MARKS) return true
  }
  return false
}

/** Which units of UTF-16 are marks, or half of a character that may be one; each page is read when a text needs it. */
const pages: (Uint8Array | undefined)[] = Array.from({ length: 256 }, () => undefined)
const MARK_OR_HALF = /[\p{M}\p{Cs}]/u

function readPage(page: number): Uint8Array {
  const units = Array.from({ length: 256 }, (_, at) => String.fromCharCode((page << 8) + at))
  return (pages[page] = Uint8Array.from(units, (unit) => Number(MARK_OR_HALF.test(unit))))
}

/** Whether a text contains half of a surrogate pair: no UTF-8 and no database can store it. */
export function hasLoneSurrogate(text: string): boolean {
  return !text.isWellFormed()
}
