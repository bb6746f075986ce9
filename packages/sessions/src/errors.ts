/**
 * The errors of this plugin. Each constant has the name of its code. The file is long because it is one table, and
 * each error says how to fix it.
 */
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
 * Fix: use "required", "optional", "ignored" or "enrolment".
 */
export const PARAPET_SESSIONS_INVALID_RULE = createError<[route: string, received: string]>(
  'PARAPET_SESSIONS_INVALID_RULE',
  'Invalid "config.sessions" of the route %s: expected "required", "optional", "ignored" or "enrolment", got %s',
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
 * Thrown by a login with the right credentials while an operator has locked the account. With a time of unlocking,
 * the response has `Retry-After`.
 * Fix: read the notice that was sent to the address of the account, or ask the operator of the service.
 */
export const PARAPET_SESSIONS_ACCOUNT_LOCKED = createError<[]>(
  'PARAPET_SESSIONS_ACCOUNT_LOCKED',
  'The account is locked. A notice was sent to its address',
  423,
)

/**
 * Thrown by logins and API keys of an account, and by operations on it, when the record of its lock has a seal that none
 * of `secrets` gives: the secret was removed too early, or someone has written to the storage.
 * Fix: add the removed secret again as the last one. If it is lost, `lockAccount` replaces the record, and `unlockAccount`
 * opens the account; then require again what had been required. See `docs/recipes/accounts.md`.
 */
export const PARAPET_SESSIONS_ACCOUNT_UNREADABLE = createError<[]>(
  'PARAPET_SESSIONS_ACCOUNT_UNREADABLE',
  'The account cannot be used until an operator has repaired its record',
  503,
)

/**
 * Thrown by a login with the right password when the password must be replaced first.
 * Fix: use the link that was sent to the address of the account, or ask for another one.
 */
export const PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED = createError<[]>(
  'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED',
  'The password must be replaced. Use the link that was sent to the address of the account',
  403,
)

/**
 * Thrown by every route but those to enrol a second factor, when an operator requires one of the account and the
 * session has not shown any.
 * Fix: enrol a second factor and show it, or log in again with it.
 */
export const PARAPET_SESSIONS_SECOND_FACTOR_REQUIRED = createError<[]>(
  'PARAPET_SESSIONS_SECOND_FACTOR_REQUIRED',
  'The account needs a second factor. Enrol one before you go on',
  403,
)

/**
 * Thrown when the token of a link is unknown, expired, used or replaced by a newer one, or when the account has
 * changed since it was sent. The response is the same in all cases.
 * Fix: ask for another link.
 */
export const PARAPET_SESSIONS_LINK_REFUSED = createError<[]>(
  'PARAPET_SESSIONS_LINK_REFUSED',
  'The link has expired or was used. Ask for another one',
  401,
)

/**
 * Thrown when a new password is not accepted by the policy. The message says why.
 * Fix: choose another password.
 */
export const PARAPET_SESSIONS_PASSWORD_REFUSED = createError<[problems: string]>(
  'PARAPET_SESSIONS_PASSWORD_REFUSED',
  'The password cannot be used. %s',
  400,
)

/**
 * Thrown by a change of the own password or address without the current password or a factor that was shown in
 * the last five minutes, or when the current password is wrong.
 * Fix: send the current password, or show a second factor first.
 */
export const PARAPET_SESSIONS_PROOF_REQUIRED = createError<[]>(
  'PARAPET_SESSIONS_PROOF_REQUIRED',
  'Send the current password, or show a second factor first',
  403,
)

/**
 * Thrown when a user links an identity that another user has, or the application does.
 * Fix: link another identity, or remove the other link.
 */
export const PARAPET_SESSIONS_IDENTITY_TAKEN = createError<[]>(
  'PARAPET_SESSIONS_IDENTITY_TAKEN',
  'Another account uses this identity',
  409,
)

/**
 * Thrown when a user who has as many linked identities as `linking.maxLinksPerUser` allows links one more, or the
 * application does.
 * Fix: remove a link first, or raise the option.
 */
export const PARAPET_SESSIONS_TOO_MANY_LINKS = createError<[]>(
  'PARAPET_SESSIONS_TOO_MANY_LINKS',
  'The account has too many linked identities. Remove one first',
  409,
)

/**
 * Thrown when a user removes the last link and could not log in any more. The option `linking.hasOtherLogin`
 * says whether there is another way.
 * Fix: set a password or link another identity first.
 */
export const PARAPET_SESSIONS_LAST_LOGIN = createError<[]>(
  'PARAPET_SESSIONS_LAST_LOGIN',
  'This is the last way to log in. Add another one first',
  409,
)

/**
 * Thrown by a change of the own password, address or links when the user has a second factor and has not shown it in
 * the last five minutes; for links also when the login is older. `WWW-Authenticate` says so in the words of RFC 9470.
 * Fix: show the second factor, or log in or step up again, and send the request again.
 */
export const PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED = createError<[]>(
  'PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED',
  'Show your second factor again before you change this',
  401,
)

/**
 * Thrown after too many wrong current passwords, from one address or for one account. The response has
 * `Retry-After`.
 * Fix: wait, or reset the password.
 */
export const PARAPET_SESSIONS_TOO_MANY_TRIES = createError<[]>(
  'PARAPET_SESSIONS_TOO_MANY_TRIES',
  'Too many wrong passwords. Try again later',
  429,
)

/**
 * Thrown by `impersonate` when the operator may not act as this user, and where there is no such user.
 * Fix: let an operator with more rights do it; the option `impersonation.allows` decides.
 */
export const PARAPET_SESSIONS_IMPERSONATION_REFUSED = createError<[]>(
  'PARAPET_SESSIONS_IMPERSONATION_REFUSED',
  'You may not act as this user',
  403,
)

/**
 * Thrown when an operator who acts as a user changes the password, the address or the sessions of the user.
 * Fix: end the impersonation and use the operations for operators.
 */
export const PARAPET_SESSIONS_IMPERSONATED = createError<[]>(
  'PARAPET_SESSIONS_IMPERSONATED',
  'An operator who acts as a user cannot do this',
  403,
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
 * Thrown by the route for back-channel logout when the logout token is invalid, too old, or was used before.
 * Fix: send a token of OpenID Connect Back-Channel Logout 1.0 that is signed by a published key of the provider.
 */
export const PARAPET_SESSIONS_LOGOUT_REFUSED = createError<[options?: { readonly cause: unknown }]>(
  'PARAPET_SESSIONS_LOGOUT_REFUSED',
  'The logout token is invalid or was used before',
  400,
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
 * Thrown when the caller has no such session or link, or when no such API key or identity provider exists.
 * Fix: use an id or a name from the list of sessions, links, API keys or providers.
 */
export const PARAPET_SESSIONS_NOT_FOUND = createError<[]>(
  'PARAPET_SESSIONS_NOT_FOUND',
  'There is no such session, link, API key or identity provider',
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
