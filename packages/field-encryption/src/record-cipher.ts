/** Seals and opens the rows of one table under keys that are at hand. Pure: no key is fetched here. */
import { keyIdOf, MARK, parseEnvelope } from './aead.ts'
import { columnOfKey, columnsOf, type BlindIndex } from './blind-index.ts'
import { BoundedMap } from './bounded-map.ts'
import { contextHead, joinContext } from './context.ts'
import { decideDisclosure, type EncryptedField } from './encrypted.ts'
import {
  PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
} from './errors.ts'
import type { KeyRing } from './key-ring.ts'
import type { SchemaNode } from './schema.ts'
import { readValue, writeValue } from './values.ts'
import { mapLeaves, OMIT } from './walk.ts'

/** A row as the database has it. */
export type Row = Readonly<Record<string, unknown>>

/** Where a row belongs and which keys are its own. */
export interface RowPlace {
  readonly tenant: string
  readonly rowId: string
  /** Seals the values: the subject's, or the tenant's. */
  readonly ring: KeyRing
  /** Makes the tokens of blind indexes, which are searched across subjects. */
  readonly indexRing: KeyRing
}

/** How a table's rows are written. */
export interface RecordShape {
  readonly table: string
  readonly columns: ReadonlyMap<string, SchemaNode>
  /** The version that is written, then those that are still read. */
  readonly versions: readonly string[]
}

/** What is opened of a row. */
interface OpenRequest {
  /** `null`: everything but what is never revealed. */
  readonly roles: readonly string[] | null
  /** @default every encrypted column */
  readonly only?: string
}

/** Opens and seals rows. */
export interface RecordCipher {
  /** Seals the members of a row that are encrypted, and adds the columns of its blind indexes. */
  seal(record: Row, place: RowPlace): Record<string, unknown>
  /** Seals one value, for its path in the row. */
  sealAt(field: EncryptedField, value: unknown, path: string, place: RowPlace): string
  /** Opens a row; `count` hears the column of each value that was opened. */
  open(
    row: Row,
    place: RowPlace,
    request: OpenRequest,
    count: (column: string) => void,
  ): Record<string, unknown>
  /** Each encrypted value of a row: its column and its envelope, `undefined` where it is none. */
  inspect(row: Row): { readonly column: string; readonly envelope: Buffer | undefined }[]
  /** Whether a row would be written otherwise now: under another key, or with other tokens. */
  isStale(row: Row, place: RowPlace): boolean
}

/** Associated data of columns that stay ready; paths with a number in them are made each time. */
const MAX_HEADS = 2000
/** Ends the version of a padded value, so that padding is switched on or off without a migration. */
const PADDED = ';pad'

/** Makes the {@link RecordCipher} of a table. */
export function createRecordCipher(shape: RecordShape): RecordCipher {
  return new TableCipher(shape)
}

class TableCipher implements RecordCipher {
  readonly #heads = new BoundedMap<string, Buffer>(MAX_HEADS)
  readonly #table: string
  readonly #columns: RecordShape['columns']
  readonly #versions: readonly string[]

  constructor({ table, columns, versions }: RecordShape) {
    this.#table = table
    this.#columns = columns
    this.#versions = versions
  }

