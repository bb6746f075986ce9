/** The interface of a table with encrypted columns: write, read and search its rows. */
import type { ObjectSchema, StaticOf } from '../schema/schema-types.ts'
import type { Dialect } from '../sql/identifiers.ts'
import type { TableSql } from '../sql/migration.ts'
import type { ReadScope, RecordScope } from '../rows/table-options.ts'
import type { ReencryptOptions, ReencryptRun } from '../reencryption/reencrypt-run.ts'
import type { StatusOptions, TableStatus } from '../reencryption/table-status.ts'

/** A scope in which rows are read completely, with every member that the schema requires. */
export interface WholeScope extends RecordScope {
  readonly roles?: never
  readonly forgotten?: 'throw'
  readonly unreadable?: 'throw'
}

/** A condition for a WHERE clause. */
export interface Condition {
  /** Has the parameter `$1`, or the one of {@link WhereOptions.firstParameter}; `?` outside PostgreSQL. */
  readonly text: string
  /** The parameters: one list of tokens; in MySQL and SQLite a token for each `?`. */
  readonly values: readonly (string | readonly string[])[]
  /** For a query builder: a row matches if one of these columns has one of the tokens. */
  readonly columns: readonly string[]
  readonly tokens: readonly string[]
}

/** What an index reveals to a reader of the database. */
export interface IndexLeakage {
  readonly index: string
  readonly members: readonly string[]
  /** What is equal in rows with the same token. */
  readonly reveals: 'equal values' | 'equal prefixes'
  /** The most bits that a token reveals about the value of its row. */
  readonly bits: number
}

/** A column that a table needs in the database. */
export interface EncryptedColumn {
  readonly name: string
  /** `jsonb` for a member that contains encrypted values. */
  readonly type: 'text' | 'jsonb'
}

/** The options of {@link Table.where}. */
export interface WhereOptions extends RecordScope {
  /** @default the column's first index */
  readonly index?: string
  /** The number of the first parameter, in PostgreSQL. @default 1 */
  readonly firstParameter?: number
  /** @default 'postgres' */
  readonly dialect?: Dialect
}

/** A table with encrypted columns. It never changes the objects it is given. */
export interface Table<T extends ObjectSchema> {
  readonly name: string
  /**
   * Encrypts the marked members of a record and adds the columns of their blind indexes. A partial
   * record, as for an UPDATE, must have the members that identify its row.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_INVALID_VALUE
   * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT a member is not in the schema.
   */
  encryptRecord(record: Partial<StaticOf<T>>, scope?: RecordScope): Promise<Record<string, unknown>>
  encryptMany(
    records: readonly Partial<StaticOf<T>>[],
    scope?: RecordScope,
  ): Promise<Record<string, unknown>[]>
  /**
   * Decrypts a row. Fields with reveal `'never'` are left out. With `roles`, or with
   * `forgotten: 'withhold'`, required members may be missing.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
   *   PARAPET_FIELD_ENCRYPTION_FORGOTTEN
   */
  decryptRecord(row: object, scope?: WholeScope): Promise<StaticOf<T>>
  decryptRecord(row: object, scope: ReadScope): Promise<Partial<StaticOf<T>>>
  decryptMany(rows: readonly object[], scope?: WholeScope): Promise<StaticOf<T>[]>
  decryptMany(rows: readonly object[], scope: ReadScope): Promise<Partial<StaticOf<T>>[]>
  /** Decrypts one column, also one with reveal `'never'`. */
  decryptValue<C extends keyof StaticOf<T> & string>(
    row: object,
    column: C,
    scope?: RecordScope,
  ): Promise<StaticOf<T>[C]>
  /**
   * Returns a condition that selects every row with this value, and possibly a few others: compare the
   * values after decryption.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_NOT_INDEXED
   */
  where(column: string, value: unknown, options?: WhereOptions): Promise<Condition>
  /** As {@link Table.where}, by a compound index: `whereAll({ familyName: 'Doe', born })`. */
  whereAll(values: Readonly<Record<string, unknown>>, options?: WhereOptions): Promise<Condition>
  /** The columns of encrypted members and of blind indexes. */
  readonly columns: readonly EncryptedColumn[]
  /** The members that identify a row or decide about its keys. An UPDATE must not change them. */
  readonly identity: readonly string[]
  /** What each blind index of the table reveals. */
  readonly leakage: readonly IndexLeakage[]
  /**
   * The most characters that the ciphertext of a column has.
   *
   * @param maxBytes of the plaintext. @default the limit of the schema
   */
  ciphertextLength(column: string, maxBytes?: number): number
  /**
   * Moves rows to the current keys, tokens and schema version. It runs at once; awaited, it gives the
   * last progress, and its `progress` gives that of each batch.
   */
  reencrypt(options: ReencryptOptions): ReencryptRun
  /** Counts the encrypted values by key, and lists the keys that may be destroyed. */
  status(options: StatusOptions): Promise<TableStatus>
  /** The SQL of this table, for PostgreSQL. */
  readonly sql: TableSql
}
