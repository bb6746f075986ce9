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
 * The key file in the data folder is damaged or lost. No new keys are created, because they could not
 * decrypt the existing data.
 * Fix: restore the file that the message names from a backup.
 */
export const PARAPET_REFERENCE_KEYS_UNREADABLE = createError<[string]>(
  'PARAPET_REFERENCE_KEYS_UNREADABLE',
  'The keys of this server cannot be read: the key file must exist and be a JSON object. ' +
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
 * At start, another user already has the e-mail address of the first administrator; upper and lower case are not
 * distinguished.
 * Fix: use another address.
 */
export const PARAPET_REFERENCE_EMAIL_TAKEN = createError(
  'PARAPET_REFERENCE_EMAIL_TAKEN',
  'Another user already has this e-mail address; use another one',
  409,
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
 * The time in `until` is over, so the account would not be locked.
 * Fix: send a time in the future, or leave `until` out.
 */
export const PARAPET_REFERENCE_UNTIL_PASSED = createError(
  'PARAPET_REFERENCE_UNTIL_PASSED',
  'The time in "until" must be in the future',
  400,
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

/**
 * The artist or the venue has bookings, which name it.
 * Fix: keep it; set `available` of an artist to `false`.
 */
export const PARAPET_REFERENCE_HAS_BOOKINGS = createError(
  'PARAPET_REFERENCE_HAS_BOOKINGS',
  'Bookings name this resource, so it cannot be deleted',
  409,
)

/**
 * No artist or no venue has the id in the booking.
 * Fix: send the ids of an existing artist and venue.
 */
export const PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN = createError<[] | [{ cause: unknown }]>(
  'PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN',
  'No artist or no venue has this id; send the ids of an existing artist and venue',
  409,
)

/**
 * The artist has another confirmed booking on the day.
 * Fix: choose another day or another artist.
 */
export const PARAPET_REFERENCE_ARTIST_BOOKED = createError(
  'PARAPET_REFERENCE_ARTIST_BOOKED',
  'The artist has another confirmed booking on this day',
  409,
)

/**
 * The price has more decimals than the currency of the artist.
 * Fix: send a price in whole units, such as 12000 for JPY.
 */
export const PARAPET_REFERENCE_PRICE_DECIMALS = createError<[string]>(
  'PARAPET_REFERENCE_PRICE_DECIMALS',
  'A price in %s has fewer decimals',
  400,
)

/**
 * The file is longer than 25 MiB, or the account has a thousand files already.
 * Fix: split the file, or delete others.
 */
export const PARAPET_REFERENCE_FILE_REFUSED = createError<[string]>(
  'PARAPET_REFERENCE_FILE_REFUSED',
  'The file was not stored: %s',
  413,
)

/**
 * The server is overloaded: its event loop is late. The response has `Retry-After`.
 * Fix: send the request again later; add an instance.
 */
export const PARAPET_REFERENCE_OVERLOADED = createError(
  'PARAPET_REFERENCE_OVERLOADED',
  'The server is overloaded; try again later',
  503,
)

/**
 * The request for the metrics has neither the token nor the permission.
 * Fix: send `Authorization: Metrics` with the `METRICS_TOKEN`, or log in with the permission `metrics:read`.
 */
export const PARAPET_REFERENCE_METRICS_REFUSED = createError(
  'PARAPET_REFERENCE_METRICS_REFUSED',
  'The metrics need their token, or a session with the permission "metrics:read"',
  401,
)

/**
 * Too many feeds of the console are open: 8 of one operator, or 200 of all. Fix: close other windows of the console.
 */
export const PARAPET_REFERENCE_TOO_MANY_STREAMS = createError(
  'PARAPET_REFERENCE_TOO_MANY_STREAMS',
  'Too many feeds are open; close other windows of the console',
  503,
)
