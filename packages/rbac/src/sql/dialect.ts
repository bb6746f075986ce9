/** What differs between databases. Every expression is NULL where a condition is unknown. */
import { printValue, type AttributeType, type Normal } from '../attributes/attributes.ts'
import { PARAPET_RBAC_INVALID_ARGUMENT } from '../errors.ts'
import type { Sql } from './fragment.ts'

/** The name of a database. */
export type SqlDialect = 'postgres' | 'mysql' | 'sqlite'

/** Writes the parts of conditions for one database. */
export interface Dialect {
  readonly name: SqlDialect
  /** Unknown, as an expression. */
  readonly unknown: string
  placeholder(index: number): string
  quote(name: string): string
  /** A column, read as a condition reads the attribute: NULL if it has another type. */
  column(name: string, type: AttributeType): Sql
  /** A member of a JSON column. @returns `undefined` if the type needs a column of its own. */
  member(column: string, path: readonly string[], type: AttributeType): Sql | undefined
  /** A constant. */
  value(value: Normal, type: AttributeType): Sql
  /** Compares two values of one type. */
  compare(sign: string, left: Sql, right: Sql, type: AttributeType): Sql
  /** Whether a value is one of the constants, at least one. */
  isOneOf(value: Sql, members: readonly unknown[], type: AttributeType): Sql
  /** Whether a value is a member of a list; `member` is not NULL or is tested by `isNullable`. */
  isMember(member: Sql, list: Sql, isNullable: boolean): Sql
  /** Whether lists have a common member. Constants are lists of texts. */
  haveCommon(left: ListTerm, right: ListTerm): Sql
  /** Whether `left` has all members of `right`. */
  hasAll(left: ListTerm, right: ListTerm): Sql
  /** Whether a list is not NULL and has texts only: TRUE, otherwise not. */
  isPure(list: Sql): Sql
  startsWith(text: Sql, prefix: Sql): Sql
  concat(left: Sql, right: Sql): Sql
  /** A path with a slash at its end. */
  directory(path: Sql): Sql
  /** The ids of a sub-select, as the type of the column. */
  idsAs(subselect: Sql, type: AttributeType): Sql
}

/** A list: a column, or constants that the database can store. */
export type ListTerm = { readonly column: Sql } | { readonly members: readonly string[] }

/** Whether a database can store a value. A text that it cannot store equals no row. */
export function isStorable(value: unknown): boolean {
  return typeof value !== 'string' || (value.isWellFormed() && !value.includes('\0'))
}

/** Writes a value of an exact type as text. */
export function exactText(type: AttributeType, value: Normal): string {
  return typeof value === 'string' ? value : printValue(type, value)
}

/** Splits the name of a column, as `c.owner_id`. @throws PARAPET_RBAC_INVALID_ARGUMENT */
export function splitColumn(column: string): readonly string[] {
  const parts = column.split('.')
  if (column.includes('\0') || parts.some((part) => part === '')) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      '"columns"',
      `must name columns such as "c.owner_id", got ${JSON.stringify(column)}`,
    )
  }
  return parts
}

/** @throws PARAPET_RBAC_INVALID_ARGUMENT */
export function refuseType(type: AttributeType, dialect: SqlDialect): never {
  throw new PARAPET_RBAC_INVALID_ARGUMENT(
    `An attribute of type ${type}`,
    `cannot be compared in ${dialect}`,
  )
}
