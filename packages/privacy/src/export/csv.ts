/** CSV that a spreadsheet cannot take for formulas. @see RFC 4180; OWASP, CSV Injection */
import type { SourceRecord } from '../sources/source.ts'

/** A cell that begins with one of these may be run as a formula; full-width forms count in some programs. */
const FORMULA = /^[\s\0]*[=+\-@|%\uff1d\uff0b\uff0d\uff20]/
/**
 * A spreadsheet whose list separator is not the comma splits cells there, and a cell begins behind it; so it does
 * at a line end, where it does not see the quotation mark.
 */
const INNER_FORMULA = /([;\t\r\n]["\s\0]*)(?=[=+\-@|%\uff1d\uff0b\uff0d\uff20])/g
const QUOTED = /[",;\r\n\t]|^\s|\s$/
/** Writes one row of text cells, with CRLF. */
export function writeCsvRow(cells: readonly unknown[]): string {
  return `${cells.map(writeCell).join(',')}\r\n`
}

/** One row of a record, in the order of the columns. */
export function writeCsvRecord(columns: readonly string[], record: SourceRecord): string {
  return writeCsvRow(columns.map((column) => (Object.hasOwn(record, column) ? record[column] : '')))
}

function writeCell(value: unknown): string {
  if (value === null || value === undefined) return ''
  // A plain number is no formula, although it may begin with a sign.
  if (typeof value === 'number' && Number.isFinite(value)) return String(value)
  const given = typeof value === 'string' ? value : JSON.stringify(value)
  const [isDangerous, isQuoted] = [FORMULA.test(given), QUOTED.test(given)]
  // Most cells, in two looks at their characters.
  if (!isDangerous && !isQuoted) return given
  const text = given.replaceAll(INNER_FORMULA, "$1'").replaceAll('"', '""')
  return isDangerous ? `"'${text}"` : `"${text}"`
}
