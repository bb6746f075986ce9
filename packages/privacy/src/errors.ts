/** Every error of this plugin. Each constant has the name of its code. No message contains personal data. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, mistyped or out of range.
 * Fix: correct every option that the message lists.
 */
export const PARAPET_PRIVACY_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_PRIVACY_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * Thrown at boot when the lint of the registry finds an error, such as a source without `erase`.
 * Fix: correct each finding, or set `lint: 'warn'` while you migrate.
 */
export const PARAPET_PRIVACY_UNSAFE = createError<[findings: string]>(
  'PARAPET_PRIVACY_UNSAFE',
  'The registry of personal data has errors:\n%s',
)

/**
 * Thrown when a source is registered twice, too late, or with an invalid description.
 * Fix: correct the source that the message names.
 */
export const PARAPET_PRIVACY_INVALID_SOURCE = createError<[name: string, problem: string]>(
  'PARAPET_PRIVACY_INVALID_SOURCE',
  'The source "%s" is invalid: it %s',
)

/**
 * Thrown at boot when a route names a purpose of consent that the option `purposes` does not have.
 * Fix: correct `config.consent` of the route, or declare the purpose.
 */
export const PARAPET_PRIVACY_INVALID_RULE = createError<[route: string, problem: string]>(
  'PARAPET_PRIVACY_INVALID_RULE',
  'The rule "consent" of the route %s %s',
)

/**
 * Thrown when an argument of `app.privacy` has the wrong form.
 * Fix: correct the argument that the message names.
 */
export const PARAPET_PRIVACY_INVALID_ARGUMENT = createError<[name: string, problem: string]>(
  'PARAPET_PRIVACY_INVALID_ARGUMENT',
  'The argument %s %s',
  400,
)

/**
 * The request has no principal.
 * Fix: log in, then repeat the request.
 */
export const PARAPET_PRIVACY_LOGIN_REQUIRED = createError<[]>(
  'PARAPET_PRIVACY_LOGIN_REQUIRED',
  'This request needs a login',
  401,
)

/**
 * The caller is not a privacy officer, or no officers are configured.
 * Fix: let the option `officer` return `true` for the caller.
 */
export const PARAPET_PRIVACY_FORBIDDEN = createError<[]>(
  'PARAPET_PRIVACY_FORBIDDEN',
  'Only a privacy officer may do this',
  403,
)

/**
 * The type of request needs a stronger proof of identity than the session has.
 * Fix: prove a second factor, then repeat the request.
 */
export const PARAPET_PRIVACY_STEP_UP_REQUIRED = createError<[]>(
  'PARAPET_PRIVACY_STEP_UP_REQUIRED',
  'This request needs a fresh second factor',
  403,
)

/**
 * The token that confirms a request is wrong, used or expired; the three look the same.
 * Fix: open a new request.
 */
export const PARAPET_PRIVACY_TOKEN_REFUSED = createError<[]>(
  'PARAPET_PRIVACY_TOKEN_REFUSED',
  'The token is not valid; it may have been used or have expired',
  403,
)

/**
 * A route requires a consent that the subject has not given, has withdrawn, or refuses by `Sec-GPC`.
 * Fix: ask for the consent; until it is given, do without the processing.
 */
export const PARAPET_PRIVACY_CONSENT_REQUIRED = createError<[]>(
  'PARAPET_PRIVACY_CONSENT_REQUIRED',
  'This needs a consent that was not given',
  403,
)

/**
 * There is no such request, hold, purpose or archive for the caller; whether it exists for somebody else
 * looks the same.
 * Fix: correct the id.
 */
export const PARAPET_PRIVACY_NOT_FOUND = createError<[]>(
  'PARAPET_PRIVACY_NOT_FOUND',
  'There is nothing under this id',
  404,
)

/**
 * The subject has an open request of this type already.
 * Fix: wait for it, or withdraw it.
 */
