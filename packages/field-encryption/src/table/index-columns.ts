/** The columns of blind indexes in a row. */
import { columnOfKey, columnsOf, type BlindIndex, type Indexer } from '../crypto/blind-index.ts'
import type { EncryptedField } from '../schema/encrypted.ts'
import type { Row } from '../sql/row-source.ts'

/** The column that is indexed. */
export interface IndexedColumn {
  readonly tenant: string
  readonly table: string
  readonly column: string
}

/**
 * The index columns of one value, and their tokens. In a unique index a column is `null` if no enabled
 * key has its parity.
 */
export function computeIndexColumns(
  field: EncryptedField,
  value: unknown,
  { tenant, table, column }: IndexedColumn,
  indexer: Indexer,
): Record<string, unknown> {
  const cells: Record<string, unknown> = {}
  for (const [name, index] of field.indexes) {
    for (const each of columnsOf(name, index)) cells[each] = null
    if (value === null || value === undefined) continue
    const text = field.codec.write(value)!
    const tokens = indexer.tokens({ tenant, table, column, name }, index, text)
    // A unique index has the tokens of all enabled keys, the primary key's written last; any other
    // index has the primary key's only.
    for (const { keyId, token } of index.unique ? tokens.toReversed() : tokens.slice(0, 1)) {
      cells[columnOfKey(name, index, keyId)] = token
    }
  }
  return cells
}

/** Removes the index columns: a decrypted row does not need the tokens. */
export function dropIndexColumns(
  row: Record<string, unknown>,
  indexes: ReadonlyMap<string, BlindIndex>,
): void {
  for (const [name, index] of indexes) for (const each of columnsOf(name, index)) delete row[each]
}

/** The own property of a row: a column may be called `constructor`. */
export function cellOf(row: Row, column: string): unknown {
  return Object.hasOwn(row, column) ? row[column] : undefined
}
