/** Seals and opens the rows of one table with keys that are already loaded. */
import { keyIdOf } from '@parapet/kit'
import { parseCiphertext } from '../crypto/aead.ts'
import type { KeyRing } from '../crypto/key-ring.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { decideDisclosure } from '../schema/disclosure.ts'
import type { EncryptedField } from '../schema/encrypted.ts'
import { mapEncrypted, OMIT } from '../schema/map-encrypted.ts'
import type { Row } from '../sql/row-source.ts'
import { CellCipher, type CellRow } from './cell-cipher.ts'
import { cellOf, computeIndexColumns, dropIndexColumns } from './index-columns.ts'

/** A row's identity and its keys. */
export interface RowPlace extends CellRow {
  /** Seals the values: the subject's keys, or else the tenant's. */
  readonly ring: KeyRing
  /** Computes the tokens of blind indexes, which are searched across subjects: the tenant's keys. */
  readonly indexRing: KeyRing
}

/** The table whose rows are sealed. */
export interface RecordShape {
  readonly table: string
  readonly columns: ReadonlyMap<string, SchemaNode>
  /** The schema version that is written, then those that are still read. */
  readonly versions: readonly string[]
}

/** What is opened of a row. */
interface OpenRequest {
  /** `null`: every field except those with reveal `'never'`. */
  readonly roles: readonly string[] | null
  /** Opens this column only, also if its reveal is `'never'`. @default every encrypted column */
  readonly only?: string
}

/** Seals and opens rows. */
export interface RecordCipher {
  /** Seals the encrypted members of a row and adds the columns of its blind indexes. */
  seal(record: Row, place: RowPlace): Record<string, unknown>
  /** Seals one value for its path in the row. */
  sealAt(field: EncryptedField, value: unknown, path: string, place: RowPlace): string
  /** Opens a row. @param count called with the column of each value that was opened */
  open(
    row: Row,
    place: RowPlace,
    request: OpenRequest,
    count: (column: string) => void,
  ): Record<string, unknown>
  /** Lists the encrypted values of a row: column and sealed bytes, `undefined` if it is no ciphertext. */
  inspect(row: Row): { readonly column: string; readonly sealed: Buffer | undefined }[]
  /** Whether sealing the row again would change its key, its tokens or its schema version. */
  isStale(row: Row, place: RowPlace): boolean
}

/** Creates the {@link RecordCipher} of a table. */
export function createRecordCipher(shape: RecordShape): RecordCipher {
  return new TableCipher(shape)
}

class TableCipher implements RecordCipher {
  readonly #cells: CellCipher
  readonly #table: string
  readonly #columns: RecordShape['columns']

  constructor({ table, columns, versions }: RecordShape) {
    this.#cells = new CellCipher(table, versions)
    this.#table = table
    this.#columns = columns
  }

  sealAt(field: EncryptedField, value: unknown, path: string, place: RowPlace): string {
    return this.#cells.seal(field, value, path, place, place.ring.aead)
  }

  #indexColumns(field: EncryptedField, value: unknown, column: string, place: RowPlace) {
    const indexed = { tenant: place.tenant, table: this.#table, column }
    return computeIndexColumns(field, value, indexed, place.indexRing.indexer)
  }

  seal(record: Row, place: RowPlace): Record<string, unknown> {
    const sealed: Record<string, unknown> = { ...record }
    for (const [column, node] of this.#columns) {
      const value = cellOf(record, column)
      if (value === undefined) continue
      sealed[column] = mapEncrypted(node, value, column, (field, each, path) =>
        this.sealAt(field, each, path, place),
      )
      if (node.kind === 'leaf') {
        Object.assign(sealed, this.#indexColumns(node.field, value, column, place))
      }
    }
    return sealed
  }

  open(
    row: Row,
    place: RowPlace,
    { roles, only }: OpenRequest,
    count: (column: string) => void,
  ): Record<string, unknown> {
    const opened: Record<string, unknown> = { ...row }
    for (const [column, node] of this.#columns) {
      if (node.kind === 'leaf') dropIndexColumns(opened, node.field.indexes)
      const value = cellOf(row, column)
      if (value === undefined || (only !== undefined && only !== column)) continue
      const mapped = mapEncrypted(node, value, column, (field, each, path) => {
        if (only === undefined && field.reveal === 'never') return OMIT
        const disclosure = roles === null ? 'reveal' : decideDisclosure(field, roles)
        if (disclosure === 'withhold') return OMIT
        const plain = this.#cells.open(field, each, path, place, place.ring.aead)
        count(column)
        return disclosure === 'reveal' ? plain : disclosure(plain as string)
      })
      if (mapped === OMIT) delete opened[column]
      else opened[column] = mapped
    }
    return opened
  }

  inspect(row: Row) {
    const found: { column: string; sealed: Buffer | undefined }[] = []
    for (const [column, node] of this.#columns) {
      mapEncrypted(node, cellOf(row, column), column, (_, value) => {
        found.push({ column, sealed: parseCiphertext(value) })
      })
    }
    return found
  }

  isStale(row: Row, place: RowPlace): boolean {
    const { primaryKeyId } = place.ring.aead.keyset
    const hasPrimaryKey = ({ sealed }: { readonly sealed: Buffer | undefined }) =>
      sealed !== undefined && keyIdOf(sealed) === primaryKeyId
    if (!this.inspect(row).every(hasPrimaryKey)) return true
    return this.#hasOlderVersion(row, place) || this.#hasOldTokens(row, place)
  }

  #hasOlderVersion(row: Row, place: RowPlace): boolean {
    let isOlder = false
    for (const [column, node] of this.#columns) {
      mapEncrypted(node, cellOf(row, column), column, (field, value, path) => {
        const sealed = parseCiphertext(value)!
        isOlder ||= this.#cells.isOlderVersion(field, sealed, path, place, place.ring.aead)
      })
    }
    return isOlder
  }

  #hasOldTokens(row: Row, place: RowPlace): boolean {
    for (const [column, node] of this.#columns) {
      const value = cellOf(row, column)
      if (node.kind !== 'leaf' || node.field.indexes.size === 0) continue
      if (value === null || value === undefined) continue
      const plain = this.#cells.open(node.field, value, column, place, place.ring.aead)
      const cells = this.#indexColumns(node.field, plain, column, place)
      if (Object.entries(cells).some(([name, token]) => (row[name] ?? null) !== token)) return true
    }
    return false
  }
}
