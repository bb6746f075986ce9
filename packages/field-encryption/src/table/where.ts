/** Conditions on blind indexes, for a WHERE clause. */
import { callOption } from '../call-options.ts'
import { columnsOf, type BlindIndex } from '../blind-index/blind-index.ts'
import type { Indexer } from '../key-ring/indexer.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_NOT_INDEXED,
} from '../errors.ts'
import { quoteName, type Dialect } from '../sql/identifiers.ts'
import {
  formerNormalsOf,
  normalOf,
  type TableIndex,
  type TableIndexes,
} from '../rows/table-indexes.ts'
import { recordScopeTable } from '../rows/table-options.ts'
import type { Condition } from './table.ts'

/** The options of a search. */
export const whereTable = {
  ...recordScopeTable,
  index: callOption.text,
  firstParameter: callOption.integer(1, 65_535),
  dialect: callOption.oneOf('postgres', 'mysql', 'sqlite'),
}

/** The index that a search uses. @throws PARAPET_FIELD_ENCRYPTION_NOT_INDEXED */
export function findIndex(
  indexes: TableIndexes,
  members: readonly string[],
  name: string | undefined,
): TableIndex {
  const fitting = indexes.list.filter(
    (each) =>
      each.members.length === members.length &&
      each.members.every((member) => members.includes(member.name)) &&
      (name === undefined || each.name === name),
  )
  // An index of prefixes answers another question, so it is chosen last.
  const found = fitting.find(({ index }) => index.prefix === 0) ?? fitting[0]
  if (found === undefined) throw new PARAPET_FIELD_ENCRYPTION_NOT_INDEXED(members.join('+'))
  return found
}

/** No stored token is equal to it: tokens are hexadecimal. */
export const NO_TOKEN = '-'

/**
 * Checks the values of a search.
 *
 * @returns the tokens that they may have in the database: under each enabled key, and as earlier versions
 *   normalized them.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT a value has another type, or is shorter than the
 *   prefix.
 */
export function prepareSearch(
  indexes: TableIndexes,
  entry: TableIndex,
  values: Readonly<Record<string, unknown>>,
  tenant: string,
): (indexer: Indexer) => string[] {
  const given = entry.members.map(({ name, field }) => {
    const value = values[name]
    if (field.codec.write(value) !== undefined) return value
    return refuse(`the value of "${name}"`, `must be ${field.codec.expected}`)
  })
  const normal = normalOf(entry, given)
  const { prefix } = entry.index
  if (typeof normal === 'string' && Array.from(normal).length < prefix) {
    const [member] = entry.members
    refuse(`the value of "${member!.name}"`, `must have at least ${prefix} characters`)
  }
  const place = indexes.placeOf(entry, tenant)
  const normals = new Set<string | Uint8Array>([normal, ...formerNormalsOf(entry, given[0])])
  return (indexer) =>
    [...normals].flatMap((each) =>
      indexer.tokens(place, entry.index, each).map(({ token }) => token),
    )
}

/** Builds the condition. */
export function conditionOf(
  { name, index }: { readonly name: string; readonly index: BlindIndex },
  tokens: readonly string[],
  dialect: Dialect,
  firstParameter: number,
): Condition {
  const columns = columnsOf(name, index)
  const marks = tokens.map(() => '?').join(', ')
  const right = dialect === 'postgres' ? `= ANY($${firstParameter})` : `IN (${marks})`
  const text = columns.map((each) => `${quoteName(each, dialect)} ${right}`).join(' OR ')
  const values = dialect === 'postgres' ? [tokens] : columns.flatMap(() => tokens)
  return { text: `(${text})`, values, columns, tokens }
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(what, problem)
}
