/** Every error of this plugin. Each constant has the name of its code. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, has the wrong type or is out of range.
 * Fix: correct every option that the message lists.
 */
export const PARAPET_MFA_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_MFA_INVALID_OPTION',
  '%s was registered with invalid options; correct these:\n%s',
)

/**
 * Thrown at boot when neither `keys` nor `cipher` is set.
 * Fix: create keys once with `generateCipherKey()`, store them as a secret, and pass them as `keys`.
 */
export const PARAPET_MFA_NO_KEY = createError<[]>(
  'PARAPET_MFA_NO_KEY',
  '@parapet/mfa needs "keys" or "cipher" to encrypt accounts, got neither; create keys with generateCipherKey() of @parapet/mfa',
)

/**
 * Thrown at boot when the settings let a code be guessed with a higher probability than
 * `maxGuessProbability`.
 * Fix: lower `throttle.failuresPer30Days` or `totp.window`, or raise `totp.digits`.
 */
export const PARAPET_MFA_GUESSABLE = createError<[probability: string, bound: string, how: string]>(
  'PARAPET_MFA_GUESSABLE',
  'With these settings a code can be guessed within 30 days with probability %s, above maxGuessProbability %s: %s',
)

/**
 * Thrown when a function of `app.mfa` is called with an argument of the wrong type or range.
 * Fix: correct the argument that the message names.
 */
export const PARAPET_MFA_INVALID_ARGUMENT = createError<[fault: string]>(
  'PARAPET_MFA_INVALID_ARGUMENT',
  'Invalid call of @parapet/mfa: %s',
)

/**
 * Thrown at boot when `config.mfa` of a route is not a valid rule.
 * Fix: set it to `'open'`, `'required'`, `'if-enrolled'` or an object as described in the README.
 */
export const PARAPET_MFA_INVALID_RULE = createError<[route: string, expected: string, got: string]>(
  'PARAPET_MFA_INVALID_RULE',
  'config.mfa of the route %s must be %s, got %s',
)

/**
 * Thrown when the stored account of a user does not decrypt.
 * Fix: add the key it was sealed under to `keys`; if the record is damaged or was swapped, restore
 * it from a backup or call `app.mfa.forget`.
 */
export const PARAPET_MFA_ACCOUNT_UNREADABLE = createError<[]>(
  'PARAPET_MFA_ACCOUNT_UNREADABLE',
  'The stored account does not decrypt: it was sealed for another user or under a missing key, or it is damaged; check "keys" or restore the record',
)

/**
 * Thrown when the storage of accounts fails, or when 64 attempts to change one account lost against
 * other writers.
 * Fix: send the request again; if it persists, look for the `cause` in the log.
 */
export const PARAPET_MFA_BUSY = createError<[]>(
  'PARAPET_MFA_BUSY',
  'The account could not be read or changed right now; try again in a few seconds',
  503,
)

/**
 * Thrown when a route requires a logged-in user and the request has no principal.
 * Fix: log in, then send the request again. If everyone is refused, the login runs after this plugin: register
 * it before, or set the option `hook`.
 */
export const PARAPET_MFA_LOGIN_REQUIRED = createError<[]>(
  'PARAPET_MFA_LOGIN_REQUIRED',
  'This request needs a logged-in user; log in and send it again',
  401,
)

/**
 * Thrown when a user who has no factor yet enrols one and logged in longer ago than
 * `manageMaxAgeSeconds`, so that a stolen session cannot enrol a factor of the thief.
 * Fix: let the user log in again, then enrol.
 */
export const PARAPET_MFA_RECENT_LOGIN_REQUIRED = createError<[]>(
  'PARAPET_MFA_RECENT_LOGIN_REQUIRED',
  'The first factor can be enrolled only soon after a login; log in again, then enrol it',
  401,
)

/**
 * Thrown when the session has no proof of a second factor that is strong and recent enough, or when
 * the factors have changed since the proof was created.
 * Fix: verify a factor as the `WWW-Authenticate` header says, then send the request again.
 */
export const PARAPET_MFA_STEP_UP_REQUIRED = createError<[]>(
  'PARAPET_MFA_STEP_UP_REQUIRED',
  'This request needs a stronger or more recent proof of a second factor; verify one and send it again',
  401,
)

/**
 * Thrown when a verified factor and the login before are of one kind, for instance a code of an app
 * after a login by SMS: both are things that the user has, so they are one factor.
 * Fix: verify a passkey that checks a PIN or a fingerprint, or log in with a password.
 */
export const PARAPET_MFA_PROOF_INSUFFICIENT = createError<[amr: string]>(
  'PARAPET_MFA_PROOF_INSUFFICIENT',
  'The factor was verified, but with this login (%s) only things that the user has were shown, which is one factor; verify a passkey that checks a PIN or a fingerprint, or log in with a password',
  403,
)

/**
 * Thrown when a factor must be shown or changed and the principal has no `sessionId`: a proof belongs
 * to a session.
 * Fix: return `sessionId` from the login or from the option `principal`. An API key has no session and
 * cannot show a factor; set `mfa: 'open'` on routes that it may call.
 */
export const PARAPET_MFA_SESSION_REQUIRED = createError<[]>(
  'PARAPET_MFA_SESSION_REQUIRED',
  'This request needs a second factor, which belongs to a session, and the caller has no session; log in instead of using an API key',
  403,
)

/**
 * Thrown by the routes that show or change factors when an operator acts as the user (`actorId` of the principal).
 * Fix: end the impersonation; an administrator resets factors by `app.mfa.reset`.
 */
