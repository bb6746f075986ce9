/** Every error kit throws; each constant is named as its code. */
import { createError } from './error.ts'

/**
 * A function of kit was called with a value outside its documented range. Fix: pass what the message
 * asks for.
 */
export const PARAPET_KIT_INVALID_ARGUMENT = createError(
  'PARAPET_KIT_INVALID_ARGUMENT',
  'Invalid argument: %s %s',
)

/**
 * An option is unknown, mistyped or out of range; the boot stops. Fix: correct each option that the
 * message lists.
 */
export const PARAPET_KIT_INVALID_OPTION = createError(
  'PARAPET_KIT_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * A login set something as `request.principal` that is not a `Principal`. Fix: give `id` (a non-empty
 * string) and `roles` (an array of strings).
 */
export const PARAPET_KIT_INVALID_PRINCIPAL = createError(
  'PARAPET_KIT_INVALID_PRINCIPAL',
  'Invalid principal: %s',
)

/**
 * Plugins were registered in another order than their phases require; the boot stops. Fix: use the
 * order of the lines in the message.
 */
export const PARAPET_KIT_WRONG_ORDER = createError(
  'PARAPET_KIT_WRONG_ORDER',
  'Wrong order of plugins: %s',
)

/**
 * The store did not answer within its deadline; whether the operation took effect is unknown. Fix:
 * check Redis and the network; the plugin's options say what it does meanwhile.
 */
export const PARAPET_KIT_STORE_TIMEOUT = createError(
  'PARAPET_KIT_STORE_TIMEOUT',
  'The store did not answer within %s ms',
  503,
)

/**
 * The store cannot be reached, its circuit breaker is open, or it is closed; the operation was not
 * sent. Fix: check Redis and the network; the plugin's options say what it does meanwhile.
 */
export const PARAPET_KIT_STORE_UNAVAILABLE = createError(
  'PARAPET_KIT_STORE_UNAVAILABLE',
  'The store is unavailable: %s',
  503,
)

/**
 * The store is full, and every entry in it is still needed; reads still work. Fix: raise `maxBytes` of
 * the memory store, or `maxmemory` of Redis; find out what fills it.
 */
export const PARAPET_KIT_STORE_FULL = createError(
  'PARAPET_KIT_STORE_FULL',
  'The store is full: %s',
  503,
)

/**
 * The store rejected an operation, for instance because the key holds another kind of value. Fix: use
 * one key for one kind of value, and at most 8 windows for one count.
 */
export const PARAPET_KIT_STORE_FAILED = createError(
  'PARAPET_KIT_STORE_FAILED',
  'The store rejected the operation: %s',
)

/**
 * A migration that has run was edited, or a new migration sorts before one that has run. Fix: undo
 * the edit and add a new migration at the end.
 */
export const PARAPET_KIT_MIGRATION_CHANGED = createError(
  'PARAPET_KIT_MIGRATION_CHANGED',
  'Migration "%s" of "%s" %s',
)

/**
 * A statement of a migration failed; the message says whether it was rolled back. Fix: read `cause`,
 * correct the migration and run it again.
 */
export const PARAPET_KIT_MIGRATION_FAILED = createError(
  'PARAPET_KIT_MIGRATION_FAILED',
  'Migration "%s" of "%s" failed (%s): %s',
)

/**
 * A migration did not get a lock in time: another instance migrates, or a transaction uses a table that
 * the migration changes. Nothing was changed. Fix: end that transaction and start again, or raise
 * `deadlineMs`.
 */
export const PARAPET_KIT_MIGRATION_BLOCKED = createError(
  'PARAPET_KIT_MIGRATION_BLOCKED',
  'The migrations of "%s" did not get their locks within %s ms: %s',
  503,
)

/**
 * A sealed value cannot be opened: damaged, sealed under an unknown key, or for another context. Fix:
 * check that the old keys are still configured; the reason is not told on purpose.
 */
export const PARAPET_KIT_CIPHER_OPEN_FAILED = createError(
  'PARAPET_KIT_CIPHER_OPEN_FAILED',
  'The sealed value cannot be opened',
)

/**
 * The option `principal` of a plugin, which looks up the caller, did not answer in time; the request is
 * refused. Fix: give the lookup a deadline of its own, and check what it asks.
 */
