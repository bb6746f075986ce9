/** The security events of this plugin and their details. */
import type { SecurityEventTable } from '@parapet/kit'
import type { IsolationReason } from './isolation/fetch-metadata.ts'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'security_headers.violation_reported': {
      /** `csp`, `coep`, `coop`, `permissions-policy`, `integrity`, `deprecation`, `network-error` or `other`. */
      kind: string
      /** Whether the browser enforced the policy or only reported the violation. */
      disposition: 'enforce' | 'report'
      /** The violated directive, feature or policy. */
      directive: string
      /** What was blocked: an origin, or a keyword such as `inline`. */
      blocked: string
      /** Path of the page. A segment with a digit, an escape or more than 24 characters is masked. */
      page: string
      /** Origin and masked path of the script; `''` if the browser does not report it. */
      source: string
      /** Line in the source; 0 if it is unknown. */
      line: number
      /** Column in the source; 0 if it is unknown. */
      column: number
      /** At most 40 characters of the inline code; `''` without `'report-sample'` in the policy. */
      sample: string
      /** The number of identical reports that were suppressed since the previous event. */
      suppressed: number
    }
    'security_headers.request_isolated': {
      reason: IsolationReason
      method: string
      /** `Sec-Fetch-Site`; `''` if it is absent, `other` if it is not a valid token. */
      site: string
      /** `Sec-Fetch-Mode`, as above. */
      mode: string
      /** `Sec-Fetch-Dest`, as above. */
      dest: string
      /** How many such refusals were suppressed since the previous event: one a minute is emitted. */
      suppressed: number
    }
    'security_headers.token_refused': {
      reason: 'missing' | 'invalid'
      /** As above. */
      suppressed: number
    }
    /** The name of the cookie and its faults, never its value. */
    'security_headers.cookie_flagged': { cookie: string; faults: readonly string[] }
    /** The name of a header that would have replaced one of the block. Once for each route. */
    'security_headers.header_dropped': { header: string; source: 'error' | 'upstream' }
    /** Once for each route. Its scripts do not run. */
    'security_headers.page_unknown': { statusCode: number }
    /** `daysLeft` is negative in the days in which the waiver still counts after its last day. */
    'security_headers.waiver_aged': { rule: string; until: string; daysLeft: number }
    /** `failed`: the callback threw. `late`: it took too long. `unsafe`: the lint refuses the result. */
    'security_headers.tenant_refused': { tenant: string; reason: 'failed' | 'late' | 'unsafe' }
    /** `daysLeft` is negative once the file has expired. */
    'security_headers.security_txt_aged': { expires: string; daysLeft: number }
  }
}

/** The severity, outcome and description of each event. */
export const events = {
  'security_headers.violation_reported': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A browser reported that a page violated its policy.',
  },
  'security_headers.request_isolated': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A request from another site was refused.',
  },
  'security_headers.token_refused': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A request with a cookie was refused because it had no valid CSRF token.',
  },
  'security_headers.cookie_flagged': {
    severity: 'low',
    outcome: 'failure',
    description: 'A response sets a cookie without a protecting attribute.',
  },
  'security_headers.header_dropped': {
    severity: 'low',
    outcome: 'failure',
    description: 'A thrown error or an upstream response had a header that this plugin sets.',
  },
  'security_headers.tenant_refused': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A tenant got the policy of the route, because its own could not be used.',
  },
  'security_headers.page_unknown': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A page of the preset spa is no file of the build, so it was sent without nonces.',
  },
  'security_headers.waiver_aged': {
    severity: 'medium',
    outcome: 'unknown',
    description:
      'A waiver has expired or expires within 30 days; 30 days later the app does not start.',
  },
  'security_headers.security_txt_aged': {
    severity: 'low',
    outcome: 'unknown',
    description: 'security.txt has expired or expires within 30 days.',
  },
} as const satisfies SecurityEventTable
