/** Lists in columns of JSON: what MySQL and SQLite share. */
import type { ListTerm } from './dialect.ts'
import { join, parameter, sql, type Sql } from './fragment.ts'

/** How a database reads the members of a JSON array. */
export interface JsonMembers {
  /** Whether the list has a text that satisfies the condition. @param alias names the member. */
  readonly hasText: (list: Sql, alias: string, condition: (text: Sql) => Sql) => Sql
  /** Whether the list has members that are no texts. */
  readonly hasOthers: (list: Sql) => Sql
  readonly equals: (left: Sql, right: Sql) => Sql
  /** Whether a value is one of the texts, at least one: thousands of comparisons would nest too deep. */
  readonly isOneOf: (value: Sql, texts: readonly Sql[]) => Sql
}

function columns(...terms: readonly ListTerm[]): Sql[] {
  return terms.flatMap((term) => ('column' in term ? [term.column] : []))
}

function missing(lists: readonly Sql[]): Sql {
  return join(
    lists.map((list) => sql`${list} IS NULL`),
    ' OR ',
  )
}

/** Writes the tests of lists. Each branch is evaluated only if those before it did not apply. */
export function createJsonLists({ hasText, hasOthers, equals, isOneOf: isIn }: JsonMembers) {
  const has = (list: ListTerm, member: Sql): Sql =>
    'column' in list
      ? hasText(list.column, 'm', (text) => equals(text, member))
      : isOneOf(member, list.members)
  const isOneOf = (value: Sql, members: readonly unknown[]): Sql =>
    members.length === 0 ? sql`(1 = 0)` : isIn(value, members.map(parameter))
  const others = (lists: readonly Sql[]): Sql =>
    lists.length === 0 ? sql`1 = 0` : join(lists.map(hasOthers), ' OR ')

  return {
    isOneOf,
    isPure: (list: Sql): Sql => sql`(${list} IS NOT NULL AND NOT ${hasOthers(list)})`,
    isMember: (member: Sql, list: Sql): Sql =>
      sql`(CASE WHEN ${member} IS NULL OR ${list} IS NULL THEN NULL WHEN ${has({ column: list }, member)} THEN TRUE WHEN ${hasOthers(list)} THEN NULL ELSE FALSE END)`,
    haveCommon(left: ListTerm, right: ListTerm): Sql {
      const [some, all] = 'column' in left ? [left, right] : [right, left]
      const lists = columns(left, right)
      const found =
        'column' in some ? hasText(some.column, 'e', (text) => has(all, text)) : sql`1 = 0`
      return sql`(CASE WHEN ${missing(lists)} THEN NULL WHEN ${found} THEN TRUE WHEN ${others(lists)} THEN NULL ELSE FALSE END)`
    },
    hasAll(left: ListTerm, right: ListTerm): Sql {
      const lists = columns(left, right)
      const absent =
        'column' in right
          ? hasText(right.column, 'e', (text) => sql`NOT ${has(left, text)}`)
          : right.members.length === 0
            ? sql`1 = 0`
            : sql`NOT (${join(
                right.members.map((each) => has(left, parameter(each))),
                ' AND ',
              )})`
      const [leftOthers, rightOthers] = [columns(left), columns(right)].map(others)
      return sql`(CASE WHEN ${missing(lists)} THEN NULL WHEN ${absent} THEN CASE WHEN ${leftOthers!} THEN NULL ELSE FALSE END WHEN ${rightOthers!} THEN NULL ELSE TRUE END)`
    },
  }
}