export const PARAPET_KIT_PRINCIPAL_TIMEOUT = createError(
  'PARAPET_KIT_PRINCIPAL_TIMEOUT',
  'The caller could not be looked up within %s ms',
  503,
)

/**
 * The database did not answer in time, or gave no connection; the connection was closed, and whether the
 * statement took effect is unknown. Fix: check the database, the network and the size of the pool; raise
 * `deadlineMs` of `createSqlClient` for slow statements.
 */
export const PARAPET_KIT_SQL_TIMEOUT = createError(
  'PARAPET_KIT_SQL_TIMEOUT',
  'The database did not answer within %s ms',
  503,
)

/**
 * The search path of the connection names no schema that exists, so there is no place for the tables.
 * Fix: create the schema, or set `search_path` to one that exists.
 */
export const PARAPET_KIT_NO_SCHEMA = createError(
  'PARAPET_KIT_NO_SCHEMA',
  'The search path of the database connection names no schema that exists: create the schema, or set search_path to one that exists',
)

/**
 * A statement was sent through a transaction or session that has ended, usually because a promise was
 * not awaited. Fix: await every statement inside the function.
 */
export const PARAPET_KIT_TRANSACTION_ENDED = createError(
  'PARAPET_KIT_TRANSACTION_ENDED',
  'The %s has ended: await every statement before its function returns',
)

/**
 * Statements of a transaction failed and the error was swallowed, so that PostgreSQL rolled back at
 * COMMIT. Fix: let errors of statements reject the transaction, or use a savepoint.
 */
export const PARAPET_KIT_TRANSACTION_ROLLED_BACK = createError(
  'PARAPET_KIT_TRANSACTION_ROLLED_BACK',
  'The transaction was rolled back: a statement in it had failed and its error was ignored',
)

/**
 * The store is configured so that it may lose state that plugins rely on, or lacks a right that they
 * need. Fix: do what the message says; with `strict: true` this stops the boot.
 */
export const PARAPET_KIT_STORE_UNSAFE = createError(
  'PARAPET_KIT_STORE_UNSAFE',
  'The store is unsafe: %s',
)

/**
 * Another process uses a folder that only one may use. Fix: give each process a folder of its own, or
 * stop the other process.
 */
export const PARAPET_KIT_FOLDER_IN_USE = createError(
  'PARAPET_KIT_FOLDER_IN_USE',
  'The folder %s is in use by %s',
)

/**
 * The storage of jobs did not answer in time, or a handler did not stop in time; whether the call took
 * effect is unknown. Fix: call again with the same key; check the database.
 */
export const PARAPET_KIT_JOBS_TIMEOUT = createError(
  'PARAPET_KIT_JOBS_TIMEOUT',
  'The jobs did not answer within %s ms',
  503,
)

/**
 * The memory holds as many jobs as `maxJobs` allows, and none that could be dropped: they have not ended, or
 * have keys. Fix: raise `maxJobs`, lower `keepMs`, or find out why jobs do not end.
 */
export const PARAPET_KIT_JOBS_FULL = createError(
  'PARAPET_KIT_JOBS_FULL',
  'The memory holds %s jobs, as many as "maxJobs" allows',
  503,
)

/**
 * The storage of jobs did not do what it was asked. Fix: check that the boss was started and that its
 * schema is the one of `createPgBossJobs`.
 */
export const PARAPET_KIT_JOBS_FAILED = createError(
  'PARAPET_KIT_JOBS_FAILED',
  'The storage of jobs failed: %s',
  503,
)

/** The jobs are closed. Fix: make them anew; close them last, before the database. */
export const PARAPET_KIT_JOBS_CLOSED = createError(
  'PARAPET_KIT_JOBS_CLOSED',
  'The jobs are closed',
  503,
)

/**
 * The reason of the signal of a job: its attempt must end now. `onError` gets it when the handler has not
 * ended 30 s after its timeout. Fix: let the handler stop at `job.signal`, or raise `timeoutMs` of the job.
 */
export const PARAPET_KIT_JOB_STOPPED = createError(
  'PARAPET_KIT_JOB_STOPPED',
  'The job "%s" must stop: %s',
  503,
)
