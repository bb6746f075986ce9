/** Writes a filter as PostgreSQL. Unknown becomes NULL, and every value is a parameter. */
import { isExact, printValue, type AttributeType, type Normal } from '../attributes/attributes.ts'
import type { Node, Reference, Sign, Term } from '../conditions/nodes.ts'
import { PARAPET_RBAC_INVALID_ARGUMENT } from '../errors.ts'

/** A boolean expression and the values of its parameters. */
export interface SqlFragment {
  readonly text: string
  readonly values: readonly unknown[]
}

/** How columns and parameters are named. */
export interface SqlNaming {
  /**
   * The column of an attribute, if its name differs from the attribute's; `c.owner_id` is a column of
   * the table `c`. A `time` needs a `timestamptz`, a `string[]` a `text[]`, and `uuid`, `bigint`,
   * `decimal`, `enum` and `date` a column of that type. A `string` compares by the rules of its column: if they ignore case, the filter passes rows that `can` refuses.
   */
  readonly columns?: Readonly<Record<string, string>>
  /** The number of the first parameter. @default 1 */
  readonly firstParameter?: number
}

interface Writer {
  column(ref: Reference): string
  parameter(value: unknown): string
}

const SIGNS = { eq: '=', ne: '<>', lt: '<', lte: '<=', gt: '>', gte: '>=' } as const

/** Writes an expression: `granted` is true and every refusal is false. */
export function writeSql(
  granted: Node,
  refusals: readonly Node[],
  { columns = {}, firstParameter = 1 }: SqlNaming,
): SqlFragment {
  if (!Number.isSafeInteger(firstParameter) || firstParameter < 1) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"firstParameter"',
      `must be an integer of at least 1, got ${String(firstParameter)}`,
    )
  }
  const values: unknown[] = []
  const writer: Writer = {
    column: ({ name }) => quote(Object.hasOwn(columns, name) ? columns[name]! : name),
    parameter: (value) => `$${firstParameter - 1 + values.push(value)}`,
  }
  const parts = granted.op === 'value' ? [] : [writeNode(granted, writer)]
  // IS FALSE instead of NOT: a deny rule that is NULL must refuse the row.
  for (const refusal of refusals) parts.push(`(${writeNode(refusal, writer)}) IS FALSE`)
  return { text: `(${parts.join(' AND ')})`, values }
}

function writeNode(node: Node, writer: Writer): string {
  switch (node.op) {
    case 'and':
    case 'or': {
      const parts = node.of.map((part) => writeNode(part, writer))
      return `(${parts.join(node.op === 'and' ? ' AND ' : ' OR ')})`
    }
    case 'not':
      return `(NOT ${writeNode(node.of, writer)})`
    case 'value':
      return node.value === null ? 'NULL::boolean' : node.value ? 'TRUE' : 'FALSE'
    case 'exists':
      return `(${writeTerm(node.left, writer)} IS NOT NULL)`
    case 'in':
      return writeIn(node.left, node.right, writer)
    case 'test':
      // Such a test cannot read the resource, so it has been evaluated before.
      throw new PARAPET_RBAC_INVALID_ARGUMENT(`The test "${node.text}"`, 'cannot be written as SQL')
    case 'compare':
      break
  }
  return writeComparison(node.sign, node.left, node.right, writer)
}

function writeComparison(sign: Sign, left: Term, right: Term, writer: Writer): string {
  const [other, literal] = left.kind === 'literal' ? [right, left] : [left, right]
  if (literal.kind === 'literal' && !isStorable(literal.value)) {
    const column = writeTerm(other, writer)
    return `(${column} ${sign === 'eq' ? '<>' : '='} ${column})`
  }
  return `(${writeTerm(left, writer)} ${SIGNS[sign]} ${writeTerm(right, writer)})`
}

function writeIn(left: Term, right: Term, writer: Writer): string {
  if (right.kind === 'literal') {
    const members = (right.value as readonly unknown[]).filter(isStorable)
    const value = writeTerm(left, writer)
    // `= ANY ('{}')` is false even for NULL, but membership of a missing value is unknown.
    if (members.length === 0) return `(${value} <> ${value})`
    return `(${value} = ANY (${writeList(members, left.type, writer)}))`
  }
  const list = writeTerm(right, writer)
  if (left.kind === 'literal' && !isStorable(left.value)) {
    return `(CASE WHEN array_position(${list}, NULL) IS NULL THEN ${list} <> ${list} END)`
  }
  const value = writeTerm(left, writer)
  const member = `(${value} = ANY (${list}))`
  return left.kind === 'ref' ? `(CASE WHEN ${value} IS NULL THEN NULL ELSE ${member} END)` : member
}

/** Whether PostgreSQL can store a value. A string that it cannot store equals no row. */
function isStorable(value: unknown): boolean {
  return typeof value !== 'string' || (value.isWellFormed() && !value.includes('\0'))
}

function writeTerm(term: Term, writer: Writer): string {
  const { type } = term
  if (term.kind === 'ref') return writeColumn(writer.column(term), type)
  if (type === 'time') return `${writer.parameter(timeText(term.value as number))}::timestamptz`
  if (!isExact(type)) return writer.parameter(term.value)
  return `${writer.parameter(exactText(type, term.value))}::${SQL_TYPES[type as ExactType]}`
}

function writeList(members: readonly unknown[], type: AttributeType, writer: Writer): string {
  if (!isExact(type)) return writer.parameter(members)
  const texts = members.map((each) => exactText(type, each as Normal))
  return `${writer.parameter(texts)}::${SQL_TYPES[type as ExactType]}[]`
}

type ExactType = keyof typeof SQL_TYPES

/** The value has been read as its type, so the cast cannot fail. An enum is compared as text. */
const SQL_TYPES = {
  uuid: 'uuid',
  bigint: 'bigint',
  decimal: 'numeric',
  enum: 'text',
  date: 'date',
} as const

function exactText(type: AttributeType, value: Normal): string {
  return typeof value === 'string' ? value : printValue(type, value)
}

/** Formats a time for PostgreSQL, where the year before 1 is 1 BC. */
function timeText(time: number): string {
  if (!Number.isFinite(time)) return time > 0 ? 'infinity' : '-infinity'
  const date = new Date(time)
  const year = date.getUTCFullYear()
  const rest = date.toISOString().slice(-'-01-01T00:00:00.000Z'.length)
  return year > 0
    ? `${String(year).padStart(4, '0')}${rest}`
    : `${String(1 - year).padStart(4, '0')}${rest} BC`
}

/** Reads a column as a condition does: what a condition cannot read is NULL. */
function writeColumn(column: string, type: AttributeType): string {
  if (type === 'number') return `NULLIF(${column}::float8, 'NaN')`
  if (type === 'time') return `date_trunc('milliseconds', ${column})`
  if (type === 'enum') return `${column}::text`
  if (type === 'decimal') {
    return `NULLIF(NULLIF(NULLIF(${column}::text, 'NaN'), 'Infinity'), '-Infinity')::numeric`
  }
  if (type !== 'date') return column
  return `(CASE WHEN ${column} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN ${column} END)`
}

function quote(column: string): string {
  const parts = column.split('.')
  if (column.includes('\0') || parts.some((part) => part === '')) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"columns"',
      `must name columns such as "c.owner_id", got ${JSON.stringify(column)}`,
    )
  }
  return parts.map((part) => `"${part.replaceAll('"', '""')}"`).join('.')
}
