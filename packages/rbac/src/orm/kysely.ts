/** Filters in Kysely, for PostgreSQL, MySQL and SQLite. */
import { sql, type Expression, type SqlBool } from 'kysely'
import type { Filter } from '../decide/filter.ts'
import type { SqlNaming } from '../sql/write-sql.ts'

/** How the columns of a filter are named, and the database. */
export type KyselyFilterOptions = Omit<SqlNaming, 'firstParameter'>

/**
 * Returns a filter as an expression for `where(…)`.
 *
 * ```ts
 * const visible = kyselyFilter(request.rbac.filter('content:read'), {
 *   columns: { authorId: 'content.author_id' },
 * })
 * await db.selectFrom('content').selectAll().where(visible).execute()
 * ```
 *
 * @throws PARAPET_RBAC_INVALID_ARGUMENT as `filter.sql` does.
 */
export function kyselyFilter(
  filter: Filter,
  options: KyselyFilterOptions = {},
): Expression<SqlBool> {
  const { strings, values } = filter.sql(options)
  return sql<SqlBool>(strings as unknown as TemplateStringsArray, ...values)
}
