/** The migration runner: ordered SQL per package, one ledger, one run at a time. */
import { createHash } from 'node:crypto'
import {
  PARAPET_KIT_INVALID_ARGUMENT,
  PARAPET_KIT_MIGRATION_CHANGED,
  PARAPET_KIT_MIGRATION_FAILED,
} from './errors.ts'
import type { SqlClient, SqlTransaction } from './sql.ts'

/** One step of a schema. Once released, its text never changes. */
export interface Migration {
  /** Number and name: `0001_create_events`. Ids sort in the order they run. */
  readonly id: string
  /** Statements that may run inside a transaction (so no `CREATE INDEX CONCURRENTLY`). */
  readonly sql: string
}

/** What {@link migrate} did. */
export interface MigrationReport {
  /** Ids that ran now. */
  readonly applied: readonly string[]
  /** Ids in the ledger that this code does not know: a newer version has been here. */
  readonly unknown: readonly string[]
}

const LEDGER = `
  CREATE TABLE IF NOT EXISTS parapet_migrations (
    package    text        NOT NULL,
    id         text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (package, id)
  )`

/** Looked up first: to ask for a table that is there takes the right to create one. */
const HAS_LEDGER = `SELECT to_regclass(format('%I.parapet_migrations', current_schema())) IS NOT NULL AS found`

/** Per schema, because the ledger is: two schemas of one database migrate side by side. */
const LOCK = `SELECT pg_advisory_xact_lock(hashtextextended('parapet_migrations:' || current_schema(), 0))`

/**
 * Brings the tables of one package up to date: runs, in one transaction and under an advisory lock,
 * each migration that the ledger `parapet_migrations` (in the first schema of the search path) does
 * not have. Safe to call from every instance at every start; where nothing is pending, the right to
 * read the ledger is enough.
 *
 * @param owner the npm name of the package whose migrations these are.
 * @throws PARAPET_KIT_MIGRATION_CHANGED a migration that ran has another text now, or a new one
 *   sorts before one that ran; nothing was done.
 * @throws PARAPET_KIT_MIGRATION_FAILED a statement failed; the run was rolled back.
 * @throws PARAPET_KIT_INVALID_ARGUMENT ids that are malformed, repeated or out of order.
 */
export async function migrate(
  sql: SqlClient,
  owner: string,
  migrations: readonly Migration[],
): Promise<MigrationReport> {
  requireOrder(owner, migrations)
  return sql.transaction(async (transaction) => {
    // The ledger must be read as it is once the lock is held, whatever the database's default is.
    await transaction.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
    await transaction.query(LOCK)
    const { rows } = await transaction.query<{ found: boolean }>(HAS_LEDGER)
    if (rows[0]?.found !== true) await transaction.script(LEDGER)
    const ledger = await readLedger(transaction, owner)
    const pending = pendingOf(owner, migrations, ledger)
    for (const migration of pending) await apply(transaction, owner, migration)
    const known = new Set(migrations.map(({ id }) => id))
    return {
      applied: pending.map(({ id }) => id),
      unknown: [...ledger.keys()].filter((id) => !known.has(id)),
    }
  })
}

function requireOrder(owner: string, migrations: readonly Migration[]): void {
  let previous = ''
  for (const { id } of migrations) {
    if (!/^\d{4}_[a-z0-9_]+$/.test(id) || id <= previous) {
      throw new PARAPET_KIT_INVALID_ARGUMENT(
        `migration "${id}" of "${owner}"`,
        'must be named like 0001_create_events and sort after the one before it',
      )
    }
    previous = id
  }
}

async function readLedger(
  transaction: SqlTransaction,
  owner: string,
): Promise<Map<string, string>> {
  const { rows } = await transaction.query<{ id: string; checksum: string }>(
    'SELECT id, checksum FROM parapet_migrations WHERE package = $1 ORDER BY id COLLATE "C"',
    [owner],
  )
  return new Map(rows.map(({ id, checksum }) => [id, checksum]))
}

function pendingOf(
  owner: string,
  migrations: readonly Migration[],
  ledger: ReadonlyMap<string, string>,
): Migration[] {
  const pending: Migration[] = []
  for (const migration of migrations) {
    const checksum = ledger.get(migration.id)
    if (checksum === undefined) pending.push(migration)
    else if (checksum !== checksumOf(migration)) {
      throw new PARAPET_KIT_MIGRATION_CHANGED(
        migration.id,
        owner,
        'has another text than the one that ran; undo the edit and add a new migration',
      )
    } else if (pending.length > 0) {
      throw new PARAPET_KIT_MIGRATION_CHANGED(
        pending[0]!.id,
        owner,
        `sorts before "${migration.id}", which ran already; give it a later number`,
      )
    }
  }
  return pending
}

async function apply(transaction: SqlTransaction, owner: string, migration: Migration) {
  try {
    await transaction.script(migration.sql)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new PARAPET_KIT_MIGRATION_FAILED(migration.id, owner, reason, { cause: error })
  }
  await transaction.query(
    'INSERT INTO parapet_migrations (package, id, checksum) VALUES ($1, $2, $3)',
    [owner, migration.id, checksumOf(migration)],
  )
}

function checksumOf({ sql }: Migration): string {
  return createHash('sha256').update(sql).digest('hex')
}
