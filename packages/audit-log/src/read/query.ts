/** Queries of the log, in pages. */
import { PARAPET_AUDIT_LOG_INVALID_QUERY } from '../errors.ts'
import { toEntries, type AuditEntry } from '../log/entries.ts'
import type { LogStore } from '../log/log-store.ts'
import { readFilter, type RecordFilter, type ResolvedFilter } from '../record/filter.ts'
import type { ReaderFields } from './reader-fields.ts'

/** A query. */
export interface AuditQuery {
  readonly filters?: RecordFilter
  /** The `cursor` of the previous page. @default the newest records */
  readonly cursor?: string
  /** 1 to 500. @default 50 */
  readonly limit?: number
  /** Who reads. @default the app itself */
  readonly reader?: ReaderFields
}

/** One page, newest first. */
export interface AuditPage {
  readonly entries: readonly AuditEntry[]
  /** The cursor of the next page; `null` on the last page. */
  readonly cursor: string | null
}

/** A validated query. */
export interface ResolvedQuery {
  readonly filter: ResolvedFilter
  readonly limit: number
  /** Only entries with a smaller index are returned. */
  readonly before: number
}

const MAX_LIMIT = 500
const DEFAULT_LIMIT = 50

/** Validates a query. @throws PARAPET_AUDIT_LOG_INVALID_QUERY */
export function readQuery({
  filters = {},
  limit = DEFAULT_LIMIT,
  cursor,
}: AuditQuery): ResolvedQuery {
  const filter = readFilter(filters)
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new PARAPET_AUDIT_LOG_INVALID_QUERY(`"limit" must be an integer from 1 to ${MAX_LIMIT}`)
  }
  return { filter, limit, before: readCursor(cursor) }
}

/** Runs a validated query. */
export async function queryLog(
  store: LogStore,
  { filter, limit, before }: ResolvedQuery,
): Promise<AuditPage> {
  const found = await store.search(filter, before, limit)
  const last = found.at(-1)
  const isEnd = found.length < limit || last === undefined || last.index === 0
  return { entries: toEntries(found), cursor: isEnd ? null : String(last.index) }
}

function readCursor(cursor: string | undefined): number {
  if (cursor === undefined) return Number.MAX_SAFE_INTEGER
  if (!/^\d{1,15}$/.test(cursor)) {
    throw new PARAPET_AUDIT_LOG_INVALID_QUERY('"cursor" must be the cursor of a previous page')
  }
  return Number(cursor)
}
