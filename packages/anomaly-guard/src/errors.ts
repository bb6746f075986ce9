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
 * A route declares a rule that is neither "open" nor "closed"; the boot stops. Fix: Correct
 * `config.anomalyGuard` of the route in the message.
 */
export const PARAPET_ANOMALY_GUARD_INVALID_RULE = createError<[route: string, received: string]>(
  'PARAPET_ANOMALY_GUARD_INVALID_RULE',
  'The rule "anomalyGuard" of the route %s must be "open" or "closed", got %s',
)

/**
 * The route is closed and the principal has none of the allowed roles. Fix: Repeat the request after
 * the seconds in `Retry-After`.
 */
export const PARAPET_ANOMALY_GUARD_CLOSED = createError<[]>(
  'PARAPET_ANOMALY_GUARD_CLOSED',
  'This route is closed for maintenance; try again later',
  503,
)
