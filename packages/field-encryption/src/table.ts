/** One table with encrypted columns: what an application calls to write, read and search it. */
import type { Static, TObject } from '@sinclair/typebox'
import type { ReencryptOptions, ReencryptProgress } from './reencrypt.ts'
import type { TableSql } from './sql.ts'
import type { StatusOptions, TableStatus } from './table-status.ts'

/** How the rows of a table are told apart. */
export interface TableOptions {
  /** The member, or members, that name a row for ever. @default 'id' */
  readonly id?: string | readonly string[]
  /** The member that holds the tenant. @default none: the tenant is given with each call, or is '' */
  readonly tenant?: string
  /** The member that holds the subject, whose own keys then seal the row. @default the tenant's keys do */
  readonly subject?: string
  /** Version of the schema; what another version wrote is refused. @default 1 */
  readonly version?: number
  /** Older versions that are still read. @default none */
  readonly readVersions?: readonly number[]
}

/** Whose rows. */
export interface RecordScope {
  /** Must agree with the row where the row tells it. @default the row's, else '' */
  readonly tenant?: string
}

/** Whose rows, and for whom they are read. */
export interface ReadScope extends RecordScope {
  /** Who will see them: fields are revealed, masked or left out. @default the application itself: all but `'never'` */
  readonly roles?: readonly string[]
  /** What to do with a row whose subject is forgotten: `withhold` leaves its encrypted columns out. @default 'throw' */
  readonly forgotten?: 'throw' | 'withhold'
}

/** Rows that are read whole: what the schema requires is there. */
export interface WholeScope extends RecordScope {
  readonly roles?: never
  readonly forgotten?: 'throw'
}

/** A condition for a WHERE clause. */
export interface Condition {
  /** With `$1`, or as many as {@link WhereOptions.firstParameter} says. */
  readonly text: string
  readonly values: readonly (readonly string[])[]
}

/** What {@link Table.where} takes beside the value. */
export interface WhereOptions extends RecordScope {
  /** @default the column's first index */
  readonly index?: string
  /** The number of the first parameter. @default 1 */
  readonly firstParameter?: number
}

/** A table. Whatever it is given it leaves as it was. */
export interface Table<T extends TObject> {
  readonly name: string
  /**
   * Encrypts the members of a record that are marked, and adds the columns of their blind indexes. A
   * part of a record will do, as for an UPDATE, if it names its row.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
   *   PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT a member that the schema does not have
   */
  encryptRecord(record: Partial<Static<T>>, scope?: RecordScope): Promise<Record<string, unknown>>
  encryptMany(
    records: readonly Partial<Static<T>>[],
    scope?: RecordScope,
  ): Promise<Record<string, unknown>[]>
  /**
   * Decrypts a row. What is never revealed is left out; with `roles` members may be masked or missing,
   * with `forgotten: 'withhold'` they may be missing.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
   *   PARAPET_FIELD_ENCRYPTION_FORGOTTEN
   */
  decryptRecord(row: object, scope?: WholeScope): Promise<Static<T>>
  decryptRecord(row: object, scope: ReadScope): Promise<Partial<Static<T>>>
  decryptMany(rows: readonly object[], scope?: WholeScope): Promise<Static<T>[]>
  decryptMany(rows: readonly object[], scope: ReadScope): Promise<Partial<Static<T>>[]>
  /** Decrypts one column, also one that is never revealed: for the code that must have it. */
  decryptValue<C extends keyof Static<T> & string>(
    row: object,
    column: C,
    scope?: RecordScope,
  ): Promise<Static<T>[C]>
  /**
   * The condition under which a row may hold the value: check the rows once they are decrypted, for a
   * short token matches a few others.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_NOT_INDEXED
   */
  where(column: string, value: unknown, options?: WhereOptions): Promise<Condition>
  /** The most characters that the stored text of a column takes. @param maxBytes of the plaintext @default what the schema allows */
  ciphertextLength(column: string, maxBytes?: number): number
  /** Moves rows to the present keys, tokens and schema version, and says after each batch how far it is. */
  reencrypt(options: ReencryptOptions): AsyncGenerator<ReencryptProgress>
  /** Counts values by the key that sealed them, and says which keys nothing needs any more. */
  status(options: StatusOptions): Promise<TableStatus>
  /** What the database needs to know of this table. */
  readonly sql: TableSql
}
