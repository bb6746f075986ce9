/** The migration runner: ordered SQL per package, one ledger table, one run at a time. */
import { setTimeout } from 'node:timers/promises'
import {
  PARAPET_KIT_MIGRATION_BLOCKED,
  PARAPET_KIT_MIGRATION_CHANGED,
  PARAPET_KIT_MIGRATION_FAILED,
  PARAPET_KIT_NO_SCHEMA,
} from '../errors.ts'
import { checksumOf, requireSound, type Migration } from './migration.ts'
import type { SqlClient, SqlQueryable, SqlTransaction } from './sql.ts'

/** What {@link migrate} takes beside the migrations. */
export interface MigrationOptions {
  /** Only reports what would run; it changes nothing. @default false */
  readonly dryRun?: boolean
  /**
   * How long to try for locks, in milliseconds: for that of the ledger while another instance migrates,
   * and for tables that open transactions use. A statement waits for a table for at most a quarter of it
   * at a time, because everything that uses the table waits behind it. @default 8000
   */
  readonly deadlineMs?: number
}

/** What {@link migrate} did. */
export interface MigrationReport {
  /** Ids that this call ran, or would run. */
  readonly applied: readonly string[]
  /** Ids in the ledger that this code does not know: a newer version has run. */
  readonly unknown: readonly string[]
}

