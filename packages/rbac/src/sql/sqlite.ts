/**
 * SQLite 3.38 and later. A `time` is an integer of milliseconds, a `boolean` 0 or 1, a `date` and a `uuid`
 * a text, a `string[]` a text with a JSON array.
 */
import type { AttributeType } from '../attributes/attributes.ts'
import { exactText, refuseType, splitColumn, type Dialect } from './dialect.ts'
import { join, parameter, sql, type Sql } from './fragment.ts'
import { createJsonLists } from './json-lists.ts'

const equals = (left: Sql, right: Sql): Sql => sql`(${left} = ${right} COLLATE BINARY)`
const lists = createJsonLists({
  hasText: (list, alias, condition) =>
    sql`EXISTS (SELECT 1 FROM json_each(${list}) AS ${alias} WHERE ${alias}.type = 'text' AND ${condition([`${alias}.value`])})`,
  hasOthers: (list) => sql`EXISTS (SELECT 1 FROM json_each(${list}) WHERE type <> 'text')`,
  equals,
  isOneOf: (value, texts) => sql`(${value} COLLATE BINARY IN (${join(texts, ', ')}))`,
})
const UUID_LENGTH = 36
/** Greater than every time. */
const INFINITY = 9e18

/** The dialect of SQLite. */
export const sqlite: Dialect = {
  name: 'sqlite',
  unknown: 'NULL',
  placeholder: () => '?',
  quote: (name) =>
    splitColumn(name)
      .map((part) => `"${part.replaceAll('"', '""')}"`)
      .join('.'),
  column: (column, type) => [readColumn(column, type)],
  member(column, path, type) {
    const at = `'$${path.map((name) => `."${name}"`).join('')}'`
    const json = `CASE WHEN json_valid(${column}) THEN ${column} END`
    const as = (kinds: string, expression: string): Sql => [
      `(CASE WHEN json_type(${json}, ${at}) IN (${kinds}) THEN ${expression} END)`,
    ]
    const value = `json_extract(${json}, ${at})`
    if (type === 'string' || type === 'enum') return as(`'text'`, value)
    if (type === 'boolean') return as(`'true', 'false'`, value)
    return type === 'number' ? as(`'integer', 'real'`, `CAST(${value} AS REAL)`) : undefined
  },
  value(value, type) {
    if (type === 'boolean') return parameter(value === true ? 1 : 0)
    if (type === 'time') {
      return parameter(Number.isFinite(value) ? value : Math.sign(value as number) * INFINITY)
    }
    if (type === 'number') return sql`CAST(${parameter(value)} AS REAL)`
    if (type === 'bigint') return sql`CAST(${parameter(exactText(type, value))} AS INTEGER)`
    return parameter(value)
  },
  compare: (sign, left, right) => sql`(${left} ${sign} ${right} COLLATE BINARY)`,
  isOneOf: (value, members, type) =>
    type === 'string' || type === 'uuid' || type === 'enum' || type === 'date'
      ? lists.isOneOf(value, members)
      : sql`(${value} IN (${join(
          members.map((each) => sqlite.value(each as never, type)),
          ', ',
        )}))`,
  isMember: (member, list) => lists.isMember(member, list),
  haveCommon: (left, right) => lists.haveCommon(left, right),
  hasAll: (left, right) => lists.hasAll(left, right),
  isPure: lists.isPure,
  startsWith: (text, prefix) =>
    sql`(substr(${text}, 1, length(${prefix})) = ${prefix} COLLATE BINARY)`,
  concat: (left, right) => sql`(${left} || ${right})`,
  directory: (path) =>
    sql`(CASE WHEN substr(${path}, -1) = '/' THEN ${path} ELSE ${path} || '/' END)`,
  idsAs: (subselect) => subselect,
}

/** A column of SQLite can have values of any type. */
function readColumn(column: string, type: AttributeType): string {
  const as = (kinds: string, expression = column): string =>
    `(CASE WHEN typeof(${column}) IN (${kinds}) THEN ${expression} END)`
  switch (type) {
    case 'string':
    case 'enum':
      return as(`'text'`)
    case 'uuid':
      return `(CASE WHEN typeof(${column}) = 'text' AND length(${column}) = ${UUID_LENGTH} THEN lower(${column}) END)`
    case 'date':
      return `(CASE WHEN typeof(${column}) = 'text' AND date(${column}) = ${column} AND ${column} >= '0001-01-01' THEN ${column} END)`
    case 'number':
      return as(`'integer', 'real'`, `CAST(${column} AS REAL)`)
    case 'bigint':
    case 'time':
      return as(`'integer'`)
    case 'boolean':
      return `(CASE WHEN typeof(${column}) = 'integer' AND ${column} IN (0, 1) THEN ${column} END)`
    case 'string[]':
      return `(CASE WHEN json_valid(${column}) THEN CASE WHEN json_type(${column}) = 'array' THEN ${column} END END)`
    case 'decimal':
      break
  }
  return refuseType(type, 'sqlite')
}
