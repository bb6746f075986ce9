/** The SQL port: PostgreSQL through the user's own `pg` pool, or PGlite in the same process. */
import { PARAPET_KIT_INVALID_ARGUMENT, PARAPET_KIT_TRANSACTION_ROLLED_BACK } from '../errors.ts'

/** The result of a statement. */
export interface SqlResult<Row> {
  readonly rows: Row[]
  /** Rows changed by INSERT, UPDATE, DELETE or MERGE; otherwise the number of `rows`. */
  readonly rowCount: number
}

/** Sends statements: on any connection, or inside one transaction. */
export interface SqlQueryable {
  /**
   * Runs one statement in PostgreSQL's dialect, values as `$1`, `$2`. Drivers differ in how they
   * return `int8`, `numeric` and dates; cast in SQL (`::text`, `::float8`) where that matters.
   */
  query<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<SqlResult<Row>>
}

/** A transaction; it ends when the function that received it returns. */
export interface SqlTransaction extends SqlQueryable {
  /** Runs several statements without values. */
  script(text: string): Promise<void>
}

/** The port that plugins take as their `sql` option. */
export interface SqlClient extends SqlQueryable {
  /**
   * Runs `work` on one connection, outside a transaction: for settings and locks of a session.
   * @default the statements run on any connection
   */
  session?<T>(work: (session: SqlQueryable) => Promise<T>): Promise<T>
  /**
   * Runs `work` in one transaction: committed when it resolves, rolled back when it rejects.
   *
   * @throws PARAPET_KIT_TRANSACTION_ROLLED_BACK `work` ignored the error of a statement, after which
   *   PostgreSQL only rolls back.
   */
  transaction<T>(work: (transaction: SqlTransaction) => Promise<T>): Promise<T>
}

/** The part of a `pg` pool that is used. */
export interface PgPoolLike {
  query(text: string, values?: unknown[]): Promise<PgResultLike>
  connect(): Promise<PgClientLike>
}

/** The part of a `pg` client that is used. */
interface PgClientLike {
  query(text: string, values?: unknown[]): Promise<PgResultLike>
  release(error?: Error | boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
}

/** The part of a `pg` result that is used. */
interface PgResultLike {
  rows: unknown[]
  rowCount: number | null
  /** The command tag's first word. */
  command?: string
}

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

/**
 * Makes the port from a `pg` pool or a PGlite database. The caller closes it. A pool needs its own
 * `'error'` listener, as `pg` requires.
 *
 * @throws PARAPET_KIT_INVALID_ARGUMENT the value is neither.
 */
export function createSqlClient(source: PgPoolLike | PgliteLike): SqlClient {
  if ('transaction' in source && 'exec' in source) return fromPglite(source)
  if ('connect' in source && 'query' in source) return fromPool(source)
  throw new PARAPET_KIT_INVALID_ARGUMENT('the SQL source', 'must be a pg Pool or a PGlite database')
}

function fromPool(pool: PgPoolLike): SqlClient {
  return {
    query: async (text, values) => pgResult(await pool.query(text, copyOf(values))),
    session: (work) => withClient(pool, (client) => work(queryableOf(client))),
    transaction: (work) =>
      withClient(pool, async (client, discard) => {
        try {
          await client.query('BEGIN')
          const result = await work({
            ...queryableOf(client),
            script: async (text) => void (await client.query(text)),
          })
          // After a failed statement PostgreSQL answers COMMIT with ROLLBACK, and without an error.
          const { command } = await client.query('COMMIT')
          if (command === 'ROLLBACK') throw new PARAPET_KIT_TRANSACTION_ROLLED_BACK()
          return result
        } catch (error) {
          // A connection that cannot roll back must not return to the pool with an open transaction.
          await client.query('ROLLBACK').catch(discard)
          throw error
        }
      }),
  }
}

/** @param work may call `discard`: the connection then does not return to the pool. */
async function withClient<T>(
  pool: PgPoolLike,
  work: (client: PgClientLike, discard: (error: Error) => void) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  const discard = (error: Error): void => {
    broken = error
  }
  // The pool listens to idle clients only; an 'error' event without a listener ends the process.
  client.on('error', discard)
  try {
    return await work(client, discard)
  } finally {
    client.off('error', discard)
    client.release(broken)
  }
}

function queryableOf(client: PgClientLike): SqlQueryable {
  return { query: async (text, values) => pgResult(await client.query(text, copyOf(values))) }
}

function pgResult<Row>({ rows, rowCount }: PgResultLike): SqlResult<Row> {
  return { rows: rows as Row[], rowCount: rowCount ?? 0 }
}

function fromPglite(db: PgliteLike): SqlClient {
  return {
    query: async (text, values) => pgliteResult(await db.query(text, copyOf(values))),
    transaction: (work) =>
      db.transaction(async (transaction) => {
        const result = await work({
          query: async (text, values) =>
            pgliteResult(await transaction.query(text, copyOf(values))),
          script: async (text) => void (await transaction.exec(text)),
        })
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

function copyOf(values: readonly unknown[] | undefined): unknown[] | undefined {
  return values === undefined ? undefined : [...values]
}
