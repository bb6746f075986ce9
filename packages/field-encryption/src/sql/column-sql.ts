/** The statements for the columns of a table. Each can run again: a later version of a schema repeats them. */
import { SEALED_MARK, sealedTextLength } from '@parapet/kit'
import { columnsOf, type BlindIndex } from '../blind-index/blind-index.ts'
import { MAX_CIPHERTEXT_LENGTH } from '../crypto/aead.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { maxCiphertextLength } from '../schema/plaintext.ts'
import { quoteBuiltName, quoteName } from './identifiers.ts'
import type { TableLayout } from '../schema/table-layout.ts'

const HEX_BITS = 4

/** Adds the columns of members and of indexes. */
export function addColumns({ table, columns, indexes }: TableLayout): string[] {
  const add = (name: string, type: string) =>
    `ALTER TABLE ${quoteName(table)} ADD COLUMN IF NOT EXISTS ${quoteName(name)} ${type};`
  const members = [...columns].map(([name, node]) =>
    add(name, node.kind === 'leaf' ? 'text' : 'jsonb'),
  )
  const tokens = indexes.flatMap(({ name, index }) => columnsOf(name, index))
  return [...members, ...tokens.map((name) => add(name, 'text'))]
}

/** A constraint of one column. */
export interface ColumnCheck {
  readonly column: string
  readonly name: string
  readonly condition: string
}

/** The constraints that let a column hold ciphertext, or tokens, only. */
export function checksOf({ table, columns, indexes }: TableLayout): ColumnCheck[] {
  const sealed = [...columns].flatMap(([name, node]) => {
    const condition = sealedCondition(name, node)
    return condition === undefined
      ? []
      : [{ column: name, name: `${table}_${name}_sealed`, condition }]
  })
  const tokens = indexes.flatMap(({ name, index }) =>
    columnsOf(name, index).map((column) => ({
      column,
      name: `${table}_${column}_token`,
      condition: `${quoteName(column)} ~ '^[0-9a-f]{${tokenDigits(index)}}$'`,
    })),
  )
  return [...sealed, ...tokens]
}

function sealedCondition(name: string, node: SchemaNode): string | undefined {
  if (node.kind !== 'leaf') return undefined
  const column = quoteName(name)
  const longest = maxCiphertextLength(node.field) ?? MAX_CIPHERTEXT_LENGTH
  return `${column} LIKE '${SEALED_MARK}%' AND length(${column}) BETWEEN ${sealedTextLength(0)} AND ${longest}`
}

/** The hexadecimal digits of a token: whole bytes. */
function tokenDigits({ bits }: BlindIndex): number {
  return 2 * Math.ceil(bits / (2 * HEX_BITS))
}

/** Adds a constraint without reading the table: it applies to what is written from now on. */
export function addCheck(table: string, { name, condition }: Omit<ColumnCheck, 'column'>): string {
  const check = quoteBuiltName(name)
  return `ALTER TABLE ${quoteName(table)} DROP CONSTRAINT IF EXISTS ${check};
ALTER TABLE ${quoteName(table)} ADD CONSTRAINT ${check} CHECK (${condition}) NOT VALID;`
}

/** Checks the rows that were there before the constraint, while others read and write. */
export function validateCheck(table: string, { name }: Pick<ColumnCheck, 'name'>): string {
  return `ALTER TABLE ${quoteName(table)} VALIDATE CONSTRAINT ${quoteBuiltName(name)};`
}

/** Creates the indexes of the tokens, one statement for each. */
export function createIndexes(
  { table, indexes }: Pick<TableLayout, 'table' | 'indexes'>,
  concurrently: boolean,
): string[] {
  return indexes.flatMap(({ name, index }) =>
    columnsOf(name, index).map((column) => {
      const kind = `${index.unique ? 'UNIQUE INDEX' : 'INDEX'}${concurrently ? ' CONCURRENTLY' : ''}`
      const id = quoteBuiltName(`${table}_${column}_idx`)
      return `CREATE ${kind} IF NOT EXISTS ${id} ON ${quoteName(table)} (${quoteName(column)});`
    }),
  )
}
