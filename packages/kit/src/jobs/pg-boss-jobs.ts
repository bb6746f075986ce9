/** Jobs in PostgreSQL or PGlite, by pg-boss 10. The caller makes, starts and stops the boss. */
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'
import { option } from '../options/option-readers.ts'
import { readOptions } from '../options/options.ts'
import type { SqlClient, SqlTransaction } from '../sql/sql.ts'
import { systemClock, type Clock } from '../time/clock.ts'
import { warn } from '../warn.ts'
import { createJobs } from './job-runner.ts'
import type { Jobs } from './jobs.ts'
import type { PgBossDb, PgBossLike } from './pg-boss.ts'
import { PgBossStorage } from './pg-boss-storage.ts'

/** What {@link createPgBossJobs} takes besides the boss. */
export interface PgBossJobsOptions {
  /** The option `schema` of the boss. @default 'pgboss' */
  readonly schema?: string
  /** How often due jobs are looked for; one that this instance enqueues runs at once. @default 2000 */
  readonly pollMs?: number
  /** How long a call to the database may take. @default 5000 */
  readonly deadlineMs?: number
  /** Times polls and timeouts. When a job is due is decided by the clock of the database. @default the machine's clock */
  readonly clock?: Clock
  /** Gets what handlers throw, and failures of the database. @default a process warning */
  readonly onError?: (error: unknown) => void
}

/**
 * Makes durable jobs on a pg-boss that was started. Close the jobs before you stop the boss. Keys are kept
 * as long as the boss keeps ended jobs: by default 12 hours in its table and 7 days in its archive. Only dead jobs
 * that are not archived yet can be revived: raise `archiveFailedAfterSeconds` of the boss.
 *
 * @throws PARAPET_KIT_INVALID_OPTION
 * @throws PARAPET_KIT_INVALID_ARGUMENT the first argument is no pg-boss.
 */
export function createPgBossJobs(boss: PgBossLike, options: PgBossJobsOptions = {}): Jobs {
  const settings = readOptions('createPgBossJobs', options, {
    schema: option.text({ max: 50, pattern: /^[A-Za-z_]\w*$/, default: 'pgboss' }),
    pollMs: option.milliseconds({ min: 10, max: 600_000, default: 2000 }),
    deadlineMs: option.milliseconds({ max: 600_000, default: 5000 }),
    clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
    onError: option.callback<(error: unknown) => void>({ default: warn }),
  })
  for (const method of ['send', 'deleteJob', 'getJobById', 'getQueue', 'getDb'] as const) {
    if (typeof boss[method] === 'function') continue
    throw new PARAPET_KIT_INVALID_ARGUMENT(
      'the boss',
      `must be a PgBoss of pg-boss 10: no ${method}`,
    )
  }
  const storage = new PgBossStorage(boss, settings.schema, settings.clock)
  return createJobs({ ...settings, storage, isDurable: true })
}

const SCRIPT = /^\s*BEGIN;([\s\S]*)COMMIT;\s*$/
/** Creating the tables and the maintenance of pg-boss wait up to 30 s for a lock. */
const SCRIPT_DEADLINE_MS = 40_000
/** Each queue is a table, and instances that make two at once lock what the other one needs next. */
const CREATE_QUEUE = /^SELECT (\w+)\.create_queue\(\$1, \$2\)$/
const QUEUES_LOCK = `SELECT pg_advisory_xact_lock(hashtextextended('parapet_jobs:' || $1, 0))`

/**
 * Makes the option `db` of pg-boss from kit's SQL port: for PGlite, and for a pool whose statements have
 * deadlines. Scripts run in a transaction that is rolled back when they fail, which pg-boss itself leaves
 * open on its connection. Instances that start at once create their queues one after the other, where
 * pg-boss itself gets deadlocks.
 */
export function createPgBossDb(sql: SqlClient): PgBossDb {
  return {
    async executeSql(text, values) {
      const script = SCRIPT.exec(text)?.[1]
      const schema = CREATE_QUEUE.exec(text)?.[1]
      if (script === undefined && schema === undefined) return sql.query(text, values)
      const run = async (transaction: SqlTransaction) => {
        if (script !== undefined) await transaction.script(script)
        else {
          await transaction.query(QUEUES_LOCK, [schema])
          await transaction.query(text, values)
        }
      }
      await sql.transaction(run, { deadlineMs: SCRIPT_DEADLINE_MS })
      return { rows: [] }
    },
  }
}
