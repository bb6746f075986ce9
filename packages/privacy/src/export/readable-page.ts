/** The readable page of an archive: plain HTML without scripts and without anything from the network. */
import type { SourceRecord } from '../sources/source.ts'

/** How many records of each source the page shows; the files have all of them. */
export const PAGE_RECORDS = 1000
const MAX_CELL = 2000

const STYLE =
  'body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}' +
  'table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid #999;' +
  'padding:.25rem .5rem;text-align:left;vertical-align:top}'

/** The beginning of the page. */
export function openPage(title: string, lines: readonly string[]): string {
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">' +
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">` +
    `<title>${escapeHtml(title)}</title><style>${STYLE}</style></head><body>` +
    `<h1>${escapeHtml(title)}</h1>${lines.map((line) => `<p>${escapeHtml(line)}</p>`).join('')}\n`
  )
}

/** The heading of one source and the head of its table. */
export function openTable(
  name: string,
  { purpose, records, columns }: { purpose: string; records: number; columns: readonly string[] },
): string {
  const shown =
    records > PAGE_RECORDS ? ` The first ${PAGE_RECORDS} are shown; data/${name}.csv has all.` : ''
  const head = columns.map((column) => `<th>${escapeHtml(column)}</th>`).join('')
  return (
    `<h2>${escapeHtml(name)}</h2><p>${escapeHtml(purpose)}. Records: ${records}.${escapeHtml(shown)}</p>` +
    `<table><thead><tr>${head}</tr></thead><tbody>\n`
  )
}

/** One row of the table. */
export function writeTableRow(columns: readonly string[], record: SourceRecord): string {
  const cells = columns.map((column) => {
    const value = Object.hasOwn(record, column) ? record[column] : null
    const text = typeof value === 'string' ? value : value === null ? '' : JSON.stringify(value)
    const short = (text ?? '').length > MAX_CELL ? `${text?.slice(0, MAX_CELL)}…` : (text ?? '')
    return `<td>${escapeHtml(short)}</td>`
  })
  return `<tr>${cells.join('')}</tr>\n`
}

/** The end of a table. */
export const CLOSE_TABLE = '</tbody></table>\n'
/** The end of the page. */
export const CLOSE_PAGE = '</body></html>\n'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!)
}
