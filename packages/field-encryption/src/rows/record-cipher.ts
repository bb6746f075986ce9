/** Seals and opens the rows of one table with keys that are already loaded. */
import { keyIdOf } from '@parapet/kit'
import { parseCiphertext } from '../crypto/aead.ts'
import type { KeyRing } from '../key-ring/key-ring.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { applyMask, decideDisclosure } from '../schema/disclosure.ts'
import type { EncryptedField } from '../schema/encrypted.ts'
import { mapEncrypted, OMIT } from '../schema/map-encrypted.ts'
import type { Row } from './row-source.ts'
import { CellCipher, type CellRow } from './cell-cipher.ts'
import type { CountOpened } from './opened-values.ts'
import type { PlaintextColumns } from './plaintext-columns.ts'
import { cellOf, type TableIndexes } from './table-indexes.ts'

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
  readonly indexes: TableIndexes
  readonly plaintext: PlaintextColumns
  /** The schema version that is written, then those that are still read. */
  readonly versions: readonly string[]
}

/** What is opened of a row. */
export interface OpenRequest {
  /** `null`: every field except those with reveal `'never'`. */
  readonly roles: readonly string[] | null
  /** Opens this column only, also if its reveal is `'never'`. @default every encrypted column */
  readonly only?: string
  /** Called with the error of a value that cannot be opened, which is then left out. @default it throws */
  readonly onUnreadable?: ((error: unknown) => void) | undefined
}

/** A value of a row that should be encrypted. */
export interface InspectedValue {
  readonly column: string
  /** `undefined`: it is no ciphertext. */
  readonly sealed: Buffer | undefined
}

/** Seals and opens rows. */
export class RecordCipher {
  readonly #cells: CellCipher
  readonly #shape: RecordShape

  constructor(shape: RecordShape) {
    this.#cells = new CellCipher(shape.table, shape.versions)
    this.#shape = shape
  }

  /** Seals one value for its path in the row. */
  sealAt(field: EncryptedField, value: unknown, path: string, place: RowPlace): string {
    return this.#cells.seal(field, value, path, place, place.ring.aead)
  }

  /** Seals the encrypted members of a row and adds the columns of its blind indexes. */
  seal(record: Row, place: RowPlace): Record<string, unknown> {
    const sealed: Record<string, unknown> = { ...record }
    for (const [column, node] of this.#shape.columns) {
      const value = cellOf(record, column)
      if (value === undefined) continue
      sealed[column] = mapEncrypted(node, value, column, (field, each, path) =>
        this.sealAt(field, each, path, place),
      )
    }
    const { indexes } = this.#shape
    if (indexes.list.length > 0) {
      Object.assign(sealed, indexes.seal(record, place.tenant, place.indexRing.indexer))
    }
    return sealed
  }

  /** Opens a row. @param count called for each value that is revealed; a masked one is not counted */
  open(
    row: Row,
    place: RowPlace,
    request: OpenRequest,
    count: CountOpened,
  ): Record<string, unknown> {
    const { columns, indexes, plaintext } = this.#shape
    const opened: Record<string, unknown> = { ...row }
    indexes.drop(opened)
    plaintext.drop(opened)
    for (const [column, node] of columns) {
      if (request.only !== undefined && request.only !== column) continue
      const found = plaintext.find(row, column)
      const value = found ?? cellOf(row, column)
      if (value === undefined) continue
      const mapped = mapEncrypted(node, value, column, (field, each, path) =>
        disclose(field, column, request, count, () =>
          found === undefined
            ? this.#cells.open(field, each, path, place, place.ring.aead)
            : plaintext.read(column, found),
        ),
      )
      if (mapped === OMIT) delete opened[column]
      else opened[column] = mapped
    }
    return opened
  }

  /** Lists the values of a row that should be encrypted. */
  inspect(row: Row): InspectedValue[] {
    const found: InspectedValue[] = []
    const { columns, plaintext } = this.#shape
    for (const [column, node] of columns) {
      const value = plaintext.find(row, column) ?? cellOf(row, column)
      mapEncrypted(node, value, column, (_, each) => {
        found.push({ column, sealed: parseCiphertext(each) })
      })
    }
    return found
  }

  /** Whether sealing the row again would change its key, its tokens, or how its values are written. */
  isStale(row: Row, place: RowPlace): boolean {
    const { primaryKeyId } = place.ring.aead.keyset
    const hasPrimaryKey = ({ sealed }: InspectedValue) =>
      sealed !== undefined && keyIdOf(sealed) === primaryKeyId
    if (!this.inspect(row).every(hasPrimaryKey)) return true
    return this.#hasOlderVersion(row, place) || this.#hasOldTokens(row, place)
  }

  #hasOlderVersion(row: Row, place: RowPlace): boolean {
    let isOlder = false
    for (const [column, node] of this.#shape.columns) {
      mapEncrypted(node, cellOf(row, column), column, (field, value, path) => {
        const sealed = parseCiphertext(value)!
        isOlder ||= this.#cells.isOlderVersion(field, sealed, path, place, place.ring.aead)
      })
    }
    return isOlder
  }

  #hasOldTokens(row: Row, place: RowPlace): boolean {
    const { indexes } = this.#shape
    const plain: Record<string, unknown> = {}
    for (const { name, field } of indexes.list.flatMap(({ members }) => members)) {
      const value = cellOf(row, name)
      plain[name] ??=
        value === null || value === undefined
          ? value
          : this.#cells.open(field, value, name, place, place.ring.aead)
    }
    const cells = indexes.seal(plain, place.tenant, place.indexRing.indexer)
    return Object.entries(cells).some(([name, token]) => (row[name] ?? null) !== token)
  }
}

function disclose(
  field: EncryptedField,
  column: string,
  { roles, only, onUnreadable }: OpenRequest,
  count: CountOpened,
  open: () => unknown,
): unknown {
  if (only === undefined && field.reveal === 'never') return OMIT
  const disclosure = roles === null ? 'reveal' : decideDisclosure(field, roles)
  if (disclosure === 'withhold') return OMIT
  let plain: unknown
  try {
    plain = open()
  } catch (error) {
    if (onUnreadable === undefined) throw error
    onUnreadable(error)
    return OMIT
  }
  if (disclosure !== 'reveal') return applyMask(disclosure, plain, column)
  count(column, field)
  return plain
}
