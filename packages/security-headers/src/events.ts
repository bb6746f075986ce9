/** What this plugin tells the security events, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'
import type { IsolationReason } from './isolation.ts'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'security_headers.violation_reported': {
      /** `csp`, `coep`, `coop`, `permissions-policy`, `integrity`, `deprecation`, `network-error` or `other`. */
      kind: string
      disposition: 'enforce' | 'report'
      /** The directive, feature or policy that was broken. */
      directive: string
      /** What was blocked: an origin, or a word such as `inline`. */
      blocked: string
      /** Path of the page; a segment with a digit, an escape or more than 24 characters is masked. */
      page: string
      /** Origin and masked path of the script, where the browser tells it. */
      source: string
      line: number
      column: number
      /** At most 40 characters of the inline code, where the policy asks for it. */
      sample: string
      /** How many alike were held back since the one before. */
      suppressed: number
    }
    'security_headers.request_isolated': {
      reason: IsolationReason
      method: string
      site: string
      mode: string
      dest: string
    }
    'security_headers.token_refused': { reason: 'missing' | 'invalid' }
    'security_headers.cookie_flagged': { cookie: string; faults: readonly string[] }
    'security_headers.security_txt_aged': { expires: string; daysLeft: number }
  }
}

/** The table of events; a test compares it with the README. */
export const events = {
  'security_headers.violation_reported': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A browser reported that a page broke its policy.',
  },
  'security_headers.request_isolated': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A request of another site was refused.',
  },
  'security_headers.token_refused': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A request with a cookie had no valid CSRF token.',
  },
  'security_headers.cookie_flagged': {
    severity: 'low',
    outcome: 'failure',
    description: 'A cookie is set without an attribute that protects it.',
  },
  'security_headers.security_txt_aged': {
    severity: 'low',
    outcome: 'unknown',
    description: 'security.txt has expired or will within 30 days.',
  },
} as const satisfies SecurityEventTable
