/** Every error that this service throws. Plugins have errors of their own. */
import createError from '@fastify/error'

/**
 * Another server has the data folder open; the embedded database allows one process at a time.
 * Fix: stop the server that the message names, or start this one with another `DATA_DIR`.
 */
export const PARAPET_REFERENCE_DATA_IN_USE = createError<[string]>(
  'PARAPET_REFERENCE_DATA_IN_USE',
  '%s. Stop that server, or set another DATA_DIR',
)

/**
 * The key file in the data folder cannot be read. No new keys are created, because they could not
 * decrypt the existing data.
 * Fix: restore the file that the message names from a backup.
 */
export const PARAPET_REFERENCE_KEYS_UNREADABLE = createError<[string]>(
  'PARAPET_REFERENCE_KEYS_UNREADABLE',
  'The keys of this server cannot be read: the key file must be a JSON object. ' +
    'Restore %s from a backup',
)

/**
 * The database refused the connection or the statement because it is down, starting, full or
 * read-only, or it did not answer in time. The response has `Retry-After`; the log has the reason.
 * Fix: send the request again later; check the database, its disk and `DATABASE_URL`.
 */
export const PARAPET_REFERENCE_DATABASE_UNAVAILABLE = createError<
  [reason: string, options: { cause: unknown }]
>('PARAPET_REFERENCE_DATABASE_UNAVAILABLE', 'The database is unavailable: %s', 503)

/**
 * A production server on PostgreSQL has no keys of its own. Keys of one process would make its data
 * unreadable for every other process.
 * Fix: run `npm run --silent keys`, and give every instance the lines that it prints.
 */
export const PARAPET_REFERENCE_KEYS_MISSING = createError<[string]>(
  'PARAPET_REFERENCE_KEYS_MISSING',
  'A production server on PostgreSQL needs the variables %s. Run "npm run --silent keys" once, ' +
    'and give every instance the lines that it prints',
)

/**
 * The address is none, or is on the allowlist of the anomaly guard. Fix: Send an IP address or a CIDR block such
 * as `192.0.2.0/24`.
 */
export const PARAPET_REFERENCE_ADDRESS_NOT_BLOCKED = createError<[]>(
  'PARAPET_REFERENCE_ADDRESS_NOT_BLOCKED',
  'This address cannot be blocked',
  400,
)

/**
 * No resource has the id of the request, or the caller may not know that it exists.
 * Fix: check the id; list the resources to see which ids exist.
 */
export const PARAPET_REFERENCE_NOT_FOUND = createError(
  'PARAPET_REFERENCE_NOT_FOUND',
  'No resource has this id',
  404,
)

/**
 * The path exists, but not with the method of the request.
 * Fix: use one of the methods in the `Allow` response header.
 */
export const PARAPET_REFERENCE_METHOD_NOT_ALLOWED = createError(
  'PARAPET_REFERENCE_METHOD_NOT_ALLOWED',
  'This path does not support this method; use one of those in the Allow response header',
  405,
)

/**
 * The cursor was not created by a list of this service.
 * Fix: send a `nextCursor` unchanged, or leave the cursor out to start at the first page.
 */
export const PARAPET_REFERENCE_INVALID_CURSOR = createError(
  'PARAPET_REFERENCE_INVALID_CURSOR',
  'The cursor is invalid; send the nextCursor of an earlier page unchanged',
  400,
)

/**
 * Another user already has the new e-mail address of a user, or at start that of the first
 * administrator; upper and lower case are not distinguished.
 * Fix: use another address.
 */
export const PARAPET_REFERENCE_EMAIL_TAKEN = createError(
  'PARAPET_REFERENCE_EMAIL_TAKEN',
  'Another user already has this e-mail address; use another one',
  409,
)

/**
 * The current password in a change of the own account is wrong, or the user has no password.
 * Fix: send the password that the user logs in with.
 */
export const PARAPET_REFERENCE_WRONG_PASSWORD = createError(
  'PARAPET_REFERENCE_WRONG_PASSWORD',
  'The current password is wrong',
  403,
)

/**
 * The current password was sent too often, so it was not checked: 10 times in 15 minutes from one
 * address, or 100 times in a day.
 * Fix: wait for the seconds in the response header `Retry-After`.
 */
export const PARAPET_REFERENCE_TOO_MANY_PASSWORDS = createError<[string]>(
  'PARAPET_REFERENCE_TOO_MANY_PASSWORDS',
  'The current password was sent too often; try again in %s seconds',
  429,
)

/**
 * The user cannot be deleted while content names them as its author.
 * Fix: delete that content or give it another author first.
 */
export const PARAPET_REFERENCE_USER_HAS_CONTENT = createError(
  'PARAPET_REFERENCE_USER_HAS_CONTENT',
  'This user is the author of content; delete it or give it another author first',
  409,
)

/**
 * The user is the only administrator, so the account cannot be deleted or lose the role.
 * Fix: make another user an administrator first.
 */
export const PARAPET_REFERENCE_LAST_ADMIN = createError(
  'PARAPET_REFERENCE_LAST_ADMIN',
  'This user is the only administrator; make another user an administrator first',
  409,
)

/**
 * The request has several `Host` header fields, or an invalid one.
 * Fix: send one `Host` with the host and, if it is not the default, the port of the URL.
 *
 * @see RFC 9112, section 3.2
 */
export const PARAPET_REFERENCE_INVALID_HOST = createError(
  'PARAPET_REFERENCE_INVALID_HOST',
  'The request must have one valid Host header',
  400,
)

/**
 * The `authorId` of content is not the id of a user.
 * Fix: send the id of an existing user.
 */
export const PARAPET_REFERENCE_AUTHOR_UNKNOWN = createError(
  'PARAPET_REFERENCE_AUTHOR_UNKNOWN',
  'No user has the id in "authorId"; send the id of an existing user',
  409,
)

/**
 * `If-Match` does not name the stored version.
 * Fix: read the resource again and send its current `ETag`.
 *
 * @see RFC 9110, section 13.1.1
 */
export const PARAPET_REFERENCE_VERSION_MISMATCH = createError(
  'PARAPET_REFERENCE_VERSION_MISMATCH',
  'The resource is not at the version in If-Match; read it again and send its current ETag',
  412,
)