export const PARAPET_MFA_IMPERSONATED = createError<[]>(
  'PARAPET_MFA_IMPERSONATED',
  'An operator who acts as a user cannot show or change the factors of the user',
  403,
)

/**
 * Thrown when a function that was passed as an option does not answer in time.
 * Fix: send the request again; if it persists, find out what the option waits for.
 */
export const PARAPET_MFA_TIMEOUT = createError<[option: string, seconds: number]>(
  'PARAPET_MFA_TIMEOUT',
  'The option "%s" did not answer within %d seconds; try again in a few seconds',
  503,
)

/**
 * Thrown when a route requires a factor that the user has not enrolled.
 * Fix: enrol a second factor, or a passkey if the route requires one.
 */
export const PARAPET_MFA_ENROLMENT_REQUIRED = createError<[]>(
  'PARAPET_MFA_ENROLMENT_REQUIRED',
  'This request needs a second factor that is not enrolled yet; enrol one and send it again',
  403,
)

/**
 * Thrown when a code is wrong or expired, or when the user has no factor that it could match.
 * Fix: enter the code that the authenticator app shows now, or an unused backup code.
 */
export const PARAPET_MFA_CODE_REFUSED = createError<[]>(
  'PARAPET_MFA_CODE_REFUSED',
  'The code is wrong or expired; enter the code that the authenticator app shows now, or an unused backup code',
  403,
)

/**
 * Thrown when a code has the form of neither kind, or its check character is wrong; the attempt is
 * not counted. A recovery also throws it when both codes are the same.
 * Fix: check the code for typing errors; a recovery needs two different backup codes.
 */
export const PARAPET_MFA_CODE_MISTYPED = createError<[]>(
  'PARAPET_MFA_CODE_MISTYPED',
  'Expected a code of the authenticator app or a backup code of 14 characters (two different ones for a recovery); check it for typing errors',
  400,
)

/**
 * Thrown when a code of the authenticator app has already been used.
 * Fix: wait up to 30 seconds for the next code.
 */
export const PARAPET_MFA_CODE_USED = createError<[]>(
  'PARAPET_MFA_CODE_USED',
  'The code was already used; wait until the authenticator app shows the next one',
  409,
)

/**
 * Thrown when too many wrong attempts were made at the account, from the address, or at a passkey from
 * the address.
 * Fix: wait for the seconds in the `Retry-After` header, then try again.
 */
export const PARAPET_MFA_THROTTLED = createError<[]>(
  'PARAPET_MFA_THROTTLED',
  'Too many failed attempts; wait for the number of seconds in the Retry-After header, then try again',
  429,
)

/**
 * Thrown when a factor is disabled after `throttle.hardStop` wrong codes in a row.
 * Fix: verify another factor and enrol this one again, or have an administrator reset the account.
 */
export const PARAPET_MFA_LOCKED = createError<[]>(
  'PARAPET_MFA_LOCKED',
  'This factor is disabled after too many wrong codes; verify another factor and enrol this one again',
  423,
)

/**
 * Thrown when an enrolment ticket is unknown, expired or used, or when the factors have changed
 * since it was issued.
 * Fix: start the enrolment again.
 */
export const PARAPET_MFA_TICKET_REFUSED = createError<[]>(
  'PARAPET_MFA_TICKET_REFUSED',
  'The enrolment ticket is unknown, expired or already used; start the enrolment again',
  409,
)

/**
 * Thrown when a passkey challenge is unknown, expired or used, or was issued for another purpose or
 * user.
 * Fix: request new options and let the browser answer those.
 */
export const PARAPET_MFA_CHALLENGE_REFUSED = createError<[]>(
  'PARAPET_MFA_CHALLENGE_REFUSED',
  'The passkey challenge is unknown, expired or already used; request new options and try again',
  409,
)

/**
 * Thrown when a passkey is unknown, revoked or cloned, or its response does not verify.
 * Fix: use another passkey or factor; the event `mfa.failed` has the reason.
 */
export const PARAPET_MFA_PASSKEY_REFUSED = createError<[]>(
  'PARAPET_MFA_PASSKEY_REFUSED',
  'The passkey could not be verified for this account; use another passkey or factor',
  403,
)

/**
 * Thrown when a passkey is already enrolled, or when the account has the maximum of 20.
 * Fix: use the enrolled passkey, or revoke one that is no longer needed.
 */
export const PARAPET_MFA_PASSKEY_NOT_ADDED = createError<[reason: string]>(
  'PARAPET_MFA_PASSKEY_NOT_ADDED',
  'The passkey was not added because %s; use an enrolled passkey, or revoke one first',
  409,
)

/**
 * Thrown when the account has no such passkey, device or authenticator app, or no factor for which
 * backup codes could be issued.
 * Fix: read `app.mfa.status` or `GET /mfa` for what is enrolled.
 */
export const PARAPET_MFA_NOT_FOUND = createError<[]>(
  'PARAPET_MFA_NOT_FOUND',
  'The account has no such factor or device; check the id against what is enrolled',
  404,
)

/**
 * Thrown when a caller without a role of `adminRoles` resets the factors of a user.
 * Fix: let an administrator do it, or add the role to `adminRoles`.
 */
export const PARAPET_MFA_FORBIDDEN = createError<[]>(
  'PARAPET_MFA_FORBIDDEN',
  'Resetting the factors of a user needs an administrator role; ask an administrator',
  403,
)