/** The state of one package's migrations, see {@link migrationStatus}. */
export interface MigrationStatus {
  /** Ids that have run, and when, in milliseconds since the Unix epoch. */
  readonly applied: readonly { readonly id: string; readonly appliedAt: number }[]
  readonly pending: readonly string[]
  /** Ids that have run and were edited afterwards. */
  readonly changed: readonly string[]
  /** Ids in the ledger that this code does not know: a newer version has run. */
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

/** `CREATE TABLE IF NOT EXISTS` needs the right to create, even where the table exists. */
const HAS_LEDGER = `SELECT to_regclass(format('%I.parapet_migrations', current_schema())) IS NOT NULL AS found`

/** Per schema, as the ledger is: two schemas of one database can migrate at the same time. */
const LOCK_KEY = `hashtextextended('parapet_migrations:' || current_schema(), 0)`
const LOCK_POLL_MS = 50
/** SQLSTATE lock_not_available: `lock_timeout` ended a wait. */
const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Brings the tables of one package up to date: runs, in one transaction and under an advisory lock,
 * each migration that is missing in the ledger `parapet_migrations` (in the first schema of the
 * search path). Every instance may call it at every start; where nothing is pending, the right to
 * read the ledger is enough. A migration with `inTransaction: false` commits those before it, then
 * runs by itself.
 *
 * @param owner the npm name of the package whose migrations these are.
 * @throws PARAPET_KIT_MIGRATION_CHANGED a migration that has run was edited, or a new one sorts
 *   before one that has run; nothing was changed.
 * @throws PARAPET_KIT_MIGRATION_FAILED a statement failed; its transaction was rolled back.
 * @throws PARAPET_KIT_NO_SCHEMA the search path names no schema that exists.
 * @throws PARAPET_KIT_MIGRATION_BLOCKED a lock was not free within the deadline.
 * @throws PARAPET_KIT_INVALID_ARGUMENT ids that are malformed, repeated or out of order, or SQL that
 *   controls the transaction.
 */
export async function migrate(
  sql: SqlClient,
  owner: string,
  migrations: readonly Migration[],
  { dryRun = false, deadlineMs = 8000 }: MigrationOptions = {},
): Promise<MigrationReport> {
  requireSound(owner, migrations)
  // A database that does not answer at all is found within the deadline of the client.
  await sql.query('SELECT 1')
  const patience = createPatience(owner, deadlineMs)
  const applied: string[] = []
  for (;;) {
    const { batch, next, unknown } = await patience.retry(() =>
      sql.transaction(
        (transaction) =>
          applyNext(transaction, { owner, migrations, dryRun, lockTimeoutMs: deadlineMs / 4 }),
        // Statements of migrations may take long.
        { deadlineMs: Infinity },
      ),
    )
    applied.push(...batch)
    if (next === undefined) return { applied, unknown }
    if (await patience.retry(() => applyAlone(sql, owner, next))) applied.push(next.id)
  }
}

/** What {@link applyNext} needs. */
interface Plan {
  readonly owner: string
  readonly migrations: readonly Migration[]
  readonly dryRun: boolean
  readonly lockTimeoutMs: number
}

/** Runs the pending migrations up to the first one that needs no transaction. @returns `null`: locked. */
async function applyNext(
  transaction: SqlTransaction,
  { owner, migrations, dryRun, lockTimeoutMs }: Plan,
) {
  const ledger = await lockLedger(transaction, owner, dryRun)
  if (ledger === null) return null
  const pending = pendingOf(owner, migrations, ledger)
  const alone = pending.findIndex(({ inTransaction }) => inTransaction === false)
  const batch = dryRun || alone === -1 ? pending : pending.slice(0, alone)
  if (!dryRun && batch.length > 0) {
    await transaction.script(`SET LOCAL lock_timeout = ${Math.ceil(lockTimeoutMs)}`)
    for (const each of batch) await apply(transaction, owner, each)
  }
  const known = new Set(migrations.map(({ id }) => id))
  return {
    batch: batch.map(({ id }) => id),
    next: dryRun || alone === -1 ? undefined : pending[alone]!,
    unknown: [...ledger.keys()].filter((id) => !known.has(id)),
  }
}

/** Repeats a step until it gets its locks, for at most `deadlineMs` in all. */
function createPatience(owner: string, deadlineMs: number) {
  const end = performance.now() + deadlineMs
  return {
    async retry<T>(step: () => Promise<T | null>): Promise<T> {
      for (;;) {
        let reason = 'another instance migrates'
        try {
          const result = await step()
          if (result !== null) return result
        } catch (error) {
          const { cause } = error as { readonly cause?: { readonly code?: unknown } }
          if (cause?.code !== LOCK_NOT_AVAILABLE) throw error
          reason = (error as Error).message
        }
        if (performance.now() >= end) {
          throw new PARAPET_KIT_MIGRATION_BLOCKED(owner, deadlineMs, reason)
        }
        await setTimeout(LOCK_POLL_MS)
      }
    },
  }
}

/**
 * Compares the migrations of a package with the ledger, without a lock and without changing
 * anything: for a readiness check or a deployment script.
 */
export async function migrationStatus(
  sql: SqlClient,
  owner: string,
  migrations: readonly Migration[],
): Promise<MigrationStatus> {
  const { rows } = await sql.query<{ found: boolean }>(HAS_LEDGER)
  const ledger = rows[0]?.found === true ? await readLedger(sql, owner) : new Map<string, Row>()
  const known = new Set(migrations.map(({ id }) => id))
  return {
    applied: [...ledger].map(([id, { appliedAt }]) => ({ id, appliedAt })),
    pending: migrations.flatMap(({ id }) => (ledger.has(id) ? [] : [id])),
    changed: migrations.flatMap((each) => {
      const checksum = ledger.get(each.id)?.checksum
      return checksum === undefined || checksum === checksumOf(each) ? [] : [each.id]
    }),
    unknown: [...ledger.keys()].filter((id) => !known.has(id)),
  }
}

/** @returns `null` if another instance holds the lock. */
async function lockLedger(transaction: SqlTransaction, owner: string, dryRun: boolean) {
  // The ledger must be read as it is after the lock was taken, whatever the database's default is.
  await transaction.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED')
  if (!(await tryLock(transaction, 'pg_try_advisory_xact_lock'))) return null
  const { rows } = await transaction.query<{ found: boolean }>(HAS_LEDGER)
  if (rows[0]?.found !== true) {
    if (dryRun) return new Map<string, Row>()
    await transaction.script(LEDGER)
  }
  return readLedger(transaction, owner)
}

/**
 * Takes the lock, or says that another instance has it. The caller tries again later and outside a
 * transaction: a `CREATE INDEX CONCURRENTLY` of that instance waits for every transaction that had a
 * snapshot when it looked, also for one that is only waiting for its lock.
 */
async function tryLock(
  sql: SqlQueryable,
  lock: 'pg_try_advisory_lock' | 'pg_try_advisory_xact_lock',
): Promise<boolean> {
  const { rows } = await sql.query<{ locked: boolean | null }>(
    `SELECT ${lock}(${LOCK_KEY}) AS locked`,
  )
  // The key of the lock is null without a current schema.
  if (rows[0]?.locked === null) throw new PARAPET_KIT_NO_SCHEMA()
  return rows[0]?.locked === true
}

interface Row {
  readonly checksum: string
  readonly appliedAt: number
}

async function readLedger(sql: SqlQueryable, owner: string): Promise<Map<string, Row>> {
  const { rows } = await sql.query<{ id: string; checksum: string; at: number }>(
    `SELECT id, checksum, (extract(epoch FROM applied_at) * 1000)::float8 AS at
       FROM parapet_migrations WHERE package = $1 ORDER BY id COLLATE "C"`,
    [owner],
  )
  return new Map(rows.map(({ id, checksum, at }) => [id, { checksum, appliedAt: Math.round(at) }]))
}

function pendingOf(
  owner: string,
  migrations: readonly Migration[],
  ledger: ReadonlyMap<string, Row>,
): Migration[] {
  const pending: Migration[] = []
  for (const migration of migrations) {
    const checksum = ledger.get(migration.id)?.checksum
    if (checksum === undefined) pending.push(migration)
    else if (checksum !== checksumOf(migration)) {
      throw new PARAPET_KIT_MIGRATION_CHANGED(
        migration.id,
        owner,
        'was edited after it ran; undo the edit and add a new migration',
      )
    } else if (migration.independent !== true) {
      const before = pending.find(({ independent }) => independent !== true)
      if (before === undefined) continue
      throw new PARAPET_KIT_MIGRATION_CHANGED(
        before.id,
        owner,
        `sorts before "${migration.id}", which has run; give it a later number`,
      )
    }
  }
  return pending
}

async function apply(
  transaction: SqlTransaction,
  owner: string,
  migration: Migration,
): Promise<void> {
  try {
    await transaction.script(migration.sql)
  } catch (error) {
    throw failed(owner, migration, 'its transaction was rolled back', error)
  }
  await record(transaction, owner, migration)
}

/** @returns whether it ran: another instance may have been first. `null`: locked. */
function applyAlone(sql: SqlClient, owner: string, migration: Migration): Promise<boolean | null> {
  const run = async (session: SqlQueryable): Promise<boolean | null> => {
    if (!(await tryLock(session, 'pg_try_advisory_lock'))) return null
    try {
      if ((await readLedger(session, owner)).has(migration.id)) return false
      await session.query(migration.sql)
      return await record(session, owner, migration)
    } catch (error) {
      throw failed(owner, migration, 'it ran outside a transaction and may have left traces', error)
    } finally {
      await session.query(`SELECT pg_advisory_unlock(${LOCK_KEY})`)
    }
  }
  return sql.session === undefined ? run(sql) : sql.session(run, { deadlineMs: Infinity })
}

/** @returns whether it was not in the ledger: callers in one PGlite session share its locks. */
async function record(sql: SqlQueryable, owner: string, migration: Migration): Promise<boolean> {
  const { rowCount } = await sql.query(
    `INSERT INTO parapet_migrations (package, id, checksum) VALUES ($1, $2, $3)
     ON CONFLICT DO NOTHING`,
    [owner, migration.id, checksumOf(migration)],
  )
  return rowCount === 1
}

function failed(owner: string, { id }: Migration, outcome: string, error: unknown): Error {
  const reason = error instanceof Error ? error.message : String(error)
  return new PARAPET_KIT_MIGRATION_FAILED(id, owner, outcome, reason, { cause: error })
}
