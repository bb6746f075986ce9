/** What this plugin tells the security events, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'template.passed': { role: string }
    'template.refused': { reason: 'closed' | 'missed' }
  }
}

/** The table of events; a test compares it with the README. */
export const events = {
  'template.passed': {
    severity: 'info',
    outcome: 'success',
    description: 'A caller passed a closed route by one of the allowed roles.',
  },
  'template.refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'A closed route was asked for by someone who may not pass.',
  },
} as const satisfies SecurityEventTable
