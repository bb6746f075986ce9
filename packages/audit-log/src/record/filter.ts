/** Filters for queries and exports. */
import { PARAPET_AUDIT_LOG_INVALID_QUERY } from '../errors.ts'
import type { Projection } from './projection.ts'

/** A filter; a record must match every member. */
export interface RecordFilter {
  /** An action name, or a prefix followed by `*`: `user.*`. */
  readonly action?: string
  readonly principal?: string
  readonly session?: string
  readonly tenant?: string
  readonly ip?: string
  readonly resource?: string
  readonly resourceId?: string
  readonly requestId?: string
  readonly result?: 'success' | 'failure' | 'unknown'
  /** Milliseconds since the Unix epoch, or an ISO 8601 date or time with its zone; inclusive. */
  readonly since?: number | string
  /** Like `since`, but exclusive. */
  readonly until?: number | string
}

/** A validated filter; its times are milliseconds since the Unix epoch. */
export interface ResolvedFilter extends Omit<RecordFilter, 'since' | 'until'> {
  readonly since?: number
  readonly until?: number
}

/** The query column of each text member. */
export const filterColumns = {
  principal: 'principal',
  session: 'session',
  tenant: 'tenant',
  ip: 'ip',
  resource: 'resource',
  resourceId: 'resource_id',
  requestId: 'request_id',
  result: 'result',
} as const satisfies Partial<Record<keyof RecordFilter, keyof Projection>>

type TextMember = keyof typeof filterColumns

const TEXT_MEMBERS = Object.keys(filterColumns) as TextMember[]
const MAX_TEXT = 1024

/**
 * Validates a filter strictly: ignoring a misspelt member would return too many records.
 *
 * @throws PARAPET_AUDIT_LOG_INVALID_QUERY
 */
export function readFilter(input: object): ResolvedFilter {
  const times: { since?: number; until?: number } = {}
  for (const [name, value] of Object.entries(input)) {
    if (value === undefined) continue
    if (name === 'since' || name === 'until') {
      times[name] = readTime(name, value)
    } else if (name === 'action' || TEXT_MEMBERS.includes(name as TextMember)) {
      if (typeof value !== 'string' || value.length > MAX_TEXT || !isSearchable(value)) {
        refuse(`"${name}" must be well-formed text without NUL, at most ${MAX_TEXT} characters`)
      }
    } else {
      refuse(
        `an unknown filter was given; known are action, since, until, ${TEXT_MEMBERS.join(', ')}`,
      )
    }
  }
  const filter = { ...input, ...times } as ResolvedFilter
  if (filter.action !== undefined && !/^[a-z0-9_.]*\*?$/.test(filter.action)) {
    refuse('"action" must be an action name, or a prefix followed by *')
  }
  return filter
}

const ISO_TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/

function readTime(name: string, value: unknown): number {
  const time = typeof value === 'string' && ISO_TIME.test(value) ? Date.parse(value) : value
  if (Number.isSafeInteger(time)) return time as number
  return refuse(
    `"${name}" must be milliseconds since the Unix epoch, a date, or a time like 2026-01-31T12:00:00Z`,
  )
}

/** A column cannot hold NUL; a record has U+2400 there. */
function isSearchable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\u0000')
}

/** Whether a record matches the filter. */
export function matchesFilter(filter: ResolvedFilter, row: Projection): boolean {
  if (filter.since !== undefined && row.time < filter.since) return false
  if (filter.until !== undefined && row.time >= filter.until) return false
  if (filter.action !== undefined && !matchesAction(filter.action, row.action)) return false
  return TEXT_MEMBERS.every(
    (name) => filter[name] === undefined || row[filterColumns[name]] === filter[name],
  )
}

/** Whether an action equals the pattern, or starts with the text before its `*`. */
export function matchesAction(pattern: string, action: string): boolean {
  return pattern.endsWith('*') ? action.startsWith(pattern.slice(0, -1)) : action === pattern
}

function refuse(problem: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_QUERY(problem)
}
