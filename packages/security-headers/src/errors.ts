/** Every error of this plugin. The constant, the code and the row in the README carry one name. */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_SECURITY_HEADERS_INVALID_OPTION = createError<
  [plugin: string, faults: string]
>('PARAPET_SECURITY_HEADERS_INVALID_OPTION', '%s refuses its options:\n%s')

/** A route carries a rule that cannot be read; the message lists every fault found. */
export const PARAPET_SECURITY_HEADERS_INVALID_RULE = createError<[route: string, faults: string]>(
  'PARAPET_SECURITY_HEADERS_INVALID_RULE',
  'The rule "securityHeaders" of the route %s is refused:\n%s',
)

/** The lint found weak spots that nobody waived; the message has rule, reason and fix of each. */
export const PARAPET_SECURITY_HEADERS_UNSAFE_POLICY = createError<[findings: string]>(
  'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY',
  'The policy is refused; mend it, or waive the rule with a reason and an end date:\n%s',
)

/** The route was declared before the plugin was ready, so its rule was never read. */
export const PARAPET_SECURITY_HEADERS_MISSED_ROUTE = createError<[]>(
  'PARAPET_SECURITY_HEADERS_MISSED_ROUTE',
  'The route was declared before @parapet/security-headers was registered with await',
)

/** A nonce was asked for where the policy of the route has no place for one, or after the headers left. */
export const PARAPET_SECURITY_HEADERS_NO_NONCE = createError<[reason: string]>(
  'PARAPET_SECURITY_HEADERS_NO_NONCE',
  'There is no nonce for this reply: %s',
)

/** A CSRF token was asked for, and the option `csrf` is off. */
export const PARAPET_SECURITY_HEADERS_NO_TOKEN = createError<[]>(
  'PARAPET_SECURITY_HEADERS_NO_TOKEN',
  'There is no CSRF token, for the option "csrf" is off',
)

/** A cookie lacks an attribute, and `cookies.mode` is `strict`. */
export const PARAPET_SECURITY_HEADERS_WEAK_COOKIE = createError<[cookie: string, faults: string]>(
  'PARAPET_SECURITY_HEADERS_WEAK_COOKIE',
  'The cookie "%s" is refused: %s',
)

/** Another site sent the request, and the route is not open to it. */
export const PARAPET_SECURITY_HEADERS_CROSS_SITE = createError<[]>(
  'PARAPET_SECURITY_HEADERS_CROSS_SITE',
  'This request may not come from another site',
  403,
)

/** The request carries a cookie, and no token that proves which page sent it. */
export const PARAPET_SECURITY_HEADERS_CSRF_TOKEN = createError<[]>(
  'PARAPET_SECURITY_HEADERS_CSRF_TOKEN',
  'The request needs a valid CSRF token',
  403,
)

/** The request came over http, and is none that can be sent on to https. */
export const PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED = createError<[]>(
  'PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED',
  'This service answers over https only',
  403,
)

/** What was posted to the report route is no report. */
export const PARAPET_SECURITY_HEADERS_MALFORMED_REPORT = createError<[]>(
  'PARAPET_SECURITY_HEADERS_MALFORMED_REPORT',
  'This is no violation report',
  400,
)

/** More reports arrive than the route takes. */
export const PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS = createError<[]>(
  'PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS',
  'Too many violation reports',
  429,
)
