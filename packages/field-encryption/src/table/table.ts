/** The interface of a table with encrypted columns: write, read and search its rows. */
import type { Static, TObject } from '@sinclair/typebox'
import type { TableSql } from '../sql/migration.ts'
import type { ReencryptOptions, ReencryptProgress } from './reencrypt.ts'
import type { StatusOptions, TableStatus } from './table-status.ts'

/** How the rows of a table are identified. */
export interface TableOptions {
  /** The member, or members, that identify a row. Their values must never change. @default 'id' */
  readonly id?: string | readonly string[]
  /** The member that holds the tenant. @default none: the tenant comes with each call, or is '' */
  readonly tenant?: string
  /** The member that holds the subject, whose own keys seal the row. @default the tenant's keys do */
  readonly subject?: string
  /** Version of the schema. Rows of other versions are refused. @default 1 */
  readonly version?: number
  /** Older versions that are still read. @default none */
  readonly readVersions?: readonly number[]
}

/** Which tenant the rows belong to. */
export interface RecordScope {
  /** Must equal the tenant in the row, if the row has it. @default the row's, or else '' */
  readonly tenant?: string
}

/** Which tenant the rows belong to, and who reads them. */
export interface ReadScope extends RecordScope {
  /**
   * Roles of the reader: fields are revealed, masked or left out.
   * @default the application itself, which sees everything except fields with reveal `'never'`
   */
  readonly roles?: readonly string[]
  /** A row whose subject is forgotten: `'withhold'` leaves its encrypted columns out. @default 'throw' */
  readonly forgotten?: 'throw' | 'withhold'
}

/** A scope in which rows are read completely, with every member that the schema requires. */
export interface WholeScope extends RecordScope {
  readonly roles?: never
  readonly forgotten?: 'throw'
}

/** A condition for a WHERE clause. */
export interface Condition {
  /** Has the parameter `$1`, or the one of {@link WhereOptions.firstParameter}. */
  readonly text: string
  readonly values: readonly (readonly string[])[]
}

/** The options of {@link Table.where}. */
export interface WhereOptions extends RecordScope {
  /** @default the column's first index */
  readonly index?: string
  /** The number of the first parameter. @default 1 */
  readonly firstParameter?: number
}

/** A table with encrypted columns. It never changes the objects it is given. */
export interface Table<T extends TObject> {
  readonly name: string
  /**
   * Encrypts the marked members of a record and adds the columns of their blind indexes. A partial
   * record, as for an UPDATE, must have the members that identify its row.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_INVALID_VALUE
   * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT a member is not in the schema.
   */
  encryptRecord(record: Partial<Static<T>>, scope?: RecordScope): Promise<Record<string, unknown>>
  encryptMany(
    records: readonly Partial<Static<T>>[],
    scope?: RecordScope,
  ): Promise<Record<string, unknown>[]>
  /**
   * Decrypts a row. Fields with reveal `'never'` are left out. With `roles`, or with
   * `forgotten: 'withhold'`, required members may be missing.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
   *   PARAPET_FIELD_ENCRYPTION_FORGOTTEN
   */
  decryptRecord(row: object, scope?: WholeScope): Promise<Static<T>>
  decryptRecord(row: object, scope: ReadScope): Promise<Partial<Static<T>>>
  decryptMany(rows: readonly object[], scope?: WholeScope): Promise<Static<T>[]>
  decryptMany(rows: readonly object[], scope: ReadScope): Promise<Partial<Static<T>>[]>
  /** Decrypts one column, also one with reveal `'never'`. */
  decryptValue<C extends keyof Static<T> & string>(
    row: object,
    column: C,
    scope?: RecordScope,
  ): Promise<Static<T>[C]>
  /**
   * Returns a condition that selects every row with this value, and possibly a few others: compare the
   * values after decryption.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_NOT_INDEXED
   */
  where(column: string, value: unknown, options?: WhereOptions): Promise<Condition>
  /**
   * The most characters that the ciphertext of a column has.
   *
   * @param maxBytes of the plaintext. @default the limit of the schema
   */
  ciphertextLength(column: string, maxBytes?: number): number
  /** Moves rows to the current keys, tokens and schema version. Reports the progress after each batch. */
  reencrypt(options: ReencryptOptions): AsyncGenerator<ReencryptProgress>
  /** Counts the encrypted values by key, and lists the keys that may be destroyed. */
  status(options: StatusOptions): Promise<TableStatus>
  /** The SQL of this table, for PostgreSQL. */
  readonly sql: TableSql
}
