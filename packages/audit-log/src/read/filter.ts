/** What a reader may ask for. */
import { PARAPET_AUDIT_LOG_INVALID_QUERY } from '../errors.ts'
import type { Projection } from '../store/projection.ts'

/** Which records; every member narrows. */
export interface RecordFilter {
  /** A name, or a prefix with `*` at its end: `user.*`. */
  readonly action?: string
  readonly principal?: string
  readonly session?: string
  readonly tenant?: string
  readonly ip?: string
  readonly resource?: string
  readonly resourceId?: string
  readonly requestId?: string
  readonly result?: 'success' | 'failure' | 'unknown'
  /** Milliseconds since the Unix epoch; included. */
  readonly since?: number
  /** Milliseconds since the Unix epoch; not included. */
  readonly until?: number
}

/** The column behind each text member. */
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
 * Reads a filter strictly: a misspelt member would otherwise show more than was asked for.
 *
 * @throws PARAPET_AUDIT_LOG_INVALID_QUERY
 */
export function readFilter(input: object): RecordFilter {
  for (const [name, value] of Object.entries(input)) {
    if (value === undefined) continue
    if (name === 'since' || name === 'until') {
      if (!Number.isSafeInteger(value)) refuse(`"${name}" must be a time in milliseconds`)
    } else if (name === 'action' || TEXT_MEMBERS.includes(name as TextMember)) {
      if (typeof value !== 'string' || value.length > MAX_TEXT || !value.isWellFormed()) {
        refuse(`"${name}" must be a text of at most ${MAX_TEXT} characters`)
      }
    } else {
      refuse('there is no such filter')
    }
  }
  const filter = input as RecordFilter
  if (filter.action !== undefined && !/^[a-z0-9_.]*\*?$/.test(filter.action)) {
    refuse('"action" must be a name, or a prefix with * at its end')
  }
  return filter
}

/** Whether a record is asked for. */
export function matchesFilter(filter: RecordFilter, row: Projection): boolean {
  if (filter.since !== undefined && row.time < filter.since) return false
  if (filter.until !== undefined && row.time >= filter.until) return false
  if (filter.action !== undefined && !matchesAction(filter.action, row.action)) return false
  return TEXT_MEMBERS.every(
    (name) => filter[name] === undefined || row[filterColumns[name]] === filter[name],
  )
}

/** Whether an action has the name, or begins with what stands before `*`. */
export function matchesAction(pattern: string, action: string): boolean {
  return pattern.endsWith('*') ? action.startsWith(pattern.slice(0, -1)) : action === pattern
}

function refuse(problem: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_QUERY(problem)
}
