/** Writes a text for the place where it is put. Encode when you write, for that place, and only once. */

/** Encoders by place; see {@link encodeFor}. */
export interface Encoders {
  /** Text between tags of HTML. */
  html(text: string): string
  /** The value of an HTML attribute between quotes; not for `href`, `src`, `style` and event handlers. */
  attribute(text: string): string
  /** Text between the quotes of a JavaScript string in a script or JSON in a page. */
  js(text: string): string
  /** One segment of a path or one value of a query string. */
  url(text: string): string
  /** One field of CSV, between quotes, that no spreadsheet runs as a formula. @see RFC 4180, section 2 */
  csv(text: string): string
  /** The value of an HTTP header: visible ASCII, everything else as encoded bytes. */
  header(text: string): string
}

const HTML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const HTML_CHARACTERS = /[&<>"']/g
// Also what ends an attribute without quotes in some browser.
const ATTRIBUTE_CHARACTERS = /[^a-zA-Z0-9\u00a0-\u{10ffff}.,_ -]/gu
const JS_CHARACTERS = /[^a-zA-Z0-9 .,_:;()@*+\u00a0-\u{10ffff}-]|[\u2028\u2029]|\p{Surrogate}/gu
const URL_CHARACTERS = /[!'()*]/g
const FORMULA = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/
const NOT_HEADER = /[^\x20-\x7e]|%/gu
const LONE = /\p{Surrogate}/gu

/** A lone surrogate has no UTF-8. */
function wellFormed(text: string): string {
  return text.replaceAll(LONE, '\ufffd')
}

function percent(text: string): string {
  return [...Buffer.from(wellFormed(text))]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('')
}

/** Encodes a text for one place: `encodeFor.html(name)`. */
export const encodeFor: Encoders = Object.freeze({
  html: (text) => wellFormed(text).replaceAll(HTML_CHARACTERS, (each) => HTML[each]!),
  attribute: (text) =>
    wellFormed(text).replaceAll(
      ATTRIBUTE_CHARACTERS,
      (each) => `&#x${each.codePointAt(0)!.toString(16).toUpperCase()};`,
    ),
  js: (text) =>
    text.replaceAll(
      JS_CHARACTERS,
      (each) => `\\u${each.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`,
    ),
  url: (text) => encodeURIComponent(wellFormed(text)).replaceAll(URL_CHARACTERS, percent),
  csv(text) {
    const clean = wellFormed(text).replaceAll('\0', '')
    // A quote in front makes it a text for every spreadsheet.
    const safe = FORMULA.test(clean.trimStart()) || /^[\t\r]/.test(clean) ? `'${clean}` : clean
    return `"${safe.replaceAll('"', '""')}"`
  },
  header: (text) => wellFormed(text).replaceAll(NOT_HEADER, percent),
} satisfies Encoders)
