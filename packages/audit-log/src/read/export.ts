/** Exports: NDJSON, optionally with proofs, and CSV without executable cells. */
import { csvCell } from '../formats/csv.ts'
import type { LogStore, PlacedEntry } from '../log/log-store.ts'
import { proveEntries } from '../log/proofs.ts'
import type { RecordFilter, ResolvedFilter } from '../record/filter.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'
import { projectRecord, textColumns } from '../record/projection.ts'

/** Contents and format of an export. */
export interface ExportSettings {
  readonly filters?: RecordFilter
  readonly format: 'ndjson' | 'csv'
  /** Whether each line of NDJSON has its inclusion proof and the checkpoint. @default false */
  readonly proofs?: boolean
}

const PAGE_RECORDS = 500
/** A client may leave during a page, which is finished nevertheless. */
const PROVEN_PAGE_RECORDS = 100
/** Columns that are no query columns; `changes` and `data` as JSON. */
const MORE = {
  user_agent: 'userAgent',
  severity: 'severity',
  status: 'status',
  phase: 'phase',
  attempt_id: 'attemptId',
  changes: 'changes',
  data: 'data',
} as const satisfies Readonly<Record<string, keyof AuditRecord>>
const CSV_COLUMNS = ['index', 'time', ...textColumns, ...Object.keys(MORE)] as const

/** Yields lines with their line breaks; one page is in memory at a time. */
export async function* exportLines(
  store: LogStore,
  filter: ResolvedFilter,
  { format, proofs = false }: ExportSettings,
): AsyncGenerator<string> {
  if (format === 'csv') yield `${CSV_COLUMNS.join(',')}\r\n`
  // Entries that are added during the export are not part of it.
  let before = (await store.state())?.size ?? 0
  while (before > 0) {
    const page = await store.search(filter, before, proofs ? PROVEN_PAGE_RECORDS : PAGE_RECORDS)
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
  const more = Object.values(MORE).map((name) => textOf(record[name]))
  const cells = [...textColumns.map((name) => row[name] ?? ''), ...more].map(csvCell)
  return `${[index, time, ...cells].join(',')}\r\n`
}

function textOf(value: AuditRecord[keyof AuditRecord]): string {
  if (value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}
