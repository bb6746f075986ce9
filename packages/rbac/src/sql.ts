/** Residual rules as PostgreSQL: the same three values of truth, every value a parameter. */
import type { AttributeType } from './attributes.ts'
import { PARAPET_RBAC_INVALID_ARGUMENT } from './errors.ts'
import type { Node, Reference, Sign, Term } from './condition-nodes.ts'

/** A boolean expression, and the values of its parameters. */
export interface SqlFragment {
  readonly text: string
  readonly values: readonly unknown[]
}

/** How attributes and parameters are named. */
export interface SqlNaming {
  /**
   * The column of an attribute, where it is not the attribute's own name; `c.owner_id` is a column
   * of the table `c`. A `time` is a `timestamptz`, a `string[]` a `text[]`. A `string` compares as
   * its column does: with a type or a collation that ignores case, a filter passes more than a check.
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

/** Writes: granted, and every one of the refusals false. */
export function writeSql(
  granted: Node,
  refusals: readonly Node[],
  { columns = {}, firstParameter = 1 }: SqlNaming,
): SqlFragment {
  if (!Number.isSafeInteger(firstParameter) || firstParameter < 1) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT('firstParameter', 'must be a whole number from 1')
  }
  const values: unknown[] = []
  const writer: Writer = {
    column: ({ name }) => quote(Object.hasOwn(columns, name) ? columns[name]! : name),
    parameter: (value) => `$${firstParameter - 1 + values.push(value)}`,
  }
  const parts = granted.op === 'value' ? [] : [writeNode(granted, writer)]
  // IS FALSE, not NOT: a refusal that is NULL refuses.
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
      // The policy's reader lets no such test look at the resource, so folding has decided it.
      throw new PARAPET_RBAC_INVALID_ARGUMENT(node.text, 'cannot be written as SQL')
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
    // `= ANY ('{}')` is false even for NULL; membership of something missing is unknown.
    if (members.length === 0) return `(${value} <> ${value})`
    return `(${value} = ANY (${writer.parameter(members)}))`
  }
  const list = writeTerm(right, writer)
  if (left.kind === 'literal' && !isStorable(left.value)) {
    return `(CASE WHEN array_position(${list}, NULL) IS NULL THEN ${list} <> ${list} END)`
  }
  const value = writeTerm(left, writer)
  const member = `(${value} = ANY (${list}))`
  return left.kind === 'ref' ? `(CASE WHEN ${value} IS NULL THEN NULL ELSE ${member} END)` : member
}

/** A text that PostgreSQL refuses, or would alter on its way: no row holds it, so nothing equals it. */
function isStorable(value: unknown): boolean {
  return typeof value !== 'string' || (value.isWellFormed() && !value.includes('\0'))
}

function writeTerm(term: Term, writer: Writer): string {
  if (term.kind === 'ref') return writeColumn(writer.column(term), term.type)
  if (term.type !== 'time') return writer.parameter(term.value)
  return `${writer.parameter(momentText(term.value as number))}::timestamptz`
}

/** A moment as PostgreSQL reads it: years have no sign, and there is none before 1 but 1 BC. */
function momentText(time: number): string {
  if (!Number.isFinite(time)) return time > 0 ? 'infinity' : '-infinity'
  const date = new Date(time)
  const year = date.getUTCFullYear()
  const rest = date.toISOString().slice(-'-01-01T00:00:00.000Z'.length)
  return year > 0
    ? `${String(year).padStart(4, '0')}${rest}`
    : `${String(1 - year).padStart(4, '0')}${rest} BC`
}

/** The column as a condition sees it: a number that is none is missing, a moment has milliseconds. */
function writeColumn(column: string, type: AttributeType): string {
  if (type === 'number') return `NULLIF(${column}::float8, 'NaN')`
  return type === 'time' ? `date_trunc('milliseconds', ${column})` : column
}

function quote(column: string): string {
  const parts = column.split('.')
  if (column.includes('\0') || parts.some((part) => part === '')) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT('a column', 'must have a name')
  }
  return parts.map((part) => `"${part.replaceAll('"', '""')}"`).join('.')
}
