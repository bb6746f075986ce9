/** The query columns of a record. The sequencer computes them, and the verifier compares them. */
import type { AuditRecord, LeafText } from './leaf.ts'

/** One row of query columns; `null` if the record has no such member. */
export interface Projection {
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly action: string
  readonly result: string
  readonly principal: string | null
  readonly session: string | null
  readonly tenant: string | null
  readonly ip: string | null
  readonly resource: string | null
  readonly resource_id: string | null
  readonly request_id: string | null
  readonly route: string | null
  readonly error_code: string | null
  readonly writer: string
  readonly seq: number | null
}

/** The text columns, in the order of the table. */
export const textColumns = [
  'id',
  'action',
  'result',
  'principal',
  'session',
  'tenant',
  'ip',
  'resource',
  'resource_id',
  'request_id',
  'route',
  'error_code',
  'writer',
] as const satisfies readonly (keyof Projection)[]

/** Computes the columns. A personal value becomes `pii:` and the pseudonym of its subject. */
export function projectRecord(record: AuditRecord): Projection {
  return {
    id: record.id,
    time: record.time,
    action: record.action,
    result: record.result,
    principal: column(record.principal),
    session: column(record.session),
    tenant: column(record.tenant),
    ip: column(record.ip),
    resource: column(record.resource),
    resource_id: column(record.resourceId),
    request_id: column(record.requestId),
    route: column(record.route),
    error_code: column(record.errorCode),
    writer: record.writer,
    seq: record.seq ?? null,
  }
}

const DAY_MS = 86_400_000
/** Most entries are of the same day as the one before. */
let lastMonth = { day: -1, text: '' }

/** The first day of the month of a record; PostgreSQL files its entry under it. */
export function monthOf(time: number): string {
  const day = Math.floor(time / DAY_MS)
  if (lastMonth.day !== day) lastMonth = { day, text: formatMonth(time) }
  return lastMonth.text
}

function formatMonth(time: number): string {
  const [year, month] = new Date(time).toISOString().split(/(?<=\d)-/)
  // Years after 9999 are written as +010000.
  return `${year!.replace(/^\+0*/, '')}-${month}-01`
}

/** The names of stored columns that differ from the record. */
export function editedColumns(
  record: AuditRecord,
  columns: Readonly<Record<string, unknown>>,
): string[] {
  const row: Readonly<Record<string, string | number | null>> = {
    ...projectRecord(record),
    ...('month' in columns ? { month: monthOf(record.time) } : undefined),
  }
  return Object.keys(row).filter((name) => {
    const expected = row[name]!
    const actual = columns[name]
    return actual !== expected && (expected === null || String(actual) !== String(expected))
  })
}

/** PostgreSQL text cannot hold NUL, so columns have U+2400 instead. The entry has the exact text. */
function column(value: LeafText | undefined): string | null {
  if (value === undefined) return null
  const text = typeof value === 'string' ? value : `pii:${value.subject}`
  return text.includes('\u0000') ? text.replaceAll('\u0000', '\u2400') : text
}
