/** The errors of this plugin. Each constant has the name of its code. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, missing, mistyped or out of range.
 * Fix: correct each option that the message lists.
 */
export const PARAPET_SESSIONS_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_SESSIONS_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * Thrown when a function is called with an argument outside its documented range.
 * Fix: pass what the message asks for.
 */
export const PARAPET_SESSIONS_INVALID_ARGUMENT = createError<
  [name: string, expected: string, received: string]
>('PARAPET_SESSIONS_INVALID_ARGUMENT', 'Invalid argument "%s": expected %s, got %s')

/**
 * Thrown at boot, by `rotateKeys` and by `createJwsGate` when a key cannot be read or is too weak.
 * Fix: configure a key of the kind that the message asks for; `generateKey` creates one.
 */
export const PARAPET_SESSIONS_INVALID_KEY = createError<[name: string, problem: string]>(
  'PARAPET_SESSIONS_INVALID_KEY',
  'The key "%s" cannot be used: %s',
)

/**
 * Thrown by `rotateKeys` when the new current key was not in the previous key set.
 * Fix: call `rotateKeys` with the key as `next` on every instance first, and make it `current` later.
 */
export const PARAPET_SESSIONS_KEY_NOT_PUBLISHED = createError<[]>(
  'PARAPET_SESSIONS_KEY_NOT_PUBLISHED',
  'The new "current" key was not in the previous key set, so other instances would refuse its tokens. ' +
    'Publish it as "next" on every instance first',
)

/**
 * Thrown at boot when a route has an invalid value in `config.sessions`.
 * Fix: use "required", "optional" or "ignored".
 */
export const PARAPET_SESSIONS_INVALID_RULE = createError<[route: string, received: string]>(
  'PARAPET_SESSIONS_INVALID_RULE',
  'Invalid "config.sessions" of the route %s: expected "required", "optional" or "ignored", got %s',
)

/**
 * Thrown by a login or refresh when the access token would not fit a cookie.
 * Fix: give the user fewer roles or permissions, or shorter names.
 */
export const PARAPET_SESSIONS_TOKEN_TOO_LARGE = createError<[length: number, limit: number]>(
  'PARAPET_SESSIONS_TOKEN_TOO_LARGE',
  'The access token would have %s characters, but the limit is %s. Give the user fewer roles or permissions',
)

/**
 * Thrown when a request has no valid token: it is missing, malformed, expired or revoked. The response
 * is the same in all cases.
 * Fix: refresh the session, or log in again.
 */
export const PARAPET_SESSIONS_UNAUTHENTICATED = createError<[]>(
  'PARAPET_SESSIONS_UNAUTHENTICATED',
  'Authentication is required: send a valid access token or API key',
  401,
)

/**
 * Thrown by the login route when the credentials are refused. The response is the same whether the
 * account exists or not.
 * Fix: correct the login name or the password.
 */
export const PARAPET_SESSIONS_LOGIN_FAILED = createError<[]>(
  'PARAPET_SESSIONS_LOGIN_FAILED',
  'The login name or the password is wrong',
  401,
)

/**
 * Thrown by the second step of a login when its ticket is unknown, expired or used, or was tried ten
 * times.
 * Fix: begin the login again.
 */
export const PARAPET_SESSIONS_TICKET_REFUSED = createError<[]>(
  'PARAPET_SESSIONS_TICKET_REFUSED',
  'The login has expired or is finished. Begin it again',
  401,
)

/**
 * Thrown by a login, `hashPassword` and `verifyPassword` when too many passwords are being hashed. The
 * response has `Retry-After: 1`.
 * Fix: limit the rate of logins; then raise `hashing.maxWaiting`.
 */
export const PARAPET_SESSIONS_BUSY = createError<[]>(
  'PARAPET_SESSIONS_BUSY',
  'Too many logins at once. Try again in a second',
  503,
)

/**
 * Thrown by a refresh when the refresh token is invalid, was used before, or its session has ended.
 * Fix: log in again.
 */
export const PARAPET_SESSIONS_REFRESH_REFUSED = createError<[]>(
  'PARAPET_SESSIONS_REFRESH_REFUSED',
  'The session has ended or the refresh token is invalid. Log in again',
  401,
)

/**
 * Thrown by the callback of an identity provider when the provider refuses the login, or when the
 * callback belongs to another browser or another login.
 * Fix: start the login again.
 */
export const PARAPET_SESSIONS_SSO_REFUSED = createError<[options?: { readonly cause: unknown }]>(
  'PARAPET_SESSIONS_SSO_REFUSED',
  'The login through the identity provider failed. Start it again',
  401,
)

/**
 * Thrown when cookies are in use and another site sent the request.
 * Fix: list the origin in `cookies.trustedOrigins`, if its pages may use the session.
 */
export const PARAPET_SESSIONS_CROSS_SITE = createError<[]>(
  'PARAPET_SESSIONS_CROSS_SITE',
  'The request must come from this site or from a trusted origin',
  403,
)

/**
 * Thrown when the caller has no such session, or when no such API key or identity provider exists.
 * Fix: use an id or a name from the list of sessions, API keys or providers.
 */
export const PARAPET_SESSIONS_NOT_FOUND = createError<[]>(
  'PARAPET_SESSIONS_NOT_FOUND',
  'There is no such session, API key or identity provider',
  404,
)

/**
 * Thrown by `apiKeys.rotate` while the secret before the last rotation still works: another rotation would
 * end the secret that clients use.
 * Fix: wait until the overlap has passed, or rotate with an overlap of 0 to end all older secrets at once.
 */
export const PARAPET_SESSIONS_KEY_ROTATED = createError<[]>(
  'PARAPET_SESSIONS_KEY_ROTATED',
  'The API key has just been rotated and its previous secret still works. Wait for the end of the overlap, ' +
    'or pass an overlap of 0 to end all older secrets',
  409,
)

/**
 * Thrown when a token cannot be checked because the store, the user lookup or the identity provider
 * does not answer. Nothing is accepted meanwhile.
 * Fix: send the request again later; the log and `cause` name the dependency that is down.
 */
export const PARAPET_SESSIONS_UNAVAILABLE = createError<[options?: { readonly cause: unknown }]>(
  'PARAPET_SESSIONS_UNAVAILABLE',
  'A service that sessions depend on does not answer. Try again later',
  503,
)
