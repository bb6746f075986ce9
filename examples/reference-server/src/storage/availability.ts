/** Tells a database that is away from a statement that is wrong. */
import type { SqlClient, SqlQueryable } from '@parapet/kit'
import { PARAPET_REFERENCE_DATABASE_UNAVAILABLE } from '../errors.ts'

/** A code of PostgreSQL; codes of Node, such as `EPIPE`, never match. */
const SQLSTATE = /^(?:\d[\dA-Z]|F0|HV|P0|XX)[\dA-Z]{3}$/
/**
 * The database cannot do its work now: connection, authorization, full disk or memory, shutdown and
 * recovery, statement timeout, failed disk; and a database that is missing, read-only (a standby),
 * or holds a lock for too long. @see PostgreSQL, Appendix A
 */
const AWAY = /^(?:08|28|53|57|58)|^(?:3D000|25006|55P03)$/

/**
 * PostgreSQL gives every error a code. An error without one comes from the driver: the connection was
 * refused, lost, or did not answer in time.
 */
function isAway(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof TypeError) return false
  const { code } = error as { readonly code?: unknown }
  if (typeof code !== 'string') return true
  if (code.startsWith('PARAPET_')) return false
  return !SQLSTATE.test(code) || AWAY.test(code)
}

function translate(error: unknown): unknown {
  return isAway(error)
    ? new PARAPET_REFERENCE_DATABASE_UNAVAILABLE(error.message, { cause: error })
    : error
}

/** An error that the application threw in a transaction, and that must pass unchanged. */
class Passed {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

function translating(sql: SqlQueryable): Pick<SqlQueryable, 'query'> {
  return {
    query: (text, values) =>
      sql.query(text, values).catch((error: unknown) => {
        throw translate(error)
      }) as never,
  }
}

async function passing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new Passed(error)
  }
}

async function unpacked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    throw error instanceof Passed ? error.error : translate(error)
  }
}

/**
 * Throws PARAPET_REFERENCE_DATABASE_UNAVAILABLE if the database is away, so that every route, also of
 * a plugin, responds with 503. All other errors pass unchanged.
 */
export function withAvailability(sql: SqlClient): SqlClient {
  return {
    ...translating(sql),
    transaction: (work, limits) =>
      unpacked(
        sql.transaction(
          (transaction) =>
            passing(() =>
              work({
                ...translating(transaction),
                script: (text) => unpacked(transaction.script(text)),
              }),
            ),
          limits,
        ),
      ),
    ...(sql.session !== undefined && {
      session: (work) =>
        unpacked(sql.session!((client) => passing(() => work(translating(client))))),
    }),
  }
}