  #headOf(tenant: string, path: string): Buffer {
    if (path.includes('.')) return contextHead(tenant, this.#table, path)
    const name = `${path}.${tenant}`
    const known = this.#heads.get(name)
    if (known !== undefined) return known
    const head = contextHead(tenant, this.#table, path)
    this.#heads.set(name, head)
    return head
  }

  #associatedData(place: RowPlace, path: string, version: string): Buffer {
    return joinContext(this.#headOf(place.tenant, path), place.rowId, version)
  }

  sealAt(field: EncryptedField, value: unknown, path: string, place: RowPlace): string {
    if (parseEnvelope(value) !== undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND(path)
    }
    const plaintext = writeValue(field.codec, value, field.padBytes, path)
    const version = this.#versions[0]! + (field.padBytes === 0 ? '' : PADDED)
    return place.ring.aead.sealText(plaintext, this.#associatedData(place, path, version))
  }

  #openValue(field: EncryptedField, value: unknown, path: string, place: RowPlace) {
    if (typeof value !== 'string' || !value.startsWith(MARK)) {
      throw new PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND(path)
    }
    const envelope = parseEnvelope(value)
    if (envelope === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    for (const version of this.#versions) {
      for (const padded of field.padBytes === 0 ? [false, true] : [true, false]) {
        const written = padded ? version + PADDED : version
        const plaintext = place.ring.aead.tryOpen(
          envelope,
          this.#associatedData(place, path, written),
        )
        if (plaintext !== undefined) return readValue(field.codec, plaintext, padded)
      }
    }
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }

  /** The index columns that belong to a value; a slot without a living key is emptied. */
  #indexColumns(field: EncryptedField, value: unknown, column: string, place: RowPlace) {
    const cells: Record<string, unknown> = {}
    for (const [name, index] of field.indexes) {
      for (const each of columnsOf(name, index)) cells[each] = null
      if (value === null || value === undefined) continue
      const text = field.codec.write(value)!
      const where = { tenant: place.tenant, table: this.#table, column, name }
      const tokens = place.indexRing.indexer.tokens(where, index, text)
      // All living keys for a unique index, the primary alone for another.
      for (const { keyId, token } of index.unique ? tokens.toReversed() : tokens.slice(0, 1)) {
        cells[columnOfKey(name, index, keyId)] = token
      }
    }
    return cells
  }

  seal(record: Row, place: RowPlace): Record<string, unknown> {
    const sealed: Record<string, unknown> = { ...record }
    for (const [column, node] of this.#columns) {
      const value = cellOf(record, column)
      if (value === undefined) continue
      sealed[column] = mapLeaves(node, value, column, (field, each, path) =>
        this.sealAt(field, each, path, place),
      )
      if (node.kind === 'leaf')
        Object.assign(sealed, this.#indexColumns(node.field, value, column, place))
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
      if (node.kind === 'leaf') dropIndexes(opened, node.field.indexes)
      const value = cellOf(row, column)
      if (value === undefined || (only !== undefined && only !== column)) continue
      const mapped = mapLeaves(node, value, column, (field, each, path) => {
        if (only === undefined && field.reveal === 'never') return OMIT
        const disclosure = roles === null ? 'reveal' : decideDisclosure(field, roles)
        if (disclosure === 'withhold') return OMIT
        const plain = this.#openValue(field, each, path, place)
        count(column)
        return disclosure === 'reveal' ? plain : disclosure(plain as string)
      })
      if (mapped === OMIT) delete opened[column]
      else opened[column] = mapped
    }
    return opened
  }

  inspect(row: Row) {
    const found: { column: string; envelope: Buffer | undefined }[] = []
    for (const [column, node] of this.#columns) {
      mapLeaves(node, cellOf(row, column), column, (_, value) => {
        found.push({ column, envelope: parseEnvelope(value) })
      })
    }
    return found
  }

  /** Whether a value was written under an older version of the schema, where one is still read. */
  #isOlderVersion(row: Row, place: RowPlace): boolean {
    if (this.#versions.length === 1) return false
    let older = false
    for (const [column, node] of this.#columns) {
      mapLeaves(node, cellOf(row, column), column, (field, value, path) => {
        const version = this.#versions[0]! + (field.padBytes === 0 ? '' : PADDED)
        const envelope = parseEnvelope(value)!
        const context = this.#associatedData(place, path, version)
        older ||= place.ring.aead.tryOpen(envelope, context) === undefined
      })
    }
    return older
  }

  isStale(row: Row, place: RowPlace): boolean {
    const { primaryKeyId } = place.ring.aead.keyset
    const isOld = ({ envelope }: { readonly envelope: Buffer | undefined }) =>
      envelope === undefined || keyIdOf(envelope) !== primaryKeyId
    if (this.inspect(row).some(isOld) || this.#isOlderVersion(row, place)) return true
    for (const [column, node] of this.#columns) {
      const value = cellOf(row, column)
      if (node.kind !== 'leaf' || node.field.indexes.size === 0) continue
      if (value === null || value === undefined) continue
      const plain = this.#openValue(node.field, value, column, place)
      const cells = this.#indexColumns(node.field, plain, column, place)
      if (Object.entries(cells).some(([name, token]) => (row[name] ?? null) !== token)) return true
    }
    return false
  }
}

/** A row has what is its own: a column may be called `constructor`. */
export function cellOf(row: Row, column: string): unknown {
  return Object.hasOwn(row, column) ? row[column] : undefined
}

/** A reader of values has no use for their tokens. */
export function dropIndexes(
  row: Record<string, unknown>,
  indexes: ReadonlyMap<string, BlindIndex>,
): void {
  for (const [name, index] of indexes) for (const each of columnsOf(name, index)) delete row[each]
}
