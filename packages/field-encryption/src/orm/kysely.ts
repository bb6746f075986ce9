/** Encrypted tables in Kysely, for PostgreSQL, MySQL and SQLite. */
import { sql, type Expression, type SqlBool } from 'kysely'
import type { ReadScope, RecordScope } from '../rows/table-options.ts'
import type { ObjectSchema, StaticOf } from '../schema/schema-types.ts'
import type { Condition, Table, WhereOptions } from '../table/table.ts'

/** The options of a condition. */
export interface KyselyWhereOptions extends Omit<WhereOptions, 'firstParameter' | 'dialect'> {
  /** The table's name or alias in a query with several tables. @default the columns are not qualified */
  readonly from?: string
}

/** A builder of Kysely that adds columns: `createTable` or `alterTable`. */
interface ColumnAdder {
  addColumn(name: never, type: never): unknown
}

/** A query of Kysely. */
interface Query {
  execute(): Promise<readonly object[]>
}

/** A table in Kysely. */
export interface KyselyTable<T extends ObjectSchema> {
  /** Adds the encrypted columns and those of the blind indexes to `createTable` or `alterTable`. */
  addColumns<B extends ColumnAdder>(builder: B): B
  /** Encrypts records for `insertInto(…).values(…)`. */
  values(
    records: readonly Partial<StaticOf<T>>[],
    scope?: RecordScope,
  ): Promise<Record<string, unknown>[]>
  /** Encrypts a record for `updateTable(…).set(…)`: without the members that identify the row. */
  set(record: Partial<StaticOf<T>>, scope?: RecordScope): Promise<Record<string, unknown>>
  /** Decrypts the rows of a `selectFrom(…)`, or rows that are there already. */
  rows(source: Query | readonly object[], scope?: ReadScope): Promise<StaticOf<T>[]>
  /** An expression for `where(…)`: rows with this value, and possibly a few others. */
  where(column: string, value: unknown, options?: KyselyWhereOptions): Promise<Expression<SqlBool>>
  /** As {@link KyselyTable.where}, by a compound index. */
  whereAll(
    values: Readonly<Record<string, unknown>>,
    options?: KyselyWhereOptions,
  ): Promise<Expression<SqlBool>>
}

/**
 * Uses a table in Kysely.
 *
 * ```ts
 * const users = kyselyTable(app.fieldEncryption.table('users', User))
 * await db.insertInto('users').values(await users.values([user])).execute()
 * const found = await users.where('email', 'jane@example.com')
 * const [jane] = await users.rows(db.selectFrom('users').selectAll().where(found))
 * ```
 */
export function kyselyTable<T extends ObjectSchema>(table: Table<T>): KyselyTable<T> {
  const json = table.columns.filter(({ type }) => type === 'jsonb').map(({ name }) => name)
  const seal = async (records: readonly Partial<StaticOf<T>>[], scope?: RecordScope) =>
    (await table.encryptMany(records, scope)).map((row) => mapMembers(row, json, writeJson))
  return {
    addColumns(builder) {
      return table.columns.reduce<ColumnAdder>(
        (each, { name, type }) => each.addColumn(name as never, type as never) as ColumnAdder,
        builder,
      ) as typeof builder
    },
    values: seal,
    async set(record, scope) {
      const [row] = await seal([record], scope)
      for (const name of table.identity) delete row![name]
      return row!
    },
    async rows(source, scope = {}) {
      const rows = 'execute' in source ? await source.execute() : source
      const parsed = rows.map((row) => mapMembers({ ...row }, json, readJson))
      return (await table.decryptMany(parsed, scope)) as StaticOf<T>[]
    },
    where: async (column, value, { from, ...options } = {}) =>
      expressionOf(await table.where(column, value, options), from),
    whereAll: async (values, { from, ...options } = {}) =>
      expressionOf(await table.whereAll(values, options), from),
  }
}

function expressionOf(
  { columns, tokens }: Condition,
  from: string | undefined,
): Expression<SqlBool> {
  const list = sql.join(tokens)
  const parts = columns.map((name) => {
    const column = sql.ref(from === undefined ? name : `${from}.${name}`)
    return sql<SqlBool>`${column} in (${list})`
  })
  return sql<SqlBool>`(${sql.join(parts, sql` or `)})`
}

function mapMembers(
  row: Record<string, unknown>,
  names: readonly string[],
  map: (value: unknown) => unknown,
): Record<string, unknown> {
  for (const name of names) if (Object.hasOwn(row, name)) row[name] = map(row[name])
  return row
}

/** Drivers would turn a JSON array into an array of SQL. */
function writeJson(value: unknown): unknown {
  return value === null || value === undefined ? value : JSON.stringify(value)
}

/** SQLite and some drivers of MySQL return JSON as text. */
function readJson(value: unknown): unknown {
  return typeof value === 'string' ? (JSON.parse(value) as unknown) : value
}
