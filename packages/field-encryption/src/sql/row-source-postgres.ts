/** The rows of a table in PostgreSQL, for re-encryption and status. */
import type { Principal, SqlClient, SqlQueryable } from '@parapet/kit'
import { columnsOf } from '../blind-index/blind-index.ts'
import { quoteName } from './identifiers.ts'
import { requireAllRows, withPrincipal } from './row-level-security.ts'
import type { Row, RowChange, RowSource } from '../rows/row-source.ts'
import type { TableLayout } from '../schema/table-layout.ts'

/** The table, and which of its rows are read. */
export interface RowSourceSettings extends TableLayout {
  readonly tenant: { readonly column: string; readonly value: string } | undefined
  readonly principal: Pick<Principal, 'id' | 'roles'> | undefined
}

interface WrittenColumn {
  readonly name: string
  readonly isJson: boolean
}

/** Creates a {@link RowSource}. */
export function createPostgresRowSource(sql: SqlClient, settings: RowSourceSettings): RowSource {
  return new PostgresRowSource(sql, settings)
}

class PostgresRowSource implements RowSource {
  readonly #sql: SqlClient
  readonly #settings: RowSourceSettings
  readonly #written: readonly WrittenColumn[]
  /** Columns that are read as text: ids, what rows are bound to, and plaintext that is adopted. */
  readonly #texts: readonly string[]
  /** Plaintext columns: a row whose plaintext was changed in the meantime must not be written. */
  readonly #watched: readonly string[]
  #idTypes: Promise<readonly string[]> | undefined

  constructor(sql: SqlClient, settings: RowSourceSettings) {
    const { columns, indexes, ids, identity, plaintext } = settings
    this.#sql = sql
    this.#settings = settings
    this.#written = [
      ...[...columns].map(([name, node]) => ({ name, isJson: node.kind !== 'leaf' })),
      ...indexes.flatMap(({ name, index }) =>
        columnsOf(name, index).map((each) => ({ name: each, isJson: false })),
      ),
    ]
    this.#watched = [...plaintext.values()].filter((name) => !columns.has(name))
    this.#texts = [...new Set([...ids, ...identity, ...this.#watched])]
  }

  /** Runs statements in the principal's transaction, or on any connection. */
  #run<T>(work: (sql: SqlQueryable) => Promise<T>): Promise<T> {
    const { principal } = this.#settings
    return principal === undefined ? work(this.#sql) : withPrincipal(this.#sql, principal, work)
  }

  #where(values: unknown[]): string[] {
    const { tenant } = this.#settings
    return tenant === undefined
      ? []
      : [`${quoteName(tenant.column)} = $${values.push(tenant.value)}`]
  }

  cursorOf(row: Row): string {
    return JSON.stringify(this.#settings.ids.map((name) => row[name]))
  }

  async count(): Promise<number> {
    const { table } = this.#settings
    const values: unknown[] = []
    const where = this.#where(values).map((condition) => `WHERE ${condition}`)
    const text = `SELECT count(*)::float8 AS rows FROM ${quoteName(table)} ${where.join('')}`
    return this.#run(async (sql) => {
      await requireAllRows(sql, table)
      return (await sql.query<{ rows: number }>(text, values)).rows[0]!.rows
    })
  }

  async read(cursor: string | null, limit: number): Promise<readonly Row[]> {
    const { table, ids, tenant } = this.#settings
    const selection = [
      ...this.#texts.map((name) => `${quoteName(name)}::text AS ${quoteName(name)}`),
      ...this.#written.map(({ name }) => quoteName(name)),
    ]
    if (tenant !== undefined && !this.#texts.includes(tenant.column)) {
      selection.push(quoteName(tenant.column))
    }
    const order = ids.map((name) => `t.${quoteName(name)}`).join(', ')
    const values: unknown[] = [limit]
    const conditions = this.#where(values)
    if (cursor !== null) {
      const after = JSON.parse(cursor) as string[]
      const marks = ids.map((_, index) => `$${values.push(after[index])}`)
      conditions.push(`(${order}) > (${marks.join(', ')})`)
    }
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
    const text = `SELECT ${selection.join(', ')} FROM ${quoteName(table)} t ${where} ORDER BY ${order} LIMIT $1`
    return this.#run(async (sql) => {
      await requireAllRows(sql, table)
      return (await sql.query<Row>(text, values)).rows
    })
  }

  async write(before: Row, after: Row): Promise<boolean> {
    return (await this.writeMany([{ before, after }]))[0]!
  }

  async writeMany(changes: readonly RowChange[]): Promise<readonly boolean[]> {
    const { table, ids } = this.#settings
    const values: unknown[] = [changes.map((_, index) => index)]
    const names: string[] = ['at']
    /** Adds one list of values, and returns its column in the joined rows. */
    const join = (each: (change: RowChange) => string | null): string => {
      values.push(changes.map(each))
      const name = `v${values.length}`
      names.push(name)
      return `v.${name}`
    }
    const types = await this.#typesOfIds()
    const conditions = ids.map((name, index) => {
      const id = join(({ before }) => textOf(before[name], false))
      return `t.${quoteName(name)} = ${id}::${types[index]}`
    })
    for (const name of this.#watched) {
      const previous = join(({ before }) => textOf(before[name], false))
      conditions.push(`t.${quoteName(name)}::text IS NOT DISTINCT FROM ${previous}`)
    }
    const assignments = this.#written.map(({ name, isJson }) => {
      const cast = isJson ? '::jsonb' : ''
      const previous = join(({ before }) => textOf(before[name], isJson))
      conditions.push(`t.${quoteName(name)} IS NOT DISTINCT FROM ${previous}${cast}`)
      return `${quoteName(name)} = ${join(({ after }) => textOf(after[name], isJson))}${cast}`
    })
    const lists = values.map((_, index) => `$${index + 1}::${index === 0 ? 'int' : 'text'}[]`)
    const text = `UPDATE ${quoteName(table)} AS t SET ${assignments.join(', ')}
      FROM unnest(${lists.join(', ')}) AS v(${names.join(', ')})
      WHERE ${conditions.join(' AND ')} RETURNING v.at AS at`
    const { rows } = await this.#run((sql) => sql.query<{ at: number }>(text, values))
    const written = new Set(rows.map(({ at }) => at))
    return changes.map((_, index) => written.has(index))
  }

  /** The types of the id columns: comparing them as text would not use their index. */
  #typesOfIds(): Promise<readonly string[]> {
    this.#idTypes ??= this.#readTypes()
    this.#idTypes.catch(() => (this.#idTypes = undefined))
    return this.#idTypes
  }

  async #readTypes(): Promise<readonly string[]> {
    const { table, ids } = this.#settings
    const { rows } = await this.#sql.query<{ name: string; type: string }>(
      `SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
         WHERE attrelid = to_regclass($1) AND attname::text = ANY($2)`,
      [quoteName(table), ids],
    )
    const types = new Map(rows.map(({ name, type }) => [name, type]))
    return ids.map((name) => types.get(name) ?? 'text')
  }
}

/** JSON is serialized here: drivers would turn a JSON array into an SQL array. */
function textOf(value: unknown, isJson: boolean): string | null {
  if (value === null || value === undefined) return null
  if (!isJson && typeof value === 'string') return value
  return typeof value === 'bigint' ? value.toString() : JSON.stringify(value)
}
