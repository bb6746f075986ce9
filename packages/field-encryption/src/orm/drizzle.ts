/** Encrypted tables in Drizzle. */
import {
  getTableColumns,
  inArray,
  or,
  type Column,
  type SQL,
  type Table as DrizzleSchema,
} from 'drizzle-orm'
import { jsonb, text } from 'drizzle-orm/pg-core'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import type { ReadScope, RecordScope } from '../rows/table-options.ts'
import type { ObjectSchema, StaticOf } from '../schema/schema-types.ts'
import type { Condition, Table, WhereOptions } from '../table/table.ts'

/** The options of a condition. */
export type DrizzleWhereOptions = Omit<WhereOptions, 'firstParameter' | 'dialect'>

/** A table in Drizzle. */
export interface DrizzleTable<T extends ObjectSchema, D extends DrizzleSchema> {
  /** Encrypts records for `insert(…).values(…)`. */
  values(
    records: readonly Partial<StaticOf<T>>[],
    scope?: RecordScope,
  ): Promise<D['$inferInsert'][]>
  /** Encrypts a record for `update(…).set(…)`: without the members that identify the row. */
  set(record: Partial<StaticOf<T>>, scope?: RecordScope): Promise<Record<string, unknown>>
  /** Decrypts the rows of a `select()`. */
  rows(
    source: PromiseLike<readonly object[]> | readonly object[],
    scope?: ReadScope,
  ): Promise<StaticOf<T>[]>
  /** A condition for `where(…)`: rows with this value, and possibly a few others. */
  where(column: string, value: unknown, options?: DrizzleWhereOptions): Promise<SQL>
  /** As {@link DrizzleTable.where}, by a compound index. */
  whereAll(values: Readonly<Record<string, unknown>>, options?: DrizzleWhereOptions): Promise<SQL>
}

/** The columns that a table needs, for `pgTable('users', { id: uuid(), ...pgColumns(users) })`. */
export function pgColumns<T extends ObjectSchema>(table: Table<T>) {
  const entries = table.columns.map(({ name, type }) => [
    name,
    type === 'text' ? text(name) : jsonb(name),
  ])
  return Object.fromEntries(entries) as Record<string, ReturnType<typeof text>>
}

/**
 * Uses a table in Drizzle. The keys of the Drizzle table are the names of the members and of the index
 * columns; the names in SQL may differ.
 *
 * ```ts
 * const users = drizzleTable(app.fieldEncryption.table('users', User), usersTable)
 * await db.insert(usersTable).values(await users.values([user]))
 * const found = await users.where('email', 'jane@example.com')
 * const [jane] = await users.rows(db.select().from(usersTable).where(found))
 * ```
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT the Drizzle table lacks a column.
 */
export function drizzleTable<T extends ObjectSchema, D extends DrizzleSchema>(
  table: Table<T>,
  schema: D,
): DrizzleTable<T, D> {
  const columns = getTableColumns(schema) as Readonly<Record<string, Column | undefined>>
  for (const { name } of table.columns) {
    if (columns[name] !== undefined) continue
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      `the Drizzle table of "${table.name}"`,
      `must have the column "${name}": add ...pgColumns(table)`,
    )
  }
  const conditionOf = ({ columns: names, tokens }: Condition): SQL =>
    or(...names.map((name) => inArray(columns[name]!, tokens)))!
  return {
    values: (records, scope) => table.encryptMany(records, scope),
    async set(record, scope) {
      const row = await table.encryptRecord(record, scope)
      for (const name of table.identity) delete row[name]
      return row
    },
    rows: async (source, scope = {}) =>
      (await table.decryptMany(await source, scope)) as StaticOf<T>[],
    where: async (column, value, options) => conditionOf(await table.where(column, value, options)),
    whereAll: async (values, options) => conditionOf(await table.whereAll(values, options)),
  }
}
