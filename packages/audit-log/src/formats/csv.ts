/** CSV cells that a spreadsheet does not execute. @see RFC 4180 */

const FORMULA_AT_START = /^[\t\r\n]|^\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]/
const FORMULA_WITHIN = /([;,\t\r\n]["'\s]*)(?=[=+\-@|%\uff1d\uff0b\uff0d\uff20])/g

/**
 * Writes one cell. A quote is added before text that a spreadsheet could read as a formula: at the
 * start of the cell, and after each separator that some locale splits cells at.
 *
 * @see https://owasp.org/www-community/attacks/CSV_Injection
 */
export function csvCell(value: string): string {
  const inner = value.replaceAll(FORMULA_WITHIN, `$1'`)
  const safe = FORMULA_AT_START.test(value) ? `'${inner}` : inner
  return /[";,\t\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
