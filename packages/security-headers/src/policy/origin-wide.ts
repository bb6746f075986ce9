/** Headers that change the whole origin. */

/**
 * Headers that change the whole origin, or that send the browser elsewhere. Only the app may decide on
 * them, whether or not the policy sets them.
 */
export const originWideHeaders: readonly string[] = Object.freeze([
  'accept-ch',
  'alt-svc',
  'clear-site-data',
  'content-security-policy-report-only',
  'critical-ch',
  'document-policy',
  'document-policy-report-only',
  'nel',
  'origin-agent-cluster',
  'refresh',
  'report-to',
  'reporting-endpoints',
  'service-worker-allowed',
  'set-login',
  'speculation-rules',
  'strict-transport-security',
])
