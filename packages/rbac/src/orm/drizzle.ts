/** Filters in Drizzle, for PostgreSQL, MySQL and SQLite. */
import {
  entityKind,
  getTableColumns,
  getTableName,
  sql,
  type Column,
  type SQL,
  type Table,
} from 'drizzle-orm'
import type { Filter } from '../decide/filter.ts'
import type { SqlDialect } from '../sql/dialect.ts'

/**
 * Returns a filter as a condition for `where(…)`. The keys of the Drizzle table are the names of the
 * attributes; the names in SQL may differ.
 *
 * ```ts
 * const visible = drizzleFilter(request.rbac.filter('content:read'), content)
 * await db.select().from(content).where(visible)
 * ```
 *
 * @throws PARAPET_RBAC_INVALID_ARGUMENT as `filter.sql` does.
 */
export function drizzleFilter(filter: Filter, table: Table): SQL {
  const from = getTableName(table)
  const columns = Object.fromEntries(
    Object.entries(getTableColumns(table) as Readonly<Record<string, Column>>).map(
      ([key, { name }]) => [key, `${from}.${name}`],
    ),
  )
  const { strings, values } = filter.sql({ columns, dialect: dialectOf(table) })
  // A parameter: Drizzle would turn a plain array into a list.
  const parameters = values.map((value) => sql.param(value))
  return sql(strings as unknown as TemplateStringsArray, ...parameters)
}

/** Drizzle marks its classes; importing those of all databases would load more files. */
function dialectOf(table: Table): SqlDialect {
  for (let each: unknown = table; each !== null; each = Object.getPrototypeOf(each)) {
    const { constructor } = each as { readonly constructor?: { readonly [entityKind]?: string } }
    const kind = constructor?.[entityKind]
    if (kind === 'MySqlTable') return 'mysql'
    if (kind === 'SQLiteTable') return 'sqlite'
  }
  return 'postgres'
}
