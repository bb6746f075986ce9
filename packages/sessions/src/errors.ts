/** Every error of this plugin. The constant, the code and the row in the README carry one name. */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_SESSIONS_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_SESSIONS_INVALID_OPTION',
  '%s refuses its options:\n%s',
)

/** A function was called with something it cannot take. */
export const PARAPET_SESSIONS_INVALID_ARGUMENT = createError<[what: string, problem: string]>(
  'PARAPET_SESSIONS_INVALID_ARGUMENT',
  '%s %s',
)

/** A signing key cannot be read, or is too weak to sign with. */
export const PARAPET_SESSIONS_INVALID_KEY = createError<[name: string, problem: string]>(
  'PARAPET_SESSIONS_INVALID_KEY',
  'The key "%s" %s',
)

/** A key would sign before it was published, so that other instances would refuse its tokens. */
export const PARAPET_SESSIONS_KEY_NOT_PUBLISHED = createError<[]>(
  'PARAPET_SESSIONS_KEY_NOT_PUBLISHED',
  'A key signs only after it was published as "next" on every instance',
)

/** A route carries a rule that cannot be read. */
export const PARAPET_SESSIONS_INVALID_RULE = createError<[route: string]>(
  'PARAPET_SESSIONS_INVALID_RULE',
  `The rule "sessions" of the route %s must be 'required', 'optional' or 'ignored'`,
)

/** An access token would be longer than what a cookie or a proxy carries. */
export const PARAPET_SESSIONS_TOKEN_TOO_LARGE = createError<[length: number, limit: number]>(
  'PARAPET_SESSIONS_TOKEN_TOO_LARGE',
  'The access token has %s characters; the limit is %s: give the user fewer roles or permissions',
)

/** There is no valid token. The reply is the same for a missing, a broken and a revoked one. */
export const PARAPET_SESSIONS_UNAUTHENTICATED = createError<[]>(
  'PARAPET_SESSIONS_UNAUTHENTICATED',
  'Log in to do this',
  401,
)

/** The login was refused. The reply is the same whether the account exists or not. */
export const PARAPET_SESSIONS_LOGIN_FAILED = createError<[]>(
  'PARAPET_SESSIONS_LOGIN_FAILED',
  'The login or the password is wrong',
  401,
)

/** The refresh token is no longer good: log in again. */
export const PARAPET_SESSIONS_REFRESH_REFUSED = createError<[]>(
  'PARAPET_SESSIONS_REFRESH_REFUSED',
  'The session has ended; log in again',
  401,
)

/** The identity provider refused the login, or its answer does not belong to this browser. */
export const PARAPET_SESSIONS_SSO_REFUSED = createError<[options?: { readonly cause: unknown }]>(
  'PARAPET_SESSIONS_SSO_REFUSED',
  'The login with the identity provider did not succeed',
  401,
)

/** A request that carries a session cookie came from another site. */
export const PARAPET_SESSIONS_CROSS_SITE = createError<[]>(
  'PARAPET_SESSIONS_CROSS_SITE',
  'This request must come from the site itself',
  403,
)

/** The caller has no such session. */
export const PARAPET_SESSIONS_NOT_FOUND = createError<[]>(
  'PARAPET_SESSIONS_NOT_FOUND',
  'There is no such session',
  404,
)

/** What the decision needs cannot be reached; nobody is let in meanwhile. */
export const PARAPET_SESSIONS_UNAVAILABLE = createError<[options?: { readonly cause: unknown }]>(
  'PARAPET_SESSIONS_UNAVAILABLE',
  'Sessions cannot be checked right now',
  503,
)
