/** Reads and writes one SQL table: the part that users, content and artists have in common. */
import { uuidV7, type SqlQueryable } from '@parapet/kit'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { PARAPET_REFERENCE_NOT_FOUND, PARAPET_REFERENCE_VERSION_MISMATCH } from '../errors.ts'

/** The columns that every table has. */
export interface Stored {
  /** UUIDv7, so that rows sort by the time of their creation. */
  readonly id: string
  /** Starts at 1 and grows by one with each change. */
  readonly version: number
  /** RFC 3339, UTC. */
  readonly createdAt: string
  readonly updatedAt: string
}

/** A row as it is read: every value is present, from the caller or from the column's default. */
export type RowOf<Values> = Stored & Required<Values>

/** One page of a list. */
interface Page<Values> {
  readonly items: RowOf<Values>[]
  /** Requests the next page; absent on the last page. */
  readonly nextCursor?: string
}

/** Describes a table. The names become part of SQL texts: they never come from a request. */
export interface TableShape<Values> {
  readonly name: string
  /** The column that stores each value. */
  readonly columns: Readonly<Record<keyof Values & string, string>>
  /** The SQL that reads a value, where drivers return another type than the route: dates and decimals. */
  readonly reading?: Readonly<Partial<Record<keyof Values & string, string>>>
  /** The error to throw for each PostgreSQL error code. @see PostgreSQL, Appendix A, class 23 */
  readonly conflicts: Readonly<Record<string, new (options: { cause: unknown }) => Error>>
}

/** Selects a page of a list. */
interface PageRequest {
  readonly limit: number
  readonly cursor?: string
}

/** Selects the rows of a list by an SQL condition whose parameters start at the given number. */
export type Condition = (firstParameter: number) => {
  readonly text: string
  readonly values: readonly unknown[]
}

const ALL_ROWS: Condition = () => ({ text: 'TRUE', values: [] })

/** Reads and writes one table. */
export interface Table<Values> {
  /**
   * @param id set by callers that encrypt values for the row. @default a new UUIDv7
   * @param unread further columns, written with the row and never read through this table.
   */
  insert(
    values: Values,
    id?: string,
    unread?: Readonly<Record<string, unknown>>,
  ): Promise<RowOf<Values>>
  /** @throws PARAPET_REFERENCE_NOT_FOUND */
  find(id: string): Promise<RowOf<Values>>
  /** Like {@link Table.find}; no other transaction can change the row until this one ends. */
  lock(id: string): Promise<RowOf<Values>>
  /**
   * Lists the oldest rows first, so that rows added while a client pages appear at the end.
   *
   * @throws PARAPET_REFERENCE_INVALID_CURSOR
   */
  list(page: PageRequest, where?: Condition): Promise<Page<Values>>
  /**
   * Changes the given values.
   *
   * @param versions the versions that may be changed; `null`: any version.
   * @throws PARAPET_REFERENCE_NOT_FOUND
   * @throws PARAPET_REFERENCE_VERSION_MISMATCH the row is at another version.
   */
  update(id: string, changes: Partial<Values>, versions: number[] | null): Promise<RowOf<Values>>
  /** Deletes the row. @throws the same errors as {@link Table.update}. */
  remove(id: string, versions: number[] | null): Promise<void>
}

/** Sorts before every id. @see RFC 9562, section 5.9 */
const NIL_UUID = '00000000-0000-0000-0000-000000000000'
const ID_AND_VERSION = 'id = $1 AND ($2::int[] IS NULL OR version = ANY ($2))'

/** Creates a {@link Table}. */
export function createTable<Values extends object>(
  sql: SqlQueryable,
  shape: TableShape<Values>,
): Table<Values> {
  return new SqlTable(sql, shape)
}

class SqlTable<Values extends object> implements Table<Values> {
  readonly #sql: SqlQueryable
  readonly #name: string
  readonly #members: readonly (readonly [member: string, column: string])[]
  readonly #conflicts: TableShape<Values>['conflicts']
  readonly #selection: string

