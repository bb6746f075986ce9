/**
 * Every error of this plugin; each constant is named as its code. The first sentence of a docblock
 * and the text behind "Fix:" are printed in the generated reference page.
 */
import { createError } from '@fastify/error'

/**
 * An option is unknown, mistyped or out of range; the boot stops. Fix: Correct each option that the
 * message lists.
 */
export const PARAPET_ANOMALY_GUARD_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_ANOMALY_GUARD_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * A route declares an invalid rule under `config.anomaly`; the boot stops. Fix: Correct the member of
 * `config.anomaly` that the message names.
 */
export const PARAPET_ANOMALY_GUARD_INVALID_RULE = createError<[route: string, problem: string]>(
  'PARAPET_ANOMALY_GUARD_INVALID_RULE',
  'The rule "anomaly" of the route %s is invalid: %s',
)

/**
 * Fastify's `trustProxy` trusts every proxy, so that each client can choose its address: it would evade every
 * measure, and have others contained; the boot stops. Fix: Write the addresses of your proxies, as
 * `Fastify({ trustProxy: ['10.0.0.0/8'] })`, or set the option `[acceptForgedAddresses]`.
 */
export const PARAPET_ANOMALY_GUARD_TRUSTS_EVERY_PROXY = createError<[]>(
  'PARAPET_ANOMALY_GUARD_TRUSTS_EVERY_PROXY',
  'Fastify trusts the forwarded address of every client (trustProxy), so each client can evade containment, and ' +
    "have other addresses contained; write the addresses of your proxies, as Fastify({ trustProxy: ['10.0.0.0/8'] })",
)

/**
 * A function of the plugin was called with a value outside its documented range. Fix: Pass what the
 * message asks for.
 */
export const PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT = createError<[what: string, problem: string]>(
  'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT',
  'Invalid %s: %s',
)

/**
 * An option needs a package that is not installed; the boot stops. Fix: Install the package that the
 * message names.
 */
export const PARAPET_ANOMALY_GUARD_MISSING_PEER = createError<[option: string, peer: string]>(
  'PARAPET_ANOMALY_GUARD_MISSING_PEER',
  'The option "%s" needs the package "%s", which cannot be loaded; install it',
)

/**
 * A saved model is damaged, of another version or of other features. Fix: Delete it, so that the model
 * is learnt anew.
 */
export const PARAPET_ANOMALY_GUARD_INVALID_MODEL = createError<[problem: string]>(
  'PARAPET_ANOMALY_GUARD_INVALID_MODEL',
  'The saved model cannot be loaded: %s',
)

/**
 * The client address or the principal is blocked. Fix: Wait for the seconds in `Retry-After`; an operator
 * can lift the block by `app.anomaly.contain.lift(id)`.
 */
export const PARAPET_ANOMALY_GUARD_BLOCKED = createError<[]>(
  'PARAPET_ANOMALY_GUARD_BLOCKED',
  'This request was refused because of suspicious activity; try again later',
  403,
)

/**
 * The request contains what looks like an attack, or comes from a country that is not allowed. Fix: If it is
 * legitimate, exempt the field by `inspect.fields` or the route by `config.anomaly.inspect`.
 */
export const PARAPET_ANOMALY_GUARD_REFUSED = createError<[]>(
  'PARAPET_ANOMALY_GUARD_REFUSED',
  'This request was refused by the security rules of the service',
  403,
)

/**
 * The client must solve a challenge first. Fix: Open the page in `Location`; a browser does it by itself.
 */
export const PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED = createError<[]>(
  'PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED',
  'Solve the challenge first; its address is in the header "location"',
  428,
)

/**
 * The answer to a challenge is wrong, expired, of another client, or was used before. Fix: Fetch a new
 * challenge and solve it.
 */
export const PARAPET_ANOMALY_GUARD_CHALLENGE_FAILED = createError<[]>(
  'PARAPET_ANOMALY_GUARD_CHALLENGE_FAILED',
  'The answer to the challenge is invalid or was used before; solve a new one',
  400,
)

/** The client has sent too many requests while its limit is tightened. Fix: Wait for `Retry-After`. */
export const PARAPET_ANOMALY_GUARD_TIGHTENED = createError<[]>(
  'PARAPET_ANOMALY_GUARD_TIGHTENED',
  'Too many requests; try again later',
  429,
)

/**
 * The service is in lockdown. Fix: End it by `app.anomaly.contain.lift(id)`; a break-glass token and allowed
 * addresses pass.
 */
export const PARAPET_ANOMALY_GUARD_LOCKDOWN = createError<[]>(
  'PARAPET_ANOMALY_GUARD_LOCKDOWN',
  'The service is locked down; try again later',
  423,
)

/** The service is read-only for now. Fix: Repeat the request after the seconds in `Retry-After`. */
export const PARAPET_ANOMALY_GUARD_READ_ONLY = createError<[]>(
  'PARAPET_ANOMALY_GUARD_READ_ONLY',
  'The service is read-only at the moment; try again later',
  423,
)

/** An anomaly, incident, rule or containment of that name does not exist. Fix: Check the id or name. */
export const PARAPET_ANOMALY_GUARD_UNKNOWN = createError<[what: string]>(
  'PARAPET_ANOMALY_GUARD_UNKNOWN',
  'Unknown %s',
  404,
)

/**
 * A lockdown or read-only was requested without a person, and without open incidents that concern principals or
 * accounts: two of different patterns for a lockdown, one for read-only. Fix: Give `by`, or ids in `incidents`.
 */
export const PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED = createError<[]>(
  'PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED',
  'This needs a person ("by") or open incidents about principals or accounts ("incidents")',
  409,
)
