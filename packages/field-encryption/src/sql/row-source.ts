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
}