  constructor(sql: SqlQueryable, { name, columns, reading, conflicts }: TableShape<Values>) {
    const expressions: Readonly<Record<string, string | undefined>> = { ...reading }
    this.#sql = sql
    this.#name = name
    this.#members = Object.entries<string>(columns)
    this.#conflicts = conflicts
    this.#selection = [
      'id::text AS id, version',
      `${timestampText('created_at')} AS "createdAt", ${timestampText('updated_at')} AS "updatedAt"`,
      ...this.#members.map(([member, column]) => `${expressions[member] ?? column} AS "${member}"`),
    ].join(', ')
  }

  async insert(
    values: Values,
    id = uuidV7(),
    unread: Readonly<Record<string, unknown>> = {},
  ): Promise<RowOf<Values>> {
    const pairs = [['id', id], ...this.#columnValues(values), ...Object.entries(unread)]
    const [row] = await this.#query(
      `INSERT INTO ${this.#name} (${pairs.map(([column]) => column).join(', ')})
       VALUES (${pairs.map((_, index) => `$${index + 1}`).join(', ')})
       RETURNING ${this.#selection}`,
      pairs.map(([, value]) => value),
    )
    return row!
  }

  find(id: string): Promise<RowOf<Values>> {
    return this.#find(id, '')
  }

  lock(id: string): Promise<RowOf<Values>> {
    return this.#find(id, 'FOR UPDATE')
  }

  async #find(id: string, locking: '' | 'FOR UPDATE'): Promise<RowOf<Values>> {
    const text = `SELECT ${this.#selection} FROM ${this.#name} WHERE id = $1 ${locking}`
    const [row] = await this.#query(text, [id])
    if (row === undefined) throw new PARAPET_REFERENCE_NOT_FOUND()
    return row
  }

  async list({ limit, cursor }: PageRequest, where = ALL_ROWS): Promise<Page<Values>> {
    const { text, values } = where(3)
    const rows = await this.#query(
      `SELECT ${this.#selection} FROM ${this.#name} WHERE id > $1 AND ${text} ORDER BY id LIMIT $2`,
      // One row more than requested shows whether there is a next page.
      [cursor === undefined ? NIL_UUID : decodeCursor(cursor), limit + 1, ...values],
    )
    const items = rows.slice(0, limit)
    return rows.length > limit ? { items, nextCursor: encodeCursor(items.at(-1)!.id) } : { items }
  }

  async update(
    id: string,
    changes: Partial<Values>,
    versions: number[] | null,
  ): Promise<RowOf<Values>> {
    const pairs = this.#columnValues(changes)
    const assignments = pairs.map(([column], index) => `${column} = $${index + 3}`)
    const [row] = await this.#query(
      `UPDATE ${this.#name}
       SET ${['version = version + 1', 'updated_at = now()', ...assignments].join(', ')}
       WHERE ${ID_AND_VERSION}
       RETURNING ${this.#selection}`,
      [id, versions, ...pairs.map(([, value]) => value)],
    )
    return row ?? this.#throwMiss(id)
  }

  async remove(id: string, versions: number[] | null): Promise<void> {
    const text = `DELETE FROM ${this.#name} WHERE ${ID_AND_VERSION} RETURNING ${this.#selection}`
    const [row] = await this.#query(text, [id, versions])
    if (row === undefined) await this.#throwMiss(id)
  }

  /** The columns and values to write. Members without a column are ignored. */
  #columnValues(values: Partial<Values>): [column: string, value: unknown][] {
    return this.#members
      .map(([member, column]): [string, unknown] => [column, values[member as keyof Values]])
      .filter(([, value]) => value !== undefined)
  }

  async #query(text: string, values: readonly unknown[]): Promise<RowOf<Values>[]> {
    try {
      return (await this.#sql.query<RowOf<Values>>(text, values)).rows
    } catch (error) {
      const Conflict = this.#conflicts[(error as { code?: string }).code ?? '']
      throw Conflict === undefined ? error : new Conflict({ cause: error })
    }
  }

  /** Finds out why a statement changed no row: no such row, or another version. */
  async #throwMiss(id: string): Promise<never> {
    await this.find(id)
    throw new PARAPET_REFERENCE_VERSION_MISMATCH()
  }
}

/** Formats a time in SQL, because drivers parse times differently. */
function timestampText(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}
