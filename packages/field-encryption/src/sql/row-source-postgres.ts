/** The rows of a table in PostgreSQL, for re-encryption and status. */
import type { Principal, SqlClient } from '@parapet/kit'
import { columnsOf } from '../crypto/blind-index.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { quoteName } from './identifiers.ts'
import { refuseHiddenRows, withPrincipal } from './row-level-security.ts'
import type { Row, RowSource } from './row-source.ts'

/** The table, and which of its rows are read. */
export interface RowSourceSettings {
  readonly table: string
  readonly columns: ReadonlyMap<string, SchemaNode>
  /** The id columns. */
  readonly ids: readonly string[]
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

  constructor(sql: SqlClient, settings: RowSourceSettings) {
    this.#sql = sql
    this.#settings = settings
    this.#written = [...settings.columns].flatMap(([name, node]): WrittenColumn[] => {
      if (node.kind !== 'leaf') return [{ name, isJson: true }]
      const indexes = [...node.field.indexes].flatMap(([index, shape]) => columnsOf(index, shape))
      return [name, ...indexes].map((each) => ({ name: each, isJson: false }))
    })
  }

  async #query(text: string, values: readonly unknown[]): Promise<readonly Row[]> {
    const { principal } = this.#settings
    if (principal === undefined) return (await this.#sql.query<Row>(text, values)).rows
    return withPrincipal(
      this.#sql,
      principal,
      async (tx) => (await tx.query<Row>(text, values)).rows,
    )
  }

  cursorOf(row: Row): string {
    return JSON.stringify(this.#settings.ids.map((name) => row[name]))
  }

  async read(cursor: string | null, limit: number): Promise<readonly Row[]> {
    const { table, ids, tenant, principal } = this.#settings
    const selection = [
      ...ids.map((name) => `${quoteName(name)}::text AS ${quoteName(name)}`),
      ...this.#written.map(({ name }) => quoteName(name)),
    ]
    if (tenant !== undefined && !ids.includes(tenant.column)) {
      selection.push(quoteName(tenant.column))
    }
    const order = ids.map(quoteName).join(', ')
    const values: unknown[] = [limit]
    const conditions: string[] = []
    if (tenant !== undefined) {
      conditions.push(`${quoteName(tenant.column)} = $${values.push(tenant.value)}`)
    }
    if (cursor !== null) {
      const after = JSON.parse(cursor) as string[]
      const marks = ids.map((_, index) => `$${values.push(after[index])}`)
      conditions.push(`(${order}) > (${marks.join(', ')})`)
    }
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
    const text = `SELECT ${selection.join(', ')} FROM ${quoteName(table)} ${where} ORDER BY ${order} LIMIT $1`
    if (principal === undefined) await refuseHiddenRows(this.#sql, table)
    return this.#query(text, values)
  }

  async write(before: Row, after: Row): Promise<boolean> {
    const { table, ids } = this.#settings
    const values: unknown[] = ids.map((name) => before[name])
    const conditions = ids.map((name, index) => `${quoteName(name)} = $${index + 1}`)
    const assignments: string[] = []
    for (const { name, isJson } of this.#written) {
      const cast = isJson ? '::jsonb' : ''
      const next = `$${values.push(toParameter(after[name], isJson))}${cast}`
      assignments.push(`${quoteName(name)} = ${next}`)
      const previous = `$${values.push(toParameter(before[name], isJson))}${cast}`
      conditions.push(`${quoteName(name)} IS NOT DISTINCT FROM ${previous}`)
    }
    const text = `UPDATE ${quoteName(table)} SET ${assignments.join(', ')} WHERE ${conditions.join(' AND ')} RETURNING 1`
    return (await this.#query(text, values)).length === 1
  }
}

/** JSON is serialized here: drivers would turn a JSON array into an SQL array. */
function toParameter(value: unknown, isJson: boolean): unknown {
  return isJson && value !== null && value !== undefined ? JSON.stringify(value) : (value ?? null)
}
