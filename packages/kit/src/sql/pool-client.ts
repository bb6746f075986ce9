/** The SQL port on a `pg` pool: deadlines, transactions, and connections that are not reused broken. */
import { PARAPET_KIT_SQL_TIMEOUT, PARAPET_KIT_TRANSACTION_ROLLED_BACK } from '../errors.ts'
import { withDeadline } from '../time/deadline.ts'
import type { SqlClient, SqlQueryable, SqlResult, SqlTransaction } from './sql.ts'
import { copyOf, createLife, requireOwnScope } from './statement-guard.ts'

/** The part of a `pg` pool that is used. */
export interface PgPoolLike {
  query(text: string, values?: unknown[]): Promise<PgResultLike>
  connect(): Promise<PgClientLike>
}

/** The part of a `pg` client that is used. */
interface PgClientLike {
  query(text: string, values?: unknown[]): Promise<PgResultLike>
  release(error?: Error | boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
}

/** The part of a `pg` result that is used. */
interface PgResultLike {
  rows: unknown[]
  rowCount: number | null
  /** The command tag's first word. */
  command?: string
}

/** Makes the port. */
export function fromPool(pool: PgPoolLike, byDefault: number): SqlClient {
  return {
    async query(text, values) {
      requireOwnScope(text)
      return withClient(pool, byDefault, async ({ query }) => pgResult(await query(text, values)))
    },
    session: (work, { deadlineMs = byDefault } = {}) =>
      withClient(pool, deadlineMs, (client) => runSession(client, work)),
    transaction: (work, { deadlineMs = byDefault } = {}) =>
      withClient(pool, deadlineMs, (client) => runTransaction(client, work)),
  }
}

async function runSession<T>(
  client: Connection,
  work: (session: SqlQueryable) => Promise<T>,
): Promise<T> {
  const alive = createLife('session')
  const query: SqlQueryable['query'] = async (text, values) => {
    alive.require()
    return pgResult(await client.query(text, values))
  }
  try {
    return await work({ query }).finally(alive.end)
  } finally {
    // The next user of the connection must not inherit settings or an open transaction.
    await client.query('ROLLBACK; RESET ALL').catch(client.discard)
  }
}

async function runTransaction<T>(
  client: Connection,
  work: (transaction: SqlTransaction) => Promise<T>,
): Promise<T> {
  const alive = createLife('transaction')
  try {
    await client.query('BEGIN')
    const result = await work({
      async query(text, values) {
        alive.require()
        requireOwnScope(text)
        return pgResult(await client.query(text, values))
      },
      async script(text) {
        alive.require()
        requireOwnScope(text)
        await client.query(text)
      },
    }).finally(alive.end)
    // After a failed statement PostgreSQL answers COMMIT with ROLLBACK, and without an error.
    const { command } = await client.query('COMMIT')
    if (command === 'ROLLBACK') throw new PARAPET_KIT_TRANSACTION_ROLLED_BACK()
    return result
  } catch (error) {
    // A connection that cannot roll back must not return to the pool with an open transaction.
    await client.query('ROLLBACK').catch(client.discard)
    throw error
  }
}

/** A connection of the pool whose statements have a deadline. */
interface Connection {
  readonly query: (text: string, values?: readonly unknown[]) => Promise<PgResultLike>
  /** The connection does not return to the pool. */
  readonly discard: (error: Error) => void
}

async function withClient<T>(
  pool: PgPoolLike,
  deadlineMs: number,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const client = await connect(pool, deadlineMs)
  let broken: Error | undefined
  const discard = (error: Error): void => {
    broken ??= error
  }
  const query: Connection['query'] = async (text, values) => {
    // Its answer would come behind that of the statement that is late.
    if (broken instanceof PARAPET_KIT_SQL_TIMEOUT) throw broken
    return within(client.query(text, copyOf(values)), deadlineMs, discard)
  }
  // The pool listens to idle clients only; an 'error' event without a listener ends the process.
  client.on('error', discard)
  try {
    return await work({ query, discard })
  } finally {
    client.off('error', discard)
    client.release(broken)
  }
}

function connect(pool: PgPoolLike, deadlineMs: number): Promise<PgClientLike> {
  const connecting = pool.connect()
  return within(connecting, deadlineMs, () => {
    // Nobody waits for it any more.
    connecting.then(
      (client) => client.release(),
      () => {},
    )
  })
}

/** @param onLate runs if the deadline passes. */
function within<T>(
  answer: Promise<T>,
  deadlineMs: number,
  onLate: (error: Error) => void,
): Promise<T> {
  if (deadlineMs === Infinity) return answer
  return withDeadline(answer, deadlineMs, () => {
    const error = new PARAPET_KIT_SQL_TIMEOUT(deadlineMs)
    onLate(error)
    return error
  })
}

function pgResult<Row>({ rows, rowCount }: PgResultLike): SqlResult<Row> {
  return { rows: rows as Row[], rowCount: rowCount ?? 0 }
}
