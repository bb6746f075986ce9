/** One table, written once: what users, content and artists have in common. */
import { uuidV7, type SqlClient } from '@parapet/kit'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { PARAPET_REFERENCE_NOT_FOUND, PARAPET_REFERENCE_VERSION_MISMATCH } from './errors.ts'

/** What every row has beside its own values. */
export interface Stored {
  /** UUIDv7, so that rows sort by when they were made. */
  readonly id: string
  /** 1 at first, one more with each change. */
  readonly version: number
  /** RFC 3339, UTC. */
  readonly createdAt: string
  readonly updatedAt: string
}

/** A row as it is read: every value has one, from the caller or from the table's default. */
export type RowOf<Values> = Stored & Required<Values>

/** One page of a list. */
export interface Page<Values> {
  readonly items: RowOf<Values>[]
  /** Where the next page starts; absent on the last. */
  readonly nextCursor?: string
}

/** What {@link createTable} takes. Names come from the code, never from a request. */
export interface TableShape<Values> {
  readonly name: string
  /** The column of each value. */
  readonly columns: Readonly<Record<keyof Values & string, string>>
  /** The errors behind PostgreSQL's codes. @see PostgreSQL, Appendix A, class 23 */
  readonly conflicts: Readonly<Record<string, new (options: { cause: unknown }) => Error>>
}

/** Which page of a list. */
export interface PageRequest {
  readonly limit: number
  readonly cursor?: string
}

/** Which rows a list has; its parameters are numbered from the one it is given. */
export type Condition = (firstParameter: number) => {
  readonly text: string
  readonly values: readonly unknown[]
}

const ANY: Condition = () => ({ text: 'TRUE', values: [] })

/** Reads and writes one table. */
export interface Table<Values> {
  /** @param id @default a fresh one; known before where values are sealed for their row */
  insert(values: Values, id?: string): Promise<RowOf<Values>>
  /** @throws PARAPET_REFERENCE_NOT_FOUND */
  find(id: string): Promise<RowOf<Values>>
  /**
   * Oldest first, so what is added while someone turns the pages comes at the end.
   *
   * @throws PARAPET_REFERENCE_INVALID_CURSOR
   */
  list(page: PageRequest, where?: Condition): Promise<Page<Values>>
  /**
   * Changes what is given.
   *
   * @param versions those that may be changed; `null`: any.
   * @throws PARAPET_REFERENCE_NOT_FOUND
   * @throws PARAPET_REFERENCE_VERSION_MISMATCH it has another version.
   */
  update(id: string, changes: Partial<Values>, versions: number[] | null): Promise<RowOf<Values>>
  /** @throws as {@link Table.update} does. */
  remove(id: string, versions: number[] | null): Promise<void>
}

/** Sorts before every id. */
const NIL = '00000000-0000-0000-0000-000000000000'
const MATCHES = 'id = $1 AND ($2::int[] IS NULL OR version = ANY ($2))'

/** Makes a {@link Table}. */
export function createTable<Values extends object>(
  sql: SqlClient,
  shape: TableShape<Values>,
): Table<Values> {
  return new SqlTable(sql, shape)
}

class SqlTable<Values extends object> implements Table<Values> {
  readonly #sql: SqlClient
  readonly #name: string
  readonly #members: readonly (readonly [member: string, column: string])[]
  readonly #conflicts: TableShape<Values>['conflicts']
  readonly #selection: string

  constructor(sql: SqlClient, { name, columns, conflicts }: TableShape<Values>) {
    this.#sql = sql
    this.#name = name
    this.#members = Object.entries<string>(columns)
    this.#conflicts = conflicts
    this.#selection = [
      'id::text AS id, version',
      `${instant('created_at')} AS "createdAt", ${instant('updated_at')} AS "updatedAt"`,
      ...this.#members.map(([member, column]) => `${column} AS "${member}"`),
    ].join(', ')
  }

  async insert(values: Values, id = uuidV7()): Promise<RowOf<Values>> {
    const pairs = [['id', id], ...this.#given(values)]
    const [row] = await this.#query(
      `INSERT INTO ${this.#name} (${pairs.map(([column]) => column).join(', ')})
       VALUES (${pairs.map((_, index) => `$${index + 1}`).join(', ')})
       RETURNING ${this.#selection}`,
      pairs.map(([, value]) => value),
    )
    return row!
  }

  async find(id: string): Promise<RowOf<Values>> {
    const text = `SELECT ${this.#selection} FROM ${this.#name} WHERE id = $1`
    const [row] = await this.#query(text, [id])
    if (row === undefined) throw new PARAPET_REFERENCE_NOT_FOUND()
    return row
  }

  async list({ limit, cursor }: PageRequest, where = ANY): Promise<Page<Values>> {
    const { text, values } = where(3)
    const rows = await this.#query(
      `SELECT ${this.#selection} FROM ${this.#name} WHERE id > $1 AND ${text} ORDER BY id LIMIT $2`,
      // One more than asked tells whether there is a next page.
      [cursor === undefined ? NIL : decodeCursor(cursor), limit + 1, ...values],
    )
    const items = rows.slice(0, limit)
    return rows.length > limit ? { items, nextCursor: encodeCursor(items.at(-1)!.id) } : { items }
  }

  async update(
    id: string,
    changes: Partial<Values>,
    versions: number[] | null,
  ): Promise<RowOf<Values>> {
    const pairs = this.#given(changes)
    const assignments = pairs.map(([column], index) => `${column} = $${index + 3}`)
    const [row] = await this.#query(
      `UPDATE ${this.#name}
       SET ${['version = version + 1', 'updated_at = now()', ...assignments].join(', ')}
       WHERE ${MATCHES}
       RETURNING ${this.#selection}`,
      [id, versions, ...pairs.map(([, value]) => value)],
    )
    return row ?? this.#explainMiss(id)
  }

  async remove(id: string, versions: number[] | null): Promise<void> {
    const text = `DELETE FROM ${this.#name} WHERE ${MATCHES} RETURNING ${this.#selection}`
    const [row] = await this.#query(text, [id, versions])
    if (row === undefined) await this.#explainMiss(id)
  }

  /** The columns that `values` has something for; what else it holds never reaches the SQL. */
  #given(values: Partial<Values>): [column: string, value: unknown][] {
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

  /** Nothing was written: because there is nothing, or because it has changed. */
  async #explainMiss(id: string): Promise<never> {
    await this.find(id)
    throw new PARAPET_REFERENCE_VERSION_MISMATCH()
  }
}

/** Drivers differ in what they make of a time; a text is the same from each. */
function instant(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}
