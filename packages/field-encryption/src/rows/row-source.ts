/** The port through which a table's stored rows are read and rewritten. */

/** A row as the database stores it. */
export type Row = Readonly<Record<string, unknown>>

/** Reads and rewrites stored rows. `table.sql.rowSource(sql)` creates one for PostgreSQL. */
export interface RowSource {
  /** Returns the next rows after a cursor, in a fixed order. @param cursor `null`: from the first row */
  read(cursor: string | null, limit: number): Promise<readonly Row[]>
  /** The cursor of a row. */
  cursorOf(row: Row): string
  /**
   * Writes the encrypted columns of `after`, if the stored row still equals `before`.
   *
   * @returns whether it was written.
   */
  write(before: Row, after: Row): Promise<boolean>
  /**
   * As {@link RowSource.write} for the rows of a batch, all of them or none.
   *
   * @returns for each row whether it was written.
   * @default each row is written by itself
   */
  writeMany?(changes: readonly RowChange[]): Promise<readonly boolean[]>
  /** The number of rows, for the progress. @default it is not told */
  count?(): Promise<number>
}

/** A stored row, and what replaces it. */
export interface RowChange {
  readonly before: Row
  readonly after: Row
}
