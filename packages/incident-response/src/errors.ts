/**
 * Every error of this plugin; each constant is named as its code. The first sentence of a docblock
 * and the text behind "Fix:" are printed in the generated reference page.
 */
import { createError } from '@fastify/error'

/**
 * An option is unknown, mistyped or out of range; the boot stops. Fix: Correct each option that the
 * message lists.
 */
export const PARAPET_INCIDENT_RESPONSE_INVALID_OPTION = createError<
  [plugin: string, faults: string]
>('PARAPET_INCIDENT_RESPONSE_INVALID_OPTION', 'Invalid options for %s:\n%s')

/**
 * A playbook cannot be loaded: its YAML or JSON is damaged, it does not fit the schema, or it names an action, a
 * notifier, a playbook or a variable that does not exist. Fix: Correct the places that the message lists.
 */
export const PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK = createError<[faults: string]>(
  'PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK',
  'Invalid playbook:\n%s',
  400,
)

/** A call has a value outside its documented range. Fix: Pass what the message asks for. */
export const PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT = createError<
  [what: string, problem: string]
>('PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT', 'Invalid argument: %s %s', 400)

/**
 * There is no such incident, run, step, playbook, action or message. Fix: Check the id; lists show the ones
 * that exist.
 */
export const PARAPET_INCIDENT_RESPONSE_NOT_FOUND = createError<[what: string]>(
  'PARAPET_INCIDENT_RESPONSE_NOT_FOUND',
  'There is no such %s',
  404,
)

/**
 * The incident, run or step is not in the state that the call needs. Fix: Read it again; the message says what
 * state it is in.
 */
export const PARAPET_INCIDENT_RESPONSE_CONFLICT = createError<[problem: string]>(
  'PARAPET_INCIDENT_RESPONSE_CONFLICT',
  'The incident cannot be changed: %s',
  409,
)

/**
 * Others changed the incident at the same time, again and again; nothing was changed. Fix: Call again.
 */
export const PARAPET_INCIDENT_RESPONSE_BUSY = createError<[]>(
  'PARAPET_INCIDENT_RESPONSE_BUSY',
  'The incident is being changed by others; try again',
  503,
)

/** The guard of the routes did not return `true`. Fix: Give the caller the right that the guard asks for. */
export const PARAPET_INCIDENT_RESPONSE_FORBIDDEN = createError<[]>(
  'PARAPET_INCIDENT_RESPONSE_FORBIDDEN',
  'You may not do this with incidents',
  403,
)

/** The routes were registered without a `guard`; the boot stops. Fix: Pass a function that says who may use them. */
export const PARAPET_INCIDENT_RESPONSE_NOT_GUARDED = createError<[]>(
  'PARAPET_INCIDENT_RESPONSE_NOT_GUARDED',
  'The routes of incidents need the option "guard": a function that returns true for callers who may use them',
)

/** More findings wait to be stored than `maxQueuedFindings`. Fix: Check the database; report again later. */
export const PARAPET_INCIDENT_RESPONSE_OVERLOADED = createError<[limit: number]>(
  'PARAPET_INCIDENT_RESPONSE_OVERLOADED',
  'More than %s findings wait to be stored',
  503,
)

/** Too many live feeds are open. Fix: Close one, or raise `maxFeeds`. */
export const PARAPET_INCIDENT_RESPONSE_TOO_MANY_FEEDS = createError<[limit: number]>(
  'PARAPET_INCIDENT_RESPONSE_TOO_MANY_FEEDS',
  'There are %s live feeds already',
  503,
)

/**
 * The memory holds as many open incidents as it may. Fix: Close incidents, raise `maxIncidents` or set `sql`.
 */
export const PARAPET_INCIDENT_RESPONSE_FULL = createError<[limit: number]>(
  'PARAPET_INCIDENT_RESPONSE_FULL',
  'The memory holds %s open incidents, as many as "maxIncidents" allows',
  503,
)

/**
 * A message could not be delivered: the target refused it, did not answer in time, or may not be called. Fix:
 * Check the address and the credentials of the notifier; the message says what happened.
 */
export const PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED = createError<
  [notifier: string, reason: string]
>('PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED', 'The message of "%s" was not delivered: %s', 503)

/** The database failed. Fix: Send the request again later; `cause` in the log says what happened. */
export const PARAPET_INCIDENT_RESPONSE_UNAVAILABLE = createError<
  [options?: { readonly cause: unknown }]
>('PARAPET_INCIDENT_RESPONSE_UNAVAILABLE', 'The storage of incidents failed. Try again later', 503)

/** An action or a check did not end within its time. Fix: Raise its `timeoutMs`, or find out what it waits for. */
export const PARAPET_INCIDENT_RESPONSE_TIMEOUT = createError<[what: string, limitMs: number]>(
  'PARAPET_INCIDENT_RESPONSE_TIMEOUT',
  'The %s did not end within %s ms',
  503,
)

/**
 * The work of a killed instance: used by tests that kill one between two steps, and as the reason of a signal when
 * the server closes. Fix: None is needed; another instance continues.
 */
export const PARAPET_INCIDENT_RESPONSE_CLOSED = createError<[]>(
  'PARAPET_INCIDENT_RESPONSE_CLOSED',
  'The incident response is closed',
  503,
)

/** An optional library is not installed. Fix: Install it: `npm install nodemailer`. */
export const PARAPET_INCIDENT_RESPONSE_MISSING_LIBRARY = createError<
  [feature: string, library: string]
>(
  'PARAPET_INCIDENT_RESPONSE_MISSING_LIBRARY',
  '%s needs the package "%s": install it beside @parapet/incident-response',
)
