/** The SQL port on PGlite, which runs in this process. */
import { PARAPET_KIT_TRANSACTION_ROLLED_BACK } from '../errors.ts'
import type { SqlClient, SqlResult } from './sql.ts'
import { copyOf, createLife, requireOwnScope } from './statement-guard.ts'

/** The part of a PGlite database that is used. */
export interface PgliteLike extends PgliteQueryable {
  transaction<T>(work: (transaction: PgliteQueryable) => Promise<T>): Promise<T>
}

/** The part of a PGlite transaction that is used. */
interface PgliteQueryable {
  query(text: string, values?: unknown[]): Promise<PgliteResultLike>
  exec(text: string): Promise<unknown>
}

/** The part of a PGlite result that is used. */
interface PgliteResultLike {
  rows: unknown[]
  fields: readonly unknown[]
  affectedRows?: number
}

/** Makes the port. */
export function fromPglite(db: PgliteLike): SqlClient {
  return {
    async query(text, values) {
      requireOwnScope(text)
      return pgliteResult(await db.query(text, copyOf(values)))
    },
    transaction: (work) =>
      db.transaction(async (transaction) => {
        const alive = createLife('transaction')
        const result = await work({
          async query(text, values) {
            alive.require()
            requireOwnScope(text)
            return pgliteResult(await transaction.query(text, copyOf(values)))
          },
          async script(text) {
            alive.require()
            requireOwnScope(text)
            await transaction.exec(text)
          },
        }).finally(alive.end)
        await requireAlive(transaction)
        return result
      }),
  }
}

/** PGlite hides the answer to COMMIT, but a failed transaction accepts no statement. */
async function requireAlive(transaction: PgliteQueryable): Promise<void> {
  try {
    await transaction.query('SELECT 1')
  } catch (error) {
    throw new PARAPET_KIT_TRANSACTION_ROLLED_BACK({ cause: error })
  }
}

function pgliteResult<Row>({ rows, affectedRows }: PgliteResultLike): SqlResult<Row> {
  return { rows: rows as Row[], rowCount: affectedRows || rows.length }
}
