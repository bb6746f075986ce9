/** Exports: NDJSON that proves itself, and CSV that no spreadsheet executes. */
import { proveEntries } from '../log/reader.ts'
import { parseLeaf } from '../record/leaf.ts'
import type { LogStore, PlacedEntry } from '../store/log-store.ts'
import { projectRecord, textColumns } from '../store/projection.ts'
import type { RecordFilter } from './filter.ts'

/** What an export holds. */
export interface ExportSettings {
  readonly filters?: RecordFilter
  readonly format: 'ndjson' | 'csv'
  /** Whether each line of NDJSON carries its proof and the checkpoint it leads to. @default false */
  readonly proofs?: boolean
}

const PAGE_RECORDS = 500
const CSV_COLUMNS = ['index', 'time', ...textColumns] as const

/** Lines, each with its line break, a page in memory at a time. */
export async function* exportLines(
  store: LogStore,
  filter: RecordFilter,
  { format, proofs = false }: ExportSettings,
): AsyncGenerator<string> {
  if (format === 'csv') yield `${CSV_COLUMNS.join(',')}\r\n`
  // The log grows while it is read; what comes after the start is not part of the export.
  let before = (await store.state())?.size ?? 0
  while (before > 0) {
    const page = await store.search(filter, before, PAGE_RECORDS)
    if (page.length === 0) return
    if (format === 'csv') yield page.map(csvLine).join('')
    else if (proofs) yield (await proveEntries(store, page)).map(line).join('')
    else yield page.map(line).join('')
    before = page.at(-1)!.index
  }
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`
}

/** @see RFC 4180 */
function csvLine({ index, leaf }: PlacedEntry): string {
  const record = parseLeaf(leaf)
  if (record === undefined) return ''
  const row = projectRecord(record)
  const time = new Date(row.time).toISOString()
  return `${[index, time, ...textColumns.map((name) => csvCell(row[name] ?? ''))].join(',')}\r\n`
}

/**
 * What begins like a formula gets a quote in front, as OWASP's "CSV Injection" advises: at the start
 * of the cell, and behind whatever a spreadsheet of another country splits cells at.
 */
export function csvCell(value: string): string {
  const inner = value.replaceAll(FORMULA_WITHIN, `$1'`)
  const safe = FORMULA_AT_START.test(value) ? `'${inner}` : inner
  return /[";,\t\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

const FORMULA_AT_START = /^[\t\r\n]|^\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]/
const FORMULA_WITHIN = /([;,\t\r\n]["'\s]*)(?=[=+\-@|%\uff1d\uff0b\uff0d\uff20])/g
