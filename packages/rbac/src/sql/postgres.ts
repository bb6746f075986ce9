/** PostgreSQL. */
import { isExact, type AttributeType, type Normal } from '../attributes/attributes.ts'
import { exactText, splitColumn, type Dialect, type ListTerm } from './dialect.ts'
import { parameter, sql, type Sql } from './fragment.ts'

type ExactType = keyof typeof SQL_TYPES

/** The value has been read as its type, so the cast cannot fail. An enum is compared as text. */
const SQL_TYPES = {
  uuid: 'uuid',
  bigint: 'bigint',
  decimal: 'numeric',
  enum: 'text',
  date: 'date',
} as const

/** Reads an id as the type of a column; an id that the column cannot have is NULL. */
const ID_READERS: Partial<Record<AttributeType, string>> = {
  uuid: `CASE WHEN ids.id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN ids.id::uuid END`,
  // Nested, because only the branches of CASE are evaluated in order.
  bigint: `CASE WHEN ids.id ~ '^(0|-?[1-9][0-9]{0,18})$' THEN
    CASE WHEN ids.id::numeric BETWEEN -9223372036854775808 AND 9223372036854775807
      THEN ids.id::bigint END END`,
}

/** The dialect of PostgreSQL. */
export const postgres: Dialect = {
  name: 'postgres',
  unknown: 'NULL::boolean',
  placeholder: (index) => `$${index + 1}`,
  quote: (name) =>
    splitColumn(name)
      .map((part) => `"${part.replaceAll('"', '""')}"`)
      .join('.'),
  column: (column, type) => [writeColumn(column, type)],
  member(column, path, type) {
    const value = `${column}::jsonb #> '{${path.join(',')}}'`
    const text = `${column}::jsonb #>> '{${path.join(',')}}'`
    const as = (kind: string, expression: string): Sql => [
      `(CASE jsonb_typeof(${value}) WHEN '${kind}' THEN ${expression} END)`,
    ]
    if (type === 'string' || type === 'enum') return as('string', text)
    if (type === 'boolean') return as('boolean', `(${text})::boolean`)
    if (type !== 'number') return undefined
    const inRange = `abs((${text})::numeric) < 1e308`
    return as('number', `CASE WHEN ${inRange} THEN (${text})::float8 END`)
  },
  value(value, type) {
    if (type === 'time') return sql`${parameter(timeText(value as number))}::timestamptz`
    if (!isExact(type)) return parameter(value)
    return sql`${parameter(exactText(type, value))}::${SQL_TYPES[type as ExactType]}`
  },
  compare: (sign, left, right) => sql`(${left} ${sign} ${right})`,
  isOneOf(value, members, type) {
    if (!isExact(type)) return sql`(${value} = ANY (${parameter(members)}))`
    const texts = members.map((each) => exactText(type, each as Normal))
    return sql`(${value} = ANY (${parameter(texts)}::${SQL_TYPES[type as ExactType]}[]))`
  },
  isMember(member, list, isNullable) {
    const found = sql`(${member} = ANY (${list}))`
    return isNullable ? sql`(CASE WHEN ${member} IS NULL THEN NULL ELSE ${found} END)` : found
  },
  haveCommon(left, right) {
    const columns = columnsOf(left, right)
    const pure = columns.map((column) => `array_position(${textOf(column)}, NULL) IS NULL`)
    return sql`(CASE WHEN ${missing(columns)} THEN NULL
      WHEN ${listOf(left)} && ${listOf(right)} THEN TRUE
      WHEN ${pure.join(' AND ')} THEN FALSE END)`
  },
  hasAll(left, right) {
    const columns = columnsOf(left, right)
    const contained = sql`${listOf(left)} @> ${listOf(right)}`
    const leftImpure = 'column' in left ? impure(left.column) : 'FALSE'
    const others = sql`${listOf(left)} @> array_remove(${listOf(right)}, NULL)`
    const unknown = 'column' in right ? others : sql`FALSE`
    return sql`(CASE WHEN ${missing(columns)} THEN NULL
      WHEN ${contained} THEN TRUE
      WHEN ${leftImpure} OR ${unknown} THEN NULL ELSE FALSE END)`
  },
  isPure: (list) => sql`(array_position(${list}, NULL) IS NULL AND ${list} IS NOT NULL)`,
  startsWith: (text, prefix) => sql`starts_with(${text}, ${prefix})`,
  concat: (left, right) => sql`(${left} || ${right})`,
  directory: (path) =>
    sql`(CASE WHEN right(${path}, 1) = '/' THEN ${path} ELSE ${path} || '/' END)`,
  idsAs(subselect, type) {
    const reader = ID_READERS[type]
    return reader === undefined
      ? subselect
      : sql`SELECT ids.id FROM (SELECT ${reader} FROM (${subselect}) AS ids (id)) AS ids (id) WHERE ids.id IS NOT NULL`
  },
}

function listOf(term: ListTerm): Sql {
  return 'column' in term ? term.column : sql`${parameter(term.members)}::text[]`
}

function columnsOf(...terms: readonly ListTerm[]): readonly Sql[] {
  return terms.flatMap((term) => ('column' in term ? [term.column] : []))
}

function missing(columns: readonly Sql[]): string {
  return columns.map((column) => `${textOf(column)} IS NULL`).join(' OR ')
}

function impure(column: Sql): string {
  return `array_position(${textOf(column)}, NULL) IS NOT NULL`
}

/** A column has no parameters. */
function textOf(column: Sql): string {
  return column.filter((piece) => typeof piece === 'string').join('')
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
