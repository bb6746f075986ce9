/** Every error of this plugin. The constant, the code and the row in the README carry one name. */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_MFA_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_MFA_INVALID_OPTION',
  '%s refuses its options:\n%s',
)

/** There is no key to seal secrets with. */
export const PARAPET_MFA_NO_KEY = createError<[]>(
  'PARAPET_MFA_NO_KEY',
  '@parapet/mfa needs a key for the secrets it keeps: give "keys" (one made by generateCipherKey of @parapet/kit) or a "cipher"',
)

/** The settings let a code be guessed too easily. */
export const PARAPET_MFA_GUESSABLE = createError<[probability: string, bound: string, how: string]>(
  'PARAPET_MFA_GUESSABLE',
  'With these settings a one-time code is guessed within 30 days with probability %s, above maxGuessProbability %s: %s',
)

/** A function of the plugin was called with a value outside its documented range. */
export const PARAPET_MFA_INVALID_ARGUMENT = createError<[what: string, problem: string]>(
  'PARAPET_MFA_INVALID_ARGUMENT',
  '%s %s',
)

/** A route carries a rule that cannot be read. */
export const PARAPET_MFA_INVALID_RULE = createError<[route: string, expected: string]>(
  'PARAPET_MFA_INVALID_RULE',
  'The rule "mfa" of the route %s must be %s',
)

/** A stored account did not open: another user's, damaged, or sealed under a key that is gone. */
export const PARAPET_MFA_ACCOUNT_UNREADABLE = createError<[]>(
  'PARAPET_MFA_ACCOUNT_UNREADABLE',
  'The stored factors cannot be read',
)

/** Too many writers at the same account at once. */
export const PARAPET_MFA_BUSY = createError<[]>('PARAPET_MFA_BUSY', 'Try again', 503)

/** Nobody is logged in. */
export const PARAPET_MFA_LOGIN_REQUIRED = createError<[]>(
  'PARAPET_MFA_LOGIN_REQUIRED',
  'Log in first',
  401,
)

/** The route wants a stronger or fresher proof; `WWW-Authenticate` says which. */
export const PARAPET_MFA_STEP_UP_REQUIRED = createError<[]>(
  'PARAPET_MFA_STEP_UP_REQUIRED',
  'A stronger or more recent proof of who you are is needed',
  401,
)

/** The caller must enrol a second factor first. */
export const PARAPET_MFA_ENROLMENT_REQUIRED = createError<[]>(
  'PARAPET_MFA_ENROLMENT_REQUIRED',
  'Enrol a second factor first',
  403,
)

/** The code is wrong, or there is nothing it could be right for. */
export const PARAPET_MFA_CODE_REFUSED = createError<[]>(
  'PARAPET_MFA_CODE_REFUSED',
  'The code is not right',
  403,
)

/** The backup code fails its own checksum; no attempt was counted. */
export const PARAPET_MFA_CODE_MISTYPED = createError<[]>(
  'PARAPET_MFA_CODE_MISTYPED',
  'The code is mistyped; look at it again',
  400,
)

/** The code was right and has been used. */
export const PARAPET_MFA_CODE_USED = createError<[]>(
  'PARAPET_MFA_CODE_USED',
  'The code has been used already; wait for the next one',
  409,
)

/** Too many wrong codes; `Retry-After` says when to try again. */
export const PARAPET_MFA_THROTTLED = createError<[]>(
  'PARAPET_MFA_THROTTLED',
  'Too many attempts; wait before the next one',
  429,
)

/** So many wrong codes in a row that this factor is disabled until it is enrolled anew. */
export const PARAPET_MFA_LOCKED = createError<[]>(
  'PARAPET_MFA_LOCKED',
  'This factor is disabled; use another one and enrol it anew',
  423,
)

/** The enrolment ticket is unknown, expired or used. */
export const PARAPET_MFA_TICKET_REFUSED = createError<[]>(
  'PARAPET_MFA_TICKET_REFUSED',
  'This enrolment has ended; begin again',
  409,
)

/** The challenge of the ceremony is unknown, expired, used or for something else. */
export const PARAPET_MFA_CHALLENGE_REFUSED = createError<[]>(
  'PARAPET_MFA_CHALLENGE_REFUSED',
  'This challenge has ended; begin again',
  409,
)

/** The passkey is unknown, revoked, cloned, or its answer does not verify. */
export const PARAPET_MFA_PASSKEY_REFUSED = createError<[]>(
  'PARAPET_MFA_PASSKEY_REFUSED',
  'The passkey is refused',
  403,
)

/** The passkey is enrolled already, or the account holds as many as it may. */
export const PARAPET_MFA_PASSKEY_NOT_ADDED = createError<[reason: string]>(
  'PARAPET_MFA_PASSKEY_NOT_ADDED',
  'The passkey was not added: %s',
  409,
)

/** There is no such passkey, device or factor. */
export const PARAPET_MFA_NOT_FOUND = createError<[]>(
  'PARAPET_MFA_NOT_FOUND',
  'There is no such factor',
  404,
)

/** The caller may not reset somebody's factors. */
export const PARAPET_MFA_FORBIDDEN = createError<[]>(
  'PARAPET_MFA_FORBIDDEN',
  'This is for administrators of second factors',
  403,
)