export const PARAPET_PRIVACY_REQUEST_EXISTS = createError<[]>(
  'PARAPET_PRIVACY_REQUEST_EXISTS',
  'There is an open request of this type already',
  409,
)

/**
 * The address has sent too many requests by contact within an hour, or the subject has opened too many requests or
 * changed consents too often within a day.
 * Fix: wait for the seconds in `Retry-After`, or raise `contactsPerHour`, `requestsPerDay` or `consentsPerDay`.
 */
export const PARAPET_PRIVACY_TOO_MANY_REQUESTS = createError<[]>(
  'PARAPET_PRIVACY_TOO_MANY_REQUESTS',
  'Too many requests; try again later',
  429,
)

/**
 * The request is in a state in which this is not possible, or another caller changed it meanwhile.
 * Fix: read the request again, and decide anew.
 */
export const PARAPET_PRIVACY_CONFLICT = createError<[state: string]>(
  'PARAPET_PRIVACY_CONFLICT',
  'This is not possible in the state "%s" of the request',
  409,
)

/**
 * The link of an archive was used before.
 * Fix: ask for a new link, as long as the archive exists.
 */
export const PARAPET_PRIVACY_LINK_USED = createError<[]>(
  'PARAPET_PRIVACY_LINK_USED',
  'This link was used before; ask for a new one',
  410,
)

/**
 * The archive has expired and was deleted.
 * Fix: open a new request.
 */
export const PARAPET_PRIVACY_ARCHIVE_EXPIRED = createError<[]>(
  'PARAPET_PRIVACY_ARCHIVE_EXPIRED',
  'The archive has expired; open a new request',
  410,
)

/**
 * The answer of a processor is not signed by its secret, is too old, or names an unknown request.
 * Fix: sign the answer as the documentation of the webhook says.
 */
export const PARAPET_PRIVACY_ANSWER_REFUSED = createError<[]>(
  'PARAPET_PRIVACY_ANSWER_REFUSED',
  'The answer is not signed as expected',
  401,
)

/**
 * A source, a port or a processor did not answer within its deadline.
 * Fix: check the part that the message names.
 */
export const PARAPET_PRIVACY_TIMEOUT = createError<[part: string, ms: number]>(
  'PARAPET_PRIVACY_TIMEOUT',
  '%s did not answer within %s ms',
  503,
)

/**
 * The storage of requests, consents and holds failed.
 * Fix: send the request again later; `cause` in the log says what happened.
 */
export const PARAPET_PRIVACY_UNAVAILABLE = createError<[options?: { readonly cause: unknown }]>(
  'PARAPET_PRIVACY_UNAVAILABLE',
  'The storage of requests and consents failed. Try again later',
  503,
)

/**
 * A function of the options or of a source failed. Only the code or the name of its error is given: the message may
 * quote personal data, and the error is logged and stored with the job.
 * Fix: let the function that the message names log its own errors, and read them there.
 */
export const PARAPET_PRIVACY_FAILED = createError<[part: string, reason: string]>(
  'PARAPET_PRIVACY_FAILED',
  '%s failed: %s',
  503,
)

/**
 * A stored record was written or changed past this plugin, or with another `secret`; it is not used.
 * Fix: find out who wrote to the table; then restore the record, or delete it.
 */
export const PARAPET_PRIVACY_RECORD_DAMAGED = createError<[kind: string, id: string]>(
  'PARAPET_PRIVACY_RECORD_DAMAGED',
  'The stored %s "%s" is damaged or was not written with this secret',
)

/**
 * An entry of the erasure ledger is damaged or was not written with this secret; the boot stops.
 * Fix: restore the ledger from its own backup, or set the `secret` that wrote it.
 */
export const PARAPET_PRIVACY_LEDGER_DAMAGED = createError<[entry: string]>(
  'PARAPET_PRIVACY_LEDGER_DAMAGED',
  'The entry %s of the erasure ledger is damaged',
)
