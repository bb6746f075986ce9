/** Every error of this plugin. The constant, the code and the row in the README carry one name. */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_AUDIT_LOG_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_AUDIT_LOG_INVALID_OPTION',
  '%s refuses its options:\n%s',
)

/** A route carries a rule that cannot be read, or names an action that is not defined. */
export const PARAPET_AUDIT_LOG_INVALID_RULE = createError<[route: string, expected: string]>(
  'PARAPET_AUDIT_LOG_INVALID_RULE',
  'The rule "audit" of the route %s %s',
)

/** A record names an undefined action, or a field that the action does not have. */
export const PARAPET_AUDIT_LOG_INVALID_RECORD = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_INVALID_RECORD',
  'The audit record is refused: %s',
)

/** A route declares an audit rule, and the plugin was registered too late to see it. */
export const PARAPET_AUDIT_LOG_ROUTE_MISSED = createError<[]>(
  'PARAPET_AUDIT_LOG_ROUTE_MISSED',
  'The route is to be audited and is not: register the audit log with await, before the routes',
)

/** The record cannot be made durable now, and its action must not go unrecorded. */
export const PARAPET_AUDIT_LOG_UNAVAILABLE = createError<[]>(
  'PARAPET_AUDIT_LOG_UNAVAILABLE',
  'The audit log cannot take records now',
  503,
)

/** The signing key is missing, of another kind, or readable by others. */
export const PARAPET_AUDIT_LOG_KEY_UNUSABLE = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_KEY_UNUSABLE',
  'The signing key of the audit log is refused: %s',
)

/** `trustProxy: true` lets every client write its own address into the record. */
export const PARAPET_AUDIT_LOG_UNSAFE_PROXY = createError<[]>(
  'PARAPET_AUDIT_LOG_UNSAFE_PROXY',
  'Fastify runs with trustProxy: true, so clients choose the address that is recorded; ' +
    'name the proxies instead, for instance trustProxy: "10.0.0.0/8"',
)

/** The spool or the directory belongs to another process that is alive. */
export const PARAPET_AUDIT_LOG_IN_USE = createError<[folder: string]>(
  'PARAPET_AUDIT_LOG_IN_USE',
  'Another process uses %s; give each process a spool of its own, and a fleet a database',
)

/** What is stored is not what this log wrote. */
export const PARAPET_AUDIT_LOG_CORRUPT = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_CORRUPT',
  'The stored audit log is damaged: %s',
)

/** The routes need a guard. */
export const PARAPET_AUDIT_LOG_NOT_GUARDED = createError<[]>(
  'PARAPET_AUDIT_LOG_NOT_GUARDED',
  'The routes of the audit log need a guard: (request) => whether the caller may read it',
)

/** The guard of the routes refused the caller. */
export const PARAPET_AUDIT_LOG_FORBIDDEN = createError<[]>(
  'PARAPET_AUDIT_LOG_FORBIDDEN',
  'You may not read the audit log',
  403,
)

/** A filter, a cursor or a limit that cannot be read. */
export const PARAPET_AUDIT_LOG_INVALID_QUERY = createError<[problem: string]>(
  'PARAPET_AUDIT_LOG_INVALID_QUERY',
  'The query is refused: %s',
  400,
)

/** There is no such record, tile or proof, or it was pruned. */
export const PARAPET_AUDIT_LOG_NOT_FOUND = createError<[]>(
  'PARAPET_AUDIT_LOG_NOT_FOUND',
  'The audit log holds no such thing',
  404,
)
