/** The SQL port: what plugins ask of a database. */

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

/**
 * A transaction; it ends when the function that received it returns. A statement that comes later is
 * refused with PARAPET_KIT_TRANSACTION_ENDED.
 */
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
  session?<T>(work: (session: SqlQueryable) => Promise<T>, limits?: SqlLimits): Promise<T>
  /**
   * Runs `work` in one transaction: committed when it resolves, rolled back when it rejects.
   *
   * @throws PARAPET_KIT_TRANSACTION_ROLLED_BACK `work` ignored the error of a statement, after which
   *   PostgreSQL only rolls back.
   */
  transaction<T>(work: (transaction: SqlTransaction) => Promise<T>, limits?: SqlLimits): Promise<T>
}

/** Limits of one transaction or session, or of all statements of a client. */
export interface SqlLimits {
  /**
   * How long a connection and each statement may take, in milliseconds; `Infinity`: without limit, for
   * instance for migrations. @default 8000
   */
  readonly deadlineMs?: number
}
