/** Every error of this plugin; each constant is named as its code. */
import { createError } from '@fastify/error'

/**
 * An option is unknown, mistyped or out of range; the boot stops. Fix: Correct each option that the
 * message lists.
 */
export const PARAPET_INPUT_GUARD_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_INPUT_GUARD_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * A type such as `SafeEmail` was made with a setting outside its range, or a schema has an invalid
 * `x-guard`; the boot stops. Fix: Correct the setting that the message names.
 */
export const PARAPET_INPUT_GUARD_INVALID_TYPE = createError<[type: string, problem: string]>(
  'PARAPET_INPUT_GUARD_INVALID_TYPE',
  'The type %s is invalid: %s',
)

/**
 * The rule of a route is not `{ unguarded: 'reason' }`; the boot stops. Fix: Correct `config.inputGuard` of the
 * route in the message.
 */
export const PARAPET_INPUT_GUARD_INVALID_RULE = createError<[route: string]>(
  'PARAPET_INPUT_GUARD_INVALID_RULE',
  'The rule "inputGuard" of the route %s must be { unguarded: "the reason" }',
)

/**
 * Routes have schemas without bounds, or no schema at all, and `audit` is `error`; the boot stops.
 * Fix: Add what the message lists for each route, or accept the route in `unguarded`.
 */
export const PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES = createError<[findings: string]>(
  'PARAPET_INPUT_GUARD_UNBOUNDED_ROUTES',
  'The input of these routes is not bounded. Add what is missing, or name the route with a reason in "unguarded":\n%s',
)

/**
 * A schema, `app.inputGuard.fetch` or an upload needs an optional library that is not installed. Fix:
 * Install the library that the message names.
 */
export const PARAPET_INPUT_GUARD_MISSING_LIBRARY = createError<[feature: string, name: string]>(
  'PARAPET_INPUT_GUARD_MISSING_LIBRARY',
  '%s needs a library that is not installed; run: npm install %s',
)

/**
 * A body is refused before its schema sees it: a duplicate key, a name of the prototype chain, too many
 * or too deep values, NUL, a lone surrogate, or bytes that are not UTF-8. Fix: Send one value for each
 * key or field, within the limits in the options `json` and `maxParameters`.
 */
export const PARAPET_INPUT_GUARD_BODY_REFUSED = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_BODY_REFUSED',
  'The body %s',
  400,
)

/**
 * A URL is refused before its schema sees it: a parameter is sent twice, is named like a member of the
 * prototype chain, or contains NUL. Fix: Send each parameter once, or declare it as an array in the schema
 * of the query string.
 */
export const PARAPET_INPUT_GUARD_QUERY_REFUSED = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_QUERY_REFUSED',
  'The URL %s',
  400,
)

/**
 * A request has too many header lines, one that is too long, or several `Host` lines (then the status is 400).
 * Fix: Send fewer or shorter headers, or raise `maxHeaders` or `maxHeaderBytes`.
 */
export const PARAPET_INPUT_GUARD_HEADERS_REFUSED = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_HEADERS_REFUSED',
  'The request has %s',
  431,
)

/**
 * A request asks to be handled as another method, by a header or by the parameter `_method`. Fix: Send
 * the method itself.
 */
export const PARAPET_INPUT_GUARD_METHOD_OVERRIDE = createError<[]>(
  'PARAPET_INPUT_GUARD_METHOD_OVERRIDE',
  'The method of a request cannot be overridden',
  400,
)

/**
 * The media type or the charset of a body is not accepted. Fix: Send UTF-8, and one of the types in the
 * option `contentTypes`.
 */
export const PARAPET_INPUT_GUARD_MEDIA_TYPE = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_MEDIA_TYPE',
  'The body has %s',
  415,
)

/**
 * The mail domain of an address could not be looked up in time. Fix: Check the port `mailDomain`.
 */
export const PARAPET_INPUT_GUARD_LOOKUP_FAILED = createError<[]>(
  'PARAPET_INPUT_GUARD_LOOKUP_FAILED',
  'An address could not be checked; try again later',
  503,
)

/**
 * An outgoing request was refused before a connection was opened: the scheme, host, port or one of the
 * addresses of the host is not allowed. Fix: Request a public host, or add it to `fetch.allowHosts`.
 */
export const PARAPET_INPUT_GUARD_URL_FORBIDDEN = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_URL_FORBIDDEN',
  'The URL is not allowed: %s',
  400,
)

/**
 * An outgoing request failed: the host did not answer in time, sent too much, or redirected too often.
 * Fix: Raise the limit in the option `fetch` if the host is trusted.
 */
export const PARAPET_INPUT_GUARD_FETCH_FAILED = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_FETCH_FAILED',
  'The outgoing request failed: %s',
  503,
)

/**
 * A target of a redirect leads to another origin. Fix: Redirect to a path of this site.
 */
export const PARAPET_INPUT_GUARD_REDIRECT_FORBIDDEN = createError<[]>(
  'PARAPET_INPUT_GUARD_REDIRECT_FORBIDDEN',
  'The target of the redirect is not on this site',
  400,
)

/**
 * An uploaded file is refused: its type, name, content or archive entries are not allowed, or a scanner
 * found something. Fix: Upload a file of the types that the route accepts.
 */
export const PARAPET_INPUT_GUARD_UPLOAD_REFUSED = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_UPLOAD_REFUSED',
  'The upload was refused: %s',
  400,
)

/**
 * An upload is larger than its limits, or has too many parts. Fix: Upload less, or raise the limit of
 * the route.
 */
export const PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE',
  'The upload is too large: %s',
  413,
)

/**
 * The scanner or the image encoder did not answer in time or failed; the file was deleted. Fix: Check
 * the ports `scan` and `reencode`.
 */
export const PARAPET_INPUT_GUARD_SCAN_FAILED = createError<[]>(
  'PARAPET_INPUT_GUARD_SCAN_FAILED',
  'The upload could not be checked; try again later',
  503,
)

/**
 * A file could not be written to the folder where uploads wait: the folder is missing, full or not writable.
 * Fix: Check the rule `directory`; the cause is in the log.
 */
export const PARAPET_INPUT_GUARD_STORAGE_FAILED = createError<[]>(
  'PARAPET_INPUT_GUARD_STORAGE_FAILED',
  'The upload could not be stored; try again later',
  503,
)

/**
 * The option `htmlEngine` threw, or did not return `{ html, isChanged }`. Fix: Correct the engine; it must be
 * synchronous. The cause is in the log.
 */
export const PARAPET_INPUT_GUARD_ENGINE_FAILED = createError<[]>(
  'PARAPET_INPUT_GUARD_ENGINE_FAILED',
  'The HTML of a field could not be checked',
  500,
)

/**
 * A handler sent text, a stream or a `Response` with a JSON type on a route with a response schema, and it could not
 * be checked by the schema: it is not JSON, is compressed, or is longer than `maxTextResponseBytes`. Fix: Return the
 * value instead of its JSON, or remove the response schema of the route.
 */
export const PARAPET_INPUT_GUARD_RESPONSE_REFUSED = createError<[problem: string]>(
  'PARAPET_INPUT_GUARD_RESPONSE_REFUSED',
  'A response could not be checked by its schema, because it is %s',
  500,
)
