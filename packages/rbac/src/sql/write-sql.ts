/** Writes a filter as SQL. Unknown becomes NULL, and every value is a parameter. */
import { directoryOf } from '../conditions/compile-condition.ts'
import type { Node, Reference, RelatedNode, Sign, Term } from '../conditions/nodes.ts'
import { PARAPET_RBAC_INVALID_ARGUMENT } from '../errors.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'
import type { SubselectSource } from '../tuples/relations.ts'
import { isStorable, type Dialect, type ListTerm, type SqlDialect } from './dialect.ts'
import { join, parameter, render, sql, type Sql, type SqlFragment } from './fragment.ts'
import { mysql } from './mysql.ts'
import { postgres } from './postgres.ts'
import { sqlite } from './sqlite.ts'

/** How columns and parameters are named. */
export interface SqlNaming {
  /**
   * The column of an attribute, if its name differs from the attribute's; `c.owner_id` is a column of
   * the table `c`. In PostgreSQL, a `time` needs a `timestamptz`, a `string[]` a `text[]`, and `uuid`,
   * `bigint`, `decimal`, `enum` and `date` a column of that type. A `string` compares by the rules of its
   * column: if they ignore case, the filter passes rows that `can` refuses. A nested attribute such as
   * `address.country` is read from the JSON column `address`, unless it is named here.
   */
  readonly columns?: Readonly<Record<string, string>>
  /** The number of the first parameter, in PostgreSQL. @default 1 */
  readonly firstParameter?: number
  /** @default 'postgres' */
  readonly dialect?: SqlDialect
}

/** Returns the ids of related objects as a sub-select; `undefined`: the relations are not in SQL. */
export type SubselectOf = (plan: RelationPlan) => SubselectSource | undefined

interface Writer {
  /** Whether unknown and false are the same for the whole: in a grant, outside of `not`. */
  readonly isLax: boolean
  readonly dialect: Dialect
  readonly columns: Readonly<Record<string, string>>
  readonly subselectOf: SubselectOf
}

const DIALECTS = { postgres, mysql, sqlite } as const
const SIGNS = { eq: '=', ne: '<>', lt: '<', lte: '<=', gt: '>', gte: '>=' } as const

/** Returns a dialect. @throws PARAPET_RBAC_INVALID_ARGUMENT */
function dialectOf(name: SqlDialect): Dialect {
  if (Object.hasOwn(DIALECTS, name)) return DIALECTS[name]
  const known = Object.keys(DIALECTS).join(', ')
  throw new PARAPET_RBAC_INVALID_ARGUMENT('"dialect"', `must be one of ${known}, got "${name}"`)
}

/** Writes an expression: `granted` is true and every refusal is false. */
export function writeSql(
  granted: Node,
  refusals: readonly Node[],
  { columns = {}, firstParameter = 1, dialect: name = 'postgres' }: SqlNaming,
  subselectOf: SubselectOf,
): SqlFragment {
  if (!Number.isSafeInteger(firstParameter) || firstParameter < 1) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"firstParameter"',
      `must be an integer of at least 1, got ${String(firstParameter)}`,
    )
  }
  const dialect = dialectOf(name)
  const writer: Writer = { isLax: false, dialect, columns, subselectOf }
  const parts = granted.op === 'value' ? [] : [writeNode(granted, { ...writer, isLax: true })]
  // IS FALSE instead of NOT: a deny rule that is NULL must refuse the row.
  for (const refusal of refusals) parts.push(sql`(${writeNode(refusal, writer)}) IS FALSE`)
  const whole = sql`(${join(parts, ' AND ')})`
  return render(whole, (index) => dialect.placeholder(index + firstParameter - 1))
}

function writeNode(node: Node, writer: Writer): Sql {
  switch (node.op) {
    case 'and':
    case 'or': {
      const parts = node.of.map((part) => writeNode(part, writer))
      return sql`(${join(parts, node.op === 'and' ? ' AND ' : ' OR ')})`
    }
    case 'not':
      return sql`(NOT ${writeNode(node.of, { ...writer, isLax: false })})`
    case 'value':
      return sql`${node.value === null ? writer.dialect.unknown : node.value ? 'TRUE' : 'FALSE'}`
    case 'exists':
      return sql`(${writeTerm(node.left, writer)} IS NOT NULL)`
    case 'in':
      return writeIn(node.left, node.right, writer)
    case 'sets':
      return writeSets(node, writer)
    case 'prefix':
      return writePrefix(node, writer)
    case 'related':
      return writeRelated(node, writer)
    case 'test':
      // Such a test cannot read the resource, so it has been evaluated before.
      throw new PARAPET_RBAC_INVALID_ARGUMENT(`The test "${node.text}"`, 'cannot be written as SQL')
    case 'compare':
      break
  }
  return writeComparison(node.sign, node.left, node.right, writer)
}

function writeComparison(sign: Sign, left: Term, right: Term, writer: Writer): Sql {
  const [other, literal] = left.kind === 'literal' ? [right, left] : [left, right]
  const { dialect } = writer
  if (literal.kind === 'literal' && !isStorable(literal.value)) {
    return constantUnless(writeTerm(other, writer), sign !== 'eq')
  }
  const [a, b] = [writeTerm(left, writer), writeTerm(right, writer)]
  return dialect.compare(SIGNS[sign], a, b, other.type)
}

