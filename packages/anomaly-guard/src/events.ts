/** The security events that this plugin emits, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'anomaly_guard.passed': { role: string }
    'anomaly_guard.refused': { reason: 'closed' | 'missed' }
  }
}

/** The table of events; its descriptions are printed in the generated reference page. */
export const events = {
  'anomaly_guard.passed': {
    severity: 'info',
    outcome: 'success',
    description: 'A principal with an allowed role used a closed route.',
  },
  'anomaly_guard.refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'A request for a closed route was refused.',
  },
} as const satisfies SecurityEventTable
