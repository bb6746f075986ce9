/**
 * MySQL 8 and MariaDB 10.6 and later. A `time` is a DATETIME in UTC, a `uuid` a text, a `string[]` a column
 * of JSON. Texts are compared by their bytes, whatever the collation of the column is; the connection must
 * use utf8mb4.
 */
import type { AttributeType } from '../attributes/attributes.ts'
import { exactText, refuseType, splitColumn, type Dialect } from './dialect.ts'
import { join, parameter, sql, type Sql } from './fragment.ts'
import { createJsonLists } from './json-lists.ts'

/** The bytes of a text, whatever the character set of the column is. */
const bytes = (text: Sql): Sql => sql`CAST(CONVERT(${text} USING utf8mb4) AS BINARY)`
/** The first comparison can use an index; the second one compares bytes. */
const equals = (left: Sql, right: Sql): Sql =>
  sql`(${left} = ${right} AND ${bytes(left)} = ${bytes(right)})`
const members = (list: Sql, alias: string): Sql =>
  sql`JSON_TABLE(${list}, '$[*]' COLUMNS (j JSON PATH '$', v LONGTEXT PATH '$')) AS ${alias}`
const lists = createJsonLists({
  hasText: (list, alias, condition) =>
    sql`EXISTS (SELECT 1 FROM ${members(list, alias)} WHERE JSON_TYPE(${alias}.j) = 'STRING' AND ${condition([`${alias}.v`])})`,
  hasOthers: (list) =>
    sql`EXISTS (SELECT 1 FROM ${members(list, 'o')} WHERE COALESCE(JSON_TYPE(o.j), 'NULL') <> 'STRING')`,
  equals,
  isOneOf: (value, texts) =>
    sql`(${value} IN (${join(texts, ', ')}) AND ${bytes(value)} IN (${join(texts.map(bytes), ', ')}))`,
})
const TEXTS: readonly AttributeType[] = ['string', 'uuid', 'enum', 'date']
/** Greater than every time. */
const INFINITY = 9e18

/** The dialect of MySQL. */
export const mysql: Dialect = {
  name: 'mysql',
  unknown: 'NULL',
  placeholder: () => '?',
  quote: (name) =>
    splitColumn(name)
      .map((part) => `\`${part.replaceAll('`', '``')}\``)
      .join('.'),
  column: (column, type) => [readColumn(column, type)],
  member(column, path, type) {
    const value = `JSON_EXTRACT(${column}, '$${path.map((name) => `."${name}"`).join('')}')`
    const as = (kinds: string, expression: string): Sql => [
      `(CASE WHEN JSON_TYPE(${value}) IN (${kinds}) THEN ${expression} END)`,
    ]
    if (type === 'string' || type === 'enum') return as(`'STRING'`, `JSON_UNQUOTE(${value})`)
    if (type === 'boolean') return as(`'BOOLEAN'`, `(${value} = TRUE)`)
    return type === 'number'
      ? as(`'INTEGER', 'DOUBLE', 'DECIMAL', 'UNSIGNED INTEGER'`, `(${value} + 0e0)`)
      : undefined
  },
  value(value, type) {
    if (type === 'boolean') return parameter(value === true ? 1 : 0)
    if (type === 'time') {
      return parameter(Number.isFinite(value) ? value : Math.sign(value as number) * INFINITY)
    }
    if (type === 'bigint') return sql`CAST(${parameter(exactText(type, value))} AS SIGNED)`
    return type === 'number' ? sql`(${parameter(value)} + 0e0)` : parameter(value)
  },
  compare(sign, left, right, type) {
    if (!TEXTS.includes(type)) return sql`(${left} ${sign} ${right})`
    if (sign === '=') return equals(left, right)
    return sql`(${bytes(left)} ${sign} ${bytes(right)})`
  },
  isOneOf: (value, list, type) =>
    TEXTS.includes(type)
      ? lists.isOneOf(value, list)
      : sql`(${value} IN (${join(
          list.map((each) => mysql.value(each as never, type)),
          ', ',
        )}))`,
  isMember: (member, list) => lists.isMember(member, list),
  haveCommon: (left, right) => lists.haveCommon(left, right),
  hasAll: (left, right) => lists.hasAll(left, right),
  isPure: lists.isPure,
  startsWith: (text, prefix) =>
    sql`(LEFT(${bytes(text)}, LENGTH(${bytes(prefix)})) = ${bytes(prefix)})`,
  concat: (left, right) => sql`CONCAT(${left}, ${right})`,
  directory: (path) =>
    sql`(CASE WHEN RIGHT(${path}, 1) = '/' THEN ${path} ELSE CONCAT(${path}, '/') END)`,
  idsAs: (subselect) => subselect,
}

function readColumn(column: string, type: AttributeType): string {
  switch (type) {
    case 'string':
    case 'bigint':
    case 'string[]':
    case 'enum':
      return column
    case 'boolean':
      return `(CASE WHEN ${column} IN (0, 1) THEN ${column} END)`
    case 'number':
      return `(${column} + 0e0)`
    case 'time':
      return `FLOOR(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${column}) / 1000)`
    case 'uuid':
      return `(CASE WHEN CHAR_LENGTH(${column}) = 36 THEN LOWER(${column}) END)`
    case 'date':
      return `(CASE WHEN ${column} >= '0001-01-01' THEN DATE_FORMAT(${column}, '%Y-%m-%d') END)`
    case 'decimal':
      break
  }
  return refuseType(type, 'mysql')
}