/** A constant answer, which is NULL if the value is. */
function constantUnless(value: Sql, answer: boolean): Sql {
  return sql`(${value} ${answer ? '=' : '<>'} ${value})`
}

function writeIn(left: Term, right: Term, writer: Writer): Sql {
  const { dialect } = writer
  if (right.kind === 'literal') {
    const members = (right.value as readonly unknown[]).filter(isStorable)
    const value = writeTerm(left, writer)
    // `= ANY ('{}')` is false even for NULL, but membership of a missing value is unknown.
    if (members.length === 0) return constantUnless(value, false)
    return dialect.isOneOf(value, members, left.type)
  }
  const list = writeTerm(right, writer)
  if (left.kind === 'literal' && !isStorable(left.value)) {
    return sql`(CASE WHEN ${dialect.isPure(list)} THEN FALSE END)`
  }
  return dialect.isMember(writeTerm(left, writer), list, left.kind === 'ref')
}

/** Members that cannot be stored are in no column. */
function writeSets(node: Extract<Node, { op: 'sets' }>, writer: Writer): Sql {
  const { dialect } = writer
  const [left, right] = [node.left, node.right].map((term): ListTerm =>
    term.kind === 'literal'
      ? { members: (term.value as readonly string[]).filter(isStorable) }
      : { column: writeTerm(term, writer) },
  ) as [ListTerm, ListTerm]
  if (node.mode === 'any') return dialect.haveCommon(left, right)
  const isComplete =
    node.right.kind === 'ref' || (node.right.value as readonly unknown[]).every(isStorable)
  if (isComplete || !('column' in left)) return dialect.hasAll(left, right)
  return sql`(CASE WHEN ${dialect.isPure(left.column)} THEN FALSE END)`
}

function writePrefix(
  { left, right, isPath }: Extract<Node, { op: 'prefix' }>,
  writer: Writer,
): Sql {
  const { dialect } = writer
  const unstorable = [left, right].some(
    (term) => term.kind === 'literal' && !isStorable(term.value),
  )
  if (unstorable) return writeUnstorablePrefix(left, right, isPath, writer)
  const text = writeTerm(left, writer)
  if (!isPath) return dialect.startsWith(text, writeTerm(right, writer))
  const directory =
    right.kind === 'literal'
      ? parameter(directoryOf(right.value as string))
      : dialect.directory(writeTerm(right, writer))
  return dialect.startsWith(dialect.concat(text, sql`'/'`), directory)
}

/** No column starts with such a text, but such a text can start with that of a column. */
function writeUnstorablePrefix(left: Term, right: Term, isPath: boolean, writer: Writer): Sql {
  if (right.kind === 'literal') return constantUnless(writeTerm(left, writer), false)
  const start = /^[^\0\ud800-\udfff]*/.exec((left as { readonly value: string }).value)![0]
  const rest: Term = { kind: 'literal', type: 'string', value: start }
  const column = writeTerm(right, writer)
  const directory = isPath ? writer.dialect.directory(column) : column
  return writer.dialect.startsWith(writeTerm(rest, writer), directory)
}

/**
 * The relation to a missing object is unknown, but `NULL IN (no rows)` is false: where that matters, a CASE
 * tells them apart. A plain IN can be a join, which reads the index of the column.
 */
function writeRelated({ plan, left }: RelatedNode, writer: Writer): Sql {
  const source = writer.subselectOf(plan)
  if (source === undefined || writer.dialect.name !== 'postgres') {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      `The relation "${plan.key}"`,
      `cannot be written as SQL for ${writer.dialect.name} from these relations; use loadFilter`,
    )
  }
  const subselect = source.strings.flatMap((text, index) =>
    index < source.values.length ? [text, { value: source.values[index] }] : [text],
  )
  const type = left.kind === 'literal' ? 'string' : left.type
  const ids = writer.dialect.idsAs(subselect, type)
  const id =
    left.kind === 'literal' ? sql`${parameter(String(left.value))}::text` : writeTerm(left, writer)
  if (left.kind === 'literal' && !isStorable(left.value)) return sql`FALSE`
  if (writer.isLax) return sql`(${id} IN (${ids}))`
  return sql`(CASE WHEN ${id} IS NULL THEN NULL ELSE ${id} IN (${ids}) END)`
}

function writeTerm(term: Term, writer: Writer): Sql {
  if (term.kind === 'literal') return writer.dialect.value(term.value, term.type)
  return writeReference(term, writer)
}

function writeReference({ name, type }: Reference, { dialect, columns }: Writer): Sql {
  const isNamed = Object.hasOwn(columns, name)
  if (isNamed || !name.includes('.')) {
    return dialect.column(dialect.quote(isNamed ? columns[name]! : name), type)
  }
  const [column, ...path] = name.split('.') as [string, ...string[]]
  const mapped = Object.hasOwn(columns, column) ? columns[column]! : column
  const member = dialect.member(dialect.quote(mapped), path, type)
  if (member !== undefined) return member
  throw new PARAPET_RBAC_INVALID_ARGUMENT(
    '"columns"',
    `must name a column for the nested attribute "${name}" of type ${type}`,
  )
}
