/** The blind indexes of one table: of single members, and of several members together. */
import { encodeContext } from '@parapet/kit'
import {
  columnOfKey,
  columnsOf,
  indexedText,
  type BlindIndex,
  type CompoundIndex,
} from '../blind-index/blind-index.ts'
import type { Indexer, IndexPlace } from '../key-ring/indexer.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA,
} from '../errors.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { INDEX_NAME, type EncryptedField } from '../schema/encrypted.ts'
import type { Row } from './row-source.ts'

/** One index of a table. */
export interface TableIndex {
  readonly name: string
  readonly index: BlindIndex
  /** The indexed members, more than one in a compound index. */
  readonly members: readonly { readonly name: string; readonly field: EncryptedField }[]
}

/** The indexes of one table. */
export class TableIndexes {
  readonly list: readonly TableIndex[]
  /** Every column that holds tokens. */
  readonly columns: readonly string[]
  readonly #table: string

  /** @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA */
  constructor(
    table: string,
    columns: ReadonlyMap<string, SchemaNode>,
    compounds: Readonly<Record<string, CompoundIndex>>,
    memberNames: ReadonlySet<string>,
  ) {
    this.#table = table
    const single = [...columns].flatMap(([name, node]) => {
      if (node.kind !== 'leaf') return []
      const members = [{ name, field: node.field }]
      return [...node.field.indexes].map(([id, index]) => ({ name: id, index, members }))
    })
    const several = Object.entries(compounds).map(([name, { members, index }]) => ({
      name,
      index,
      members: members.map((member) => ({ name: member, field: this.#fieldOf(columns, member) })),
    }))
    this.list = [...single, ...several]
    this.columns = this.list.flatMap(({ name, index }) => columnsOf(name, index))
    this.#checkNames(memberNames)
  }

  #fieldOf(columns: ReadonlyMap<string, SchemaNode>, member: string): EncryptedField {
    const node = columns.get(member)
    if (node?.kind === 'leaf') return node.field
    return this.#refuse(`the member "${member}" of a compound index must be an encrypted value`)
  }

  #checkNames(memberNames: ReadonlySet<string>): void {
    const seen = new Set(memberNames)
    for (const column of this.columns) {
      if (!INDEX_NAME.test(column)) {
        this.#refuse(`the name of an index must match ${String(INDEX_NAME)}, got "${column}"`)
      }
      if (seen.has(column)) this.#refuse(`two columns have the name "${column}"`)
      seen.add(column)
    }
  }

  #refuse(problem: string): never {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(`table "${this.#table}"`, problem)
  }

  /** The key of an index is derived for this place. */
  placeOf({ name, members }: TableIndex, tenant: string): IndexPlace {
    const column = members.map((member) => member.name).join('+')
    return { tenant, table: this.#table, column, name }
  }

  /**
   * The index columns of a record, and their tokens. In a unique index a column is `null` if no enabled
   * key has its parity. An index whose members are all absent from the record is left out.
   */
  seal(record: Row, tenant: string, indexer: Indexer): Record<string, unknown> {
    const cells: Record<string, unknown> = {}
    for (const entry of this.list) {
      const { name, index, members } = entry
      const values = members.map((member) => cellOf(record, member.name))
      if (values.every((value) => value === undefined)) continue
      for (const each of columnsOf(name, index)) cells[each] = null
      if (members.length > 1 && values.includes(undefined)) {
        const missing = members[values.indexOf(undefined)]!.name
        const problem = `must be in the record: "${name}" indexes it together with others`
        throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(`the member "${missing}"`, problem)
      }
      if (values.includes(null)) continue
      const normal = normalOf(entry, values)
      const tokens = indexer.tokens(this.placeOf(entry, tenant), index, normal)
      // A unique index has the tokens of all enabled keys, the primary key's written last; any other
      // index has the primary key's only.
      for (const { keyId, token } of index.unique ? tokens.toReversed() : tokens.slice(0, 1)) {
        cells[columnOfKey(name, index, keyId)] = token
      }
    }
    return cells
  }

  /** Removes the index columns: a decrypted row does not need the tokens. */
  drop(row: Record<string, unknown>): void {
    for (const column of this.columns) delete row[column]
  }
}

/** What is hashed of valid values. */
export function normalOf({ index, members }: TableIndex, values: readonly unknown[]) {
  const texts = members.map(({ field }, at) => indexedText(index, textOf(field, values[at])))
  return texts.length === 1 ? texts[0]! : encodeContext(['fe-compound1', ...texts])
}

/** What earlier versions hashed of a value, where that is something else. */
export function formerNormalsOf({ index, members }: TableIndex, value: unknown): string[] {
  const [member] = members
  if (members.length > 1 || index.prefix > 0) return []
  const { codec, untagged } = member!.field
  const written = value === 0 ? ['-0', '0'] : [codec.write(value), untagged.write(value)]
  const normals = written.map((text) => text !== undefined && indexedText(index, text, 'before'))
  return [...new Set(normals)].filter((normal) => normal !== false)
}

function textOf({ codec }: EncryptedField, value: unknown): string {
  return (codec.indexText ?? codec.write)(value)!
}

/** The own property of a row: a column may be called `constructor`. */
export function cellOf(row: Row, column: string): unknown {
  return Object.hasOwn(row, column) ? row[column] : undefined
}
