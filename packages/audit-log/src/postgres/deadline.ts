/** A limit on waiting for the database, so that a call that hangs stops nothing else. */
import { withDeadline, type SqlClient } from '@parapet/kit'

/**
 * Rejects a call that takes longer than `deadlineMs` by the machine's clock: the time of the records, which an
 * app may set, says nothing about a database. The call itself is not cancelled: whatever is
 * called through this client must be safe to repeat while an earlier call still runs.
 */
export function limitWaiting(sql: SqlClient, deadlineMs: number): SqlClient {
  const late = () => new Error(`the database did not answer within ${deadlineMs} ms`)
  const limit = <T>(answer: Promise<T>) => withDeadline(answer, deadlineMs, late)
  return {
    query: (text, values) => limit(sql.query(text, values)),
    transaction: (work, limits) => limit(sql.transaction(work, limits)),
  }
}
