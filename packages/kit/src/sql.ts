/** The SQL port: PostgreSQL through the user's own `pg` pool, or PGlite in the same process. */
import { PARAPET_KIT_INVALID_ARGUMENT } from './errors.ts'

/** What a statement answered. */
export interface SqlResult<Row> {
  readonly rows: Row[]
  /** Rows written by INSERT, UPDATE, DELETE or MERGE; else the number of `rows`. */
  readonly rowCount: number
}

/** Sends statements: on any connection, or inside one transaction. */
export interface SqlQueryable {
  /**
   * One statement, PostgreSQL dialect, values as `$1`, `$2`. Drivers differ in how they hand over
   * `int8`, `numeric` and dates; cast in SQL (`::text`, `::float8`) where that matters.
   */
  query<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<SqlResult<Row>>
}

/** A transaction; it ends when the function that got it does. */
export interface SqlTransaction extends SqlQueryable {
  /** Several statements without values, as a migration has them. */
  script(text: string): Promise<void>
}

/** The port that plugins take as their `sql` option. */
export interface SqlClient extends SqlQueryable {
  /** Runs `work` in one transaction: committed when it resolves, rolled back when it rejects. */
  transaction<T>(work: (transaction: SqlTransaction) => Promise<T>): Promise<T>
}

/** What is used of a `pg` pool. */
export interface PgPoolLike {
  query(text: string, values?: unknown[]): Promise<PgResultLike>
  connect(): Promise<PgClientLike>
}

/** What is used of a `pg` client. */
interface PgClientLike {
  query(text: string, values?: unknown[]): Promise<PgResultLike>
  release(error?: Error | boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
}

/** What is used of a `pg` result. */
interface PgResultLike {
  rows: unknown[]
  rowCount: number | null
}

/** What is used of a PGlite database. */
export interface PgliteLike extends PgliteQueryable {
  transaction<T>(work: (transaction: PgliteQueryable) => Promise<T>): Promise<T>
}

/** What is used of a PGlite transaction. */
interface PgliteQueryable {
  query(text: string, values?: unknown[]): Promise<PgliteResultLike>
  exec(text: string): Promise<unknown>
}

/** What is used of a PGlite result. */
interface PgliteResultLike {
  rows: unknown[]
  fields: readonly unknown[]
  affectedRows?: number
}

/**
 * Makes the port from a `pg` pool or a PGlite database. It owns neither: closing them stays with
 * whoever made them. A pool needs its own `'error'` listener, as `pg` demands.
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
    async transaction(work) {
      const client = await pool.connect()
      let broken: Error | undefined
      const breaks = (error: Error): void => {
        broken = error
      }
      // The pool listens to idle clients only; an 'error' nobody hears would end the process.
      client.on('error', breaks)
      try {
        await client.query('BEGIN')
        const result = await work({
          query: async (text, values) => pgResult(await client.query(text, copyOf(values))),
          script: async (text) => void (await client.query(text)),
        })
        await client.query('COMMIT')
        return result
      } catch (error) {
        // A connection that cannot even roll back must not return to the pool with an open transaction.
        await client.query('ROLLBACK').catch(breaks)
        throw error
      } finally {
        client.off('error', breaks)
        client.release(broken)
      }
    },
  }
}

function pgResult<Row>({ rows, rowCount }: PgResultLike): SqlResult<Row> {
  return { rows: rows as Row[], rowCount: rowCount ?? 0 }
}

function fromPglite(db: PgliteLike): SqlClient {
  return {
    query: async (text, values) => pgliteResult(await db.query(text, copyOf(values))),
    transaction: (work) =>
      db.transaction((transaction) =>
        work({
          query: async (text, values) =>
            pgliteResult(await transaction.query(text, copyOf(values))),
          script: async (text) => void (await transaction.exec(text)),
        }),
      ),
  }
}

function pgliteResult<Row>({ rows, affectedRows }: PgliteResultLike): SqlResult<Row> {
  return { rows: rows as Row[], rowCount: affectedRows || rows.length }
}

function copyOf(values: readonly unknown[] | undefined): unknown[] | undefined {
  return values === undefined ? undefined : [...values]
}
