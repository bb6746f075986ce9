/** Every error of this plugin. The constant, the code and the row in the README carry one name. */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_TEMPLATE_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_TEMPLATE_INVALID_OPTION',
  '%s refuses its options:\n%s',
)

/** A route carries a rule that cannot be read. */
export const PARAPET_TEMPLATE_INVALID_RULE = createError<[route: string, expected: string]>(
  'PARAPET_TEMPLATE_INVALID_RULE',
  'The rule "template" of the route %s must be %s',
)

/** The route is closed, and the caller has no role that passes. */
export const PARAPET_TEMPLATE_CLOSED = createError<[]>(
  'PARAPET_TEMPLATE_CLOSED',
  'This part of the service is closed for now',
  503,
)
