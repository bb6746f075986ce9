/** The errors of this plugin. Each constant has the name of its code. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, has the wrong type, is out of range or contradicts
 * another option. Fix: correct every option that the message lists.
 */
export const PARAPET_AUDIT_LOG_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_AUDIT_LOG_INVALID_OPTION',
  'The options of %s are invalid:\n%s',
)

/**
 * Thrown at boot when `config.audit` of a route is malformed or names an undefined action. Fix: use
 * an action name or an object with `action`, and define the action in the option `actions`.
 */
export const PARAPET_AUDIT_LOG_INVALID_RULE = createError<[route: string, problem: string]>(
  'PARAPET_AUDIT_LOG_INVALID_RULE',
  'The audit rule of the route %s is invalid: %s',
)

/**
 * Thrown when a record names an undefined action, has a field that its action does not declare, is
 * too large, or needs an option that is not set. Fix: declare the action and its fields in the
 * option `actions`, or set the option that the message names.
 */
export const PARAPET_AUDIT_LOG_INVALID_RECORD = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_INVALID_RECORD',
  'The audit record is invalid: %s',
)

/**
 * Thrown for a request to a route that has an audit rule but was declared before the plugin was
 * registered, so that the rule was never compiled. Fix: register the plugin with `await`, before
 * the routes.
 */
export const PARAPET_AUDIT_LOG_ROUTE_MISSED = createError<[]>(
  'PARAPET_AUDIT_LOG_ROUTE_MISSED',
  'This route has an audit rule, but it was declared before the audit log was registered; register the audit log with await, before the routes',
)

/**
 * Thrown when a record of a closed action cannot be written to disk (the reply has `Retry-After`), or when
 * the store cannot be read.
 * Fix: check the free space of the spool's disk and whether the store answers (`app.audit.status()`).
 */
export const PARAPET_AUDIT_LOG_UNAVAILABLE = createError<[]>(
  'PARAPET_AUDIT_LOG_UNAVAILABLE',
  'The audit log is not available now; try again later',
  503,
)

/**
 * Thrown when the signing key is missing, is not an Ed25519 key, cannot be decrypted, or is a file
 * that other users can read. Fix: run `chmod 600` on the file, correct the passphrase, or use
 * another key.
 */
export const PARAPET_AUDIT_LOG_KEY_UNUSABLE = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_KEY_UNUSABLE',
  'The signing key of the audit log cannot be used: %s',
)

/**
 * Thrown at boot when `key.pem` is missing although the directory has a log. A new key would make the
 * log so far unverifiable. Fix: restore `key.pem` from a backup, or set the option `key`; if the key
 * is lost for good, set `key: replaceLostKey` for one start.
 */
export const PARAPET_AUDIT_LOG_KEY_LOST = createError<[file: string]>(
  'PARAPET_AUDIT_LOG_KEY_LOST',
  'The audit log exists, but its signing key %s is missing; restore the file, or set the option "key" (replaceLostKey makes a new key)',
)

/**
 * Thrown at boot when `hashKey` is another key than the one that the log was written with: subjects could
 * not be erased, and hashed values not be found. Fix: set `hashKey` back. If the old key is lost for good,
 * remove the stored check (the file `log/secret-check`, or the row of `audit_log_secret_check`).
 */
export const PARAPET_AUDIT_LOG_HASH_KEY_CHANGED = createError<[]>(
  'PARAPET_AUDIT_LOG_HASH_KEY_CHANGED',
  'The option "hashKey" is not the key that the audit log was written with, so subjects could not be erased; set the former key',
)

/**
 * Thrown at boot when the stored log has another name than the option `origin`; a service that derives
 * `origin` from its public URL changes it with the URL. Fix: set `origin` back to the stored name, or
 * start a new log with another `directory` or database.
 */
export const PARAPET_AUDIT_LOG_ORIGIN_CHANGED = createError<
  [place: string, stored: string, given: string]
>(
  'PARAPET_AUDIT_LOG_ORIGIN_CHANGED',
  'The %s contains the audit log "%s", but the option "origin" is "%s"; set "origin" back, or use another directory or database for a new log',
)

/**
 * Thrown at boot when the plugin was registered before on this app. Fix: remove one of the two lines.
 */
export const PARAPET_AUDIT_LOG_REGISTERED_TWICE = createError<[]>(
  'PARAPET_AUDIT_LOG_REGISTERED_TWICE',
  'The audit log is registered on this app already; register it once, on the root instance',
)

/**
 * Thrown at boot when Fastify trusts every proxy (`trustProxy: true`, or a function that trusts any
 * address), because every client can then choose the IP address that is recorded. Fix: name the trusted proxies, for example `trustProxy: '10.0.0.0/8'`.
 */
export const PARAPET_AUDIT_LOG_UNSAFE_PROXY = createError<[]>(
  'PARAPET_AUDIT_LOG_UNSAFE_PROXY',
  'Fastify trusts every proxy (trustProxy), so every client can choose the IP address that is recorded; ' +
    'name the trusted proxies instead, for example trustProxy: "10.0.0.0/8"',
)

/**
 * Thrown at boot when the directory is in use by another process, or by another app of this process.
 * Fix: give each app its own `directory` (in tests `ephemeralDirectory`), and use `sql` when several
 * share one log.
 */
export const PARAPET_AUDIT_LOG_IN_USE = createError<[folder: string, owner: string]>(
  'PARAPET_AUDIT_LOG_IN_USE',
  'The folder %s is in use by %s; give each app its own "directory" (in tests ephemeralDirectory), and use "sql" when several share one log',
)

/**
 * Thrown when the stored log is damaged, was edited, or has an unknown format. Fix: run
 * `audit-log verify`, and check `key`, `directory` and `sql`.
 */
export const PARAPET_AUDIT_LOG_CORRUPT = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_CORRUPT',
  'The stored audit log cannot be used: %s; run "audit-log verify"',
)

/**
 * Thrown at boot when `app.audit.routes` is registered without a guard. Fix: pass
 * `guard: (request) => boolean`, which returns `true` for callers that may read the log.
 */
export const PARAPET_AUDIT_LOG_NOT_GUARDED = createError<[]>(
  'PARAPET_AUDIT_LOG_NOT_GUARDED',
  'The routes of the audit log need the option "guard": (request) => boolean, true when the caller may read the log',
)

/**
 * Thrown when the guard of the audit routes did not return `true`. Fix: sign in as a principal that
 * the guard accepts.
 */
export const PARAPET_AUDIT_LOG_FORBIDDEN = createError<[]>(
  'PARAPET_AUDIT_LOG_FORBIDDEN',
  'You are not allowed to read the audit log',
  403,
)

/**
 * Thrown when a filter, cursor or limit of a query is invalid. Fix: correct the parameter that the
 * message names.
 */
export const PARAPET_AUDIT_LOG_INVALID_QUERY = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_INVALID_QUERY',
  'The query of the audit log is invalid: %s',
  400,
)

/**
 * Thrown when a record, tile, proof or checkpoint does not exist or was pruned. Fix: check the id or
 * path; a new record is found once it is in the log, at most `integrateIntervalMs` later.
 */
export const PARAPET_AUDIT_LOG_NOT_FOUND = createError<[]>(
  'PARAPET_AUDIT_LOG_NOT_FOUND',
  'The audit log has no such record, tile, proof or checkpoint',
  404,
)
