/** Makes the SQL port from the user's own `pg` pool, or from PGlite. */
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'
import { fromPglite, type PgliteLike } from './pglite-client.ts'
import { fromPool, type PgPoolLike } from './pool-client.ts'
import type { SqlClient, SqlLimits } from './sql.ts'

/**
 * Makes the port from a `pg` pool or a PGlite database. The caller closes it. A pool needs its own
 * `'error'` listener, as `pg` requires. A connection that does not answer within the deadline is closed
 * (PARAPET_KIT_SQL_TIMEOUT); PGlite runs in this process and has none.
 *
 * @throws PARAPET_KIT_INVALID_ARGUMENT the value is neither.
 */
export function createSqlClient(
  source: PgPoolLike | PgliteLike,
  { deadlineMs = 8000 }: SqlLimits = {},
): SqlClient {
  if ('transaction' in source && 'exec' in source) return fromPglite(source)
  if ('connect' in source && 'query' in source) return fromPool(source, deadlineMs)
  throw new PARAPET_KIT_INVALID_ARGUMENT('the SQL source', 'must be a pg Pool or a PGlite database')
}
