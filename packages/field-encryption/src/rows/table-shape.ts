/** Validates the options of a table, and compiles what its parts need. */
import type { Clock } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import { compileTableSchema, type SchemaNode } from '../schema/compile-schema.ts'
import type { ObjectSchema } from '../schema/schema-types.ts'
import type { TableLayout } from '../schema/table-layout.ts'
import { noPlaintext, PlaintextColumns } from './plaintext-columns.ts'
import type { RecordShape } from './record-cipher.ts'
import { TableIndexes } from './table-indexes.ts'
import type { TableOptions } from './table-options.ts'

/** A table, ready for use. */
export interface TableShape extends RecordShape {
  /** The schema of a row. */
  readonly root: SchemaNode
  /** The members that values are bound to. */
  readonly bind: readonly string[]
  readonly layout: TableLayout
}

const OPTION_NAMES = new Set([
  'id',
  'bind',
  'tenant',
  'subject',
  'version',
  'readVersions',
  'indexes',
  'plaintext',
])

/**
 * Compiles a table.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 */
export function compileTable(
  table: string,
  schema: ObjectSchema,
  options: TableOptions,
  { hasSubjects, clock }: { readonly hasSubjects: boolean; readonly clock: Pick<Clock, 'now'> },
): TableShape {
  const { tenant, subject, version = 1, readVersions = [] } = options
  const unknown = Object.keys(options).find((name) => !OPTION_NAMES.has(name))
  if (unknown !== undefined) {
    refuse(`the option "${unknown}" of a table`, `is unknown; use ${[...OPTION_NAMES].join(', ')}`)
  }
  const ids = listOf(options.id ?? 'id')
  const bind = options.bind === undefined ? ids : listOf(options.bind)
  const root = compileTableSchema(table, schema)
  const { members: columns, names } = root
  const identity = [...bind, tenant, subject].filter((name) => name !== undefined)
  const unknownMember = [...ids, ...identity].find((name) => !names.has(name))
  if (unknownMember !== undefined) {
    refuse(`the member "${unknownMember}"`, 'identifies the row, so it must be in the schema')
  }
  const encrypted = [...ids, ...identity].find((name) => columns.has(name))
  if (encrypted !== undefined) {
    refuse(`the member "${encrypted}"`, 'identifies the row, so it cannot be encrypted')
  }
  if (subject !== undefined && !hasSubjects) {
    refuse('"subject" of a table', 'needs the options provider and keyStore')
  }
  const indexes = new TableIndexes(table, columns, options.indexes ?? {}, names)
  const plaintext = new PlaintextColumns(
    table,
    options.plaintext ?? noPlaintext,
    { columns, names },
    clock,
  )
  const layout: TableLayout = {
    table,
    columns,
    indexes: indexes.list,
    ids,
    identity: identity.filter((name) => !ids.includes(name)),
    plaintext: plaintext.columns,
    version,
  }
  const versions = [version, ...readVersions].map(String)
  return { table, root, columns, indexes, plaintext, versions, bind, layout }
}

function listOf(names: string | readonly string[]): readonly string[] {
  const list = typeof names === 'string' ? [names] : names
  if (list.length === 0) refuse('"id" and "bind" of a table', 'must name at least one member')
  return list
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(what, problem)
}
