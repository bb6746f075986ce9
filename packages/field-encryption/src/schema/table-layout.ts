/** What the SQL of a table needs to know about it. */
import type { BlindIndex } from '../blind-index/blind-index.ts'
import type { SchemaNode } from './compile-schema.ts'

/** The columns of a table. */
export interface TableLayout {
  readonly table: string
  /** The encrypted members. */
  readonly columns: ReadonlyMap<string, SchemaNode>
  readonly indexes: readonly {
    readonly name: string
    readonly index: BlindIndex
    readonly members: readonly { readonly name: string }[]
  }[]
  /** The columns that order the rows and select one of them. */
  readonly ids: readonly string[]
  /** Further columns that a row is bound to: the stable members, the tenant and the subject. */
  readonly identity: readonly string[]
  /** The plaintext column of each member that is being moved to encryption. */
  readonly plaintext: ReadonlyMap<string, string>
  readonly version: number
}
