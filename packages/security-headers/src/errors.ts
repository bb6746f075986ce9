/** Every error of this plugin. The exported constant carries the same name as the code. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, mistyped or out of range. Fix: correct every option that
 * the message lists.
 */
export const PARAPET_SECURITY_HEADERS_INVALID_OPTION = createError<
  [plugin: string, faults: string]
>(
  'PARAPET_SECURITY_HEADERS_INVALID_OPTION',
  'The options of %s are invalid; correct each of them:\n%s',
)

/**
 * Thrown when a route is declared with an invalid `config.securityHeaders`. Fix: correct every
 * setting that the message lists.
 */
export const PARAPET_SECURITY_HEADERS_INVALID_RULE = createError<[route: string, faults: string]>(
  'PARAPET_SECURITY_HEADERS_INVALID_RULE',
  'The config "securityHeaders" of the route %s is invalid; correct each setting:\n%s',
)

/**
 * Thrown at boot when the lint or helmet refuses the policy. Fix: change the settings as the message
 * says, or waive the rule with a reason and an end date.
 */
export const PARAPET_SECURITY_HEADERS_UNSAFE_POLICY = createError<[findings: string]>(
  'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY',
  'The policy is unsafe; fix each finding, or waive its rule with a reason and an end date:\n%s',
)

/**
 * Thrown for every request to a route with a rule that was declared before the plugin was
 * registered, because the rule was not read. Fix: register the plugin with `await` before the routes.
 */
export const PARAPET_SECURITY_HEADERS_MISSED_ROUTE = createError<[]>(
  'PARAPET_SECURITY_HEADERS_MISSED_ROUTE',
  'The route was declared before @parapet/security-headers was registered, so its rule was not read; register the plugin with await before the routes',
)

/**
 * Thrown when a handler reads `reply.cspNonce` but the policy has no source `'nonce'`, or after the
 * headers were sent. Fix: use the preset `web`, and read the nonce before the response starts.
 */
export const PARAPET_SECURITY_HEADERS_NO_NONCE = createError<[reason: string]>(
  'PARAPET_SECURITY_HEADERS_NO_NONCE',
  'reply.cspNonce is not available: %s',
)

/**
 * Thrown when a handler reads `reply.csrfToken` without the option `csrf`, or for a new visitor after
 * the headers were sent. Fix: set the option `csrf`, and read the token before the response starts.
 */
export const PARAPET_SECURITY_HEADERS_NO_TOKEN = createError<[reason: string]>(
  'PARAPET_SECURITY_HEADERS_NO_TOKEN',
  'reply.csrfToken is not available: %s',
)

/**
 * Thrown at boot when another plugin sets the same headers. Fix: remove that plugin, as the message
 * says.
 */
export const PARAPET_SECURITY_HEADERS_CONFLICT = createError<[what: string]>(
  'PARAPET_SECURITY_HEADERS_CONFLICT',
  'Two plugins set the same headers: %s',
)

/**
 * Thrown when a response sets a cookie with a missing attribute while `cookies.mode` is `strict`.
 * Fix: set the attributes that the message lists, or list a cookie for scripts in `cookies.readable`.
 */
export const PARAPET_SECURITY_HEADERS_WEAK_COOKIE = createError<[cookie: string, faults: string]>(
  'PARAPET_SECURITY_HEADERS_WEAK_COOKIE',
  'The cookie "%s" must have all protecting attributes, but it has these faults: %s',
)

/**
 * Thrown when another site sent the request and the route does not accept requests from it. Fix: set
 * `isolation` on the route, or add the origin to `isolation.trustedOrigins`.
 */
export const PARAPET_SECURITY_HEADERS_CROSS_SITE = createError<[]>(
  'PARAPET_SECURITY_HEADERS_CROSS_SITE',
  'This route does not accept requests from other sites; send the request from a page of this site',
  403,
)

/**
 * Thrown when a request with a cookie has no valid CSRF token. Fix: render `reply.csrfToken` into the
 * page and send it back in the header `csrf-token`.
 */
export const PARAPET_SECURITY_HEADERS_CSRF_TOKEN = createError<[]>(
  'PARAPET_SECURITY_HEADERS_CSRF_TOKEN',
  'The request needs a valid CSRF token; reload the page and try again',
  403,
)

/**
 * Thrown when a request came over http and cannot be redirected. Fix: send the request over https,
 * or set `trustProxy` if a proxy terminates TLS.
 */
export const PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED = createError<[]>(
  'PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED',
  'This service accepts requests over https only; use an https URL',
  403,
)

/**
 * Thrown when the body of a request to the report route contains no violation report. Fix: post
 * reports in the format of browsers; a browser needs no change.
 */
export const PARAPET_SECURITY_HEADERS_MALFORMED_REPORT = createError<[]>(
  'PARAPET_SECURITY_HEADERS_MALFORMED_REPORT',
  'The body must be a violation report of the Reporting API or of the directive report-uri',
  400,
)

/**
 * Thrown when more reports arrive than `reports` allows. Fix: nothing if the reports are noise;
 * otherwise raise `reports.maxPerMinute` or `reports.maxPerClientPerMinute`.
 */
export const PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS = createError<[]>(
  'PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS',
  'Too many violation reports; send reports again after one minute',
  429,
)
