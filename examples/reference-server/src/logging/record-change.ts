/** Records a change of a resource in the audit log, before the database commits it. */
import { diff, type AuditRule, type Change } from '@parapet/audit-log'
import type { SqlClient, SqlTransaction } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { actingAs } from '../storage/row-security.ts'

/** What is changed, and by which action. */
export interface Changed {
  readonly action: string
  readonly resource: string
  readonly id: string
  /** Members whose values are personal or long: the record has only their names. */
  readonly hidden: readonly string[]
}

/** A row before and after the change; `{}`: there was none, or there is none any more. */
export interface Rows<Row extends object> {
  readonly before: Partial<Row>
  readonly after: Row
}

/** The server sets these; the record has its own id and time. */
const BOOKKEEPING = new Set(['/id', '/version', '/createdAt', '/updatedAt'])
const changedIds = new WeakMap<FastifyRequest, string>()

const idParameter = (request: FastifyRequest) => (request.params as { id?: string }).id

/**
 * The audit rule of a route that changes resources. The record of the route says how the request ended,
 * and names the resource, also one that was created.
 */
export function changes(action: string) {
  return {
    action,
    resourceId: (request: FastifyRequest) => changedIds.get(request) ?? idParameter(request),
  } satisfies AuditRule
}

/**
 * Runs a change in a transaction that commits when its record is on disk: there is no change without
 * a record. The database shows and changes only rows that the principal may see.
 *
 * @param run changes the row in the transaction.
 * @returns the row after the change.
 */
export function recordChange<Row extends object>(
  sql: SqlClient,
  request: FastifyRequest,
  { action, resource, id, hidden }: Changed,
  run: (sql: SqlTransaction) => Promise<Rows<Row>>,
): Promise<Row> {
  return actingAs(sql, request.principal, async (transaction) => {
    const { before, after } = await run(transaction)
    changedIds.set(request, id)
    const hiddenPaths = new Set(hidden.map((name) => `/${name}`))
    const changed: Change[] = diff(before, after)
      .filter(({ path }) => !BOOKKEEPING.has(path))
      .map((change) => (hiddenPaths.has(change.path) ? { path: change.path } : change))
    await request.audit(action, { resource, resourceId: id, changes: changed })
    return after
  })
}
